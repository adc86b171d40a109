//! The extension `status_page`: one page that shows what flows, what is down, since when and why, and the same as JSON under `/api/v1`.
//! Start from [`StatusPage`].

mod config;
mod history;
mod live;
mod model;
mod routes;
mod views;

use std::sync::Arc;

use minicol_plugin::{
    ComponentError, Entry, Extension, Factory, Flow, Level, Scope, Stability, Status, async_trait,
    net::{HttpServer, exposure},
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
        let endpoint = &self.config.endpoint;
        let listener = scope.network().listen(endpoint).await.map_err(|error| {
            ComponentError::caused(
                format!("cannot listen on {endpoint}; another program may hold the port: set endpoint to a free one"),
                error,
            )
        })?;
        let server = HttpServer::new(listener).max_connections(MAX_CONNECTIONS);
        if let Some(exposure) = exposure(&server.local_address()) {
            scope.notice(Level::Warn, "open_to_network", exposure);
        }
        scope.report(Status::Ok, format!("serves http://{}/", server.local_address()));
        let watch = Arc::new(live::Watch::new(Arc::clone(scope.host()), Arc::clone(scope.clock())));
        scope.ready();
        let stop = scope.stopping_token().clone();
        let serving = server.serve(routes::router(Arc::clone(&watch), stop.clone()), stop.clone());
        // Connections that do not end by themselves are dropped at the deadline.
        let both = async { tokio::join!(serving, watch.keep(stop)) };
        let _ = scope.abandoned_token().run_until_cancelled(both).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
