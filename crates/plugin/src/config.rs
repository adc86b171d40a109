//! Configuration of components: how it is decoded, how it is checked, and the types that its fields share.

use std::{fmt, time::Duration};

pub use minicol_config::Segment;
use minicol_config::{Node, Path, Style};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A component's configuration. Use `#[serde(deny_unknown_fields, default)]`; describe every field (its doc comment is its
/// description in the schema); keep the defaults in `Default`.
pub trait ComponentConfig:
    de::DeserializeOwned + Serialize + JsonSchema + Default + Clone + Send + Sync + 'static
{
    /// Adds everything that is wrong and that decoding could not see (bounds, conflicts, paths that do not parse).
    fn validate(&self, _problems: &mut Problems) {}
}

/// For a component that has nothing to configure.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoConfig {}

impl ComponentConfig for NoConfig {}

/// Decodes what a component brings along in YAML, a preset for instance, as a pipeline file is decoded.
///
/// # Errors
/// All that is wrong, in words, each with its line; `name` is what `text` is called there.
pub fn parse<T: de::DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    let in_words = |problems: minicol_config::Problems| problems.render(Style::PLAIN);
    let tree = Node::from_yaml(name, text).map_err(in_words)?;
    let mut problems = minicol_config::Problems::new();
    minicol_config::decode(&tree, &Path::root(), &mut problems).ok_or_else(|| in_words(problems))
}

/// Something wrong at one place of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, from the component's own root.
    pub path: Vec<Segment>,
    /// What, in the user's words, without the path.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// A warning does not keep the program from starting.
    pub warning: bool,
}

/// Collects what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    at: Vec<Segment>,
    list: Vec<Problem>,
}

impl Problems {
    /// Adds an error at `field` of the place we are at.
    pub fn error(&mut self, field: &str, message: impl Into<String>) -> &mut Problem {
        self.add(field, message.into(), false)
    }

    /// Adds a warning at `field` of the place we are at.
    pub fn warning(&mut self, field: &str, message: impl Into<String>) -> &mut Problem {
        self.add(field, message.into(), true)
    }

    /// Adds an error where `value` lies outside of the range, or is not a number.
    pub fn range(&mut self, field: &str, value: f64, min: f64, max: f64) {
        if !(min..=max).contains(&value) {
            self.error(field, format!("must be between {min} and {max}, but is {value}"));
        }
    }

    /// Adds an error where `address` is not `host:port`.
    pub fn address(&mut self, field: &str, address: &str, example: &str) {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            self.error(field, format!("must be host:port, but is `{address}`")).help(format!("for example {example}"));
        }
    }

    /// Looks at what stands under `key`.
    pub fn within<T>(&mut self, key: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        self.step(Segment::Key(key.to_owned()), look)
    }

    /// Looks at an element of a list.
    pub fn item<T>(&mut self, index: usize, look: impl FnOnce(&mut Self) -> T) -> T {
        self.step(Segment::Index(index), look)
    }

    /// What was found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.list
    }

    fn step<T>(&mut self, segment: Segment, look: impl FnOnce(&mut Self) -> T) -> T {
        self.at.push(segment);
        let result = look(self);
        self.at.pop();
        result
    }

    fn add(&mut self, field: &str, message: String, warning: bool) -> &mut Problem {
        let mut path = self.at.clone();
        if !field.is_empty() {
            path.push(Segment::Key(field.to_owned()));
        }
        self.list.push(Problem { path, message, help: None, warning });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }
}

impl Problem {
    /// Adds what to do.
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}

/// As the host tells it; its path still begins at the component.
impl From<Problem> for minicol_config::Problem {
    fn from(found: Problem) -> Self {
        let Problem { path, message, help, warning } = found;
        let problem = if warning { Self::warning(message) } else { Self::error(message) };
        Self { help, ..problem.in_path(&path.into_iter().collect()) }
    }
}

/// A text that nobody shall see: it prints and serializes as `[REDACTED]`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being seen.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: only where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands for it.
    pub const REDACTED: &'static str = "[REDACTED]";
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::REDACTED)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true, "x-type": "secret" })
    }
}

