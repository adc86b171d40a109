//! What a configuration knows as a secret.

use minicol_config::{Node, is_secret_name};
use minicol_plugin::{Redactor, config::Secret};
use serde_json::Value;

/// Gathers secrets: what a component shows as redacted, as it was written.
#[derive(Default)]
pub(super) struct Secrets(Vec<Secret>);

impl Secrets {
    /// Looks through what is shown of a configuration beside what was written of it.
    pub(super) fn gather(&mut self, shown: &Value, written: Option<&Node>) {
        let Some(written) = written else { return };
        match shown {
            Value::String(text) => {
                // An address may be shown in part.
                let Some((before, after)) = text.split_once(Secret::REDACTED) else { return };
                let hidden = written.as_text().and_then(|text| text.strip_prefix(before)?.strip_suffix(after));
                self.0.extend(hidden.map(Secret::new));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| self.gather(value, written.get(name)));
            }
            Value::Array(items) => {
                let written = written.as_sequence().unwrap_or_default();
                items.iter().zip(written).for_each(|(item, written)| self.gather(item, Some(written)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    pub(super) fn redactor(self) -> Redactor {
        Redactor::new(self.0, is_secret_name)
    }
}
