//! Asks the status page.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use minicol_plugin::{net::HttpConnector, text};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::commands::host;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer of minicol is longer.
const MAX_BYTES: usize = 16 << 20;

/// The status page of one minicol.
pub(crate) struct Page {
    client: Client<HttpConnector, Empty<Bytes>>,
    base: String,
}

impl Page {
    pub(crate) fn at(endpoint: &str) -> anyhow::Result<Self> {
        let written = endpoint;
        let endpoint = if written.contains("://") { written.to_owned() } else { format!("http://{written}") };
        let uri: Uri = endpoint.parse().ok().filter(|uri: &Uri| uri.host().is_some()).with_context(|| {
            format!("`{written}` is no endpoint: write it as http://127.0.0.1:55679, where status_page listens")
        })?;
        if uri.scheme_str() != Some("http") {
            bail!("`{written}`: the status page speaks http only, write it as http://127.0.0.1:55679");
        }
        let (_, environment) = host();
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new(environment.network, None));
        Ok(Self { client, base: endpoint.trim_end_matches('/').to_owned() })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// What is at `/api/v1/PATH`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let asked = async {
            let body = self.ask(path).await?;
            let body =
                Limited::new(body, MAX_BYTES).collect().await.map_err(|error| self.strange(&error.to_string()))?;
            serde_json::from_slice(&body.to_bytes()).map_err(|error| self.strange(&error.to_string()))
        };
        self.in_time(asked).await
    }

    /// The same as a stream.
    pub(crate) async fn open(&self, path: &str) -> anyhow::Result<Incoming> {
        self.in_time(self.ask(path)).await
    }

    pub(crate) fn strange(&self, what: &str) -> anyhow::Error {
        anyhow!("{} is no status page of this version of minicol: {}", self.base, text::shortened(what, 200))
    }

    /// The body of a good answer.
    async fn ask(&self, path: &str) -> anyhow::Result<Incoming> {
        let request = Request::get(format!("{}/api/v1/{path}", self.base)).body(Empty::new())?;
        let response = self.client.request(request).await.map_err(|error| {
            let error = anyhow::Error::from(error);
            let why = error.chain().last().map(ToString::to_string).unwrap_or_default();
            anyhow!("no answer from {}: {why}; does minicol run there, with the extension status_page?", self.base)
        })?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response.into_body());
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let told = serde_json::from_slice::<Value>(&body).ok();
        match told.as_ref().and_then(|told| told["error"].as_str()) {
            Some(why) => bail!("{}", text::shortened(why, 2_000)),
            None if body.is_empty() => Err(self.strange(&status.to_string())),
            None => Err(self.strange(&format!("{status}: {}", String::from_utf8_lossy(&body)))),
        }
    }

    async fn in_time<T>(&self, asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let late = || anyhow!("no answer from {} within {} s", self.base, PATIENCE.as_secs());
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
    }
}
