//! Both exporters over TLS, against certificates of an authority of the test's own.

use std::{path::Path, sync::Arc};

use minicol_plugin::{Exporter, net::Network, testing::Harness};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};

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

    /// A certificate for a client, and its key, as files.
    fn client(&self) -> (tempfile::NamedTempFile, tempfile::NamedTempFile) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(files.0.path(), certificate.pem()).unwrap();
        std::fs::write(files.1.path(), key.serialize_pem()).unwrap();
        files
    }

    /// What a server shows for `name`.
    fn server(&self, name: &str) -> Arc<ServerConfig> {
        self.server_for(name, None)
    }

    /// The same for clients that show a certificate of `clients`.
    fn server_for(&self, name: &str, clients: Option<&Self>) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(clients.file()).unwrap()).unwrap();
                let provider = Arc::new(ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
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

#[tokio::test]
async fn a_certificate_is_shown_to_a_server_that_wants_one() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let harness = in_memory();
    let config = authority.server_for("localhost", Some(&clients));
    let sink = Sink::with(&harness.network, "localhost:4317", Speaks::Both, Some(config)).await;
    let (cert, key) = clients.client();
    let yaml = |more: &str| {
        format!("{{endpoint: 'https://localhost:4317', tls: {{ca_file: '{}'{more}}}}}", authority.file().display())
    };
    let identity = yaml(&format!(", cert_file: '{}', key_file: '{}'", cert.path().display(), key.path().display()));
    for exporter in [otlp(&harness, &identity), otlphttp(&harness, &identity)] {
        exporter.export(metrics(3)).await.unwrap();
        assert_eq!(sink.take()[0].message, encoded(&metrics(3)));
    }
    for exporter in [otlp(&harness, &yaml("")), otlphttp(&harness, &yaml(""))] {
        let refused = told(&exporter.export(metrics(1)).await.unwrap_err());
        assert!(
            refused.starts_with("Backoff ") && refused.contains("tls.cert_file"),
            "nobody is let in without: {refused}"
        );
    }
    assert!(sink.take().is_empty());
}

#[tokio::test]
async fn another_name_or_no_check_at_all_are_as_they_are_written() {
    let authority = Authority::new("ours");
    let harness = in_memory();
    let config = authority.server("inside.example");
    let sink = Sink::with(&harness.network, "localhost:4317", Speaks::Both, Some(config)).await;
    let ca = authority.file().display();
    for tls in [
        format!("{{ca_file: '{ca}', server_name_override: inside.example}}"),
        format!("{{ca_file: '{ca}', server_name_override: inside.example, min_version: '1.3'}}"),
        "{insecure_skip_verify: true}".to_owned(),
    ] {
        let yaml = format!("{{endpoint: 'https://localhost:4317', tls: {tls}}}");
        for exporter in [otlp(&harness, &yaml), otlphttp(&harness, &yaml)] {
            exporter.export(metrics(1)).await.unwrap();
            assert_eq!(sink.take().len(), 1, "{tls}");
        }
    }
}

/// A certificate is renewed every few weeks; nobody restarts a collector for that.
#[tokio::test]
async fn authorities_and_certificates_are_read_again_when_their_files_change() {
    let (authority, clients, others) = (Authority::new("ours"), Authority::new("clients"), Authority::new("others"));
    let harness = in_memory();
    let config = authority.server_for("localhost", Some(&clients));
    let sink = Sink::with(&harness.network, "localhost:4317", Speaks::Both, Some(config)).await;
    let copy = |from: &Path, to: &Path| std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
    for make in [otlp, otlphttp] {
        let ca = tempfile::NamedTempFile::new().unwrap();
        copy(others.file(), ca.path());
        let (cert, key) = others.client();
        let paths = [ca.path(), cert.path(), key.path()].map(|path| path.display().to_string());
        let yaml = format!(
            "{{endpoint: 'https://localhost:4317', tls: {{ca_file: '{}', cert_file: '{}', key_file: '{}'}}}}",
            paths[0], paths[1], paths[2]
        );
        let exporter = make(&harness, &yaml);
        assert_eq!(exporter.export(metrics(1)).await.unwrap_err().error_type, "tls", "another authority");
        copy(authority.file(), ca.path());
        assert!(exporter.export(metrics(1)).await.is_err(), "another client");
        let (new_cert, new_key) = clients.client();
        copy(new_key.path(), key.path());
        copy(new_cert.path(), cert.path());
        exporter.export(metrics(1)).await.unwrap();
        assert_eq!(sink.take().len(), 1);
    }
}
