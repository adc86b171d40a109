//! What a user can write under `otlp`.

use std::time::Duration;

use minicol_plugin::{
    config::{ComponentConfig, GoDuration, Problems},
    net::ServerTls,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Configuration of the receiver `otlp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpReceiverConfig {
    /// What is served. Nothing written: both protocols on their usual ports of the loopback.
    pub protocols: Protocols,
    /// How many MiB of requests may be worked on at once, as they arrived and unpacked. What comes beyond it is told to come again.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub max_in_flight_mib: u32,
}

/// The protocols that are served: those that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Protocols {
    /// OTLP over gRPC.
    #[serde(deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcConfig>,
    /// OTLP over HTTP, in Protobuf and JSON.
    #[serde(deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpConfig>,
}

/// How OTLP over gRPC is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Where to listen, as `host:port`. On a loopback address only loopback names are answered.
    #[schemars(extend("pattern" = "^.+:[0-9]{1,5}$"))]
    pub endpoint: String,
    /// TLS; unset: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// How large a request may be, in MiB, unpacked.
    #[schemars(extend("minimum" = 1, "maximum" = 1024))]
    pub max_recv_msg_size_mib: u32,
    /// How many requests one connection may make at once.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub max_concurrent_streams: u32,
    /// How many connections there may be at once; what comes beyond it waits.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub max_connections: u32,
    /// How long a request may take to arrive and to be unpacked and decoded.
    #[schemars(extend("x-minimum" = "100ms"))]
    pub read_timeout: GoDuration,
    /// How silent connections are found that lead nowhere any more.
    pub keepalive: Keepalive,
}

/// How silent connections are found that lead nowhere any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keepalive {
    /// What the server does.
    pub server_parameters: ServerParameters,
}

/// When the server asks a connection whether its far end is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerParameters {
    /// After this long without a word.
    #[schemars(extend("x-minimum" = "1s"))]
    pub time: GoDuration,
    /// How long the answer may take; then the connection is closed.
    #[schemars(extend("x-minimum" = "1s"))]
    pub timeout: GoDuration,
}

/// How OTLP over HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen, as `host:port`. On a loopback address only loopback names are answered.
    #[schemars(extend("pattern" = "^.+:[0-9]{1,5}$"))]
    pub endpoint: String,
    /// TLS; unset: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// How large a request may be, in bytes, unpacked.
    #[schemars(extend("minimum" = 1024, "maximum" = 1_073_741_824, "x-unit" = "bytes"))]
    pub max_request_body_size: u32,
    /// How many connections there may be at once; what comes beyond it waits.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub max_connections: u32,
    /// How long a request may take to arrive and to be unpacked and decoded.
    #[schemars(extend("x-minimum" = "100ms"))]
    pub read_timeout: GoDuration,
}

const MIB: u32 = 1 << 20;

impl Default for OtlpReceiverConfig {
    fn default() -> Self {
        let protocols = Protocols { grpc: Some(GrpcConfig::default()), http: Some(HttpConfig::default()) };
        Self { protocols, max_in_flight_mib: 256 }
    }
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4317".to_owned(),
            tls: None,
            max_recv_msg_size_mib: 20,
            max_concurrent_streams: 100,
            max_connections: 256,
            read_timeout: GoDuration::from_secs(30),
            keepalive: Keepalive::default(),
        }
    }
}

impl Default for ServerParameters {
    fn default() -> Self {
        Self { time: GoDuration::from_secs(60), timeout: GoDuration::from_secs(20) }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4318".to_owned(),
            tls: None,
            max_request_body_size: 20 * MIB,
            max_connections: 256,
            read_timeout: GoDuration::from_secs(30),
        }
    }
}

impl GrpcConfig {
    /// The largest request, in bytes.
    pub(crate) fn limit(&self) -> usize {
        (self.max_recv_msg_size_mib as usize) << 20
    }
}

impl Keepalive {
    fn check(&self, problems: &mut Problems) {
        let ServerParameters { time, timeout } = &self.server_parameters;
        problems.within("keepalive", |problems| {
            problems.within("server_parameters", |problems| {
                for (key, value, example) in [("time", time, "60s"), ("timeout", timeout, "20s")] {
                    if value.0 < Duration::from_secs(1) {
                        problems.error(key, "must be at least 1s").help(format!("for example {example}"));
                    }
                }
            });
        });
    }
}

/// `grpc:` with nothing under it is gRPC as usual, not none.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

impl ComponentConfig for OtlpReceiverConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.range("max_in_flight_mib", f64::from(self.max_in_flight_mib), 1.0, 65_536.0);
        let Protocols { grpc, http } = &self.protocols;
        if grpc.is_none() && http.is_none() {
            problems.error("protocols", "names no protocol").help("write grpc:, http: or both under it");
        }
        // As it arrived and unpacked.
        let largest = u64::from(self.max_in_flight_mib) << 20;
        let fits = |problems: &mut Problems, field: &str, bytes: u64| {
            if bytes > largest {
                problems
                    .error(field, "is more than all requests together may have")
                    .help("raise max_in_flight_mib, or lower this");
            }
        };
        problems.within("protocols", |problems| {
            if let Some(grpc) = grpc {
                problems.within("grpc", |problems| {
                    problems.address("endpoint", &grpc.endpoint, "localhost:4317");
                    problems.range("max_recv_msg_size_mib", f64::from(grpc.max_recv_msg_size_mib), 1.0, 1024.0);
                    fits(problems, "max_recv_msg_size_mib", u64::from(grpc.max_recv_msg_size_mib) << 20);
                    problems.range("max_concurrent_streams", f64::from(grpc.max_concurrent_streams), 1.0, 65_536.0);
                    grpc.keepalive.check(problems);
                    check_shared(grpc.max_connections, grpc.read_timeout.0, grpc.tls.as_ref(), problems);
                });
            }
            if let Some(http) = http {
                problems.within("http", |problems| {
                    problems.address("endpoint", &http.endpoint, "localhost:4318");
                    let bytes = http.max_request_body_size;
                    problems.range("max_request_body_size", f64::from(bytes), 1024.0, f64::from(1024 * MIB));
                    fits(problems, "max_request_body_size", u64::from(bytes));
                    check_shared(http.max_connections, http.read_timeout.0, http.tls.as_ref(), problems);
                });
            }
        });
        if let (Some(grpc), Some(http)) = (grpc, http)
            && grpc.endpoint == http.endpoint
            && !grpc.endpoint.ends_with(":0")
        {
            problems
                .error("protocols", format!("grpc and http both want {}", grpc.endpoint))
                .help("give each a port of its own: 4317 and 4318 are usual");
        }
    }
}

fn check_shared(max_connections: u32, read_timeout: Duration, tls: Option<&ServerTls>, problems: &mut Problems) {
    problems.range("max_connections", f64::from(max_connections), 1.0, 65_536.0);
    if read_timeout < Duration::from_millis(100) {
        problems.error("read_timeout", "must be at least 100ms").help("for example 30s");
    }
    if let Some(tls) = tls {
        problems.within("tls", |problems| tls.validate(problems));
    }
}
