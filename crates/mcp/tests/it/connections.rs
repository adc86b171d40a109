//! How a server is reached: HTTP/2 and TLS, whose files may change, and proxies.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use minicol_mcp::{
    Class, CyclePlan, HttpClient, PollTarget, Proxies, Proxy, Target, TargetSettings, TargetState, ToolResult,
    testing::{FaultServer, Reply},
};
use minicol_plugin::net::{BoxIo, ClientTls, ClientTlsFiles, HttpConnector, Network, TlsVersion};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    temp_file::TempFile,
    world::{INTERVAL, World, answer, failure},
};

type Heads = Arc<Mutex<Vec<Request<()>>>>;

/// What stands before the server: connections that were taken, and the heads of requests that came over them.
#[derive(Clone, Default)]
pub(crate) struct Front {
    connections: Arc<Mutex<usize>>,
    heads: Heads,
    /// Who was asked for a certificate and showed one.
    shown: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

impl Front {
    /// Serves HTTP/1.1 and HTTP/2 on `address`, under TLS with `tls`, and hands each request to the server.
    pub(crate) async fn serve(world: &World, address: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let (front, network) = (Self::default(), Arc::clone(world.scope.network()));
        let mut listener = network.listen(address).await.unwrap();
        let served = front.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *served.connections.lock().unwrap() += 1;
                let (network, tls, heads) = (Arc::clone(&network), tls.clone(), Arc::clone(&served.heads));
                let shown = Arc::clone(&served.shown);
                tokio::spawn(async move {
                    let stream: BoxIo = match tls {
                        None => stream,
                        Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                            Ok(stream) => {
                                let certificates = stream.get_ref().1.peer_certificates();
                                let first = certificates.and_then(|shown| shown.first()).map(|one| one.to_vec());
                                shown.lock().unwrap().push(first);
                                Box::new(stream)
                            }
                            Err(_) => return,
                        },
                    };
                    let service = service_fn(move |request| forward(Arc::clone(&network), Arc::clone(&heads), request));
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        front
    }

    fn versions(&self) -> Vec<Version> {
        self.heads.lock().unwrap().iter().map(Request::version).collect()
    }
}

/// Hands a request to the server behind.
async fn forward(
    network: Arc<dyn Network>,
    heads: Heads,
    request: Request<Incoming>,
) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
    let (mut head, body) = request.into_parts();
    heads.lock().unwrap().push(Request::from_parts(head.clone(), ()));
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = format!("http://buddy:8678{path}").parse().unwrap();
    head.version = Version::HTTP_11;
    head.headers.remove("host");
    let body: Full<Bytes> = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default().into();
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    client.build(HttpConnector::new(network, None)).request(Request::from_parts(head, body)).await
}

/// A certificate for `buddy`, as the server's configuration that offers `alpn`, and as PEM.
fn certificate(alpn: &[&[u8]]) -> (Arc<ServerConfig>, String) {
    certificate_of("buddy", alpn)
}

/// The same for another name.
pub(crate) fn certificate_of(name: &str, alpn: &[&[u8]]) -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (Arc::new(config), cert.pem())
}

fn trusting(file: &TempFile) -> Arc<ClientTlsFiles> {
    let tls = ClientTls { ca_file: Some(file.0.clone()), ..ClientTls::default() };
    HttpClient::tls(tls).unwrap()
}

pub(crate) fn target(world: &World, endpoint: &str, tls: Option<Arc<ClientTlsFiles>>, proxy: Option<Proxy>) -> Target {
    let http = HttpClient::with(Arc::clone(world.scope.network()), tls, proxy.map(Proxies::all).unwrap_or_default());
    let settings = TargetSettings { max_retries: 0, ..TargetSettings::new(endpoint.parse().unwrap()) };
    Target::new(settings, http, Arc::new(TargetState::default()), &world.scope)
}

/// A cycle from now on.
pub(crate) fn plan(world: &World, tools: &[&str]) -> CyclePlan {
    let tick = Instant::now();
    CyclePlan { tick, deadline: tick + INTERVAL, ..world.plan(tools) }
}

