//! What every component that listens does alike.

use crate::{ComponentError, Level, Scope, Status};

use super::{Listener, Network, exposure};

/// Listens on `endpoint`, which the user wrote under the key `endpoint`.
pub async fn listen(network: &dyn Network, endpoint: &str) -> Result<Box<dyn Listener>, ComponentError> {
    network.listen(endpoint).await.map_err(|error| {
        ComponentError::caused(
            format!("cannot listen on {endpoint}; another program may hold the port: set endpoint to a free one"),
            error,
        )
    })
}

/// Warns where every machine that reaches this one is let in at `address`.
pub fn warn_of_exposure(scope: &Scope, address: &str) {
    if let Some(exposure) = exposure(address) {
        scope.notice(Level::Warn, "open_to_network", exposure);
    }
}

/// The life of a component that is bound to `address` and asks nobody who they are: warns where other machines reach it, reports `told`, says that it
/// is ready, and does `serving`, which ends when the component is told to stop. What does not end by itself is dropped at the deadline.
pub async fn serve_while_it_runs(
    scope: &Scope,
    address: &str,
    told: impl Into<String>,
    serving: impl Future<Output = ()>,
) {
    warn_of_exposure(scope, address);
    scope.report(Status::Ok, told);
    scope.ready();
    let _ = scope.abandoned_token().run_until_cancelled(serving).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComponentKind, Event, testing::Harness};

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_cure() {
        let harness = Harness::default();
        let _first = listen(&*harness.network, "localhost:1").await.unwrap();
        let error = listen(&*harness.network, "localhost:1").await.err().unwrap().to_string();
        assert!(
            error.contains("cannot listen on localhost:1") && error.contains("set endpoint to a free one"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_tells_that_it_serves_and_is_dropped_at_the_deadline() {
        for (address, warns) in [("0.0.0.0:1", true), ("127.0.0.1:1", false)] {
            let harness = Harness::default();
            let (ready, scope) = harness.scope_with_ready(ComponentKind::Extension, "page");
            let serving = async move { serve_while_it_runs(&scope, address, "serves", std::future::pending()).await };
            let serving = tokio::spawn(serving);
            ready.cancelled().await;
            assert_eq!(harness.notices().contains(&"open_to_network"), warns, "{address}");
            let told = |event: &Event| matches!(event, Event::Status(change) if change.message == "serves");
            assert!(harness.events().iter().any(told));
            harness.abandoned.cancel();
            serving.await.unwrap();
        }
    }
}
