use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use smallvec::SmallVec;

/// The value of an attribute. Equality and order go by the bits of a double, so that a set of attributes can be a key.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    /// Text.
    String(Arc<str>),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Anything else that OTLP can carry (bytes, arrays, maps), as JSON text for reading.
    Other(Arc<str>),
}

/// Names and values that tell one series, or one resource, from another; sorted by name, each name once. One or two, as most series
/// have, take no memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attributes(SmallVec<[Attribute; 2]>);

type Attribute = (Arc<str>, AttributeValue);

/// Where telemetry comes from: the attributes of an OTLP resource.
pub type Resource = Attributes;

impl Attributes {
    /// No attributes.
    pub const fn new() -> Self {
        Self(SmallVec::new_const())
    }

    /// Sets `name`; the value it had before is returned.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: impl Into<AttributeValue>) -> Option<AttributeValue> {
        let (name, value) = (name.into(), value.into());
        match self.position(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// The same with one more attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, value: impl Into<AttributeValue>) -> Self {
        self.insert(name, value);
        self
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.position(name).ok().map(|at| &self.0[at].1)
    }

    /// Takes `name` away.
    pub fn remove(&mut self, name: &str) -> Option<AttributeValue> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where it is, or where it would stand.
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }

    pub(crate) fn to_proto(&self) -> Vec<KeyValue> {
        self.0
            .iter()
            .map(|(name, value)| KeyValue {
                key: name.to_string(),
                value: Some(value.to_proto()),
                ..KeyValue::default()
            })
            .collect()
    }

    pub(crate) fn from_proto(list: &[KeyValue]) -> Self {
        list.iter()
            .map(|pair| (Arc::from(pair.key.as_str()), AttributeValue::from_proto(pair.value.as_ref())))
            .collect()
    }
}

impl<N: Into<Arc<str>>, V: Into<AttributeValue>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut all: SmallVec<[Attribute; 2]> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Stable, so that of one name the last comes last: it counts.
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Self(all)
    }
}

impl AttributeValue {
    /// The text, where it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn to_proto(&self) -> AnyValue {
        let value = match self {
            Self::String(text) | Self::Other(text) => Value::StringValue(text.to_string()),
            Self::Bool(value) => Value::BoolValue(*value),
            Self::Int(value) => Value::IntValue(*value),
            Self::Double(value) => Value::DoubleValue(*value),
        };
        AnyValue { value: Some(value) }
    }

    pub(crate) fn from_proto(any: Option<&AnyValue>) -> Self {
        match any.and_then(|any| any.value.as_ref()) {
            Some(Value::StringValue(text)) => Self::String(text.as_str().into()),
            Some(Value::BoolValue(value)) => Self::Bool(*value),
            Some(Value::IntValue(value)) => Self::Int(*value),
            Some(Value::DoubleValue(value)) => Self::Double(*value),
            Some(other) => Self::Other(to_json(other, 0).to_string().into()),
            None => Self::Other("null".into()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::String(_) => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Double(_) => 3,
            Self::Other(_) => 4,
        }
    }
}

/// Beyond this depth a nested value is told as `null`.
const MAX_DEPTH: usize = 32;

fn to_json(value: &Value, depth: usize) -> serde_json::Value {
    let nested = |any: &AnyValue| match any.value.as_ref() {
        Some(inner) if depth < MAX_DEPTH => to_json(inner, depth + 1),
        _ => serde_json::Value::Null,
    };
    match value {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(value) => (*value).into(),
        Value::IntValue(value) => (*value).into(),
        Value::DoubleValue(value) => (*value).into(),
        Value::BytesValue(bytes) => format!("{} bytes", bytes.len()).into(),
        Value::ArrayValue(array) => array.values.iter().map(nested).collect(),
        Value::KvlistValue(list) => list
            .values
            .iter()
            .map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(serde_json::Value::Null, nested)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::StringValueStrindex(index) => (*index).into(),
    }
}

impl PartialEq for AttributeValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for AttributeValue {}

impl PartialOrd for AttributeValue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AttributeValue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::String(a), Self::String(b)) | (Self::Other(a), Self::Other(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Hash for AttributeValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::String(text) | Self::Other(text) => text.hash(state),
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => value.hash(state),
            Self::Double(value) => value.to_bits().hash(state),
        }
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) | Self::Other(text) => f.write_str(text),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Arc<str>> for AttributeValue {
    fn from(text: Arc<str>) -> Self {
        Self::String(text)
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for AttributeValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for AttributeValue {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;

    use super::*;

    #[test]
    fn what_nests_too_deep_in_an_attribute_is_shown_as_null() {
        let nested = (0..200).fold(Value::BoolValue(true), |inner, _| {
            Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] })
        });
        let shown = to_json(&nested, 0).to_string();
        assert_eq!(shown, format!("{}null{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1)));
    }
}
