//! How a target is told to a backend.

use std::sync::Arc;

use minicol_mcp::Endpoint;
use minicol_pdata::{AttributeValue, Resource, Source};
use minicol_plugin::Scope;
use uuid::{Uuid, uuid};

use crate::SessionBuddyConfig;

/// The namespace that OpenTelemetry's semantic conventions give for `service.instance.id`.
const INSTANCE_NAMESPACE: Uuid = uuid!("4d63009a-8d0f-11ee-aad7-4c796ed8e320");

/// The target as one receiver polls it. Its resource has no version of the server: an upgrade would break every series.
pub(crate) fn source(config: &SessionBuddyConfig, endpoint: &Endpoint, scope: &Scope) -> Arc<Source> {
    let receiver = scope.id().to_string();
    let instance = instance_id(&scope.network().host_name(), &receiver, endpoint);
    let mut resource = Resource::new()
        .with("service.name", "session-buddy")
        .with("service.instance.id", instance.to_string())
        .with("server.address", endpoint.address())
        .with("server.port", i64::from(endpoint.port()))
        .with("url.scheme", endpoint.scheme());
    for (name, value) in &config.resource_attributes {
        resource.insert(name.as_str(), AttributeValue::from(value));
    }
    Arc::new(Source { resource, receiver, interval: config.interval() })
}

/// Stable over restarts, different for two pollers of one target. A query may hold a token, so it is no part of the id.
fn instance_id(collector_host: &str, receiver: &str, endpoint: &Endpoint) -> Uuid {
    Uuid::new_v5(&INSTANCE_NAMESPACE, format!("{collector_host}\n{receiver}\n{}", endpoint.shown()).as_bytes())
}

#[cfg(test)]
mod tests {
    use minicol_plugin::{ComponentKind, testing::Harness};
    use serde_json::json;

    use super::*;

    fn attributes(config: serde_json::Value, id: &str) -> Vec<(String, String)> {
        let config: SessionBuddyConfig = serde_json::from_value(config).unwrap();
        let scope = Harness::default().scope(ComponentKind::Receiver, id);
        let source = source(&config, &config.endpoint.parse().unwrap(), &scope);
        source.resource.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
    }

    #[test]
    fn the_resource_tells_the_target() {
        let told = attributes(json!({"endpoint": "http://[::1]:8678/mcp?token=x"}), "session_buddy");
        let expected = [
            ("server.address", "::1"),
            ("server.port", "8678"),
            (
                "service.instance.id",
                &Uuid::new_v5(&INSTANCE_NAMESPACE, b"localhost\nsession_buddy\nhttp://[::1]:8678/mcp").to_string(),
            ),
            ("service.name", "session-buddy"),
            ("url.scheme", "http"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn two_pollers_of_one_target_are_told_apart_and_the_id_can_be_set() {
        let id =
            |told: Vec<(String, String)>| told.into_iter().find(|(name, _)| name == "service.instance.id").unwrap().1;
        let config = json!({});
        assert_eq!(id(attributes(config.clone(), "session_buddy")), id(attributes(config.clone(), "session_buddy")));
        assert_ne!(id(attributes(config.clone(), "session_buddy")), id(attributes(config, "session_buddy/2")));
        let set = json!({"resource_attributes": {"service.instance.id": "laptop", "deployment.environment.name": "laptop", "n": 3}});
        let told = attributes(set, "session_buddy");
        assert_eq!(id(told.clone()), "laptop");
        assert!(told.contains(&("n".to_owned(), "3".to_owned())));
    }
}
