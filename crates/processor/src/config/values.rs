//! Values of the rule language that may be written in more than one way.

use std::{borrow::Cow, fmt};

use minicol_pdata::Number;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeMap,
};

use super::StartConfig;

/// Where a metric's value is: a path (or selector), or a number as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueConfig {
    /// A path, or a selector of Prometheus series.
    Path(String),
    /// The value itself.
    Number(Number),
}

/// An attribute's value: a text that is a path where it begins as one and else stands for itself, or a literal.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeConfig {
    /// A path where it begins with `$`, `@.` or `@[`; else the text itself.
    Text(String),
    /// `{literal: ...}`, or a number, or a truth value: itself.
    Literal(Literal),
}

/// A value that stands for itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Text.
    String(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
}

/// One start or several; in a list the first that ever told anything counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartList {
    /// In the order in which they are believed.
    pub list: Vec<StartConfig>,
    /// Written as a list.
    pub is_list: bool,
}

impl StartList {
    /// True where none is written.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.is_list
    }
}

impl<'de> Deserialize<'de> for ValueConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl Visitor<'_> for Look {
            type Value = ValueConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path such as $.total, or a number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ValueConfig, E> {
                Ok(ValueConfig::Path(text.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ValueConfig, E> {
                Ok(ValueConfig::Number(Number::Int(value)))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ValueConfig, E> {
                Ok(ValueConfig::Number(i64::try_from(value).map_or(Number::Double(value as f64), Number::Int)))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<ValueConfig, E> {
                Ok(ValueConfig::Number(Number::Double(value)))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

impl Serialize for ValueConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Path(path) => serializer.serialize_str(path),
            Self::Number(Number::Int(value)) => serializer.serialize_i64(*value),
            Self::Number(Number::Double(value)) => serializer.serialize_f64(*value),
        }
    }
}

impl JsonSchema for ValueConfig {
    fn schema_name() -> Cow<'static, str> {
        "MappingValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "description": "A path (or selector), or a number as it is." })
    }
}

impl<'de> Deserialize<'de> for AttributeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = AttributeConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, a text, a number, true, false, or {literal: ...}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AttributeConfig, E> {
                Ok(AttributeConfig::Text(text.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<AttributeConfig, E> {
                Ok(AttributeConfig::Literal(Literal::Bool(value)))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<AttributeConfig, E> {
                Ok(AttributeConfig::Literal(Literal::Int(value)))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<AttributeConfig, E> {
                let literal = i64::try_from(value).map_or(Literal::Double(value as f64), Literal::Int);
                Ok(AttributeConfig::Literal(literal))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<AttributeConfig, E> {
                Ok(AttributeConfig::Literal(Literal::Double(value)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AttributeConfig, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Body {
                    literal: AttributeConfig,
                }
                match Body::deserialize(MapAccessDeserializer::new(map))?.literal {
                    AttributeConfig::Text(text) => Ok(AttributeConfig::Literal(Literal::String(text))),
                    AttributeConfig::Literal(literal) => Ok(AttributeConfig::Literal(literal)),
                }
            }
        }
        deserializer.deserialize_any(Look)
    }
}

impl Serialize for AttributeConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Literal(Literal::Bool(value)) => serializer.serialize_bool(*value),
            Self::Literal(Literal::Int(value)) => serializer.serialize_i64(*value),
            Self::Literal(Literal::Double(value)) => serializer.serialize_f64(*value),
            Self::Literal(Literal::String(text)) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("literal", text)?;
                map.end()
            }
        }
    }
}

impl JsonSchema for AttributeConfig {
    fn schema_name() -> Cow<'static, str> {
        "MappingAttribute".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path ($.name; $~ is the name under which `each` found the item), or a literal.",
            "anyOf": [
                { "type": ["string", "number", "boolean"] },
                {
                    "type": "object",
                    "properties": {
                        "literal": { "type": ["string", "number", "boolean"], "description": "The value itself, also where it looks like a path." },
                    },
                    "required": ["literal"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl<'de> Deserialize<'de> for StartList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = StartList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map such as {tool: get_liveness, uptime: $.uptime_seconds}, or a list of such")
            }
            fn visit_unit<E: de::Error>(self) -> Result<StartList, E> {
                Ok(StartList::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StartList, A::Error> {
                let one = StartConfig::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StartList { list: vec![one], is_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StartList, A::Error> {
                let mut list = Vec::new();
                while let Some(one) = seq.next_element()? {
                    list.push(one);
                }
                Ok(StartList { list, is_list: true })
            }
        }
        deserializer.deserialize_any(Look)
    }
}

impl Serialize for StartList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.list.as_slice() {
            [one] if !self.is_list => one.serialize(serializer),
            list => list.serialize(serializer),
        }
    }
}

impl JsonSchema for StartList {
    fn schema_name() -> Cow<'static, str> {
        "MappingStart".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<StartConfig>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
