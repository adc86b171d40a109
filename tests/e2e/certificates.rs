//! Promise: a certificate that has ended, is for another name or of an authority that nobody trusts, and a server that wants one and gets none, are told
//! with their cause by exporters and pollers alike; nothing is let through, and what waited is counted.

use std::{fmt::Write, fs, path::Path};

use minicol_tests::{Program, free_port, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::common::{File, Relay};

/// What a server shows: its name, for which name, whether it has ended, of which authority, and whether it wants a certificate.
struct Server {
    name: &'static str,
    grpc: u16,
    http: u16,
}

/// Causes, and what an exporter and a poller must say of each.
const CAUSES: [(&str, [&str; 2]); 4] = [
    ("ended", ["expired", "expired"]),
    ("misnamed", ["another name", "not valid for name"]),
    ("strange", ["is not trusted", "UnknownIssuer"]),
    ("picky", ["certificate", "certificate"]),
];

pub(crate) fn authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

/// Writes a certificate and its key as `NAME.crt` and `NAME.key`.
pub(crate) fn certificate(folder: &Path, issuer: &Issuer<'static, KeyPair>, name: &str, host: &str, ended: bool) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    if ended {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    fs::write(folder.join(format!("{name}.crt")), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A program that takes OTLP over TLS in four ways, each of which no client of ours can accept.
async fn servers(folder: &Path) -> (Program, Vec<Server>, File) {
    let (ours, strange) = (authority(folder, "ours"), authority(folder, "unknown"));
    certificate(folder, &ours, "ended", "localhost", true);
    certificate(folder, &ours, "misnamed", "elsewhere.example", false);
    certificate(folder, &strange, "strange", "localhost", false);
    certificate(folder, &ours, "picky", "localhost", false);
    let servers: Vec<_> =
        CAUSES.iter().map(|(name, _)| Server { name, grpc: free_port(), http: free_port() }).collect();
    let path = folder.display();
    let receiver = |one: &Server| {
        let Server { name, grpc, http } = one;
        let clients = if *name == "picky" { format!(", client_ca_file: {path}/ours.pem") } else { String::new() };
        let tls = format!("tls: {{cert_file: {path}/{name}.crt, key_file: {path}/{name}.key{clients}}}");
        format!(
            "  otlp/{name}: {{protocols: {{grpc: {{endpoint: \"localhost:{grpc}\", {tls}}}, http: {{endpoint: \"localhost:{http}\", {tls}}}}}}}"
        )
    };
    let receivers: Vec<_> = servers.iter().map(receiver).collect();
    let ids: Vec<_> = servers.iter().map(|one| format!("otlp/{}", one.name)).collect();
    let file = File::new(&format!(
        "receivers:\n{}\nexporters: {{debug: }}\nservice:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines: {{metrics: {{receivers: [{}], exporters: [debug]}}}}\n",
        receivers.join("\n"),
        ids.join(", ")
    ));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("the servers", || program.stderr().contains("everything has started")).await;
    (program, servers, file)
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_told_by_exporters_and_pollers_with_their_cause() {
    let folder = TempDir::new().unwrap();
    let (far, servers, _file) = servers(folder.path()).await;
    let ca = format!("tls: {{ca_file: {}/ours.pem}}", folder.path().display());
    let retry = "retry_on_failure: {initial_interval: 100ms, max_interval: 200ms}";
    let (mut exporters, mut pollers) = (Vec::new(), String::new());
    for Server { name, grpc, http } in &servers {
        exporters.push(format!("otlp/{name}: {{endpoint: \"https://localhost:{grpc}\", {ca}, {retry}}}"));
        exporters.push(format!("otlphttp/{name}: {{endpoint: \"https://localhost:{http}\", {ca}, {retry}}}"));
        let _ = writeln!(
            pollers,
            "  session_buddy/{name}: {{endpoint: \"https://localhost:{http}/mcp\", interval_seconds: 1, max_retries: 0, {ca}}}"
        );
    }
    let relay = Relay::start_beside(&exporters, &pollers).await;
    relay.send(0, 3).await;
    for (name, [by_exporter, by_poller]) in CAUSES {
        for (id, cause) in [
            (format!("otlp/{name}"), by_exporter),
            (format!("otlphttp/{name}"), by_exporter),
            (format!("session_buddy/{name}"), by_poller),
        ] {
            let log = || relay.program.stderr();
            wait_until(&id, || {
                log().lines().any(|line| line.contains(&format!("\"{id}\"")) && line.contains("RecoverableError"))
            })
            .await;
            let (status, message) = relay.status(&id).await;
            assert_eq!(status, "RecoverableError", "{id}: {message}");
            assert!(message.contains(cause), "{id}: {message}");
        }
    }
    let output = relay.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let lost = output.stderr.matches("3 metric points lost, reason shutdown").count();
    assert_eq!(lost, exporters.len(), "each exporter names what waited for it: {}", output.stderr);
    let far = far.stop().await;
    assert!(!far.stdout.contains("relayed"), "nothing was let through: {}", far.stdout);
}
