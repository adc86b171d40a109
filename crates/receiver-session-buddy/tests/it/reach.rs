//! Tokens and proxies, from the keys of the configuration to what a server sees.

use std::{io, sync::Arc};

use minicol_mcp::{
    async_trait,
    testing::{FaultServer, Reply},
};
use minicol_plugin::{
    Event,
    net::{BoxIo, Listener, MemoryNetwork, Network, ProxyVariables},
    testing::Harness,
};
use serde_json::json;

use crate::walkthroughs::Scene;

/// A machine whose environment names a proxy.
struct Proxied(MemoryNetwork);

#[async_trait]
impl Network for Proxied {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxIo> {
        self.0.connect(host, port).await
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.0.listen(address).await
    }

    fn proxy_variables(&self) -> ProxyVariables {
        ProxyVariables { http: Some("http://user:hunter2@proxy:3128".to_owned()), ..ProxyVariables::default() }
    }
}

/// A server that offers what the scene's poller wants.
async fn server(network: &dyn Network, address: &str) -> FaultServer {
    let server = FaultServer::start(network, address).await;
    for tool in ["get_liveness", "get_metrics_summary"] {
        server.tool(tool, Reply::structured(json!({"uptime_seconds": 1})));
    }
    server
}

async fn secret(text: &str) -> std::path::PathBuf {
    let name = format!("minicol-receiver-{}-{text}", std::process::id());
    let path = std::env::temp_dir().join(name);
    tokio::fs::write(&path, text).await.unwrap();
    path
}

#[tokio::test(start_paused = true)]
async fn a_token_from_a_file_goes_through_a_proxy_that_is_configured() {
    let harness = Harness::default();
    let proxy = server(&*harness.network, "proxy:3128").await;
    let path = secret("token-one").await;
    let scene = Scene::with(
        harness,
        &json!({"endpoint": "http://buddy:8678/mcp", "allow_insecure_auth": true, "bearer_token_file": path,
            "proxy_url": "http://user:hunter2@proxy:3128"}),
    );
    let report = scene.poller.poll_once().await.unwrap();
    tokio::fs::remove_file(path).await.unwrap();
    assert_eq!((report.up, report.setup_error), (Some(1), None));
    let seen = proxy.requests();
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some("Bearer token-one")), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.header("proxy-authorization") == Some("Basic dXNlcjpodW50ZXIy")), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.header("host") == Some("buddy:8678")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_environments_proxy_is_used_and_said_but_not_for_this_machine() {
    for (endpoint, used) in [("http://buddy:8678/mcp", true), ("http://localhost:8678/mcp", false)] {
        let mut harness = Harness::default();
        harness.network = Arc::new(Proxied(MemoryNetwork::new()));
        let proxy = server(&*harness.network, "proxy:3128").await;
        let direct = server(&*harness.network, "localhost:8678").await;
        let scene = Scene::with(harness, &json!({"endpoint": endpoint}));
        assert_eq!(scene.poller.poll_once().await.unwrap().up, Some(1));
        assert_eq!((proxy.requests().is_empty(), direct.requests().is_empty()), (!used, used));
        let said = scene.harness.events().into_iter().find_map(|event| match event {
            Event::Notice(notice) if notice.name == "proxy_used" => Some(notice.message),
            _ => None,
        });
        let words = "http://buddy:8678/mcp is reached through http://proxy:3128, the proxy that the environment names";
        assert_eq!(said, used.then(|| words.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_authorization_server_is_asked_for_and_sent() {
    let harness = Harness::default();
    let buddy = server(&*harness.network, "localhost:8678").await;
    let login = FaultServer::start(&*harness.network, "localhost:9000").await;
    login.guard(|_| Some(Reply::json("{\"access_token\": \"granted\", \"expires_in\": 3600}")));
    let path = secret("hunter2").await;
    let oauth2 = json!({"client_id": "minicol", "client_secret_file": path, "token_url": "http://localhost:9000/token",
        "scopes": ["read", "poll"], "resource": "http://localhost:8678"});
    let scene = Scene::with(harness, &json!({"oauth2": oauth2}));
    let report = scene.poller.poll_once().await.unwrap();
    tokio::fs::remove_file(path).await.unwrap();
    assert_eq!((report.up, report.setup_error), (Some(1), None));
    assert!(buddy.requests().iter().all(|seen| seen.header("authorization") == Some("Bearer granted")));
    let asked = login.requests();
    assert_eq!(asked.len(), 1);
    let form = "grant_type=client_credentials&resource=http%3A%2F%2Flocalhost%3A8678&scope=read+poll";
    assert_eq!((asked[0].text.as_str(), asked[0].path.as_str()), (form, "/token"));
}

/// Promise: each address has its own proxy, or none. What a poller asks on this machine never leaves it.
#[tokio::test(start_paused = true)]
async fn the_proxy_is_chosen_for_the_authorization_server_by_its_own_address() {
    for (endpoint, token_url, login_through_proxy) in [
        ("http://buddy:8678/mcp", "http://localhost:9000/token", false),
        ("http://localhost:8678/mcp", "http://login:9000/token", true),
    ] {
        let mut harness = Harness::default();
        harness.network = Arc::new(Proxied(MemoryNetwork::new()));
        let proxy = server(&*harness.network, "proxy:3128").await;
        let buddy = server(&*harness.network, "localhost:8678").await;
        let login = FaultServer::start(&*harness.network, "localhost:9000").await;
        let granted = || Reply::json("{\"access_token\": \"granted\", \"expires_in\": 3600}");
        proxy.guard(move |seen| seen.path.ends_with("/token").then(granted));
        login.guard(move |_| Some(granted()));
        let path = secret("by-address").await;
        let oauth2 = json!({"client_id": "minicol", "client_secret_file": path, "token_url": token_url});
        let config = json!({"endpoint": endpoint, "oauth2": oauth2, "allow_insecure_auth": true});
        let scene = Scene::with(harness, &config);
        assert_eq!(scene.poller.poll_once().await.unwrap().up, Some(1), "{endpoint}");
        let tokens =
            |server: &FaultServer| server.requests().iter().filter(|seen| seen.path.ends_with("/token")).count();
        assert_eq!((tokens(&proxy), tokens(&login)), (login_through_proxy.into(), (!login_through_proxy).into()));
        assert_eq!(buddy.requests().is_empty(), !login_through_proxy);
        let through = if login_through_proxy { token_url } else { endpoint };
        let said = scene.harness.events().into_iter().filter_map(|event| match event {
            Event::Notice(notice) if notice.name == "proxy_used" => Some(notice.message),
            _ => None,
        });
        let words = format!("{through} is reached through http://proxy:3128, the proxy that the environment names");
        assert_eq!(said.collect::<Vec<_>>(), [words]);
    }
}
