//! What the receiver promises to senders, over the in-memory network and, for TLS, with certificates of the test's own. Does not prove: what
//! the host counts, and what a pipeline makes of a batch.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bench;
mod config;
mod refusals;
mod taken;
mod tls;
