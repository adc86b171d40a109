//! Takes metrics, logs and traces by OTLP, over gRPC and over HTTP. Start from [`OtlpReceiver`] (type `otlp`). A request is answered when the
//! pipeline has taken its batch, or has refused it: what is refused is told to the sender in the way that OTLP wants, so that it tries
//! again when that may help. What came in Protobuf goes on as the same bytes.

mod body;
mod config;
mod grpc;
mod http;
mod intake;
mod receiver;
mod refusal;
mod unpack;

use minicol_plugin::{Entry, Receiver};

pub use config::{GrpcConfig, HttpConfig, OtlpReceiverConfig, Protocols};
pub use receiver::OtlpReceiver;

/// What the collector lists.
pub const ENTRY: Entry<dyn Receiver> = Entry::of::<OtlpReceiver>();
