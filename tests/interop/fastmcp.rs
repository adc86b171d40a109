//! Servers on `FastMCP`, old and new, in each way that they answer: one that has sessions (MCP up to 2025-11-25), one that has none any more.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, ensure};
use minicol_tests::{OtlpSink, Program, Value as Said, free_port, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A version of `FastMCP`, and the requests of one poll of three tools: the question for sessions, `tools/list` and the calls; for an older server
/// `initialize` and its notification besides.
const VERSIONS: [(&str, usize); 2] = [("3.4.11", 7), ("4.2.3", 5)];
const OLD: &str = VERSIONS[0].0;

/// A running server and what it has said.
struct Server {
    child: Child,
    port: u16,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// `None` where there is no Python.
    async fn start(version: &str, port: u16, style: &[&str]) -> anyhow::Result<Option<Self>> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut child = Command::new(format!("{root}/tests/interop/fastmcp.sh"))
            .args([format!("{root}/target/fastmcp-{version}"), version.to_owned(), port.to_string()])
            .args(style)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = Arc::new(Mutex::new(String::new()));
        let out = BufReader::new(child.stdout.take().context("stdout")?);
        let err = BufReader::new(child.stderr.take().context("stderr")?);
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            let (mut out, mut err) = (out.lines(), err.lines());
            while let Ok(Some(line)) =
                tokio::select! { Ok(Some(line)) = out.next_line() => Ok(Some(line)), line = err.next_line() => line }
            {
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let server = Self { child, port, log };
        server.serves().await
    }

    async fn serves(mut self) -> anyhow::Result<Option<Self>> {
        // An installation takes its time.
        for _ in 0..3000 {
            if self.said().contains("Uvicorn running on") {
                return Ok(Some(self));
            }
            match self.child.try_wait()?.map(|status| status.code()) {
                Some(Some(77)) => return Ok(None),
                Some(_) => anyhow::bail!("FastMCP did not start: {}", self.said()),
                None => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
        anyhow::bail!("FastMCP is not up after 5 minutes: {}", self.said())
    }

    fn said(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn requests(&self, method: &str) -> usize {
        self.said().matches(&format!("\"{method} /mcp")).count()
    }

    fn endpoint(&self) -> String {
        format!("receivers.session_buddy.endpoint=http://127.0.0.1:{}/mcp", self.port)
    }
}

const POLL: [&str; 5] = ["--config", "pipelines/session-buddy.yaml", "--set", TOOLS, "--set"];
const TOOLS: &str =
    "receivers.session_buddy.metrics_to_collect=[activity_summary, liveness, workflow_metrics, performance_metrics]";

/// Each version in each way of answering; `false` where there is no Python.
pub(crate) async fn every_way_of_answering() -> anyhow::Result<bool> {
    for (version, posts) in VERSIONS {
        for style in [&[][..], &["json"], &["stateless"], &["json", "stateless"]] {
            let Some(server) = Server::start(version, free_port(), style).await? else { return Ok(false) };
            poll(&server, posts, usize::from(version == OLD && !style.contains(&"stateless")))
                .await
                .with_context(|| format!("FastMCP {version} {style:?}: {}", server.said()))?;
        }
    }
    println!("fastmcp: two versions in four ways each say what their tools say");
    Ok(true)
}

/// One poll, with so many requests, and so many sessions that are ended.
async fn poll(server: &Server, posts: usize, farewells: usize) -> anyhow::Result<()> {
    let endpoint = server.endpoint();
    let output = Program::run(&[&["poll", "--output", "json"], &POLL[..], &[&endpoint]].concat(), &[]).await;
    ensure!(output.code == 0, "poll failed: {}", output.stderr);
    let polled: Value = serde_json::from_str(&output.stdout).context("poll prints JSON")?;
    let tools = &polled["receivers"]["session_buddy"]["tools"];
    for (tool, outcome) in [
        ("get_activity_summary", "answered"),
        ("get_liveness", "answered"),
        ("get_workflow_metrics", "failed"),
        ("get_performance_metrics", "not_offered"),
    ] {
        ensure!(tools[tool]["outcome"] == outcome, "{tool}: {} instead of {outcome}", tools[tool]);
    }
    let failed = &tools["get_workflow_metrics"];
    ensure!(failed["error_type"] == "tool_error" && failed.to_string().contains("kaput"), "{failed}");
    let metrics = polled["metrics"].as_array().context("metrics")?;
    for (name, value) in
        [("session_buddy.sessions.active", 3.0), ("session_buddy.sessions.total", 7.0), ("process.uptime", 5.0)]
    {
        let found = metrics.iter().find(|metric| metric["name"] == name).with_context(|| format!("no {name}"))?;
        ensure!(found["points"][0]["value"].as_f64() == Some(value), "{name}: {found}");
    }
    let seen = (server.requests("POST"), server.requests("DELETE"));
    ensure!(seen == (posts, farewells), "POST and DELETE: {seen:?} instead of {:?}", (posts, farewells));
    ensure!(server.requests("GET") == 0, "a standing stream was opened");
    Ok(())
}

/// A server that wants a client's certificate: it lets in who has one of its authority, and who has none is told so.
pub(crate) async fn mutual_tls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    certificates(folder.path())?;
    let path = |file: &str| folder.path().join(file).display().to_string();
    let wanted = format!("tls={}", folder.path().display());
    for (version, _) in VERSIONS {
        let server = Server::start(version, free_port(), &[&wanted]).await?.context("Python is gone")?;
        let endpoint = format!("receivers.session_buddy.endpoint=https://localhost:{}/mcp", server.port);
        let ca = format!("receivers.session_buddy.tls.ca_file={}", path("ours.pem"));
        let poll = [&["poll", "--output", "json"], &POLL[..], &[&endpoint, "--set", &ca]].concat();

        let certified = |name: &str| {
            ["cert_file", "key_file"].map(|key| {
                let ending = if key == "cert_file" { "crt" } else { "key" };
                format!("receivers.session_buddy.tls.{key}={}", path(&format!("{name}.{ending}")))
            })
        };
        let [cert, key] = certified("client");
        let output = Program::run(&[&poll[..], &["--set", &cert, "--set", &key]].concat(), &[]).await;
        ensure!(output.code == 0, "FastMCP {version}: {}{}\n{}", output.stdout, output.stderr, server.said());
        let polled: Value = serde_json::from_str(&output.stdout)?;
        let liveness = &polled["receivers"]["session_buddy"]["tools"]["get_liveness"];
        ensure!(liveness["outcome"] == "answered", "{liveness}");
        let before = server.requests("POST");
        ensure!(before > 0, "it was asked: {}", server.said());

        let [cert, key] = certified("stranger");
        let stranger = [&poll[..], &["--set", &cert, "--set", &key]].concat();
        for (who, arguments) in [("nobody", &poll), ("a stranger", &stranger)] {
            let output = Program::run(arguments, &[]).await;
            let said = format!("{}{}", output.stdout, output.stderr);
            ensure!(output.code != 0, "FastMCP {version} let {who} in: {said}");
            ensure!(said.contains("certificate"), "{who} is told why: {said}");
        }
        ensure!(server.requests("POST") == before, "nobody else was let in: {}", server.said());
    }
    println!("fastmcp: lets in who has a certificate of its authority, and nobody else");
    Ok(())
}

/// An authority, `ours.pem`; what it signed for the server and for a client; and a client that somebody else signed.
fn certificates(folder: &std::path::Path) -> anyhow::Result<()> {
    let authority = |name: &str| -> anyhow::Result<_> {
        let (key, mut params) = (KeyPair::generate()?, CertificateParams::new(Vec::new())?);
        // What it signs has another name, or OpenSSL takes it for its own issuer.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL, which Python has, wants to see what an authority's key is for.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok((Issuer::new(params, key), pem))
    };
    let ((ours, pem), (strange, _)) = (authority("ours")?, authority("strange")?);
    std::fs::write(folder.join("ours.pem"), pem)?;
    for (name, issuer) in [("server", &ours), ("client", &ours), ("stranger", &strange)] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        std::fs::write(folder.join(format!("{name}.crt")), params.signed_by(&key, issuer)?.pem())?;
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

/// Killed and started again under a running program, which makes a new session by itself.
pub(crate) async fn life() -> anyhow::Result<()> {
    for (version, _) in VERSIONS {
        let port = free_port();
        let server = Server::start(version, port, &[]).await?.context("Python is gone")?;
        let sink = OtlpSink::start().await;
        let (endpoint, backend) = (server.endpoint(), format!("exporters.otlp.endpoint=http://{}", sink.grpc));
        let more = [
            &endpoint,
            "--set",
            &backend,
            "--set",
            "receivers.session_buddy.interval_seconds=1",
            "--set",
            "service.extensions=[]",
            "--set",
            "service.telemetry.metrics.level=none",
        ];
        let program = Program::start(&[&["run"], &POLL[..], &more[..]].concat(), &[]);
        let up = || sink.points_of("session_buddy.up").last().map(|point| point.value.clone());
        wait_until("the server to be up", || up() == Some(Said::Int(1))).await;
        drop(server);
        wait_until("the server to be down", || up() == Some(Said::Int(0))).await;
        let again = Server::start(version, port, &[]).await?.context("Python is gone")?;
        wait_until("the server to be up again", || up() == Some(Said::Int(1))).await;
        let output = program.stop().await;
        ensure!(output.code == 0, "the program ended with {}: {}", output.code, output.stderr);
        ensure!(
            again.requests("DELETE") == usize::from(version == OLD),
            "a session is ended at the end: {}",
            again.said()
        );
    }
    println!("fastmcp: found again after a kill, and sessions ended at the end");
    Ok(())
}
