//! Moments in a test file.

use std::{borrow::Cow, fmt, time::Duration};

use jiff::Timestamp as Moment;
use minicol_pdata::Timestamp;
use minicol_plugin::config::GoDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the wall clock says when a test begins: RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start(pub Timestamp);

/// A moment in a test: so long after its start, or RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After the start.
    After(Duration),
    /// On the wall clock.
    At(Timestamp),
}

impl Default for Start {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self(Timestamp::from_nanos(1_767_225_600_000_000_000))
    }
}

impl When {
    /// The moment, in a test that begins at `start`.
    pub fn resolved(self, start: Start) -> Timestamp {
        match self {
            Self::After(passed) => start.0 + passed,
            Self::At(moment) => moment,
        }
    }

    /// As a person would write `moment`.
    pub fn of(moment: Timestamp, start: Start) -> Self {
        if moment < start.0 { Self::At(moment) } else { Self::After(moment.since(start.0)) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let moment = || {
            let told = "must be a duration after the start such as 30s, or a moment such as 2026-01-01T00:00:00Z";
            parse(text).map(Self::At).ok_or_else(|| format!("`{text}` {told}"))
        };
        GoDuration::parse(text).map(|passed| Self::After(passed.0)).or_else(|_| moment())
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let moment: Moment = text.parse().ok()?;
    u64::try_from(moment.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// As RFC 3339 in UTC.
fn shown(at: Timestamp) -> String {
    Moment::from_nanosecond(i128::from(at.as_nanos())).map_or_else(|_| format!("{at:?}"), |at| at.to_string())
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.0))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(passed) => GoDuration(*passed).fmt(f),
            Self::At(moment) => f.write_str(&shown(*moment)),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let told = || format!("`{text}` must be a moment such as 2026-01-01T00:00:00Z");
        parse(&text).map(Self).ok_or_else(told).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["2026-01-01T00:00:00Z"] })
    }
}

impl JsonSchema for When {
    fn schema_name() -> Cow<'static, str> {
        "When".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["30s", "2026-01-01T00:00:00Z"] })
    }
}
