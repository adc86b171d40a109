//! The extension `health_check`: `GET /` answers 200 while the program runs and 503 while it starts or stops, for load balancers and probes;
//! `GET /status` tells how every component and every arrow is, for the person on call. Start from [`HealthCheck`].

mod config;
mod pages;

use minicol_plugin::{
    ComponentError, Entry, Extension, Factory, Flow, Level, Scope, Stability, Status, async_trait,
    net::{HttpServer, exposure},
};

pub use config::HealthConfig;

/// What the collector lists.
pub const ENTRY: Entry<dyn Extension> = Entry::of::<HealthCheck>();

/// The extension, and its factory.
#[derive(Debug)]
pub struct HealthCheck {
    config: HealthConfig,
}

impl Factory for HealthCheck {
    type Product = dyn Extension;
    type Config = HealthConfig;
    const TYPE: &'static str = "health_check";
    const DESCRIPTION: &'static str = "answers 200 while the program runs, and tells on /status how every component is";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[];
    const EXAMPLE: &'static str = "endpoint: localhost:13133\npath: /\n";

    fn build(config: HealthConfig, _: &Scope) -> Result<Box<dyn Extension>, ComponentError> {
        Ok(Box::new(Self { config }))
    }
}

#[async_trait]
impl Extension for HealthCheck {
    async fn run(self: Box<Self>, scope: Scope) -> Result<(), ComponentError> {
        let endpoint = &self.config.endpoint;
        let listener = scope.network().listen(endpoint).await.map_err(|error| {
            ComponentError::caused(
                format!("cannot listen on {endpoint}; another program may hold the port: set endpoint to a free one"),
                error,
            )
        })?;
        let server = HttpServer::new(listener);
        if let Some(exposure) = exposure(&server.local_address()) {
            scope.notice(Level::Warn, "open_to_network", exposure);
        }
        scope.report(Status::Ok, format!("serves http://{}{}", server.local_address(), self.config.path));
        scope.ready();
        // It goes on answering (503) while the others stop; the host stops extensions last.
        let serving =
            server.serve(pages::router(&self.config.path, scope.host().clone()), scope.stopping_token().clone());
        // Connections that do not end by themselves are dropped at the deadline.
        let _ = scope.abandoned_token().run_until_cancelled(serving).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
