//! A node as serde sees it.

mod access;
mod fault;

use std::cell::RefCell;

use serde::de::{Unexpected, Visitor};

use self::access::{Choice, Items, Keys};
pub use self::fault::Fault;
use crate::node::{Node, Scalar, ScalarStyle, Value};
use crate::path::{Path, Segment};
use crate::scalar::Plain;
use crate::secret::is_secret_path;

/// A part of the configuration, as serde sees it: hand it to [`Deserialize::deserialize`](serde::Deserialize::deserialize). Of this one type, whatever it was made
/// of, so that what decodes a configuration is compiled once.
#[derive(Debug)]
pub struct Body<'a> {
    node: &'a Node,
    path: Path,
    trace: &'a Trace,
}

/// Where faults were found, as an error that comes out of decoding does not say where it was made.
#[derive(Debug, Default)]
pub(crate) struct Trace(RefCell<Vec<(Path, Fault)>>);

/// The most faults that one decoding tells of; a visitor that tries many shapes makes many.
const MAX_TRACED: usize = 256;

impl Trace {
    /// Where a fault that came out of decoding was found, and what its place says of it; the fault itself, where nobody noted it.
    pub(crate) fn of(&self, fault: Fault) -> Result<(Path, Fault), Fault> {
        let message = fault.to_string();
        let noted = self.0.borrow().iter().rev().find(|(_, noted)| noted.to_string() == message).cloned();
        noted.ok_or(fault)
    }

    fn note(&self, path: &Path, fault: &Fault) {
        let mut noted = self.0.borrow_mut();
        // On its way out a fault passes all that is above it, as a message: its first place is the right one.
        let message = fault.to_string();
        let above = |(deeper, noted): &(Path, Fault)| deeper.starts_with(path) && noted.to_string() == message;
        if noted.len() < MAX_TRACED && !noted.iter().any(above) {
            noted.push((path.clone(), fault.clone()));
        }
    }
}

impl<'a> Body<'a> {
    pub(crate) const fn new(node: &'a Node, path: Path, trace: &'a Trace) -> Self {
        Self { node, path, trace }
    }

