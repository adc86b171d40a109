//! What is inside a node: keys, items, the choice of an enum.

use indexmap::map::Iter;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{Body, Fault, Trace};
use crate::node::{Entry, Mapping, Node, Value};
use crate::path::Path;

/// The keys of a mapping, one after the other; of none, where there is no mapping.
pub(super) struct Keys<'a, 'p> {
    entries: Option<Iter<'a, String, Entry>>,
    current: Option<(&'a str, &'a Node)>,
    path: &'p Path,
    trace: &'a Trace,
}

/// The items of a list, one after the other.
pub(super) struct Items<'a, 'p> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: &'p Path,
    trace: &'a Trace,
}

/// One of an enum's names, and what is below it.
pub(super) struct Choice<'a> {
    name: &'a str,
    below: Below<'a>,
    path: Path,
    trace: &'a Trace,
}

/// A key, or the name of a choice. It notes its fault itself: on the way out it would be noted at the place above.
struct Name<'a, 'p> {
    text: &'a str,
    path: &'p Path,
    trace: &'p Trace,
}

enum Below<'a> {
    /// The name stands alone.
    None,
    Node(&'a Node),
}

impl<'a, 'p> Keys<'a, 'p> {
    pub(super) fn new(mapping: Option<&'a Mapping>, path: &'p Path, trace: &'a Trace) -> Self {
        Self { entries: mapping.map(|mapping| mapping.0.iter()), current: None, path, trace }
    }
}

impl<'a> MapAccess<'a> for Keys<'a, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((name, entry)) = self.entries.as_mut().and_then(Iterator::next) else { return Ok(None) };
        self.current = Some((name, &entry.value));
        seed.deserialize(Name { text: name, path: self.path, trace: self.trace }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((name, node)) = self.current.take() else {
            return Err(Fault::Other("a value was asked for before its key".to_owned()));
        };
        seed.deserialize(Body::new(node, self.path.join(name), self.trace))
    }

    fn size_hint(&self) -> Option<usize> {
        self.entries.as_ref().map(ExactSizeIterator::len)
    }
}

impl<'a> Deserializer<'a> for Name<'a, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text).inspect_err(|fault| self.trace.note(self.path, fault))
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let choice = BorrowedStrDeserializer::new(self.text).deserialize_enum(name, names, visitor);
        choice.inspect_err(|fault| self.trace.note(self.path, fault))
    }

    serde::forward_to_deserialize_any! {
        <W: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'a, 'p> Items<'a, 'p> {
    pub(super) fn new(items: &'a [Node], path: &'p Path, trace: &'a Trace) -> Self {
        Self { rest: items.iter().enumerate(), path, trace }
    }

    /// Gives all items to the visitor; what it leaves is too much.
    pub(super) fn visit<V: Visitor<'a>>(mut self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.rest.len();
        let value = visitor.visit_seq(&mut self)?;
        match self.rest.len() {
            0 => Ok(value),
            left => Err(Fault::Other(format!("expected a list of {} items, found {length}", length - left))),
        }
    }
}

impl<'a> SeqAccess<'a> for Items<'a, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        seed.deserialize(Body::new(node, self.path.join(index), self.trace)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

impl<'a> Choice<'a> {
    /// `name`, or `name: body` as the only key of a mapping.
    pub(super) fn of(
        node: &'a Node,
        names: &'static [&'static str],
        path: &Path,
        trace: &'a Trace,
    ) -> Result<Self, Fault> {
        let (name, below, path) = match &node.expanded().value {
            Value::Scalar(scalar) => (scalar.text.as_str(), Below::None, path.clone()),
            Value::Mapping(mapping) => {
                let mut entries = mapping.iter();
                let (Some((name, entry)), None) = (entries.next(), entries.next()) else {
                    return Err(Fault::Other(format!("expected exactly one of these keys: {}", names.join(", "))));
                };
                (name, Below::Node(&entry.value), path.join(name))
            }
            Value::Invalid => (names.first().copied().unwrap_or_default(), Below::Node(node), path.clone()),
            Value::Null | Value::Sequence(_) => {
                let known: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                return Err(Fault::expected(format!("one of {}", known.join(", "))));
            }
        };
        Ok(Self { name, below, path, trace })
    }

    fn body(self) -> Result<Body<'a>, Fault> {
        match self.below {
            Below::Node(node) => Ok(Body::new(node, self.path, self.trace)),
            Below::None => Err(Fault::Other(format!("`{}` needs something below it", self.name))),
        }
    }
}

impl<'a> EnumAccess<'a> for Choice<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name = Name { text: self.name, path: &self.path, trace: self.trace };
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a> VariantAccess<'a> for Choice<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.below {
            Below::Node(node) if !node.is_null() && !node.is_invalid() => {
                Err(Fault::Other(format!("`{}` takes nothing below it", self.name)))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.body()?)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.body()?.items(visitor)
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.body()?.keys(visitor)
    }
}
