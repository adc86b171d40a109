//! Client certificates: a server that wants one, and the names and files by which both sides know each other.

use minicol_mcp::{Class, Failure, HttpClient, PollTarget, Target};
use minicol_plugin::net::{ClientTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{
    connections::{Front, plan, target},
    temp_file::TempFile,
    world::{INTERVAL, World, answer},
};

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: TempFile,
}

/// A certificate and its key.
struct Identity {
    cert: TempFile,
    key: TempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = TempFile::new(&params.self_signed(&key).unwrap().pem());
        Self { issuer: Issuer::new(params, key), file }
    }

    fn signs(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

impl Identity {
    fn of((cert, key): (String, String)) -> Self {
        Self { cert: TempFile::new(&cert), key: TempFile::new(&key) }
    }
}

/// A server that shows a certificate for `name`, and lets in whom `clients` vouches for.
async fn server(world: &World, name: &str, authority: &Authority, clients: &Authority, min_version: &str) {
    let shown = Identity::of(authority.signs(name));
    let tls = ServerTls {
        cert_file: shown.cert.0.clone(),
        key_file: shown.key.0.clone(),
        client_ca_file: Some(clients.file.0.clone()),
        min_version: serde_json::from_value(min_version.into()).unwrap(),
    };
    Front::serve(world, "buddy:443", Some(tls.server_config(&[b"http/1.1"]).unwrap())).await;
}

fn client(authority: &Authority, identity: Option<&Identity>) -> ClientTls {
    ClientTls {
        ca_file: Some(authority.file.0.clone()),
        cert_file: identity.map(|identity| identity.cert.0.clone()),
        key_file: identity.map(|identity| identity.key.0.clone()),
        ..ClientTls::default()
    }
}

fn polling(world: &World, tls: ClientTls) -> Target {
    target(world, "https://buddy/mcp", Some(HttpClient::tls(tls).unwrap()), None)
}

async fn refused(world: &World, target: &Target) -> Failure {
    let failure = target.cycle(&plan(world, &["a"])).await.setup.unwrap();
    assert_eq!((failure.class(), &*failure.error_type()), (Class::Tls, "tls"), "{failure}");
    failure
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_client_certificate_lets_in_whom_its_authority_vouches_for() {
    for min_version in ["1.2", "1.3"] {
        let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
        server(&world, "buddy", &authority, &clients, min_version).await;
        let identity = Identity::of(clients.signs("minicol"));
        let target = polling(&world, client(&authority, Some(&identity)));
        answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_certificate_or_with_a_strangers_the_failure_names_the_cure() {
    let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
    server(&world, "buddy", &authority, &clients, "1.3").await;
    let stranger = Identity::of(Authority::new().signs("minicol"));
    for identity in [None, Some(&stranger)] {
        let failure = refused(&world, &polling(&world, client(&authority, identity))).await.to_string();
        assert!(failure.contains("check cert_file and key_file under tls"), "{failure}");
        assert!(failure.starts_with("https://buddy/mcp: initialize: "), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_authority_is_another_is_not_believed() {
    let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
    server(&world, "buddy", &authority, &clients, "1.2").await;
    let identity = Identity::of(clients.signs("minicol"));
    let failure = refused(&world, &polling(&world, client(&Authority::new(), Some(&identity)))).await.to_string();
    assert!(failure.contains("tls handshake with buddy:443 failed") && failure.contains("authority"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn the_name_that_is_written_stands_in_place_of_the_endpoints() {
    let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
    server(&world, "inner.example", &authority, &clients, "1.2").await;
    let identity = Identity::of(clients.signs("minicol"));
    let tls = client(&authority, Some(&identity));
    let failure = refused(&world, &polling(&world, tls.clone())).await.to_string();
    assert!(failure.contains("tls handshake with buddy:443 failed"), "{failure}");
    let named = ClientTls { server_name_override: Some("inner.example".to_owned()), ..tls };
    answer(&polling(&world, named).cycle(&plan(&world, &["a"])).await, "get_a");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_renewed_on_disk_is_shown_from_the_next_connection_on() {
    let (world, authority, clients) = (World::new().await, Authority::new(), Authority::new());
    server(&world, "buddy", &authority, &clients, "1.3").await;
    let identity = Identity::of(Authority::new().signs("minicol"));
    let target = polling(&world, client(&authority, Some(&identity)));
    refused(&world, &target).await;
    let (cert, key) = clients.signs("minicol, renewed");
    // Between the two writes they do not belong together: what was before stays in use.
    identity.cert.write(&cert);
    tokio::time::advance(INTERVAL).await;
    refused(&world, &target).await;
    identity.key.write(&key);
    tokio::time::advance(INTERVAL).await;
    answer(&target.cycle(&plan(&world, &["a"])).await, "get_a");
}
