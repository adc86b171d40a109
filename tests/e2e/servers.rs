//! Promise: what listens is for this machine alone unless told otherwise, says so where it is not, and answers no web page that a browser was led to.

use minicol_tests::{Program, free_port, wait_until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::common::File;

/// Every server that minicol has, on ports of `host`: name, port, and a path that is there.
struct Servers {
    host: &'static str,
    ports: [u16; 6],
}

const NAMES: [&str; 6] =
    ["health_check", "session_buddy_simulator", "otlp grpc", "otlp http", "metrics page", "status_page"];

impl Servers {
    fn on(host: &'static str) -> Self {
        Self { host, ports: std::array::from_fn(|_| free_port()) }
    }

    fn pipeline(&self) -> File {
        let Self { host, ports: [health, simulator, grpc, http, page, status] } = self;
        File::new(&format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{host}:{grpc}'}}, http: {{endpoint: '{host}:{http}'}}}}}}}}
exporters: {{debug: {{}}}}
extensions:
  health_check: {{endpoint: '{host}:{health}'}}
  session_buddy_simulator: {{endpoint: '{host}:{simulator}'}}
  status_page: {{endpoint: '{host}:{status}'}}
service:
  extensions: [health_check, session_buddy_simulator, status_page]
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: {host}, port: {page}}}}}}}}}]}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [debug]}}}}
"
        ))
    }

    async fn start(&self) -> Program {
        let file = self.pipeline();
        let program = Program::start(&["run", "--config", file.path()], &[]);
        for port in self.ports {
            wait_until("every server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        }
        program
    }
}

/// The status of a request in HTTP/1.
async fn status(port: u16, headers: &str) -> u16 {
    #[allow(clippy::disallowed_methods)] // a test's own client over real sockets
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\n{headers}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// The HTTP status of a request in HTTP/2, which is what gRPC travels over.
async fn grpc_status(port: u16, authority: &str, origin: Option<&str>) -> u16 {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    #[allow(clippy::disallowed_methods)] // a test's own client over real sockets
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = hyper::Request::get(format!("http://{authority}/"));
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    client.send_request(request).await.unwrap().status().as_u16()
}

async fn ask(servers: &Servers, index: usize, host: &str, origin: Option<&str>) -> u16 {
    let port = servers.ports[index];
    if NAMES[index] == "otlp grpc" {
        return grpc_status(port, &format!("{host}:{port}"), origin).await;
    }
    let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
    status(port, &format!("host: {host}:{port}\r\n{origin}")).await
}

#[tokio::test]
async fn every_server_refuses_names_and_pages_that_are_not_of_this_machine() {
    let servers = Servers::on("127.0.0.1");
    let program = servers.start().await;
    for (index, name) in NAMES.iter().enumerate() {
        for (host, origin) in [("localhost", None), ("127.0.0.1", None), ("localhost", Some("http://localhost:3000"))] {
            assert_ne!(ask(&servers, index, host, origin).await, 403, "{name} {host} {origin:?}");
        }
        for (host, origin) in [
            ("evil.example", None),
            ("127.0.0.1.evil.example", None),
            ("localhost", Some("http://evil.example")),
            ("localhost", Some("null")),
        ] {
            assert_eq!(ask(&servers, index, host, origin).await, 403, "{name} {host} {origin:?}");
        }
    }
    let output = program.stop().await;
    assert!(!output.stderr.contains("without authentication"), "{}", output.stderr);
}

#[tokio::test]
async fn a_server_that_other_machines_reach_says_so_and_answers_no_page_all_the_same() {
    let servers = Servers::on("0.0.0.0");
    let program = servers.start().await;
    for (index, name) in NAMES.iter().enumerate() {
        assert_ne!(ask(&servers, index, "collector.example", None).await, 403, "{name}");
        assert_eq!(ask(&servers, index, "collector.example", Some("http://collector.example")).await, 403, "{name}");
        assert_eq!(ask(&servers, index, "127.0.0.1", Some("http://evil.example")).await, 403, "{name}");
    }
    let output = program.stop().await;
    let [health, simulator, grpc, http, page, status] = servers.ports;
    for (port, component) in [
        (health, "health_check"),
        (status, "status_page"),
        (simulator, "session_buddy_simulator"),
        (grpc, "otlp"),
        (http, "otlp"),
        (page, "the metrics page"),
    ] {
        let told = output.stderr.lines().filter(|line| {
            let about = line.contains(&format!("listens on 0.0.0.0:{port}: ")) && line.contains(component);
            about && line.contains("WARN") && line.contains("without authentication")
        });
        assert_eq!(told.count(), 1, "{component} on {port}: {}", output.stderr);
    }
}

#[tokio::test]
async fn nothing_written_is_for_this_machine_alone() {
    let config = "yaml:{receivers: {otlp: }, exporters: {debug: }, extensions: {health_check: , session_buddy_simulator: , status_page: }, service: \
                  {extensions: [health_check, session_buddy_simulator, status_page], pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}}}";
    let output = Program::run(&["print-config", "--format", "json", "--config", config], &[]).await;
    let printed: serde_json::Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    for place in [
        "/receivers/otlp/protocols/grpc/endpoint",
        "/receivers/otlp/protocols/http/endpoint",
        "/extensions/health_check/endpoint",
        "/extensions/session_buddy_simulator/endpoint",
        "/extensions/status_page/endpoint",
        "/service/telemetry/metrics/readers/0/pull/exporter/prometheus/host",
    ] {
        let host = printed.pointer(place).and_then(serde_json::Value::as_str).unwrap_or_else(|| panic!("{place}"));
        assert!(minicol_plugin::net::exposure(host).is_none(), "{place}: {host}");
    }
}
