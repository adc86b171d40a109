//! The promises of `minicol-mcp`, held through the real HTTP transport over the in-memory network, on a paused clock.

mod breaker;
mod discovery;
mod failures;
mod policies;
mod sessions;
mod streams;
mod world;
