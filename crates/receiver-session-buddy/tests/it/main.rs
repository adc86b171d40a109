//! The receiver against an MCP server over an in-memory network: the recorded answers of Session-Buddy 0.23.0, and what goes wrong.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod buddy;
mod metrics;
mod reach;
mod recorded;
mod reference;
mod walkthroughs;
