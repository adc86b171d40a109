//! Paths (`JSONPath`, RFC 9535) as the rules use it: checked at start, bounded in time on any document.

use std::borrow::Cow;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::terms::Terms;

/// A path may be this long, in bytes.
const MAX_LENGTH: usize = 1_000;
/// Brackets and parentheses may nest so deep: the parser recurses.
const MAX_NESTING: usize = 16;

/// A path that parses, and whose time on a document grows no faster than the document.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    text: String,
    steps: Steps,
}

/// How a path is followed.
#[derive(Clone, Debug)]
enum Steps {
    /// Members by name only (`$.a.b`): followed by hand, without a list of nodes.
    Members(Vec<String>),
    /// Every member or element of what members by name lead to (`$.a.*`, `$.a[*]`): likewise.
    Every(Vec<String>),
    /// Anything else.
    Any(JsonPath),
}

/// What a path that should find one value found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// Nothing.
    Nothing,
    /// One value.
    One(&'a Value),
    /// More than one.
    Several,
}

/// A condition on a document: a path that finds something, or a comparison.
#[derive(Clone, Debug)]
pub(crate) enum Guard {
    /// Holds where the path finds something, be it `null`.
    Exists(Path),
    /// What can be told by looking at single members.
    Terms(Terms),
    /// Holds where this finds something in a list that holds the document alone.
    Test(JsonPath),
}

/// A text that is no path we take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathError {
    /// The character at which it goes wrong, from 1.
    pub(crate) position: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: &'static str,
}

/// What is seen of a path without parsing it.
struct Survey {
    descends: bool,
    /// The text with a `$` or `@` that begins a path turned into the one that its place asks for.
    rooted: String,
}

impl Path {
    /// Parses a path from the document, or from the item where a rule has `each`: `$` and `@` at its beginning mean the same.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        if !text.starts_with(['$', '@']) {
            return Err(PathError {
                position: None,
                message: "a path begins with `$`".into(),
                help: "write `$.name` for a member of the answer (or of the item, with `each`)",
            });
        }
        let survey = survey(text, '$')?;
        let path = JsonPath::parse(&survey.rooted).map_err(|error| PathError::of(&error, text, 0))?;
        let every = || text.strip_suffix(".*").or_else(|| text.strip_suffix("[*]")).and_then(members);
        let steps = match members(text) {
            Some(names) => Steps::Members(names),
            None => every().map_or(Steps::Any(path), Steps::Every),
        };
        Ok(Self { text: text.to_owned(), steps })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// True where it may visit values at any depth (`..`).
    pub(crate) fn descends(&self) -> bool {
        survey(&self.text, '$').is_ok_and(|survey| survey.descends)
    }

    /// The one value that it finds.
    pub(crate) fn one<'a>(&self, document: &'a Value) -> Found<'a> {
        match &self.steps {
            Steps::Members(names) => follow(names, document).map_or(Found::Nothing, Found::One),
            Steps::Every(_) => match self.all(document).as_slice() {
                [] => Found::Nothing,
                [one] => Found::One(one),
                _ => Found::Several,
            },
            Steps::Any(path) => match path.query(document).all().as_slice() {
                [] => Found::Nothing,
                [one] => Found::One(one),
                _ => Found::Several,
            },
        }
    }

    /// Every value that it finds, in the document's order.
    pub(crate) fn all<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        match &self.steps {
            Steps::Members(_) => match self.one(document) {
                Found::One(value) => vec![value],
                _ => Vec::new(),
            },
            Steps::Every(names) => match follow(names, document) {
                Some(Value::Object(map)) => map.values().collect(),
                Some(Value::Array(list)) => list.iter().collect(),
                _ => Vec::new(),
            },
            Steps::Any(path) => path.query(document).all(),
        }
    }

    /// Every value that it finds, with the name of the member (or the index of the element) that it is.
    pub(crate) fn named<'a>(&'a self, document: &'a Value) -> Vec<(Cow<'a, str>, &'a Value)> {
        use serde_json_path::PathElement;
        match &self.steps {
            Steps::Members(names) => {
                let name = names.last().map_or("$", String::as_str);
                self.all(document).into_iter().map(|value| (name.into(), value)).collect()
            }
            Steps::Every(names) => match follow(names, document) {
                Some(Value::Object(map)) => map.iter().map(|(name, value)| (name.into(), value)).collect(),
                Some(Value::Array(list)) => {
                    list.iter().enumerate().map(|(index, value)| (index.to_string().into(), value)).collect()
                }
                _ => Vec::new(),
            },
            Steps::Any(path) => path
                .query_located(document)
                .into_iter()
                .map(|node| {
                    let name = match node.location().iter().last() {
                        Some(PathElement::Name(name)) => Cow::Owned((*name).to_owned()),
                        Some(PathElement::Index(index)) => index.to_string().into(),
                        None => "$".into(),
                    };
                    (name, node.node())
                })
                .collect(),
        }
    }
}