#[tokio::test(start_paused = true)]
async fn http_2_is_spoken_where_the_server_offers_it_and_one_connection_carries_all_calls() {
    for (alpn, version, connections) in [
        (&[&b"h2"[..], b"http/1.1"][..], Version::HTTP_2, 1),
        (&[b"http/1.1"], Version::HTTP_11, 2),
        (&[], Version::HTTP_11, 2),
    ] {
        let world = World::new().await;
        let (config, pem) = certificate(alpn);
        let file = TempFile::new(&pem);
        let front = Front::serve(&world, "buddy:443", Some(config)).await;
        let target = target(&world, "https://buddy/mcp", Some(trusting(&file)), None);
        for _ in 0..3 {
            let outcome = target.cycle(&plan(&world, &["a", "b"])).await;
            answer(&outcome, "get_a");
            answer(&outcome, "get_b");
        }
        assert!(front.versions().iter().all(|seen| *seen == version), "{:?}", front.versions());
        assert!(*front.connections.lock().unwrap() <= connections, "{:?}", front.connections);
        target.close().await;
        assert_eq!(world.server.count("DELETE"), 1);
    }
}

/// Over HTTP/1.1 see `faults`.
#[tokio::test(start_paused = true)]
async fn a_flood_of_headers_over_http_2_is_no_reply() {
    let world = World::new().await;
    let (config, pem) = certificate(&[b"h2"]);
    let file = TempFile::new(&pem);
    let front = Front::serve(&world, "buddy:443", Some(config)).await;
    let target = target(&world, "https://buddy/mcp", Some(trusting(&file)), None);
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    let long = "y".repeat(4096);
    for (headers, says) in [(20, "headers are too many or too long"), (60, "is a flood")] {
        let flood = (0..headers).fold(Reply::status(200), |reply, n| reply.header(&format!("x-{n}"), &long));
        world.server.once("tools/call get_a", flood);
        let outcome = target.cycle(&plan(&world, &["a"])).await;
        let failure = failure(&outcome, "get_a");
        assert_eq!((failure.class(), &*failure.error_type()), (Class::Protocol, "invalid_response"), "{failure}");
        assert!(failure.to_string().contains(says), "{failure}");
        answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    }
    assert!(front.versions().iter().all(|seen| *seen == Version::HTTP_2));
}

#[tokio::test(start_paused = true)]
async fn authorities_are_read_again_when_their_file_changes_and_a_broken_file_leaves_those_before() {
    let world = World::new().await;
    let (config, pem) = certificate(&[]);
    let (_, other) = certificate(&[]);
    let file = TempFile::new(&other);
    Front::serve(&world, "buddy:443", Some(config)).await;
    let target = target(&world, "https://buddy/mcp", Some(trusting(&file)), None);
    let refused = target.cycle(&plan(&world, &["a"])).await.setup.unwrap();
    assert_eq!((refused.class(), &*refused.error_type()), (Class::Tls, "tls"), "{refused}");

    file.write(&format!("{pem}\n{other}"));
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");

    file.write("half a certifi");
    target.close().await;
    tokio::time::advance(INTERVAL).await; // no connection is kept that long
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
}

