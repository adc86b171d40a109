//! What the program's own telemetry promises: over an in-memory network and under a paused clock.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests

mod logs;
mod page;
mod push;
mod serve;
mod support;
mod traces;
