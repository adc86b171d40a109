//! The promises of `minicol-mcp`, held through the real HTTP transport over the in-memory network, on a paused clock.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod auth;
mod authorization_server;
mod breaker;
mod connections;
mod discovery;
mod failures;
mod faults;
mod frozen;
mod lifecycle;
mod mutual_tls;
mod outside;
mod policies;
mod rests;
mod sessions;
mod streams;
mod temp_file;
mod world;
