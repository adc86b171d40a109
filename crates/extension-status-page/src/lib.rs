//! The extension `status_page`: one page that shows what flows, what is down, since when and why, and the same as JSON under `/api/v1`.
//! Start from [`StatusPage`].

mod act;
pub mod api;
mod config;
mod history;
mod live;
mod model;
mod panel;
mod routes;
mod series;
mod tap;
mod views;

use std::sync::Arc;

use minicol_plugin::{
    ComponentError, Entry, Extension, Factory, Flow, Scope, Stability, async_trait,
    net::{HttpServer, exposure, listen, serve_while_it_runs},
};

pub use config::StatusPageConfig;

/// What the collector lists.
pub const ENTRY: Entry<dyn Extension> = Entry::of::<StatusPage>();

/// How many browsers and programs may look at once; what comes beyond them waits.
const MAX_CONNECTIONS: usize = 64;

/// The extension, and its factory.
#[derive(Debug)]
pub struct StatusPage {
    config: StatusPageConfig,
}

impl Factory for StatusPage {
    type Product = dyn Extension;
    type Config = StatusPageConfig;
    const TYPE: &'static str = "status_page";
    const DESCRIPTION: &'static str =
        "one page in the browser: what flows, what is down, since when and why; the same as JSON";
    const STABILITY: Stability = Stability::Alpha;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[];
    const EXAMPLE: &'static str = "endpoint: localhost:55679\n";

    fn build(config: StatusPageConfig, _: &Scope) -> Result<Box<dyn Extension>, ComponentError> {
        Ok(Box::new(Self { config }))
    }
}

#[async_trait]
impl Extension for StatusPage {
    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        let listener = listen(&**scope.network(), &self.config.endpoint).await?;
        let server = HttpServer::new(listener)
            .page()
            .max_connections(MAX_CONNECTIONS)
            .counted(scope.meter(), [("extension", scope.id().to_string())]);
        let address = server.local_address();
        let stop = scope.stopping_token().clone();
        // Telemetry is not for every machine that reaches this one, unless that was said.
        let allowed = self.config.tap.unwrap_or_else(|| exposure(&address).is_none());
        let shown = StatusPageConfig { metrics: self.config.metrics && allowed, ..self.config.clone() };
        let watch = Arc::new(live::Watch::new(scope.clone(), &shown));
        let taps = tap::Taps::new(&scope, allowed);
        let router = routes::router(Arc::clone(&watch), tap::router(taps), stop.clone());
        let serving = server.serve(router, stop.clone());
        let both = async {
            tokio::join!(serving, watch.keep(stop));
        };
        serve_while_it_runs(&scope, &address, format!("serves http://{address}/"), both).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