/// Serializes an endpoint without its query, which may hold a key: `#[serde(serialize_with = "...")]`.
pub fn without_query<S: Serializer>(endpoint: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match endpoint.split_once('?') {
        None => serializer.serialize_str(endpoint),
        Some((base, _)) => serializer.collect_str(&format_args!("{base}?{}", Secret::REDACTED)),
    }
}

/// The same of one that may be left away.
#[allow(clippy::ref_option)] // serde's signature
pub fn without_query_if_set<S: Serializer>(endpoint: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match endpoint {
        None => serializer.serialize_none(),
        Some(endpoint) => without_query(endpoint, serializer),
    }
}

/// A duration as Go writes it: `300ms`, `5s`, `1h30m`. A bare number is an error that says so (`0` is taken).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// From seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Parses Go's notation, without sign.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` is no duration: {why}; write it like 300ms, 5s or 1h30m"));
        if text == "0" {
            return Ok(Self::default());
        }
        if text.starts_with('-') {
            return wrong("it is negative");
        }
        let (mut rest, mut total) = (text, 0.0_f64);
        if rest.is_empty() {
            return wrong("it is empty");
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let Ok(number) = rest[..digits].parse::<f64>() else { return wrong("a number is missing") };
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let nanos = match &rest[..letters] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                "" => return wrong("it has no unit"),
                unit => return Err(format!("`{text}` is no duration: `{unit}` is no unit (ns, us, ms, s, m, h)")),
            };
            total += number * nanos;
            rest = &rest[letters..];
        }
        // Go's own limit: 2^63 ns, about 292 years.
        if total > 9.2e18 { wrong("it is too long") } else { Ok(Self(Duration::from_secs_f64(total / 1e9))) }
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in
            [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)]
        {
            if nanos.is_multiple_of(size) && nanos / size < 1_000_000 {
                return write!(f, "{}{unit}", nanos / size);
            }
        }
        write!(f, "{nanos}ns")
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 300ms, 5s or 1h30m")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                GoDuration::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {
                    "type": "string",
                    "pattern": r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
                    "patternErrorMessage": "a duration with its unit belongs here, such as 300ms, 5s or 1h30m",
                },
                // The only number that needs no unit.
                { "const": 0 },
            ],
            "x-type": "duration",
        })
    }
}

/// Seconds as a number, fractions allowed: what keys that end in `_seconds` take.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

/// Like the other types that many options share it has no description: an editor would show that in the place of the option's own.
impl JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

impl Seconds {
    /// As a duration; what is negative, not finite or too long becomes zero (a range check tells the user before).
    pub fn duration(self) -> Duration {
        Duration::try_from_secs_f64(self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_strings() {
        for (text, millis) in [("300ms", 300), ("1h30m", 5_400_000), ("1.5s", 1_500), ("0", 0), ("2m0.5s", 120_500)] {
            assert_eq!(GoDuration::parse(text), Ok(GoDuration::from_millis(millis)), "{text}");
        }
        for (wrong, why) in [
            ("5", "no unit"),
            ("", "empty"),
            ("5x", "`x` is no unit"),
            ("-1s", "negative"),
            ("s", "number is missing"),
            ("99999999h", "too long"),
        ] {
            let error = GoDuration::parse(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn durations_print_as_they_are_written() {
        for text in ["300ms", "5s", "90m", "2h", "0s", "7us", "5m"] {
            assert_eq!(GoDuration::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "[REDACTED]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[REDACTED]\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_problem_knows_its_place() {
        let mut problems = Problems::default();
        problems.within("rules", |p| p.item(2, |p| p.error("tool", "is empty").help("name a tool")));
        let list = problems.into_vec();
        assert_eq!(list[0].path, [Segment::Key("rules".into()), Segment::Index(2), Segment::Key("tool".into())]);
        assert_eq!(list[0].help.as_deref(), Some("name a tool"));
    }
}
