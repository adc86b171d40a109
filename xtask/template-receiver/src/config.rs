//! What a user can write under `my_source`. A doc comment is an option's description in the reference and in the editor.

use std::time::Duration;

use http::{Uri, uri::Scheme};
use minicol_plugin::{
    config::{ComponentConfig, GoDuration, Problems, without_query},
    net::ClientTls,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the receiver `my_source`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MySourceConfig {
    /// Where the document is: a URL with `http://` or `https://`. Required.
    #[serde(serialize_with = "without_query")]
    #[schemars(extend("pattern" = "^[Hh][Tt][Tt][Pp][Ss]?://", "examples" = ["http://localhost:13133/status"]))]
    pub endpoint: String,
    /// The time from the beginning of one poll to that of the next.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h"))]
    pub interval: GoDuration,
    /// How long a poll may take; never longer than `interval`.
    #[schemars(extend("x-minimum" = "100ms"))]
    pub timeout: GoDuration,
    /// How large the document may be, in bytes.
    #[schemars(extend("minimum" = 1024, "maximum" = 67_108_864, "x-unit" = "bytes"))]
    pub max_document_size: u32,
    /// How an `https://` endpoint is checked, and what is shown to it; files are read again when they change.
    pub tls: ClientTls,
}

impl Default for MySourceConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            interval: GoDuration::from_secs(30),
            timeout: GoDuration::from_secs(5),
            max_document_size: 4 << 20,
            tls: ClientTls::default(),
        }
    }
}

const MAX_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl MySourceConfig {
    /// The endpoint, or what is wrong with it.
    pub(crate) fn target(&self) -> Result<Uri, String> {
        let example = "write it like http://localhost:13133/status";
        if self.endpoint.is_empty() {
            return Err(format!("is required: {example}"));
        }
        let uri: Uri = self.endpoint.parse().map_err(|error| format!("is no URL ({error}): {example}"))?;
        let is_http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => Err("must hold no user and no password".to_owned()),
            Some(_) if is_http => Ok(uri),
            _ => Err(format!("must begin with http:// or https:// and name a host: {example}")),
        }
    }
}

impl ComponentConfig for MySourceConfig {
    fn validate(&self, problems: &mut Problems) {
        if let Err(wrong) = self.target() {
            problems.error("endpoint", wrong);
        }
        if !(Duration::from_secs(1)..=MAX_INTERVAL).contains(&self.interval.0) {
            problems.error("interval", format!("must be between 1s and 24h, but is {}", self.interval));
        }
        if self.timeout.0 < Duration::from_millis(100) {
            problems
                .error("timeout", format!("must be at least 100ms, but is {}", self.timeout))
                .help("for example 5s");
        }
        problems.range("max_document_size", f64::from(self.max_document_size), 1024.0, 67_108_864.0);
        problems.within("tls", |problems| self.tls.validate(problems));
    }
}
