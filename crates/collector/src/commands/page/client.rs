//! Asks the status page.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use minicol_plugin::{net::HttpConnector, text};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::seen::Seen;
use crate::commands::host;

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// No page of minicol is longer.
const MAX_BYTES: usize = 16 << 20;

/// The status page of one minicol.
pub(super) struct Page {
    client: Client<HttpConnector, Empty<Bytes>>,
    base: String,
}

impl Page {
    pub(super) fn at(endpoint: &str) -> anyhow::Result<Self> {
        let uri: Uri = endpoint.parse().ok().filter(|uri: &Uri| uri.host().is_some()).with_context(|| {
            format!("`{endpoint}` is no endpoint: write it as http://127.0.0.1:55679, where status_page listens")
        })?;
        if uri.scheme_str() != Some("http") {
            bail!("`{endpoint}`: the status page speaks http only");
        }
        let (_, environment) = host();
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new(environment.network, None));
        Ok(Self { client, base: endpoint.trim_end_matches('/').to_owned() })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// How it is now.
    pub(super) async fn seen(&self) -> anyhow::Result<Seen> {
        let whole = self.whole().await?;
        serde_json::from_value(whole).map_err(|error| self.strange(&error.to_string()))
    }

    /// The same as it is told.
    pub(super) async fn whole(&self) -> anyhow::Result<Value> {
        let (program, pipelines, targets) =
            tokio::try_join!(self.get("status"), self.get("pipelines"), self.get("targets"))?;
        Ok(json!({ "program": program, "pipelines": pipelines, "targets": targets }))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = Request::get(format!("{}/api/v1/{path}", self.base)).body(Empty::new())?;
        let asked = async {
            let response = self.client.request(request).await.map_err(|error| {
                let error = anyhow::Error::from(error);
                let why = error.chain().last().map(ToString::to_string).unwrap_or_default();
                anyhow!("no answer from {}: {why}; does minicol run there, with the extension status_page?", self.base)
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
            let body = body.map_err(|error| self.strange(&error.to_string()))?.to_bytes();
            if !status.is_success() {
                return Err(self.strange(&format!("{status}: {}", String::from_utf8_lossy(&body))));
            }
            serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()))
        };
        timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer from {} within {} s", self.base, PATIENCE.as_secs())))
    }

    fn strange(&self, what: &str) -> anyhow::Error {
        anyhow!("{} is no status page of minicol: {}", self.base, text::shortened(what, 200))
    }
}
