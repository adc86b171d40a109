//! Conditions that single members decide. Most guards are such: they are told without a copy of the document and without lists of nodes.

use serde_json::Value;

use super::path::{follow, members};

/// Alternatives, each of terms that must all hold: `$.a && $.b == 'c' || $.d`.
#[derive(Clone, Debug)]
pub(crate) struct Terms(Vec<Vec<Term>>);

#[derive(Clone, Debug)]
struct Term {
    names: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// The member is there, be it `null`.
    Exists,
    Equals(Value),
    /// Also where it is not there (RFC 9535, 2.3.5.2.2).
    Differs(Value),
}

impl Terms {
    /// `None` where the text says anything else. It must be known to parse as an expression.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // An operator in quotes, or in brackets, splits the text where no term is: then it is none.
        text.split("||").map(|all| all.split("&&").map(Term::parse).collect()).collect::<Option<_>>().map(Self)
    }

    pub(super) fn hold(&self, document: &Value) -> bool {
        self.0.iter().any(|all| all.iter().all(|term| term.holds(document)))
    }
}

impl Term {
    fn parse(term: &str) -> Option<Self> {
        let (path, condition) = if let Some((path, value)) = term.split_once("==") {
            (path, Test::Equals(literal(value)?))
        } else if let Some((path, value)) = term.split_once("!=") {
            (path, Test::Differs(literal(value)?))
        } else {
            (term, Test::Exists)
        };
        Some(Self { names: members(path.trim())?, test: condition })
    }

    fn holds(&self, document: &Value) -> bool {
        let found = follow(&self.names, document);
        match &self.test {
            Test::Exists => found.is_some(),
            Test::Equals(value) => found == Some(value),
            Test::Differs(value) => found != Some(value),
        }
    }
}

/// `null`, `true`, `false`, or a text of plain characters. Numbers have an equality of their own.
fn literal(text: &str) -> Option<Value> {
    let text = text.trim();
    match text {
        "null" => return Some(Value::Null),
        "true" => return Some(true.into()),
        "false" => return Some(false.into()),
        _ => {}
    }
    let inner = ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))?;
    inner.chars().all(|c| c.is_alphanumeric() || " _-./:".contains(c)).then(|| inner.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json_path::JsonPath;

    use super::*;

    #[test]
    fn terms_mean_what_the_same_text_means_in_a_filter() {
        let values = [json!(null), json!(true), json!(false), json!("x y"), json!(""), json!(1), json!({"b": "x y"})];
        let mut documents = vec![json!({}), json!([]), json!(7)];
        for one in &values {
            documents.push(json!({ "a": one }));
            documents.extend(values.iter().map(|other| json!({ "a": one, "c": other })));
        }
        for text in [
            "$.a",
            "$",
            "$.a || $.c",
            "$.a && $.c",
            "$.a.b == 'x y' || $.c",
            "$.a == null",
            "$.a != null",
            "$.a == true && $.c == \"x y\" || $.a.b",
            "@.a != false",
            "$.a == ''",
            "$.a!='x y'||$.c=='x y'",
        ] {
            let terms = Terms::parse(text).unwrap_or_else(|| panic!("{text} are terms"));
            let filter = JsonPath::parse(&format!("$[?{}]", text.replace('$', "@"))).unwrap();
            for document in &documents {
                let wrapped = json!([document]);
                assert_eq!(terms.hold(document), !filter.query(&wrapped).is_empty(), "{text} of {document}");
            }
        }
    }

    #[test]
    fn anything_else_is_left_to_the_library() {
        for text in [
            "$.a > 0",
            "$.a == 1",
            "!$.a",
            "($.a)",
            "$.a == 'it\\'s'",
            "$.a == '||'",
            "$.a == 'a && b'",
            "$['a'] == null",
            "length($.a) == 2",
            "$.a == $.c",
            "null == $.a",
            "$.a.*",
        ] {
            assert!(Terms::parse(text).is_none(), "{text}");
        }
    }
}
