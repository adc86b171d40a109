//! What a user can write under `otlp` and `otlphttp`.

mod endpoint;
mod grpc;
mod headers;
mod http;
mod shared;
mod tls;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use endpoint::EndpointError;
pub use grpc::{GrpcSignal, Keepalive, OtlpGrpcConfig};
pub(crate) use headers::Headers;
pub use http::{HttpSignal, OtlpHttpConfig};
pub use tls::SignalTls;

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Telemetry shrinks to about a tenth. Every OTLP server must take it.
    #[default]
    Gzip,
    /// Smaller and faster than gzip, but not every server takes it.
    Zstd,
    /// Not at all: on loopback it saves a little CPU.
    None,
}

/// How OTLP over HTTP is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Protobuf, which every OTLP server takes.
    #[default]
    Proto,
    /// JSON, for a server that takes nothing else: larger, and slower to read.
    Json,
}

/// The port that OTLP over gRPC has by convention.
const GRPC_PORT: u16 = 4317;
/// The port that OTLP over HTTP has by convention.
const HTTP_PORT: u16 = 4318;

const MIB: u32 = 1 << 20;

#[cfg(test)]
mod tests;
