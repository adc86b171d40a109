//! Prometheus text (exposition format 0.0.4, and `OpenMetrics` as far as it looks alike), line by line, and selectors of its series. A line
//! that cannot be read is counted and left out; none ends the rest.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use regex::Regex;

/// A label set may be so large.
const MAX_LABELS: usize = 64;

/// The series of a text that were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exposition {
    /// By metric name, in the order of the text.
    series: HashMap<Arc<str>, Vec<Series>>,
    /// What `# TYPE` says of the names that were asked for.
    types: HashMap<Arc<str>, Kind>,
    /// Lines that could be read.
    pub(crate) lines: u64,
    /// Lines that could not, and the first of them.
    pub(crate) bad_lines: u64,
    /// The first line that could not be read.
    pub(crate) bad_line: Option<String>,
}

/// One series of a text. Its timestamp, if any, does not count: the answer's arrival does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// In the order of the text.
    pub(crate) labels: Vec<(String, String)>,
    /// As it was written; it may be infinite or no number.
    pub(crate) value: f64,
}

/// What `# TYPE` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A level.
    Gauge,
    /// Anything else.
    Other,
}

/// A metric's name and conditions on labels, as Prometheus writes them: `name{label="value",other=~"regex"}`.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) name: Arc<str>,
    text: String,
    conditions: Vec<(String, Condition)>,
}

#[derive(Clone, Debug)]
enum Condition {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

/// A text that is no selector: the character at which it goes wrong, from 1, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {position})")]
pub(crate) struct SelectorError {
    position: usize,
    message: String,
}

impl Exposition {
    /// Reads the series of the names in `wanted`, at most `max` of each.
    pub(crate) fn parse(text: &str, wanted: &HashSet<Arc<str>>, max: usize) -> Self {
        let mut out = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix('#') {
                out.comment(comment, wanted);
                continue;
            }
            let Some((name, series)) = Cursor::new(line).series() else {
                out.bad_lines += 1;
                out.bad_line.get_or_insert_with(|| minicol_plugin::text::shortened(line, 80));
                continue;
            };
            out.lines += 1;
            if let Some(name) = wanted.get(name) {
                let list = out.series.entry(name.clone()).or_default();
                // One more than `max` is kept, to be seen as too many.
                if list.len() <= max {
                    list.push(series);
                }
            }
        }
        out
    }

    /// What a selector finds.
    pub(crate) fn select(&self, selector: &Selector) -> impl Iterator<Item = &Series> {
        self.series.get(&selector.name).into_iter().flatten().filter(|one| selector.holds(one))
    }

    /// What the text says that `name` is.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        self.types.get(name).copied()
    }

    fn comment(&mut self, comment: &str, wanted: &HashSet<Arc<str>>) {
        let mut words = comment.split_ascii_whitespace();
        if words.next() == Some("TYPE")
            && let (Some(name), Some(kind)) = (words.next(), words.next())
        {
            self.lines += 1;
            if let Some(name) = wanted.get(name) {
                self.types.insert(name.clone(), if kind == "gauge" { Kind::Gauge } else { Kind::Other });
            }
        }
    }
}