impl Guard {
    /// Parses a path, or an expression as RFC 9535 writes it in a filter; `$` and `@` both mean the document.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        const BEFORE: &str = "$[?";
        if let Ok(path) = Path::parse(text.trim()) {
            return Ok(Self::Exists(path));
        }
        let survey = survey(text, '@')?;
        let wrapped = format!("{BEFORE}{}]", survey.rooted.trim_end());
        let path = JsonPath::parse(&wrapped).map_err(|error| {
            let help = if text.replace("==", "").contains(" = ") {
                "write `==` to compare"
            } else {
                "write a path ($.total), or a comparison: $.success == true && $.total > 0"
            };
            // What the parser expected belongs to the brackets around it, not to what was written.
            let message = "this does not fit here".to_owned();
            PathError { message, help, ..PathError::of(&error, text, BEFORE.len()) }
        })?;
        Ok(Terms::parse(text).map_or(Self::Test(path), Self::Terms))
    }

    /// Whether it holds. `wrapped` makes a list that holds the document alone; it is asked for only where it is needed.
    pub(crate) fn holds<'a>(&self, document: &'a Value, wrapped: impl FnOnce() -> &'a Value) -> bool {
        match self {
            Self::Exists(path) => path.one(document) != Found::Nothing,
            Self::Terms(terms) => terms.hold(document),
            Self::Test(test) => !test.query(wrapped()).is_empty(),
        }
    }
}

impl PathError {
    fn of(error: &serde_json_path::ParseError, text: &str, shift: usize) -> Self {
        let offset = error.position().saturating_sub(shift).min(text.len());
        let before = text.char_indices().take_while(|(at, _)| *at < offset).count();
        let message = match error.message() {
            // The parser's own name for "none of the alternatives fits": it says nothing to a reader.
            "parser error" => "this does not fit here".to_owned(),
            // The parser takes capitals, too.
            other => other.replace("parser error", "this does not fit here").replace("lowercase alpha", "a letter"),
        };
        Self {
            position: Some(before + 1),
            message,
            help: "paths are JSONPath (RFC 9535): $.name, $['odd-name'], $.list[*], $.list[?@.size > 1]",
        }
    }

    fn at(text: &str, offset: usize, message: &str, help: &'static str) -> Self {
        let position = text.char_indices().take_while(|(at, _)| *at < offset).count() + 1;
        Self { position: Some(position), message: message.to_owned(), help }
    }

    /// The problem's message, with the text it is about.
    pub(crate) fn tell(&self, text: &str) -> String {
        let text = minicol_plugin::text::foreign(text);
        match self.position {
            Some(position) => format!("`{text}` is no path: {} (at character {position})", self.message),
            None => format!("`{text}` is no path: {}", self.message),
        }
    }
}

/// Where members by name lead.
pub(super) fn follow<'a>(names: &[String], document: &'a Value) -> Option<&'a Value> {
    names.iter().try_fold(document, |at, name| at.as_object()?.get(name))
}

