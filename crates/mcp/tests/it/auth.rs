//! Tokens: from a file, and by OAuth 2.1 client credentials.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderName, header::AUTHORIZATION};
use minicol_mcp::{
    Authorize, BearerFile, Class, ClientCredential, CyclePlan, Failure, HttpClient, OAuth2, OAuth2Settings, PollTarget,
    Proxies, Proxy, Target, TargetSettings, TargetState, ToolResult,
    testing::{FaultServer, Reply, Seen},
};
use minicol_plugin::{config::Secret, net::HttpConnector};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json};
use tokio::time::{Instant, advance};
use tracing_subscriber::{filter::LevelFilter, util::SubscriberInitExt};

use crate::{
    outside::Lines,
    temp_file::TempFile,
    world::{INTERVAL, World, answer, failure, result},
};

/// An MCP server that wants tokens, and the authorization server that gives them: `token-1`, `token-2`, ... of which the last holds.
struct Protected {
    world: World,
    issuer: FaultServer,
    granted: Arc<AtomicU32>,
    /// Documents by path, on either server.
    documents: Arc<Mutex<HashMap<String, Value>>>,
    /// What goes into the 401 after `Bearer`.
    challenge: Arc<Mutex<String>>,
}

const ISSUER: &str = "http://issuer:9000";

impl Protected {
    async fn new() -> Self {
        let world = World::new().await;
        world.server.stateless();
        let issuer = FaultServer::start(&*world.harness.network, "issuer:9000").await;
        let granted = Arc::new(AtomicU32::new(0));
        let protected = Self { world, issuer, granted, documents: Arc::default(), challenge: Arc::default() };
        protected.guard();
        protected.serve("/.well-known/oauth-protected-resource/mcp", resource(ISSUER));
        protected.serve("/.well-known/oauth-authorization-server", server(ISSUER));
        protected
    }

    fn guard(&self) {
        let documents = Arc::clone(&self.documents);
        let served = move |seen: &Seen| {
            let found = documents.lock().unwrap().get(&seen.path).map(ToString::to_string);
            Some(found.map_or(Reply::status(404), |found| Reply::json(&found)))
        };
        let (granted, challenge, metadata) = (Arc::clone(&self.granted), Arc::clone(&self.challenge), served.clone());
        self.world.server.guard(move |seen| {
            if seen.kind() == "GET" {
                return metadata(seen);
            }
            let token = format!("Bearer token-{}", granted.load(Ordering::Relaxed));
            let challenge = format!("Bearer {}", challenge.lock().unwrap());
            let refusal = Reply::status(401).header("www-authenticate", &challenge);
            (seen.header("authorization") != Some(&token)).then_some(refusal)
        });
        let granted = Arc::clone(&self.granted);
        self.issuer.guard(move |seen| match seen.kind().as_str() {
            "POST" => {
                let token = format!("token-{}", granted.fetch_add(1, Ordering::Relaxed) + 1);
                let grant = json!({"access_token": token, "token_type": "bearer", "expires_in": 3600});
                Some(Reply::json(&grant.to_string()))
            }
            _ => served(seen),
        });
    }

    fn serve(&self, path: &str, document: Value) {
        self.documents.lock().unwrap().insert(path.to_owned(), document);
    }