impl Selector {
    /// Parses `name` or `name{label="value"}` with the operators `=`, `!=`, `=~`, `!~`.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut cursor = Cursor::new(text);
        let conditions = |cursor: &mut Cursor<'_>| -> Result<Self, String> {
            cursor.space();
            let name = cursor.name(true).ok_or("a metric's name is missing")?;
            let mut conditions = Vec::new();
            cursor.space();
            if cursor.eat('{') {
                loop {
                    cursor.space();
                    if cursor.eat('}') {
                        break;
                    }
                    if conditions.len() == MAX_LABELS {
                        return Err("too many labels".into());
                    }
                    conditions.push(cursor.condition()?);
                    cursor.space();
                    if !cursor.eat(',') && !cursor.rest.starts_with('}') {
                        return Err("`,` or `}` is missing".into());
                    }
                }
            }
            cursor.space();
            if cursor.rest.is_empty() {
                Ok(Self { name: name.into(), text: text.to_owned(), conditions })
            } else {
                Err("nothing may follow here".into())
            }
        };
        conditions(&mut cursor).map_err(|message| {
            let at = text.len() - cursor.rest.len();
            SelectorError { position: text.char_indices().take_while(|(offset, _)| *offset < at).count() + 1, message }
        })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn holds(&self, series: &Series) -> bool {
        self.conditions.iter().all(|(label, condition)| {
            // As in Prometheus: a label that is not there is empty.
            let value = series.labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value);
            match condition {
                Condition::Is(wanted) => value == wanted,
                Condition::IsNot(unwanted) => value != unwanted,
                Condition::Matches(regex) => regex.is_match(value),
                Condition::MatchesNot(regex) => !regex.is_match(value),
            }
        })
    }
}

