//! TLS, and clients that show certificates.

use std::{fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use minicol_plugin::net::{ClientTls, HttpConnector};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::bench::{GRPC, HTTP, Running, framed, requests, run};

/// An authority, and a certificate of its own for `localhost`, as files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.renew();
        files
    }

    /// Another authority and another certificate, in the same files.
    fn renew(&self) {
        let folder = &self.folder;
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn show(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Sends metrics over TLS by HTTP and by gRPC; the status of both, or what was wrong with both.
async fn post(receiver: &Running, tls: &ClientTls) -> Result<u16, String> {
    let (message, _) = requests()[0].clone();
    let http = http::Request::post(format!("https://localhost:4318{}", HTTP[0]))
        .header("content-type", "application/x-protobuf")
        .body(Full::from(message.clone()))
        .unwrap();
    let grpc = http::Request::post(format!("https://localhost:4317{}", GRPC[0]))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(framed(0, &message)))
        .unwrap();
    let http = send(receiver, tls, &[b"h2", b"http/1.1"], http).await.map(|(status, _)| status);
    let grpc = send(receiver, tls, &[b"h2"], grpc).await;
    if let Ok((status, trailers)) = &grpc {
        assert_eq!((*status, trailers.as_deref()), (200, Some("0")));
    }
    assert_eq!(http.is_ok(), grpc.is_ok(), "{http:?} {grpc:?}");
    http
}

/// The HTTP status, and that of gRPC where there is one.
async fn send(
    receiver: &Running,
    tls: &ClientTls,
    alpn: &[&[u8]],
    request: http::Request<Full<Bytes>>,
) -> Result<(u16, Option<String>), String> {
    let config = tls.client_config(alpn).map_err(|error| error.to_string())?;
    let connector =
        HttpConnector::new(Arc::clone(&receiver.harness.network), Some(config)).server_name(tls.server_name().unwrap());
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let cause = |error: &dyn std::error::Error| {
        let all = std::iter::successors(Some(error), |error| error.source());
        all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    };
    let response = client.request(request).await.map_err(|error| cause(&error))?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| cause(&error))?;
    let grpc = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
    Ok((status, grpc.map(|status| status.to_str().unwrap().to_owned())))
}

async fn serve(files: &Files, more: &str) -> Running {
    let tls = format!("{{cert_file: '{}', key_file: '{}'{more}}}", files.show("cert.pem"), files.show("key.pem"));
    run(&format!("protocols: {{http: {{tls: {tls}}}, grpc: {{tls: {tls}}}}}")).await
}

/// A certificate is renewed every few weeks; nobody restarts a collector for that.
#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_connection_and_half_a_file_changes_nothing() {
    let files = Files::new();
    let receiver = serve(&files, "").await;
    let trusting = |ca_file: PathBuf| ClientTls { ca_file: Some(ca_file), ..ClientTls::default() };
    let old = files.path("old.pem");
    fs::copy(files.path("ca.pem"), &old).unwrap();
    assert_eq!(post(&receiver, &trusting(files.path("ca.pem"))).await, Ok(200));
    fs::write(files.path("cert.pem"), "half a certifi").unwrap();
    assert_eq!(post(&receiver, &trusting(old.clone())).await, Ok(200));
    files.renew();
    assert_eq!(post(&receiver, &trusting(files.path("ca.pem"))).await, Ok(200));
    assert!(post(&receiver, &trusting(old)).await.is_err());
}

#[tokio::test]
async fn tls_is_spoken_and_a_certificate_is_checked() {
    let files = Files::new();
    let receiver = serve(&files, "").await;
    let trusted = ClientTls { ca_file: Some(files.path("ca.pem")), ..ClientTls::default() };
    assert_eq!(post(&receiver, &trusted).await, Ok(200));
    let stranger = ClientTls { ca_file: Some(Files::new().path("ca.pem")), ..ClientTls::default() };
    assert!(post(&receiver, &stranger).await.is_err());
    let another = ClientTls {
        ca_file: Some(files.path("ca.pem")),
        server_name_override: Some("other".into()),
        ..ClientTls::default()
    };
    assert!(post(&receiver, &another).await.unwrap_err().contains("not valid for name"));
    let credulous = ClientTls { insecure_skip_verify: true, ..ClientTls::default() };
    assert_eq!(post(&receiver, &credulous).await, Ok(200));
}

#[tokio::test]
async fn a_client_must_show_a_certificate_where_that_is_asked() {
    let (files, others) = (Files::new(), Files::new());
    let receiver = serve(&files, &format!(", client_ca_file: '{}'", files.show("ca.pem"))).await;
    let identity = |from: &Files| ClientTls {
        ca_file: Some(files.path("ca.pem")),
        cert_file: Some(from.path("cert.pem")),
        key_file: Some(from.path("key.pem")),
        ..ClientTls::default()
    };
    assert_eq!(post(&receiver, &identity(&files)).await, Ok(200));
    assert!(post(&receiver, &identity(&others)).await.is_err(), "another authority's certificate");
    let nobody = ClientTls { ca_file: Some(files.path("ca.pem")), ..ClientTls::default() };
    assert!(post(&receiver, &nobody).await.is_err(), "no certificate");
    assert_eq!(receiver.sink.take().len(), 2, "one by HTTP and one by gRPC");
}

#[tokio::test]
async fn an_old_version_of_tls_is_refused_where_a_newer_is_wanted() {
    let files = Files::new();
    let receiver = serve(&files, ", min_version: '1.3'").await;
    let client = ClientTls { ca_file: Some(files.path("ca.pem")), ..ClientTls::default() };
    assert_eq!(post(&receiver, &client).await, Ok(200));
    // A client of TLS 1.2 alone.
    let old = tokio_rustls_client(&files);
    let stream = receiver.connect(4318).await;
    assert!(old.connect("localhost".try_into().unwrap(), stream).await.is_err());
}

fn tokio_rustls_client(files: &Files) -> tokio_rustls::TlsConnector {
    use tokio_rustls::rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject},
        version,
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(files.path("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}
