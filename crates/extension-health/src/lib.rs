//! The extension `health_check`: `GET /` answers 200 while the program runs and 503 while it starts or stops, for load balancers and probes;
//! `GET /status` tells how every component and every arrow is, for the person on call. Start from [`HealthCheck`].

mod config;
mod pages;

use minicol_plugin::{
    ComponentError, Entry, Extension, Factory, Flow, Scope, Stability, async_trait,
    net::{HttpServer, listen, serve_while_it_runs},
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
        let server = HttpServer::new(listen(&**scope.network(), &self.config.endpoint).await?)
            .page()
            .counted(scope.meter(), [("extension", scope.id().to_string())]);
        let address = server.local_address();
        // It goes on answering (503) while the others stop; the host stops extensions last.
        let serving =
            server.serve(pages::router(&self.config.path, scope.host().clone()), scope.stopping_token().clone());
        let told = format!("serves http://{address}{}", self.config.path);
        serve_while_it_runs(&scope, &address, told, serving).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