/// A certificate that signs itself, and its key: files, and what a server sees of it.
fn identity() -> (String, String, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["poller".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem(), cert.der().to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_client_certificate_is_shown_and_another_one_when_its_files_change() {
    let world = World::new().await;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["buddy".to_owned()]).unwrap();
    let (first, second) = (identity(), identity());
    let mut roots = rustls::RootCertStore::empty();
    for (_, _, der) in [&first, &second] {
        roots.add(der.clone().into()).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = builder.with_client_cert_verifier(verifier.unwrap()).with_single_cert(vec![cert.der().clone()], key);
    let front = Front::serve(&world, "elsewhere:443", Some(Arc::new(config.unwrap()))).await;

    let (ca, chain, private) = (TempFile::new(&cert.pem()), TempFile::new(&first.0), TempFile::new(&first.1));
    let tls = |cert_file: Option<&TempFile>| ClientTls {
        ca_file: Some(ca.0.clone()),
        cert_file: cert_file.map(|file| file.0.clone()),
        key_file: cert_file.map(|_| private.0.clone()),
        server_name_override: Some("buddy".to_owned()),
        ..ClientTls::default()
    };
    let reached = |tls| target(&world, "https://elsewhere/mcp", Some(HttpClient::tls(tls).unwrap()), None);
    let nameless = reached(tls(None)).cycle(&plan(&world, &["a"])).await.setup.unwrap();
    assert_eq!(nameless.class(), Class::Tls, "{nameless}");
    assert!(nameless.to_string().contains("CertificateRequired"), "{nameless}");
    assert!(nameless.to_string().contains("check cert_file and key_file"), "{nameless}");

    let target = reached(tls(Some(&chain)));
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    private.write(&second.1);
    chain.write(&format!("{}\n", second.0)); // another length, where the clock of the file system is coarse
    tokio::time::advance(INTERVAL).await; // no connection is kept that long
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    let shown = front.shown.lock().unwrap();
    assert_eq!((shown.first(), shown.last()), (Some(&Some(first.2)), Some(&Some(second.2))));
}

#[tokio::test(start_paused = true)]
async fn a_version_of_tls_that_is_too_old_is_refused() {
    let world = World::new().await;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["buddy".to_owned()]).unwrap();
    let builder = ServerConfig::builder_with_provider(ring::default_provider().into());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
    Front::serve(&world, "buddy:443", Some(Arc::new(config))).await;
    let file = TempFile::new(&cert.pem());
    for (min_version, works) in [(TlsVersion::Tls12, true), (TlsVersion::Tls13, false)] {
        let tls = ClientTls { ca_file: Some(file.0.clone()), min_version, ..ClientTls::default() };
        let target = target(&world, "https://buddy/mcp", Some(HttpClient::tls(tls).unwrap()), None);
        let failed = target.cycle(&plan(&world, &["a"])).await.setup;
        assert_eq!(failed.as_ref().map(minicol_mcp::Failure::class), (!works).then_some(Class::Tls), "{failed:?}");
    }
}

/// Takes connections on `address` and hands their bytes on to `to`, until it is told to swallow those of the connections that it has.
async fn relay(world: &World, address: &str, to: (&'static str, u16)) -> tokio::sync::watch::Sender<u32> {
    let network = Arc::clone(world.scope.network());
    let mut listener = network.listen(address).await.unwrap();
    let (swallow, swallowed) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (network, mut swallowed) = (Arc::clone(&network), swallowed.clone());
            tokio::spawn(async move {
                let mut far = network.connect(to.0, to.1).await?;
                swallowed.mark_unchanged();
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = swallowed.changed() => std::future::pending().await, // both ends stay open, and nothing passes
                }
                io::Result::Ok(())
            });
        }
    });
    swallow
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_that_leads_nowhere_any_more_is_given_up() {
    let world = World::new().await;
    let (config, pem) = certificate(&[b"h2"]);
    let file = TempFile::new(&pem);
    Front::serve(&world, "inside:443", Some(config)).await;
    let swallow = relay(&world, "buddy:443", ("inside", 443)).await;
    let http = HttpClient::with(Arc::clone(world.scope.network()), Some(trusting(&file)), Proxies::default());
    let settings = TargetSettings {
        max_retries: 0,
        breaker_threshold: u32::MAX,
        timeout: Duration::from_secs(1),
        ..TargetSettings::new("https://buddy/mcp".parse().unwrap())
    };
    let target = Target::new(settings, http, Arc::new(TargetState::default()), &world.scope);
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");

    swallow.send_modify(|times| *times += 1);
    let before = Instant::now();
    // Polled each second, the connection is never idle for long enough to be dropped for that.
    while target
        .cycle(&plan(&world, &["a"]))
        .await
        .tools
        .iter()
        .any(|(_, result)| !matches!(result, ToolResult::Answered(_)))
    {
        assert!(before.elapsed() < Duration::from_secs(15), "for how long?");
    }
    assert!(before.elapsed() > Duration::from_secs(5), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_handed_whole_requests_for_http() {
    let world = World::new().await;
    let front = Front::serve(&world, "proxy:3128", None).await;
    let proxy = Proxy::parse("http://user:hunter2@proxy:3128").unwrap();
    let target = target(&world, "http://buddy:8678/mcp", None, Some(proxy));
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    let heads = front.heads.lock().unwrap();
    assert!(heads.len() > 3);
    for head in &*heads {
        assert_eq!(head.uri(), "http://buddy:8678/mcp");
        assert_eq!(head.headers()["proxy-authorization"], "Basic dXNlcjpodW50ZXIy");
        assert_eq!(head.headers()["host"], "buddy:8678");
    }
    drop(heads);
    assert!(!format!("{target:?}").contains("hunter2"));
}

/// Answers each CONNECT with `status`, and makes the tunnel where that is a success; gives what was asked.
pub(crate) async fn tunnels(world: &World, status: &'static str) -> Arc<Mutex<Vec<String>>> {
    let (asked, network) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(world.scope.network()));
    let mut listener = network.listen("proxy:3128").await.unwrap();
    let heads = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (network, heads) = (Arc::clone(&network), Arc::clone(&heads));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let to = head.split([' ', ':']).nth(1).unwrap_or_default().to_owned();
                heads.lock().unwrap().push(head);
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await?;
                if status.starts_with('2') {
                    let mut far = network.connect(&to, 443).await?;
                    copy_bidirectional(&mut stream, &mut far).await?;
                }
                io::Result::Ok(())
            });
        }
    });
    asked
}

