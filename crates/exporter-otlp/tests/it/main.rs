//! What the two exporters promise, held against a scripted server: over the in-memory network, and over loopback where the system's own
//! errors matter. Does not prove: queue, retries and timeout, which are the host's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bench;
mod codes;
mod config;
mod grpc;
mod http;
mod options;
mod parts;
mod sink;
mod tls;
