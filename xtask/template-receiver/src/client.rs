//! How the document is got. This is the part to replace where the source is another one.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Uri, uri::Scheme};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use minicol_plugin::{
    ComponentError, Scope,
    net::{ClientTlsFiles, HttpConnector},
    text,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::MySourceConfig;

/// Gets the document, each time anew.
pub(crate) struct Client {
    endpoint: Uri,
    timeout: Duration,
    max_size: usize,
    http: legacy::Client<HttpConnector, Empty<Bytes>>,
}

/// Why there is no document.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The kind of failure, short and from a small set, as the attribute `error.type` names it.
    pub(crate) error_type: &'static str,
    /// Why, with the target, for a person.
    pub(crate) message: String,
}

impl Client {
    /// Nothing is connected yet.
    pub(crate) fn new(config: &MySourceConfig, scope: &Scope) -> Result<Self, ComponentError> {
        let endpoint = config.target().map_err(|wrong| ComponentError::new(format!("endpoint {wrong}")))?;
        let is_secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        let tls = is_secure.then(|| ClientTlsFiles::new(config.tls.clone(), &[b"h2", b"http/1.1"])).transpose();
        let tls = tls.map_err(|error| ComponentError::caused(error.to_string(), error))?;
        // Connections are made by the scope's network: a test has one of its own.
        let connector = HttpConnector::with_files(scope.network().clone(), tls.map(Into::into));
        let http = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let (timeout, max_size) = (config.timeout.0.min(config.interval.0), config.max_document_size as usize);
        Ok(Self { endpoint, timeout, max_size, http })
    }

    /// Host and port.
    pub(crate) fn address(&self) -> (&str, u16) {
        let usual = if self.endpoint.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        (self.endpoint.host().unwrap_or_default(), self.endpoint.port_u16().unwrap_or(usual))
    }

    /// The endpoint as it may be shown: a query may hold a key.
    pub(crate) fn shown(&self) -> String {
        let whole = self.endpoint.to_string();
        text::foreign(whole.split('?').next().unwrap_or_default())
    }

    /// One document.
    pub(crate) async fn fetch(&self) -> Result<Value, Failure> {
        match timeout(self.timeout, self.get()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(self.failure("timeout", &format!("has not answered within {:?}", self.timeout))),
        }
    }

    async fn get(&self) -> Result<Value, Failure> {
        let response = self.http.get(self.endpoint.clone()).await;
        let response =
            response.map_err(|error| self.failure("connection", &format!("is not reachable: {}", cause(&error))))?;
        if !response.status().is_success() {
            return Err(self.failure("http", &format!("answered with {}", response.status())));
        }
        let body = Limited::new(response.into_body(), self.max_size).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let larger = format!("sent a document larger than {} bytes: raise max_document_size", self.max_size);
                self.failure("too_large", &larger)
            } else {
                self.failure("connection", &format!("broke off: {}", cause(&*error)))
            }
        })?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| self.failure("invalid", &format!("sent no JSON: {error}")))
    }

    fn failure(&self, error_type: &'static str, what: &str) -> Failure {
        Failure { error_type, message: format!("{} {}", self.shown(), text::foreign(what)) }
    }
}

/// What was at the bottom of it: the layers above say only that something failed.
fn cause(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