    /// Completes what is wrong with this node, and notes where it was found.
    fn told<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| {
            let fault = match fault {
                Fault::Type { expected, found, help } if found.is_empty() => {
                    let help = help.or_else(|| self.help(&expected));
                    Fault::Type { expected, found: self.node.describe(is_secret_path(&self.path)), help }
                }
                fault => fault,
            };
            self.trace.note(&self.path, &fault);
            fault
        })
    }

    /// The cure for a value of a wrong type, where the value tells it.
    fn help(&self, expected: &str) -> Option<String> {
        let scalar = match &self.node.value {
            Value::Null => return Some("write a value after the key, or remove the key".to_owned()),
            Value::Scalar(scalar) => scalar,
            _ => return None,
        };
        let typed = Plain::of(scalar.text.trim()) != Plain::Text;
        if expected == "`true` or `false`" && is_switch(&scalar.text) {
            return Some("write `true` or `false`".to_owned());
        }
        let key = self.path.segments().last();
        if matches!(key, Some(Segment::Key(key)) if key.ends_with("_seconds"))
            && scalar.text.starts_with(|c: char| c.is_ascii_digit())
            && scalar.text.ends_with(|c: char| c.is_ascii_alphabetic())
        {
            return Some("seconds are written as a number alone: `30`, `0.5`".to_owned());
        }
        if scalar.style == ScalarStyle::Text && typed && (expected.contains("number") || expected.starts_with("`true`"))
        {
            return Some(
                if self.is_quoted() {
                    "remove the quotes"
                } else {
                    "what is put together from references is text: make all of it one reference"
                }
                .to_owned(),
            );
        }
        if matches!(expected, "a list" | "a mapping") && scalar.text.trim_start().starts_with(['[', '{']) {
            return Some("it is not valid as YAML or JSON: look for a missing bracket or quote".to_owned());
        }
        if expected == "a list" && !scalar.secret && !is_secret_path(&self.path) && scalar.text.len() < 60 {
            return Some(format!("write it as a list: `[{}]`", scalar.text));
        }
        None
    }

    fn is_quoted(&self) -> bool {
        let mark = &self.node.mark;
        let line = mark.source().line(mark.line()).unwrap_or_default();
        matches!(line.chars().nth(mark.column() - 1), Some('"' | '\''))
    }

    /// What the scalar means where it is not text that is wanted.
    fn plain(&self) -> Plain {
        match &self.node.value {
            Value::Scalar(Scalar { text, style: ScalarStyle::Plain, .. }) => Plain::of(text.trim()),
            Value::Null => Plain::Null,
            _ => Plain::Text,
        }
    }

    fn is_null(&self) -> bool {
        self.plain() == Plain::Null
    }

    fn whole<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match self.plain() {
            _ if self.node.is_invalid() => visitor.visit_u64(1),
            Plain::Unsigned(value) => visitor.visit_u64(value),
            Plain::Signed(value) => visitor.visit_i64(value),
            _ => Err(wanted(&visitor)),
        };
        self.told(value)
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match self.plain() {
            _ if self.node.is_invalid() => visitor.visit_f64(1.0),
            Plain::Unsigned(value) => visitor.visit_f64(value as f64),
            Plain::Signed(value) => visitor.visit_f64(value as f64),
            Plain::Float(value) if value.is_finite() => visitor.visit_f64(value),
            Plain::Float(_) => Err(Fault::expected("a finite number")),
            _ => Err(wanted(&visitor)),
        };
        self.told(value)
    }

    fn text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match &self.node.value {
            Value::Scalar(scalar) => visitor.visit_borrowed_str(&scalar.text),
            Value::Invalid => visitor.visit_borrowed_str(""),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => Err(wanted(&visitor)),
        };
        self.told(value)
    }

    fn items<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match &self.node.expanded().value {
            Value::Sequence(items) => Items::new(items, &self.path, self.trace).visit(visitor),
            Value::Invalid => Items::new(&[], &self.path, self.trace).visit(visitor),
            _ if self.is_null() => Err(Fault::NoList),
            _ => Err(wanted(&visitor)),
        };
        self.told(value)
    }

    fn keys<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match &self.node.expanded().value {
            Value::Mapping(mapping) => visitor.visit_map(Keys::new(Some(mapping), &self.path, self.trace)),
            _ if self.node.is_invalid() || self.is_null() => visitor.visit_map(Keys::new(None, &self.path, self.trace)),
            _ => Err(wanted(&visitor)),
        };
        self.told(value)
    }

    /// Whatever it is by itself.
    fn any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let node = self.node.expanded();
        if matches!(node.value, Value::Sequence(_)) {
            return self.items(visitor);
        }
        if matches!(node.value, Value::Mapping(_)) {
            return self.keys(visitor);
        }
        let value = match (self.plain(), &node.value) {
            (Plain::Null, _) | (_, Value::Invalid) => visitor.visit_unit(),
            (Plain::Bool(value), _) => visitor.visit_bool(value),
            (Plain::Unsigned(value), _) => visitor.visit_u64(value),
            (Plain::Signed(value), _) => visitor.visit_i64(value),
            (Plain::Float(value), _) => visitor.visit_f64(value),
            (Plain::Text, Value::Scalar(scalar)) => visitor.visit_borrowed_str(&scalar.text),
            (Plain::Text, _) => visitor.visit_unit(),
        };
        self.told(value)
    }
}

/// The fault of a value that is not of the type that was asked for, in the words of the one who asked.
fn wanted<'a, V: Visitor<'a>>(visitor: &V) -> Fault {
    serde::de::Error::invalid_type(Unexpected::Unit, visitor)
}

/// What other languages, and YAML 1.1, take as a switch.
fn is_switch(text: &str) -> bool {
    ["yes", "no", "on", "off", "y", "n", "1", "0", "true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.whole(visitor)
        }
    )*};
}

impl<'a> serde::Deserializer<'a> for Body<'a> {
    type Error = Fault;

    whole_numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor)
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match self.plain() {
            _ if self.node.is_invalid() => visitor.visit_bool(false),
            Plain::Bool(value) => visitor.visit_bool(value),
            _ => Err(wanted(&visitor)),
        };
        self.told(value)
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.number(visitor)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() || self.node.is_invalid() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = if self.is_null() || self.node.is_invalid() { visitor.visit_unit() } else { Err(wanted(&visitor)) };
        self.told(value)
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        let (node, path, trace) = (self.node, self.path.clone(), self.trace);
        // What the newtype says against its inner value is said of this node.
        let value = visitor.visit_newtype_struct(Self { node, path, trace });
        self.told(value)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.items(visitor)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.items(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.items(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.keys(visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.keys(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let value = Choice::of(self.node, names, &self.path, self.trace).and_then(|choice| visitor.visit_enum(choice));
        self.told(value)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}
