//! The processor `mapping` through its factory: what a pipeline sees of it.

// Helpers outside of `#[test]` functions may unwrap, too: all of it is test.
#![allow(clippy::unwrap_used)]

mod documents;
mod glue;
mod golden;
mod properties;
mod world;