/// The rest of a line.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A name; a metric's may hold colons.
    fn name(&mut self, colons: bool) -> Option<&'a str> {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = rest;
        Some(name)
    }

    /// A text in double quotes, with `\\`, `\"` and `\n`.
    fn quoted(&mut self) -> Option<String> {
        let inner = self.rest.strip_prefix('"')?;
        let (mut out, mut letters) = (String::new(), inner.char_indices());
        while let Some((at, c)) = letters.next() {
            match c {
                '"' => {
                    self.rest = &inner[at + 1..];
                    return Some(out);
                }
                '\\' => match letters.next()?.1 {
                    'n' => out.push('\n'),
                    c @ ('\\' | '"') => out.push(c),
                    c => out.extend(['\\', c]),
                },
                c => out.push(c),
            }
        }
        None
    }

    fn condition(&mut self) -> Result<(String, Condition), String> {
        let label = self.name(false).ok_or("a label's name is missing")?.to_owned();
        self.space();
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|one| self.rest.starts_with(one));
        let operator = operator.ok_or("`=`, `!=`, `=~` or `!~` is missing")?;
        self.rest = &self.rest[operator.len()..];
        self.space();
        let before = self.rest;
        let value = self.quoted().ok_or("a value in double quotes is missing")?;
        let mut regex = || {
            Regex::new(&format!("^(?:{value})$")).map_err(|_| {
                self.rest = before;
                format!("`{value}` is no regular expression")
            })
        };
        let condition = match operator {
            "=~" => Condition::Matches(regex()?),
            "!~" => Condition::MatchesNot(regex()?),
            "!=" => Condition::IsNot(value),
            _ => Condition::Is(value),
        };
        Ok((label, condition))
    }

    /// A whole line of a sample.
    fn series(mut self) -> Option<(&'a str, Series)> {
        let name = self.name(true)?;
        self.space();
        let mut labels = Vec::new();
        if self.eat('{') {
            loop {
                self.space();
                if self.eat('}') {
                    break;
                }
                let label = self.name(false)?.to_owned();
                self.space();
                if !self.eat('=') || labels.len() == MAX_LABELS {
                    return None;
                }
                self.space();
                labels.push((label, self.quoted()?));
                self.space();
                if !self.eat(',') && !self.rest.starts_with('}') {
                    return None;
                }
            }
        }
        let mut words = self.rest.split_ascii_whitespace();
        let value = words.next()?.parse::<f64>().ok()?;
        // A timestamp may follow, and after it an exemplar (`# {...}`).
        match words.next() {
            Some(word) if word != "#" && word.parse::<f64>().is_err() => None,
            _ => Some((name, Series { labels, value })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, selector: &str) -> Vec<Series> {
        let selector = Selector::parse(selector).unwrap();
        let wanted = HashSet::from([selector.name.clone()]);
        Exposition::parse(text, &wanted, 100).select(&selector).cloned().collect()
    }

    #[test]
    fn lines_are_read_as_the_format_says() {
        let text = "# HELP a x\n# TYPE a counter\na 1\na{l=\"v\"} 2.5 1700000000\na{ l = \"q\\\"\\\\\\n}, =\" , m=\"\" , } +Inf\n\
                    a:b NaN\r\nb{x=\"1\"} 4 # {trace=\"1\"} 0.5\n";
        let all = read(text, "a");
        assert_eq!(all.iter().map(|one| one.value).collect::<Vec<_>>(), [1.0, 2.5, f64::INFINITY]);
        assert_eq!(all[2].labels, [("l".to_owned(), "q\"\\\n}, =".to_owned()), ("m".to_owned(), String::new())]);
        assert!(read(text, "a:b")[0].value.is_nan());
        assert!(read(text, "b")[0].value.total_cmp(&4.0).is_eq());
    }

    #[test]
    fn a_bad_line_is_counted_and_the_rest_is_read() {
        let text = "a 1\nwhat is this\na{x=} 2\na{x=\"1} 3\na{x=\"1\"\n{} 4\n1a 5\na five\na 6 x\na 7\n# EOF";
        let exposition = Exposition::parse(text, &HashSet::from(["a".into()]), 100);
        assert_eq!((exposition.lines, exposition.bad_lines), (2, 8));
        assert_eq!(exposition.bad_line.as_deref(), Some("what is this"));
        assert_eq!(read(text, "a").len(), 2);
    }

    #[test]
    fn a_selector_chooses_by_labels() {
        let text = "a{x=\"1\",y=\"p\"} 1\na{x=\"2\",y=\"q\"} 2\na{y=\"q\"} 3\n";
        let values = |selector| read(text, selector).iter().map(|one| one.value).collect::<Vec<_>>();
        assert_eq!(values("a"), [1.0, 2.0, 3.0]);
        assert_eq!(values("a{x=\"1\"}"), [1.0]);
        assert_eq!(values("a{ x != \"1\" , y=~\"p|q\" }"), [2.0, 3.0]);
        assert_eq!(values("a{x=\"\"}"), [3.0]);
        assert_eq!(values("a{y!~\"p\",x=~\".+\"}"), [2.0]);
        assert_eq!(values("a{}"), [1.0, 2.0, 3.0]);
        assert!(values("b").is_empty());
    }

    #[test]
    fn what_is_no_selector_says_where() {
        for (text, wanted) in [
            ("", "a metric's name is missing (at character 1)"),
            ("$.a", "a metric's name is missing (at character 1)"),
            ("a b", "nothing may follow here (at character 3)"),
            ("a{x}", "`=`, `!=`, `=~` or `!~` is missing (at character 4)"),
            ("a{x=1}", "a value in double quotes is missing (at character 5)"),
            ("a{x=\"1\" y=\"2\"}", "`,` or `}` is missing (at character 9)"),
            ("a{x=~\"(\"}", "`(` is no regular expression (at character 6)"),
            ("a{x=\"1\"", "`,` or `}` is missing (at character 8)"),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn types_are_known_and_lists_are_bounded() {
        let text = "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\na{x=\"3\"} 1\n";
        let exposition = Exposition::parse(text, &HashSet::from(["a".into()]), 1);
        assert_eq!(exposition.kind("a"), Some(Kind::Gauge));
        assert_eq!(exposition.select(&Selector::parse("a").unwrap()).count(), 2, "one more than the most");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "([ab_:1{}=\"\\\\,#~! .+eEN\n-]|é|TYPE|HELP|gauge|\\PC){0,60}", selector in "[ab1{}=\"\\\\,~! .*(|)-]{0,20}") {
            let exposition = Exposition::parse(&text, &HashSet::from(["a".into(), "b".into()]), 2);
            if let Ok(selector) = Selector::parse(&selector) {
                assert!(exposition.select(&selector).count() <= 3);
            }
        }
    }
}