    /// Nothing holds any more, as after a restart of the authorization server.
    fn revoke(&self) {
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    fn http(&self) -> HttpClient {
        HttpClient::new(HttpConnector::new(Arc::clone(self.world.scope.network()), None))
    }

    fn settings(&self, credential: ClientCredential) -> OAuth2Settings {
        OAuth2Settings {
            endpoint: self.world.server.url().parse().unwrap(),
            client_id: "min:icol".to_owned(),
            credential,
            token_url: None,
            issuer: Some(ISSUER.parse().unwrap()),
            trust_discovered_issuer: false,
            scopes: Vec::new(),
            resource: None,
            endpoint_params: BTreeMap::new(),
            allow_insecure: true,
        }
    }

    fn target(&self, oauth2: OAuth2Settings) -> Target {
        self.authorized(Arc::new(OAuth2::new(oauth2, self.http(), &self.world.scope)))
    }

    fn authorized(&self, authorize: Arc<dyn Authorize>) -> Target {
        let settings = TargetSettings { authorize: Some(authorize), ..self.world.target.settings().clone() };
        Target::new(settings, self.http(), Arc::new(TargetState::default()), &self.world.scope)
    }

    /// A cycle from now on.
    fn plan(&self, tools: &[&str]) -> CyclePlan {
        let tick = Instant::now();
        CyclePlan { tick, deadline: tick + INTERVAL, ..self.world.plan(tools) }
    }

    async fn works(&self, target: &Target) {
        answer(&target.cycle(&self.plan(&["a", "b"])).await, "get_a");
    }

    async fn refused(&self, target: &Target) -> Failure {
        target.cycle(&self.plan(&["a"])).await.setup.unwrap()
    }

    async fn refused_call(&self, target: &Target) -> String {
        let outcome = target.cycle(&self.plan(&["a"])).await;
        let failed = failure(&outcome, "get_a");
        assert_eq!((failed.class(), &*failed.error_type()), (Class::Auth, "no_token"));
        failed.to_string()
    }

    /// The forms that were posted to the token endpoint, and the `Authorization` headers with them.
    fn posted(&self) -> Vec<(HashMap<String, String>, Option<String>)> {
        let posts = self.issuer.requests().into_iter().filter(|seen| seen.kind() == "POST");
        let form = |seen: &Seen| url::form_urlencoded::parse(seen.text.as_bytes()).into_owned().collect();
        posts.map(|seen| (form(&seen), seen.header("authorization").map(str::to_owned))).collect()
    }

    /// Where metadata was looked for.
    fn looked(&self) -> Vec<String> {
        let both = self.world.server.requests().into_iter().chain(self.issuer.requests());
        both.filter(|seen| seen.kind() == "GET").map(|seen| seen.path).collect()
    }
}

fn resource(issuer: &str) -> Value {
    json!({"resource": "http://buddy:8678/mcp", "authorization_servers": [issuer]})
}

fn server(issuer: &str) -> Value {
    let methods = ["client_secret_post", "client_secret_basic", "private_key_jwt"];
    json!({"issuer": issuer, "token_endpoint": format!("{ISSUER}/token"), "token_endpoint_auth_methods_supported": methods})
}

fn secret(file: &TempFile) -> ClientCredential {
    ClientCredential::SecretFile(file.0.clone())
}

#[tokio::test(start_paused = true)]
async fn metadata_is_found_wherever_the_specifications_allow_it() {
    let (protected_resource, oauth) =
        ("/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server");
    let oidc = "/.well-known/openid-configuration";
    let tenant = format!("{ISSUER}/tenant1");
    // The suite's metadata-default, -var1, -var2 and -var3: where each stands, whether the challenge says it, and the issuer.
    for (place, told, server_place, issuer) in [
        (format!("{protected_resource}/mcp"), true, oauth.to_owned(), ISSUER),
        (format!("{protected_resource}/mcp"), false, oidc.to_owned(), ISSUER),
        (protected_resource.to_owned(), false, format!("{oauth}/tenant1"), &tenant),
        ("/custom/metadata/location.json".to_owned(), true, format!("/tenant1{oidc}"), &tenant),
    ] {
        let protected = Protected::new().await;
        protected.documents.lock().unwrap().clear();
        protected.serve(&place, resource(issuer));
        protected.serve(&server_place, server(issuer));
        if told {
            let challenge = format!("error=\"invalid_token\", resource_metadata=\"http://buddy:8678{place}\"");
            *protected.challenge.lock().unwrap() = challenge;
        }
        let file = TempFile::new("hunter2\n");
        let issuer = Some(issuer.parse().unwrap());
        let target = protected.target(OAuth2Settings { issuer, ..protected.settings(secret(&file)) });
        protected.works(&target).await;
        let looked = protected.looked();
        assert!(looked.contains(&place) && looked.last() == Some(&server_place), "{looked:?}");
        assert!(!told || looked[0] == place, "{looked:?}");
        assert_eq!(protected.posted().len(), 1, "one token for set-up and calls");
        assert_eq!(protected.posted()[0].0["resource"], "http://buddy:8678/mcp");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_the_first_version_is_its_own_authorization_server() {
    let protected = Protected::new().await;
    protected.documents.lock().unwrap().clear();
    protected.serve("/.well-known/oauth-authorization-server", server("http://buddy:8678"));
    let (file, _) = key();
    let credential = ClientCredential::KeyFile(file.0.clone());
    protected.works(&protected.target(OAuth2Settings { issuer: None, ..protected.settings(credential) })).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_goes_into_the_header_and_into_the_body_only_where_no_header_is_taken() {
    let file = TempFile::new("hunter/2 &\n");
    for (methods, in_body) in [(None, false), (Some("client_secret_basic"), false), (Some("client_secret_post"), true)]
    {
        let protected = Protected::new().await;
        let mut metadata = server(ISSUER);
        metadata["token_endpoint_auth_methods_supported"] = methods.map_or(Value::Null, |method| json!([method]));
        protected.serve("/.well-known/oauth-authorization-server", metadata);
        protected.works(&protected.target(protected.settings(secret(&file)))).await;
        let (form, header) = protected.posted().remove(0);
        assert_eq!(form["grant_type"], "client_credentials");
        let expected = format!("Basic {}", STANDARD.encode("min%3Aicol:hunter%2F2+%26"));
        assert_eq!(header, (!in_body).then_some(expected));
        let in_form = form.get("client_secret").map(String::as_str);
        assert_eq!((in_form, form.contains_key("client_id")), (in_body.then_some("hunter/2 &"), in_body));
    }
}

/// With `token_url` nobody says how the server takes the secret.
#[tokio::test(start_paused = true)]
async fn where_no_metadata_says_it_the_header_is_tried_then_the_body_and_what_works_is_kept_to() {
    let file = TempFile::new("hunter2");
    for (refusal, in_body) in [
        (None, false),
        (Some((401, json!({"error": "invalid_client"}))), true),
        (Some((400, json!({"error": "invalid_request"}))), true),
        (Some((401, json!("who are you?"))), true),
    ] {
        let protected = Protected::new().await;
        if let Some((status, said)) = refusal {
            let granted = Arc::clone(&protected.granted);
            protected.issuer.guard(move |seen| {
                let named = seen.text.contains("client_secret=hunter2") && seen.text.contains("client_id=min%3Aicol");
                if !named || seen.header("authorization").is_some() {
                    return Some(Reply::status(status).chunk(said.to_string()));
                }
                let token = format!("token-{}", granted.fetch_add(1, Ordering::Relaxed) + 1);
                Some(Reply::json(&json!({"access_token": token, "expires_in": 60}).to_string()))
            });
        }
        let token_url = Some(format!("{ISSUER}/token").parse().unwrap());
        let target = protected.target(OAuth2Settings { token_url, ..protected.settings(secret(&file)) });
        protected.works(&target).await;
        protected.revoke();
        protected.works(&target).await;
        let sent: Vec<bool> = protected.posted().iter().map(|(_, header)| header.is_none()).collect();
        assert_eq!(sent, if in_body { vec![false, true, true] } else { vec![false, false] });
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_the_secret_nowhere_is_told_with_what_it_said_to_both() {
    let file = TempFile::new("hunter2");
    for (errors, says, asked) in [
        (
            ["invalid_request", "invalid_client"],
            "refused (http 400, invalid_client); and with the secret in the header (http 400, invalid_request)",
            2,
        ),
        (["invalid_scope", "none"], "refused (http 400, invalid_scope)", 1),
    ] {
        let protected = Protected::new().await;
        protected.issuer.guard(move |seen| {
            let error = errors[usize::from(seen.header("authorization").is_none())];
            Some(Reply::status(400).chunk(json!({"error": error}).to_string()))
        });
        let token_url = Some(format!("{ISSUER}/token").parse().unwrap());
        let target = protected.target(OAuth2Settings { token_url, ..protected.settings(secret(&file)) });
        let failure = protected.refused(&target).await;
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(protected.posted().len(), asked, "a refusal for another reason is not tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn further_parameters_are_sent_and_the_resource_can_be_left_away() {
    let file = TempFile::new("hunter2");
    let protected = Protected::new().await;
    let endpoint_params = [("audience".to_owned(), Secret::new("buddy & co"))].into();
    let resource = Some(String::new());
    let settings = OAuth2Settings { endpoint_params, resource, ..protected.settings(secret(&file)) };
    let oauth2 = OAuth2::new(settings, protected.http(), &protected.world.scope);
    let seen = format!("{oauth2:?} {}", oauth2.identity());
    assert!(!seen.contains("buddy &"), "{seen}");
    protected.works(&protected.authorized(Arc::new(oauth2))).await;
    let (form, _) = protected.posted().remove(0);
    assert_eq!((form["audience"].as_str(), form.contains_key("resource")), ("buddy & co", false));
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A new one, and a file that holds it.
fn key() -> (TempFile, EcdsaKeyPair) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    (TempFile::new(&pem("PRIVATE KEY", document.as_ref())), key)
}

#[tokio::test(start_paused = true)]
async fn a_private_key_signs_an_assertion_that_its_public_key_holds() {
    let (file, key) = key();
    for token_url in [None, Some(format!("{ISSUER}/token"))] {
        let protected = Protected::new().await;
        let audience = token_url.clone().unwrap_or(ISSUER.to_owned());
        let settings = OAuth2Settings {
            token_url: token_url.map(|url| url.parse().unwrap()),
            issuer: None,
            ..protected.settings(ClientCredential::KeyFile(file.0.clone()))
        };
        protected.works(&protected.target(settings)).await;
        let (form, header) = protected.posted().remove(0);
        assert_eq!(header, None);
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let (signed, signature) = form["client_assertion"].rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let parts: Vec<Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({"alg": "ES256", "typ": "JWT"}));
        assert_eq!((&parts[1]["iss"], &parts[1]["sub"]), (&json!("min:icol"), &json!("min:icol")));
        assert_eq!(parts[1]["aud"], json!(audience));
        assert_eq!(parts[1]["exp"].as_u64().unwrap() - parts[1]["iat"].as_u64().unwrap(), 300);
        assert_eq!(parts[1]["jti"].as_str().unwrap().len(), 32);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_sign_is_told_with_its_cure() {
    let protected = Protected::new().await;
    for (text, says) in [
        ("nothing".to_owned(), "holds no private key in PEM"),
        (pem("EC PRIVATE KEY", b"x"), "openssl pkcs8 -topk8"),
        (pem("PRIVATE KEY", b"x"), "PKCS#8"),
    ] {
        let file = TempFile::new(&text);
        let target = protected.target(protected.settings(ClientCredential::KeyFile(file.0.clone())));
        let failure = protected.refused(&target).await;
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Auth, "no_token"), "{failure}");
        assert!(failure.to_string().contains("private_key_file") && failure.to_string().contains(says), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_renewed_before_it_ends_and_once_after_the_server_refused_it() {
    let protected = Protected::new().await;
    let file = TempFile::new("hunter2");
    let token_url = Some(format!("{ISSUER}/token").parse().unwrap());
    let target = protected.target(OAuth2Settings { token_url, ..protected.settings(secret(&file)) });
    for _ in 0..3 {
        protected.works(&target).await;
    }
    assert_eq!(protected.posted().len(), 1, "kept");
    assert_eq!(protected.looked(), Vec::<String>::new(), "a token_url needs no discovery");
    let sent = protected.world.server.requests();
    assert!(sent.iter().all(|seen| seen.header("authorization") == Some("Bearer token-1")), "and asked for first");

    advance(Duration::from_secs(3539)).await;
    protected.works(&target).await;
    assert_eq!(protected.posted().len(), 1);
    advance(Duration::from_secs(1)).await;
    protected.works(&target).await;
    assert_eq!(protected.posted().len(), 2, "a minute before its end");

    protected.revoke();
    let outcome = target.cycle(&protected.plan(&["a", "b"])).await;
    answer(&outcome, "get_a");
    answer(&outcome, "get_b");
    assert_eq!(protected.posted().len(), 3, "one for both calls");

    // The server refuses whatever it is shown.
    protected.world.server.guard(|_| Some(Reply::status(401)));
    protected.world.server.forget_requests();
    let outcome = target.cycle(&protected.plan(&["a"])).await;
    let failed = failure(&outcome, "get_a");
    assert_eq!((failed.class(), &*failed.error_type()), (Class::Auth, "401"));
    assert_eq!((protected.world.server.count("tools/call"), protected.posted().len()), (2, 4), "once");
}

/// What the issuer of [`moving`] is like.
#[derive(Clone, Default)]
struct Moved {
    /// Where its token endpoint is.
    token: String,
    /// What it answers there instead of a token.
    refusal: Option<Reply>,
}

/// An issuer that can move its token endpoint. Its tokens hold an hour.
fn moving(protected: &Protected) -> Arc<Mutex<Moved>> {
    let moved = Arc::new(Mutex::new(Moved { token: "/token1".to_owned(), refusal: None }));
    let (now, granted) = (Arc::clone(&moved), Arc::clone(&protected.granted));
    protected.issuer.guard(move |seen| {
        let Moved { token, refusal } = now.lock().unwrap().clone();
        if seen.kind() == "GET" {
            let mut metadata = server(ISSUER);
            metadata["token_endpoint"] = json!(format!("{ISSUER}{token}"));
            let found = seen.path == "/.well-known/oauth-authorization-server";
            return Some(if found { Reply::json(&metadata.to_string()) } else { Reply::status(404) });
        }
        if seen.path != token {
            return Some(Reply::status(404));
        }
        Some(refusal.unwrap_or_else(|| {
            let token = format!("token-{}", granted.fetch_add(1, Ordering::Relaxed) + 1);
            Reply::json(&json!({"access_token": token, "expires_in": 3600}).to_string())
        }))
    });
    moved
}

const HOUR: Duration = Duration::from_secs(3600);

/// Promise: restarting minicol is never needed. Early and late: while the old token holds, and when it has ended.
#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_moves_is_discovered_again() {
    let file = TempFile::new("hunter2");
    for after in [Duration::from_secs(3570), HOUR * 2] {
        let protected = Protected::new().await;
        let moved = moving(&protected);
        let target = protected.target(protected.settings(secret(&file)));
        protected.works(&target).await;
        "/token2".clone_into(&mut moved.lock().unwrap().token);
        advance(after).await;
        protected.world.server.forget_requests();
        protected.issuer.forget_requests();
        protected.works(&target).await;
        let posts: Vec<_> = protected.issuer.requests().into_iter().filter(|seen| seen.kind() == "POST").collect();
        assert_eq!(posts.iter().map(|seen| &*seen.path).collect::<Vec<_>>(), ["/token1", "/token2"]);
        let mut sent = protected.world.server.requests().into_iter().filter(|seen| seen.kind() != "GET");
        assert!(sent.all(|seen| seen.header("authorization") == Some("Bearer token-2")), "nothing went out without");
        protected.issuer.forget_requests();
        advance(HOUR).await;
        protected.works(&target).await;
        assert_eq!((protected.posted().len(), protected.looked().len()), (1, 1), "what was found is kept to");
    }
}

/// One that hangs takes the whole attempt, so the next one looks.
#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_hangs_where_it_was_is_discovered_again_in_the_next_cycle() {
    let file = TempFile::new("hunter2");
    let protected = Protected::new().await;
    let moved = moving(&protected);
    let target = protected.target(protected.settings(secret(&file)));
    protected.works(&target).await;
    moved.lock().unwrap().refusal = Some(Reply::hang());
    advance(HOUR).await;
    target.cycle(&protected.plan(&["a"])).await;
    *moved.lock().unwrap() = Moved { token: "/token2".to_owned(), refusal: None };
    protected.works(&target).await;
}

/// The authorization server is where it was, and gives nothing.
#[tokio::test(start_paused = true)]
async fn a_grant_that_is_refused_where_nothing_moved_is_not_asked_for_again() {
    let file = TempFile::new("hunter2");
    let protected = Protected::new().await;
    let moved = moving(&protected);
    let target = protected.target(protected.settings(secret(&file)));
    protected.works(&target).await;
    let refusal = json!({"error": "invalid_client"}).to_string();
    moved.lock().unwrap().refusal = Some(Reply::status(401).chunk(refusal));
    advance(HOUR).await;
    for cycle in 1..=3 {
        let told = protected.refused(&target).await.to_string();
        assert!(told.contains("/token1 refused (http 401, invalid_client)"), "{told}");
        assert_eq!(protected.posted().len(), 1 + cycle, "one grant per call, no loop");
    }
    moved.lock().unwrap().refusal = None;
    protected.works(&target).await;
}

/// The polled server says elsewhere by now where its metadata are: that is known of it alone, when it refuses.
#[tokio::test(start_paused = true)]
async fn metadata_that_move_with_the_token_endpoint_are_found_by_the_next_401() {
    let file = TempFile::new("hunter2");
    let protected = Protected::new().await;
    let moved = moving(&protected);
    let place = |at: &str| format!("resource_metadata=\"http://buddy:8678{at}\"");
    protected.serve("/first", resource(ISSUER));
    *protected.challenge.lock().unwrap() = place("/first");
    let target = protected.target(protected.settings(secret(&file)));
    protected.works(&target).await;
    protected.documents.lock().unwrap().clear();
    protected.serve("/second", resource(ISSUER));
    *protected.challenge.lock().unwrap() = place("/second");
    "/token2".clone_into(&mut moved.lock().unwrap().token);
    advance(HOUR).await;
    let told = protected.refused(&target).await.to_string();
    assert!(told.contains("/token1 refused (http 404"), "{told}");
    protected.works(&target).await;
}

#[tokio::test(start_paused = true)]
async fn scopes_are_those_that_are_configured_else_challenged_else_supported() {
    let file = TempFile::new("hunter2");
    for (configured, challenged, supported, expected) in [
        (vec!["a", "b"], "scope=\"c\"", vec!["d"], Some("a b")),
        (vec![], "scope=\"c d\"", vec!["e"], Some("c d")),
        (vec![], "", vec!["e", "f"], Some("e f")),
        (vec![], "", vec![], None),
    ] {
        let protected = Protected::new().await;
        challenged.clone_into(&mut protected.challenge.lock().unwrap());
        let mut document = resource(ISSUER);
        document["scopes_supported"] = json!(supported);
        protected.serve("/.well-known/oauth-protected-resource/mcp", document);
        let scopes = configured.into_iter().map(str::to_owned).collect();
        let settings = OAuth2Settings { scopes, ..protected.settings(secret(&file)) };
        protected.works(&protected.target(settings)).await;
        assert_eq!(protected.posted()[0].0.get("scope").map(String::as_str), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_of_somebody_else_leads_to_no_token() {
    let file = TempFile::new("hunter2");
    let (at, issuer_at) = ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server");
    for (place, document, says) in [
        (at, json!({"resource": "http://evil/mcp", "authorization_servers": [ISSUER]}), "another resource"),
        (at, json!({"resource": "http://buddy:8678/mcp"}), "names no authorization server"),
        (at, json!({"authorization_servers": ["file:///etc/passwd"]}), "no http(s) URL"),
        (at, resource("http://issuer:9000/other"), "has no metadata: set token_url"),
        (issuer_at, server("http://evil"), "is that of http://evil"),
        (issuer_at, json!({"issuer": ISSUER}), "names no token endpoint"),
    ] {
        let protected = Protected::new().await;
        protected.serve(place, document);
        // An assertion goes to whom the server names, so whatever it names is looked at.
        let credential = ClientCredential::KeyFile(file.0.clone());
        let target = protected.target(OAuth2Settings { issuer: None, ..protected.settings(credential) });
        let failure = protected.refused(&target).await;
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Auth, "no_token"), "{failure}");
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(protected.posted().len(), 0);
    }
}

/// Whoever answers in the polled server's place names an authorization server of its own, whose metadata are all in order.
#[tokio::test(start_paused = true)]
async fn a_secret_goes_to_no_authorization_server_that_only_the_polled_server_names() {
    let file = TempFile::new("hunter2");
    for pinned in [None, Some(ISSUER.parse().unwrap())] {
        let protected = Protected::new().await;
        let evil = FaultServer::start(&*protected.world.harness.network, "evil:9000").await;
        let document = json!({"issuer": "http://evil:9000", "token_endpoint": "http://evil:9000/token"});
        evil.guard(move |_| Some(Reply::json(&document.to_string())));
        protected.serve("/.well-known/oauth-protected-resource/mcp", resource("http://evil:9000"));
        let holds = pinned.is_some();
        let target = protected.target(OAuth2Settings { issuer: pinned, ..protected.settings(secret(&file)) });
        if holds {
            protected.works(&target).await;
            assert_eq!(protected.posted().len(), 1, "the one that is configured is asked");
        } else {
            let failure = protected.refused(&target).await;
            assert_eq!((failure.class(), &*failure.error_type()), (Class::Auth, "no_token"), "{failure}");
            assert!(failure.to_string().contains("set issuer, token_url or trust_discovered_issuer"), "{failure}");
            assert_eq!(protected.posted().len(), 0);
        }
        assert_eq!(evil.requests().len(), 0, "nobody talks to the other one");
    }
}

/// Whoever wants it so.
#[tokio::test(start_paused = true)]
async fn a_secret_goes_to_whom_the_polled_server_names_where_that_is_trusted() {
    let file = TempFile::new("hunter2");
    let protected = Protected::new().await;
    let endpoint_params = [("pin".to_owned(), Secret::new("1"))].into();
    let settings = OAuth2Settings { endpoint_params, ..protected.settings(secret(&file)) };
    let target = protected.target(OAuth2Settings { issuer: None, trust_discovered_issuer: true, ..settings });
    protected.works(&target).await;
    assert_eq!(protected.posted().len(), 1);
}

/// What `endpoint_params` hold are secrets as well, also beside a key.
#[tokio::test(start_paused = true)]
async fn parameters_go_to_no_authorization_server_that_only_the_polled_server_names() {
    for pinned in [None, Some(ISSUER.parse().unwrap())] {
        let protected = Protected::new().await;
        let (file, _) = key();
        let (endpoint_params, holds) = ([("pin".to_owned(), Secret::new("hunter2"))].into(), pinned.is_some());
        let settings = protected.settings(ClientCredential::KeyFile(file.0.clone()));
        let target = protected.target(OAuth2Settings { issuer: pinned, endpoint_params, ..settings });
        if holds {
            protected.works(&target).await;
        } else {
            let failure = protected.refused(&target).await;
            assert!(failure.to_string().contains("with endpoint_params it is not believed"), "{failure}");
        }
        assert_eq!(protected.posted().len(), usize::from(holds));
    }
}

/// A token holds until its end, whatever becomes of its renewal.
#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_early_is_used_until_it_ends() {
    for broken in [Reply::status(503), Reply::json("{}"), Reply::hang()] {
        let protected = Protected::new().await;
        let file = TempFile::new("hunter2");
        let token_url = Some(format!("{ISSUER}/token").parse().unwrap());
        let target = protected.target(OAuth2Settings { token_url, ..protected.settings(secret(&file)) });
        protected.works(&target).await;
        protected.issuer.guard(move |_| Some(broken.clone()));
        advance(Duration::from_secs(3545)).await;
        target.cycle(&protected.plan(&["a"])).await; // one that hangs costs one attempt
        let tries = protected.posted().len();
        assert!(tries > 1, "the renewal was tried");
        protected.works(&target).await;
        assert_eq!(protected.posted().len(), tries, "and is not tried again with each request");
        advance(Duration::from_secs(60)).await;
        let failure = target.cycle(&protected.plan(&["a"])).await;
        assert!(failure.setup.is_some() || !matches!(result(&failure, "get_a"), ToolResult::Answered(_)), "it ended");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_authorization_server_says_instead_of_a_token_is_told_in_its_class() {
    let file = TempFile::new("hunter2");
    let denied =
        Reply::status(401).chunk(json!({"error": "invalid_client", "error_description": "who?\u{1b}"}).to_string());
    for (reply, class, says) in [
        (denied, Class::Auth, "refused (http 401, invalid_client: who?\\u{1b})"),
        (Reply::status(400), Class::Auth, "without a reason"),
        (Reply::json("{\"access_token\": \"\"}"), Class::Auth, "answered without a bearer token"),
        (Reply::json("{\"access_token\": \"x\", \"token_type\": \"mac\"}"), Class::Auth, "without a bearer token"),
        (Reply::status(302).header("location", "http://evil/"), Class::Auth, "http 302"),
        (Reply::status(503), Class::Unavailable, "the token endpoint http://issuer:9000/token answered http 503"),
        (Reply::cut(), Class::Unavailable, "the authorization server at http://issuer:9000/token"),
        (Reply::json(&"x".repeat(70_000)), Class::Unavailable, "the authorization server at"),
        (Reply::hang(), Class::Timeout, "no answer within 10 s"),
    ] {
        let protected = Protected::new().await;
        protected.issuer.guard(move |seen| (seen.kind() == "POST").then(|| reply.clone()));
        let token_url = Some(format!("{ISSUER}/token").parse().unwrap());
        let target = protected.target(OAuth2Settings { token_url, ..protected.settings(secret(&file)) });
        let failure = protected.refused(&target).await;
        assert_eq!(failure.class(), class, "{failure}");
        assert!(failure.to_string().contains(says), "{failure}");
        let seen = format!("{failure:?} {target:?}");
        assert!(!seen.contains("hunter2"), "{seen}");
        assert_eq!(protected.world.server.requests().len(), 0, "nothing goes out without a token");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_not_sent_unencrypted_to_another_machine_and_no_token_is_ever_shown() {
    let protected = Protected::new().await;
    let file = TempFile::new("hunter2");
    let target = protected.target(OAuth2Settings { allow_insecure: false, ..protected.settings(secret(&file)) });
    let failure = protected.refused(&target).await;
    assert!(failure.to_string().contains("to `buddy` unencrypted: use https"), "{failure}");
    assert_eq!(protected.posted().len(), 0);
    assert_eq!(protected.issuer.requests().len(), 0, "not even its metadata is asked for");

    // An authorization server of this machine, by a proxy of another one: the proxy would see the secret.
    let network = Arc::clone(protected.world.scope.network());
    let proxy = FaultServer::start(&*network, "proxy:3128").await;
    let through = HttpClient::with(network, None, Proxies::all(Proxy::parse("http://proxy:3128").unwrap()));
    let token_url = Some("http://localhost:9000/token".parse().unwrap());
    let settings = OAuth2Settings { allow_insecure: false, token_url, ..protected.settings(secret(&file)) };
    let failure = protected
        .refused(&protected.authorized(Arc::new(OAuth2::new(settings, through, &protected.world.scope))))
        .await;
    assert!(failure.to_string().contains("through the proxy `http://proxy:3128` unencrypted: use https"), "{failure}");
    assert_eq!(proxy.requests().len(), 0);

    let authorize = Arc::new(OAuth2::new(protected.settings(secret(&file)), protected.http(), &protected.world.scope));
    let target = protected.authorized(authorize.clone());
    protected.works(&target).await;
    let header = authorize.header().await.unwrap();
    let seen = format!("{target:?} {authorize:?} {header:?} {} {:?}", authorize.identity(), target.snapshot());
    assert!(!seen.contains("token-") && !seen.contains("hunter2"), "{seen}");
}

/// Not even where every library tells all that it does.
#[tokio::test(start_paused = true)]
async fn no_token_and_no_secret_is_ever_logged() {
    // A test beside this one can make the libraries silent for a moment.
    for _ in 0..50 {
        let logged = all_that_is_logged().await;
        let basic = STANDARD.encode("min%3Aicol:hunter2");
        for secret in ["hunter", "token-1", "token-3", &basic] {
            let line = logged.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret}");
        }
        if logged.contains("TRACE") {
            return;
        }
    }
    panic!("nothing was ever logged");
}

async fn all_that_is_logged() -> String {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(lines.clone());
    let _guard = subscriber.finish().set_default();
    let protected = Protected::new().await;
    let file = TempFile::new("hunter2");
    let target = protected.target(protected.settings(secret(&file)));
    protected.works(&target).await;
    protected.revoke();
    protected.works(&target).await;
    let bearer = TempFile::new("hunter3");
    let target = protected.authorized(Arc::new(BearerFile::new(&bearer.0, protected.world.scope.clock().clone())));
    target.cycle(&protected.plan(&["a"])).await;
    lines.text()
}

#[tokio::test(start_paused = true)]
async fn a_token_may_last_for_ever_or_for_no_time_or_for_a_time_that_is_text() {
    let file = TempFile::new("hunter2");
    for (expires_in, tokens) in
        [(json!(u64::MAX), 1), (Value::Null, 1), (json!(-1), 1), (json!("3600"), 1), (json!("100"), 2), (json!(0), 6)]
    {
        let protected = Protected::new().await;
        let granted = Arc::clone(&protected.granted);
        protected.issuer.guard(move |_| {
            let token = format!("token-{}", granted.fetch_add(1, Ordering::Relaxed) + 1);
            Some(Reply::json(&json!({"access_token": token, "expires_in": expires_in}).to_string()))
        });
        let token_url = Some(format!("{ISSUER}/token").parse().unwrap());
        let target = protected.target(OAuth2Settings { token_url, ..protected.settings(secret(&file)) });
        answer(&target.cycle(&protected.plan(&["a"])).await, "get_a");
        advance(Duration::from_secs(75)).await;
        answer(&target.cycle(&protected.plan(&["a"])).await, "get_a");
        assert_eq!(protected.posted().len(), tokens);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_file_is_read_again_when_it_changes() {
    let protected = Protected::new().await;
    let file = TempFile::new("token-1\n");
    protected.granted.store(1, Ordering::Relaxed);
    let target = protected.authorized(Arc::new(BearerFile::new(&file.0, protected.world.scope.clock().clone())));
    protected.works(&target).await;

    // Changed before the server changes its mind: a second later it is sent. Changed with it: after the first 401.
    for wait in [2, 0] {
        let next = protected.granted.fetch_add(1, Ordering::Relaxed) + 1;
        file.write(&format!("token-{next}"));
        advance(Duration::from_secs(wait)).await;
        protected.world.server.forget_requests();
        let before = Instant::now();
        protected.works(&target).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        let sent = protected.world.server.requests();
        let old =
            sent.iter().filter(|seen| seen.header("authorization") != Some(&format!("Bearer token-{next}"))).count();
        assert_eq!(old > 0, wait == 0, "{sent:?}");
    }

    protected.revoke();
    let outcome = target.cycle(&protected.plan(&["a"])).await;
    assert_eq!(failure(&outcome, "get_a").class(), Class::Auth, "the file holds nothing new");
    for (text, says) in [("", "holds no token"), ("a b", "holds no token")] {
        file.write(text);
        advance(Duration::from_secs(2)).await;
        let failure = protected.refused_call(&target).await;
        assert!(failure.contains("bearer_token_file") && failure.contains(says), "{failure}");
    }
    std::fs::remove_file(&file.0).unwrap();
    advance(Duration::from_secs(2)).await;
    let failure = protected.refused_call(&target).await;
    assert!(
        failure.contains("cannot be read") && failure.contains("check header_files, bearer_token_file"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn headers_from_files_are_read_again_when_they_change_and_stand_in_each_request() {
    let protected = Protected::new().await;
    protected.granted.store(1, Ordering::Relaxed);
    let (token, team) = (TempFile::new("Bearer token-1\n"), TempFile::new("tools"));
    let header_files = vec![(AUTHORIZATION, token.0.clone()), (HeaderName::from_static("x-team"), team.0.clone())];
    let settings = TargetSettings { header_files, ..protected.world.target.settings().clone() };
    let target = Target::new(settings, protected.http(), Arc::new(TargetState::default()), &protected.world.scope);
    protected.works(&target).await;
    let requests = protected.world.server.requests();
    assert!(requests.len() > 2 && requests.iter().all(|seen| seen.header("x-team") == Some("tools")), "{requests:?}");

    // Changed before the server changes its mind: a second later it is sent. Changed with it: after the first 401.
    for wait in [2, 0] {
        let next = protected.granted.fetch_add(1, Ordering::Relaxed) + 1;
        token.write(&format!("Bearer token-{next}"));
        advance(Duration::from_secs(wait)).await;
        protected.world.server.forget_requests();
        protected.works(&target).await;
        let sent = protected.world.server.requests();
        let old = sent.iter().filter(|seen| seen.header("authorization") != Some(&format!("Bearer token-{next}")));
        assert_eq!(old.count() > 0, wait == 0, "{sent:?}");
    }
    for (text, says) in [("", "holds nothing that can stand in the header `authorization`"), ("a\nb", "holds nothing")]
    {
        token.write(text);
        advance(Duration::from_secs(2)).await;
        let failure = protected.refused_call(&target).await;
        assert!(failure.contains("header_files") && failure.contains(says), "{failure}");
    }
    std::fs::remove_file(&token.0).unwrap();
    advance(Duration::from_secs(2)).await;
    assert!(protected.refused_call(&target).await.contains("cannot be read"));
    assert!(!format!("{target:?}").contains("token-"), "{target:?}");
}

/// A pipe that nobody writes into would hold the cycle for ever, a device that never ends would fill the memory.
#[tokio::test(start_paused = true)]
async fn a_secret_that_never_ends_is_refused_at_once() {
    let protected = Protected::new().await;
    let endless = std::path::Path::new("/dev/zero");
    let token = Arc::new(BearerFile::new(endless, protected.world.scope.clock().clone()));
    for credential in [ClientCredential::SecretFile(endless.into()), ClientCredential::KeyFile(endless.into())] {
        let failure = protected.refused(&protected.target(protected.settings(credential))).await;
        assert!(failure.to_string().contains("it is a pipe, a socket or a device"), "{failure}");
    }
    let header_files = vec![(AUTHORIZATION, endless.into())];
    let settings = TargetSettings { header_files, ..protected.world.target.settings().clone() };
    let by_file = Target::new(settings, protected.http(), Arc::new(TargetState::default()), &protected.world.scope);
    for target in [protected.authorized(token), by_file] {
        let failure = protected.refused(&target).await;
        assert!(failure.to_string().contains("it is a pipe, a socket or a device"), "{failure}");
    }
}
