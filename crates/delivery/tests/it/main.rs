//! What delivery promises, under a paused clock: nothing here waits for real.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests

mod batch;
mod books;
mod drain;
mod metrics;
mod parts;
mod queue;
mod retry;
mod said;
mod script;
mod stored;
mod succession;
