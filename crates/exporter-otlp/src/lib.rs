//! Delivers metrics, logs and traces by OTLP. Start from [`OtlpGrpc`] (type `otlp`) or [`OtlpHttp`] (type `otlphttp`): each delivers one
//! batch once and says what became of it; queue, retries and timeout are the host's. What is sent are the bytes that a batch already
//! has: nothing is decoded or encoded twice.

mod config;
mod diagnose;
mod environment;
mod failure;
mod grpc;
mod heard;
mod http;
mod lanes;
mod outcome;
mod parts;
mod transport;

use minicol_plugin::{Entry, Exporter};

pub use config::{Compression, Encoding, GrpcSignal, HttpSignal, Keepalive, OtlpGrpcConfig, OtlpHttpConfig, SignalTls};
pub use grpc::OtlpGrpc;
pub use http::OtlpHttp;

/// `otlp`, for the collector's list.
pub const OTLP: Entry<dyn Exporter> = Entry::of::<OtlpGrpc>();
/// `otlphttp`, for the collector's list.
pub const OTLP_HTTP: Entry<dyn Exporter> = Entry::of::<OtlpHttp>();

/// What both call themselves to a server.
const USER_AGENT: &str = concat!("minicol/", env!("CARGO_PKG_VERSION"));

/// How much of an answer is read. An OTLP answer is a few hundred bytes; what is longer is not worth the memory.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
