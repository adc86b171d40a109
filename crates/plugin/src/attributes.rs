//! Attributes of a component's own metrics.

use opentelemetry::KeyValue;

/// Sorts attributes by their keys. The metrics SDK keeps each series under its attributes as they were given and, where that is another order, once more sorted: where
/// many series are alive (each target has its own), given sorted they take half the memory.
pub fn sort(attributes: &mut [KeyValue]) {
    attributes.sort_unstable_by(|one, other| one.key.as_str().cmp(other.key.as_str()));
}
