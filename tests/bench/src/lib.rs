//! What the benchmarks have in common: the answers of a server that keeps the contract ([`contract`]), a mapping that takes them ([`Mapper`]),
//! and a poll inside the process ([`poll::World`]).

// Helpers of benchmarks: they panic with a message rather than return errors.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod contract;
mod mapper;
pub mod poll;

pub use mapper::Mapper;
