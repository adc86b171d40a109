//! Taking secrets out of what is shown of telemetry.

use std::{borrow::Cow, fmt, sync::Arc};

use minicol_pdata::{Batch, Logs, Metrics, Observation, Observations, Traces};
use serde_json::{Map, Value};

use crate::{config::Secret, net::is_credential};

/// Takes out what the configuration knows as a secret, wherever it stands, and whatever stands under a name that says that it is one.
#[derive(Clone)]
pub struct Redactor {
    secrets: Vec<Secret>,
    /// Those of them that let somebody in.
    credentials: Vec<Secret>,
    is_secret: fn(&str) -> bool,
}

/// A shorter secret stands everywhere by chance.
const SHORTEST: usize = 4;

impl Default for Redactor {
    /// Goes by names alone.
    fn default() -> Self {
        Self { secrets: Vec::new(), credentials: Vec::new(), is_secret: is_credential }
    }
}

impl Redactor {
    /// One that knows these secrets, and by their names those for which `is_secret` holds.
    pub fn new(secrets: impl IntoIterator<Item = Secret>, is_secret: fn(&str) -> bool) -> Self {
        let mut secrets: Vec<Secret> =
            secrets.into_iter().filter(|secret| secret.expose().chars().count() >= SHORTEST).collect();
        // One that holds another goes first, so that nothing of it is left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets.dedup();
        Self { secrets, credentials: Vec::new(), is_secret }
    }

    /// One that knows of these secrets that they let somebody in.
    #[must_use]
    pub fn with_credentials(self, credentials: impl IntoIterator<Item = Secret>) -> Self {
        Self { credentials: credentials.into_iter().collect(), ..self }
    }

    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    pub(crate) fn credentials(&self) -> &[Secret] {
        &self.credentials
    }

