//! One configuration over another.

use indexmap::map::Entry as Slot;

use crate::node::{Node, Value};

/// Lays `over` upon `base`: mappings merge deeply, anything else is replaced.
///
/// A key without a body, over a mapping, changes nothing (`otlp:` means "as it is", not "gone"). Every part keeps the mark of where it was written.
pub(crate) fn merge(base: &mut Node, mut over: Node) {
    // What a variable holds takes part like what is written.
    if over.as_mapping().is_some() {
        over.expand();
    }
    if base.as_mapping().is_some() && matches!(over.value, Value::Mapping(_)) {
        base.expand();
    }
    if base.as_mapping().is_some() && over.is_null() {
        return;
    }
    match (&mut base.value, over.value) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            for (key, entry) in over.0 {
                match base.0.entry(key) {
                    Slot::Vacant(slot) => drop(slot.insert(entry)),
                    Slot::Occupied(mut slot) => {
                        let lower = slot.get_mut();
                        if lower.value.as_mapping().is_none() {
                            lower.key_mark = entry.key_mark;
                        }
                        merge(&mut lower.value, entry.value);
                    }
                }
            }
        }
        (_, value) => *base = Node::new(over.mark, value),
    }
}
