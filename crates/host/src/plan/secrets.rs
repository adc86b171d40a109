//! What a configuration knows as a secret.

use std::sync::Arc;

use minicol_config::{Node, is_secret_name};
use minicol_plugin::{Redactor, config::Secret, hidden, net::is_credential};
use serde_json::Value;

/// Gathers secrets: what a component shows as redacted, as it was written.
#[derive(Default)]
pub(super) struct Secrets {
    all: Vec<Secret>,
    /// Those that stand under the name of a credential, or in an address.
    credentials: Vec<Secret>,
}

impl Secrets {
    /// Looks through what is shown of a configuration beside what was written of it.
    pub(super) fn gather(&mut self, shown: &Value, written: Option<&Node>) {
        self.gather_under("", shown, written);
    }

    fn gather_under(&mut self, name: &str, shown: &Value, written: Option<&Node>) {
        let Some(written) = written else { return };
        match shown {
            Value::String(text) => {
                // An address may be shown in part.
                let Some((before, after)) = text.split_once(Secret::REDACTED) else { return };
                let hidden = written.as_text().and_then(|text| text.strip_prefix(before)?.strip_suffix(after));
                let Some(hidden) = hidden.map(Secret::new) else { return };
                if is_secret_name(name) || is_credential(name) || !before.is_empty() {
                    self.credentials.push(hidden.clone());
                }
                self.credentials.extend(passwords(hidden.expose()).map(Secret::new));
                self.all.push(hidden);
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| self.gather_under(name, value, written.get(name)));
            }
            Value::Array(items) => {
                let written = written.as_sequence().unwrap_or_default();
                items.iter().zip(written).for_each(|(item, written)| self.gather_under(name, item, Some(written)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What takes them out. The program hides them as long as it is held.
    pub(super) fn redactor(self) -> Arc<Redactor> {
        let redactor = Arc::new(Redactor::new(self.all, is_secret_name).with_credentials(self.credentials));
        hidden::configured(&redactor);
        redactor
    }
}

/// User and password in a URL, together and the password alone.
fn passwords(url: &str) -> impl Iterator<Item = &str> {
    let user = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.rsplit_once('@'));
    let user = user.map(|(user, _)| user);
    user.into_iter().chain(user.and_then(|user| user.split_once(':')).map(|(_, password)| password))
}
