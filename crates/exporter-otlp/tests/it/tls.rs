//! Both exporters over TLS, against certificates of an authority of the test's own.

use std::{path::Path, sync::Arc};

use minicol_plugin::{Exporter, net::Network, testing::Harness};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

use crate::{
    bench::{encoded, in_memory, metrics, otlp, otlphttp, over_sockets, told},
    sink::{Sink, Speaks},
};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    fn file(&self) -> &Path {
        self.file.path()
    }

    /// What a server shows for `name`.
    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

async fn secure_sink(network: &Arc<dyn Network>, address: &str, authority: &Authority) -> Sink {
    Sink::with(network, address, Speaks::Both, Some(authority.server("localhost"))).await
}

/// Both exporters to the same endpoint, trusting one authority.
fn both(harness: &Harness, endpoint: &str, ca_file: &Path) -> [Box<dyn Exporter>; 2] {
    let yaml = format!("{{endpoint: '{endpoint}', tls: {{ca_file: '{}'}}}}", ca_file.display());
    [otlp(harness, &yaml), otlphttp(harness, &yaml)]
}

/// What both say when they fail to deliver.
async fn failures(exporters: [Box<dyn Exporter>; 2]) -> [String; 2] {
    let [grpc, http] = exporters;
    [told(&grpc.export(metrics(1)).await.unwrap_err()), told(&http.export(metrics(1)).await.unwrap_err())]
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let authority = Authority::new("ours");
    for harness in [in_memory(), over_sockets()] {
        let sink = secure_sink(&harness.network, "localhost:0", &authority).await;
        let port = sink.address.rsplit_once(':').unwrap().1;
        for exporter in both(&harness, &format!("https://localhost:{port}"), authority.file()) {
            exporter.export(metrics(3)).await.unwrap();
            assert_eq!(sink.take()[0].message, encoded(&metrics(3)));
        }
        // Without a scheme `otlp` speaks TLS, too.
        let yaml = format!("{{endpoint: 'localhost:{port}', tls: {{ca_file: '{}'}}}}", authority.file().display());
        otlp(&harness, &yaml).export(metrics(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_with_the_cure() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let harness = in_memory();
    let _sink = secure_sink(&harness.network, "localhost:4317", &authority).await;
    for said in failures(both(&harness, "https://localhost:4317", other.file())).await {
        assert!(said.starts_with("Backoff tls: cannot deliver to https://localhost:4317"), "{said}");
        assert!(said.ends_with("is not trusted here: set tls.ca_file to a PEM file of that authority"), "{said}");
    }
    let _sink = secure_sink(&harness.network, "127.0.0.1:4317", &authority).await;
    for said in failures(both(&harness, "https://127.0.0.1:4317", authority.file())).await {
        assert!(said.starts_with("Backoff tls: ") && said.contains("its certificate is for another name"), "{said}");
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_and_tls_to_a_plain_port_are_told_with_the_cure() {
    let authority = Authority::new("ours");
    for harness in [in_memory(), over_sockets()] {
        let sink = secure_sink(&harness.network, "127.0.0.1:0", &authority).await;
        for said in failures(both(&harness, &format!("http://{}", sink.address), authority.file())).await {
            assert!(said.starts_with("Backoff ") && said.contains("write https://"), "{said}");
        }
        let sink = Sink::start(&harness.network, "127.0.0.1:0").await;
        for said in failures(both(&harness, &format!("https://{}", sink.address), authority.file())).await {
            assert!(said.starts_with("Backoff tls: ") && said.contains("for plain text write http://"), "{said}");
        }
    }
}