/// The names of a path that has nothing but members.
pub(super) fn members(text: &str) -> Option<Vec<String>> {
    let rest = text.strip_prefix(['$', '@'])?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let plain = |name: &str| {
        name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    rest.strip_prefix('.')?.split('.').map(|name| plain(name).then(|| name.to_owned())).collect()
}

/// Reads a path's letters once, quotes aside, and refuses what takes time that no document may cost: more than one `..`, or one in a
/// filter, the whole document (`$`) in a filter, regular expressions that are compiled for each item.
fn survey(text: &str, root: char) -> Result<Survey, PathError> {
    if text.len() > MAX_LENGTH {
        return Err(PathError {
            position: None,
            message: format!("it is longer than {MAX_LENGTH} bytes"),
            help: "shorten it",
        });
    }
    let mut rooted = String::with_capacity(text.len());
    let (mut open, mut descents, mut quote, mut escaped) = (Vec::new(), 0, None, false);
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        let mut put = c;
        if let Some(end) = quote {
            quote = if c == end && !escaped { None } else { quote };
            escaped = c == '\\' && !escaped;
            rooted.push(c);
            last = c;
            continue;
        }
        let filters = open.iter().filter(|filter| **filter).count();
        match c {
            '\'' | '"' => quote = Some(c),
            '[' | '(' if open.len() == MAX_NESTING => {
                return Err(PathError::at(text, at, "brackets nest too deep", "make it simpler"));
            }
            '[' | '(' => open.push(false),
            ']' | ')' => {
                open.pop();
            }
            '?' => {
                if let Some(filter) = open.last_mut() {
                    *filter = true;
                }
            }
            '.' if last == '.' => {
                descents += 1;
                if descents > 1 || filters > 0 {
                    let help =
                        "name the members on the way: the time of such a path is not bounded by the answer's size";
                    return Err(PathError::at(text, at - 1, "`..` may occur once, and not in a filter", help));
                }
            }
            '$' if filters > 0 => {
                let help = "compare with a member of the item (`@.name`) or with a literal; guard the rule with `when`";
                return Err(PathError::at(text, at, "`$` in a filter is not supported", help));
            }
            '$' | '@' if filters == 0 => put = root,
            _ => {}
        }
        if c == '(' && ["match", "search"].iter().any(|name| text[..at].trim_end().ends_with(name)) {
            let help = "compare with ==, or take the text apart with the metric's `match`";
            return Err(PathError::at(text, at, "match() and search() are not supported", help));
        }
        rooted.push(put);
        last = c;
    }
    Ok(Survey { descends: descents > 0, rooted })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(guard: &str, document: &Value) -> bool {
        let wrapped = json!([document]);
        Guard::parse(guard).unwrap().holds(document, || &wrapped)
    }

    #[test]
    fn a_path_finds_nothing_one_or_several() {
        let document = json!({"a": {"b": 1, "odd-name": 2}, "list": [{"x": 1}, {"x": 5}]});
        let one = |path: &str| Path::parse(path).unwrap().one(&document);
        assert_eq!(one("$.a.b"), Found::One(&json!(1)));
        assert_eq!(one("@.a.b"), Found::One(&json!(1)));
        assert_eq!(one("$.a['odd-name']"), Found::One(&json!(2)));
        assert_eq!(one("$.a.c"), Found::Nothing);
        assert_eq!(one("$.list[*].x"), Found::Several);
        assert_eq!(one("$.list[?@.x > 1].x"), Found::One(&json!(5)));
        assert_eq!(one("$..b"), Found::One(&json!(1)));
        assert_eq!(one("$"), Found::One(&document));
    }

    #[test]
    fn items_are_found_with_their_names() {
        let document = json!({"by": {"x": 1, "y": 2}, "list": [3]});
        let named = |path: &str| -> Vec<(String, Value)> {
            let path = Path::parse(path).unwrap();
            path.named(&document).into_iter().map(|(name, value)| (name.into_owned(), value.clone())).collect()
        };
        assert_eq!(named("$.by.*"), [("x".to_owned(), json!(1)), ("y".to_owned(), json!(2))]);
        assert_eq!(named("$.list[*]"), [("0".to_owned(), json!(3))]);
        assert_eq!(named("$.by.x"), [("x".to_owned(), json!(1))]);
    }

    #[test]
    fn a_guard_is_a_path_or_a_comparison() {
        let document = json!({"success": true, "total": 3, "none": null});
        for good in [
            "$.total",
            "$.none",
            "$.success == true",
            "$.success == true && $.total > 2",
            "!$.gone",
            "$.gone != null",
            " @.total >= 3 ",
        ] {
            assert!(holds(good, &document), "{good}");
        }
        for bad in ["$.gone", "$.total > 3", "$.none != null", "$.success == 'true'"] {
            assert!(!holds(bad, &document), "{bad}");
        }
        assert!(holds("$ == 'prose'", &json!("prose")));
        assert!(!holds("$.x", &json!("prose")));
    }

    #[test]
    fn what_cannot_work_says_where_and_why() {
        for (path, position, why) in [
            ("$.a[", Some(4), "this does not fit"),
            ("$.a.", Some(5), "must start with a letter"),
            ("total", None, "begins with `$`"),
            ("$..a..b", Some(5), "`..` may occur once"),
            ("$.a[?@..b]", Some(7), "not in a filter"),
            ("$.a[?@.b == $.c]", Some(13), "`$` in a filter"),
            ("$.a[?match(@.b, 'x')]", Some(11), "match()"),
            ("$.é[", Some(4), ""),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert!(error.message.contains(why), "{path}: {error:?}");
            assert_eq!(error.position, position, "{path}: {error:?}");
        }
        assert!(Guard::parse("$.a ==").is_err() && Guard::parse("").is_err() && Guard::parse("$.a = 1").is_err());
        assert!(Path::parse(&format!("$.a{}", "[?(".repeat(500))).is_err());
        assert!(Path::parse(&format!("$.a['{}']", "..$".repeat(9))).is_ok(), "quotes are text");
    }

    #[test]
    fn nothing_that_is_written_takes_long_to_read() {
        for (open, close) in
            [("length(", ")"), ("(", ")"), ("!(", ")"), ("count(@[?", "])"), ("[?(", ")]"), ("value(@[?length(", ")])")]
        {
            for depth in [4, 8, 16, 40] {
                for middle in ["@.a", "@.a == 1", "", "1"] {
                    let text = format!("{}{middle}{} == 1 && !@.b", open.repeat(depth), close.repeat(depth));
                    let _ = Guard::parse(&text);
                    let _ = Path::parse(&format!("$[?{text}]"));
                    let _ = Path::parse(&format!("$[?{}", &text[..text.len() / 2]));
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_document_panics(
            text in "[$@]?[$@.?*\\[\\]()'\"\\\\a-c0-2:,&|!=<> é~-]{0,40}",
            document in proptest::sample::select(vec![json!({"a": [1, {"b": null}], "b": {"c": "x"}}), json!([[], [0]]), json!("a")]),
        ) {
            if let Ok(path) = Path::parse(&text) {
                let all = path.all(&document);
                assert_eq!(path.named(&document).len(), all.len(), "{text}");
                let one = path.one(&document);
                assert_eq!(matches!(one, Found::One(_)), all.len() == 1, "{text}");
            }
            if let Ok(guard) = Guard::parse(&text) {
                let wrapped = json!([document]);
                guard.holds(&document, || &wrapped);
            }
        }
    }
}