#[tokio::test(start_paused = true)]
async fn a_proxy_makes_a_tunnel_for_https_that_it_cannot_look_into() {
    let world = World::new().await;
    let (config, pem) = certificate(&[b"h2"]);
    let file = TempFile::new(&pem);
    let front = Front::serve(&world, "buddy:443", Some(config)).await;
    let asked = tunnels(&world, "200 OK").await;
    let proxy = Proxy::parse("http://user:hunter2@proxy:3128").unwrap();
    let target = target(&world, "https://buddy/mcp", Some(trusting(&file)), Some(proxy));
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("CONNECT buddy:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n"), "{asked:?}");
    assert!(front.heads.lock().unwrap().iter().all(|head| !head.headers().contains_key("proxy-authorization")));
    assert!(front.versions().iter().all(|version| *version == Version::HTTP_2));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_refuses_or_is_not_there_is_named() {
    let world = World::new().await;
    let (_, pem) = certificate(&[]);
    let file = TempFile::new(&pem);
    let proxy = Proxy::parse("http://user:hunter2@proxy:3128").unwrap();
    let target = target(&world, "https://buddy/mcp", Some(trusting(&file)), Some(proxy));
    let absent = target.cycle(&plan(&world, &["a"])).await.setup.unwrap();
    tunnels(&world, "407 Proxy Authentication Required").await;
    let refused = target.cycle(&plan(&world, &["a"])).await.setup.unwrap();
    for (failure, class, error_type, says) in [
        (absent, Class::Unavailable, "unavailable", "proxy http://proxy:3128: cannot connect"),
        (refused, Class::Auth, "407", "proxy http://proxy:3128: "),
    ] {
        assert_eq!((failure.class(), &*failure.error_type()), (class, error_type), "{failure}");
        assert!(failure.to_string().contains(says) && failure.to_string().contains("proxy_url"), "{failure}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}

/// The same where the proxy is handed whole requests.
#[tokio::test(start_paused = true)]
async fn a_proxy_that_forwards_is_named_too_where_it_refuses_or_is_not_there() {
    let world = World::new().await;
    let proxy = Proxy::parse("http://user:hunter2@proxy:3128").unwrap();
    let target = target(&world, "http://buddy:8678/mcp", None, Some(proxy));
    let absent = target.cycle(&plan(&world, &["a"])).await.setup.unwrap();
    let server = FaultServer::start(&**world.scope.network(), "proxy:3128").await;
    server.guard(|_| Some(Reply::status(407)));
    let refused = target.cycle(&plan(&world, &["a"])).await.setup.unwrap();
    for (failure, class, error_type, says) in [
        (absent, Class::Unavailable, "unavailable", "proxy http://proxy:3128: cannot connect to proxy:3128"),
        (refused, Class::Auth, "407", "the proxy http://proxy:3128 answered http 407: write its user and password"),
    ] {
        assert_eq!((failure.class(), &*failure.error_type()), (class, error_type), "{failure}");
        assert!(failure.to_string().contains(says) && failure.to_string().contains("proxy_url"), "{failure}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}
