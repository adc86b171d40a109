//! Helpers for the end-to-end tests: the real program as a process ([`Program`]), an OTLP sink on real sockets ([`OtlpSink`]), and a server
//! that answers as the released Session-Buddy 0.23.0 was recorded ([`RecordedBuddy`]).

// Helpers of tests: they panic with a message rather than return errors.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc)]

mod backend;
mod books;
mod chance;
pub mod durability;
mod model;
mod program;
pub mod prometheus;
mod proxy;
mod recorded;
mod simulated;
mod sink;
mod traces;

pub use backend::{Fate, FaultyBackend, Received};
pub use books::{books, books_at_rest, unbalanced_totals};
pub use chance::Chance;
pub use model::{breaches, repeated};
pub use program::{Output, Program, free_port, http_get, minicol, wait_until};
pub use proxy::FaultyProxy;
pub use recorded::RecordedBuddy;
pub use simulated::{machine, simulator};
pub use sink::{OtlpSink, Point, Value, read_points};
pub use traces::{Span, Tap, TraceSink};
