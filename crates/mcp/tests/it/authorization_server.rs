//! How an authorization server is reached: by its own address, whatever stands before the MCP server.

use std::sync::Arc;

use minicol_mcp::{
    Class, ClientCredential, HttpClient, OAuth2, OAuth2Settings, PollTarget, Proxies, Proxy, Target, TargetSettings,
    TargetState,
    testing::{FaultServer, Reply},
};
use minicol_plugin::net::{ClientTls, ProxyVariables};

use crate::{
    connections::{Front, certificate_of, plan, tunnels},
    temp_file::TempFile,
    world::{World, answer},
};

fn client(world: &World, tls: Option<ClientTls>, proxies: Proxies) -> HttpClient {
    HttpClient::with(Arc::clone(world.scope.network()), tls.map(|tls| HttpClient::tls(tls).unwrap()), proxies)
}

/// A target at `endpoint` that asks for tokens at `token_url`.
fn target(
    world: &World,
    endpoint: &str,
    token_url: &str,
    secret: &TempFile,
    [own, elsewhere]: [HttpClient; 2],
) -> Target {
    let settings = OAuth2Settings {
        endpoint: endpoint.parse().unwrap(),
        client_id: "minicol".to_owned(),
        credential: ClientCredential::SecretFile(secret.0.clone()),
        token_url: Some(token_url.parse().unwrap()),
        issuer: None,
        trust_discovered_issuer: false,
        scopes: Vec::new(),
        endpoint_params: std::collections::BTreeMap::new(),
        resource: None,
        allow_insecure: false,
    };
    let authorize = Arc::new(OAuth2::new(settings, own.clone(), &world.scope).elsewhere(elsewhere));
    let settings =
        TargetSettings { max_retries: 0, authorize: Some(authorize), ..TargetSettings::new(endpoint.parse().unwrap()) };
    Target::new(settings, own, Arc::new(TargetState::default()), &world.scope)
}

fn granted() -> Reply {
    Reply::json("{\"access_token\": \"granted\", \"expires_in\": 3600}")
}

#[tokio::test(start_paused = true)]
async fn the_environments_proxy_never_sees_what_is_sent_to_this_machine() {
    let world = World::new().await;
    let (config, pem) = certificate_of("buddy", &[b"h2"]);
    let (authorities, secret) = (TempFile::new(&pem), TempFile::new("hunter2"));
    Front::serve(&world, "buddy:443", Some(config)).await;
    let login = FaultServer::start(&**world.scope.network(), "localhost:9000").await;
    login.guard(|_| Some(granted()));
    let asked = tunnels(&world, "200 OK").await;
    let proxy = Some("http://proxy:3128".to_owned());
    let variables = ProxyVariables { http: proxy.clone(), https: proxy, ..ProxyVariables::default() };
    let ca_file = Some(authorities.0.clone());
    let http = client(&world, Some(ClientTls { ca_file, ..ClientTls::default() }), Proxies::from_variables(variables));
    let target = target(&world, "https://buddy/mcp", "http://localhost:9000/token", &secret, [http.clone(), http]);
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    assert_eq!(login.requests().len(), 1);
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|head| head.starts_with("CONNECT buddy:443 ")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_handed_to_a_proxy_of_another_machine_in_plain_text() {
    let world = World::new().await;
    let secret = TempFile::new("hunter2");
    let proxy = FaultServer::start(&**world.scope.network(), "proxy:3128").await;
    proxy.guard(|_| Some(granted()));
    let proxies = Proxies::all(Proxy::parse("http://proxy:3128").unwrap());
    let http = client(&world, None, proxies);
    let target = target(&world, "https://buddy/mcp", "http://localhost:9000/token", &secret, [http.clone(), http]);
    let failure = target.cycle(&plan(&world, &["a"])).await.setup.unwrap();
    assert_eq!(failure.class(), Class::Auth, "{failure}");
    let says =
        "http://localhost:9000/token would be asked through the proxy `http://proxy:3128` unencrypted: use https";
    assert!(failure.to_string().contains(says), "{failure}");
    assert_eq!(proxy.requests().len(), 0);
}

/// A private authority, another name and a certificate of ours are for the MCP server alone; the authorization server has its own.
#[tokio::test(start_paused = true)]
async fn what_tls_shall_be_to_the_server_is_not_what_it_is_to_the_authorization_server() {
    let world = World::new().await;
    let (buddy, buddy_pem) = certificate_of("buddy", &[]);
    let (login, login_pem) = certificate_of("login", &[]);
    let (buddys, logins, secret) = (TempFile::new(&buddy_pem), TempFile::new(&login_pem), TempFile::new("hunter2"));
    Front::serve(&world, "elsewhere:443", Some(buddy)).await;
    Front::serve(&world, "login:443", Some(login)).await;
    world.server.guard(|seen| (seen.path == "/token").then(granted));
    let own = || {
        let (ca_file, server_name_override) = (Some(buddys.0.clone()), Some("buddy".to_owned()));
        client(&world, Some(ClientTls { ca_file, server_name_override, ..ClientTls::default() }), Proxies::default())
    };
    let ca_file = Some(logins.0.clone());
    let for_login = client(&world, Some(ClientTls { ca_file, ..ClientTls::default() }), Proxies::default());
    for (token_url, elsewhere, works) in [
        ("https://login/token", own(), false),
        ("https://login/token", for_login.clone(), true),
        // At the endpoint's own origin everything is as for the endpoint.
        ("https://elsewhere/token", for_login, true),
    ] {
        let target = target(&world, "https://elsewhere/mcp", token_url, &secret, [own(), elsewhere]);
        let outcome = target.cycle(&plan(&world, &["a"])).await;
        if works {
            answer(&outcome, "get_a");
        } else {
            let failure = outcome.setup.unwrap();
            assert_eq!(failure.class(), Class::Tls, "{failure}");
            let said = failure.to_string();
            assert!(said.contains("the authorization server at https://login/token"), "{failure}");
            assert!(said.contains("oauth2.tls"), "{failure}");
        }
    }
}