    /// A text without the secrets in it, and without what follows the word `Bearer`.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        for secret in &self.secrets {
            if shown.contains(secret.expose()) {
                shown = shown.replace(secret.expose(), Secret::REDACTED).into();
            }
        }
        match without_bearer(&shown) {
            Some(without) => without.into(),
            None => shown,
        }
    }

    /// A JSON document, changed in its place. A list of OTLP's `{"key": …, "value": …}` counts as a map.
    pub fn document(&self, document: &mut Value) {
        match document {
            Value::String(text) => {
                if let Cow::Owned(shown) = self.text(text) {
                    *text = shown;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.document(item)),
            Value::Object(fields) => self.fields(fields),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn fields(&self, fields: &mut Map<String, Value>) {
        let named = fields.get("key").and_then(Value::as_str).is_some_and(|name| (self.is_secret)(name));
        if named && fields.len() == 2 {
            match fields.get_mut("value") {
                // A number is no secret.
                Some(Value::Object(value))
                    if value.len() == 1 && value.keys().all(|kind| NUMBERS.contains(&&**kind)) => {}
                Some(Value::Object(value)) => {
                    *value = Map::from_iter([("stringValue".to_owned(), Secret::REDACTED.into())]);
                }
                Some(value) => hide(value),
                None => {}
            }
            return;
        }
        for (name, value) in fields {
            if (self.is_secret)(name) {
                hide(value);
            } else {
                self.document(value);
            }
        }
    }

    /// A batch that can be shown. `None` where nothing can be said of it without risk.
    pub fn batch(&self, batch: &Batch) -> Option<Batch> {
        match batch {
            Batch::Observations(observations) => {
                let list: Vec<Observation> = observations.iter().map(|one| self.observation(one)).collect();
                Some(Observations::from(list).into())
            }
            Batch::Metrics(metrics) => Metrics::from_json(&self.json(&metrics.to_json())?).ok().map(Batch::from),
            Batch::Logs(logs) => Logs::from_json(&self.json(&logs.to_json())?).ok().map(Batch::from),
            Batch::Traces(traces) => Traces::from_json(&self.json(&traces.to_json())?).ok().map(Batch::from),
        }
    }

    fn observation(&self, one: &Observation) -> Observation {
        let redacted = |value: &Value| {
            let mut value = value.clone();
            self.document(&mut value);
            value
        };
        let arguments = one.arguments.as_ref().map(|arguments| match redacted(&Value::from((**arguments).clone())) {
            Value::Object(arguments) => Arc::new(arguments),
            _ => Arc::default(),
        });
        Observation { document: Arc::new(redacted(&one.document)), arguments, ..one.clone() }
    }

    fn json(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut request: Value = serde_json::from_slice(text).ok()?;
        self.document(&mut request);
        serde_json::to_vec(&request).ok()
    }
}

/// What OTLP's attributes have that is no text.
const NUMBERS: [&str; 3] = ["intValue", "doubleValue", "boolValue"];

/// Takes out every text. Numbers are what is counted: they stay.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) => Secret::REDACTED.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Without the token that follows the word `Bearer`; `None` where there is none.
fn without_bearer(text: &str) -> Option<String> {
    const WORD: &str = "bearer ";
    // Letters of one byte stay where they are.
    let lower = text.to_ascii_lowercase();
    lower.contains(WORD).then(|| {
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        while let Some(found) = lower[at..].find(WORD) {
            let token = at + found + WORD.len();
            let end = text[token..]
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','))
                .map_or(text.len(), |end| token + end);
            out.push_str(&text[at..token]);
            if end > token {
                out.push_str(Secret::REDACTED);
            }
            at = end;
        }
        out.push_str(&text[at..]);
        out
    })
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(["hunter2", "hunter2-long", "abc"].map(Secret::new), is_credential)
    }

    #[test]
    fn known_secrets_are_taken_out_of_any_text_and_tokens_by_the_word_before_them() {
        let redactor = redactor();
        for (text, shown) in [
            ("the password is hunter2!", "the password is [REDACTED]!"),
            ("hunter2-long and hunter2", "[REDACTED] and [REDACTED]"),
            ("abc stays: too short to be told from chance", "abc stays: too short to be told from chance"),
            ("Authorization: Bearer eyJ.x.y, next", "Authorization: Bearer [REDACTED], next"),
            ("BEARER a BEARER b", "BEARER [REDACTED] BEARER [REDACTED]"),
            ("the bearer ", "the bearer "),
        ] {
            assert_eq!(redactor.text(text), shown);
        }
    }

    #[test]
    fn what_stands_under_the_name_of_a_credential_is_taken_out_of_documents_and_attributes() {
        let mut document = json!({
            "user": "ada", "api_key": "k", "tokens_used": 7, "nested": [{"Authorization": {"a": ["x", 1]}}],
            "attributes": [
                {"key": "http.request.header.authorization", "value": {"stringValue": "x"}},
                {"key": "url", "value": {"stringValue": "https://h/?k=hunter2"}},
                {"key": "api_key", "value": ["x", {"y": "z"}]},
                {"key": "token", "value": {"intValue": "7", "note": "x"}},
                {"key": "secret.count", "value": {"intValue": "7"}},
            ],
        });
        redactor().document(&mut document);
        let redacted = Secret::REDACTED;
        let expected = json!({
            "user": "ada", "api_key": redacted, "tokens_used": 7, "nested": [{"Authorization": {"a": [redacted, 1]}}],
            "attributes": [
                {"key": "http.request.header.authorization", "value": {"stringValue": redacted}},
                {"key": "url", "value": {"stringValue": "https://h/?k=[REDACTED]"}},
                {"key": "api_key", "value": [redacted, {"y": redacted}]},
                {"key": "token", "value": {"stringValue": redacted}},
                {"key": "secret.count", "value": {"intValue": "7"}},
            ],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_batch_is_shown_without_them_and_stays_what_it_is() {
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"body": {"stringValue": "hunter2"}, "attributes": [{"key": "session_token", "value": {"stringValue": "s"}}]}
        ]}]}]});
        let batch = Batch::from(Logs::from_json(request.to_string().as_bytes()).unwrap());
        let Some(Batch::Logs(shown)) = redactor().batch(&batch) else { panic!("no logs") };
        let text = String::from_utf8(shown.to_json().to_vec()).unwrap();
        assert!(text.matches("[REDACTED]").count() == 2 && !text.contains("hunter2"), "{text}");
        let Batch::Logs(whole) = batch else { unreachable!() };
        assert!(String::from_utf8(whole.to_json().to_vec()).unwrap().contains("hunter2"));
    }
}
