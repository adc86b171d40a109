//! What of a settings file is our affair. The rest is passed over unread: a key that stands there twice is its reader's to judge.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_yaml::{Mapping, Value};

use super::{BLOCK, OTLP_ENDPOINT};

/// What YAML merges into the map that holds it.
const MERGE: &str = "<<";

/// The file's top level: our block as it is, of all others their names.
pub(super) fn root<'de, D: Deserializer<'de>>(document: D) -> Result<Value, D::Error> {
    document.deserialize_any(Picked { whole: BLOCK, inside: Some(OTLP_ENDPOINT) })
}

/// A map of which the key `whole` and what is merged are read, and of the map at `inside.0` the key `inside.1`. What is no map is nothing.
struct Picked {
    whole: &'static str,
    inside: Option<(&'static str, &'static str)>,
}

impl<'de> DeserializeSeed<'de> for Picked {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Picked {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut picked = Mapping::new();
        while let Some(key) = map.next_key::<Value>()? {
            let value = match (key.as_str(), self.inside) {
                (Some(name), _) if name == self.whole || name == MERGE => {
                    if picked.contains_key(name) {
                        return Err(Error::custom(format_args!("`{name}` stands there twice")));
                    }
                    map.next_value()?
                }
                (Some(name), Some((block, whole))) if name == block => {
                    map.next_value_seed(Self { whole, inside: None })?
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    Value::Null
                }
            };
            picked.insert(key, value);
        }
        Ok(picked.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        tagged.variant::<IgnoredAny>()?.1.newtype_variant_seed(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}
