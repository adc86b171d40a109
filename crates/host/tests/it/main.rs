//! The host with small components of its own: what it promises to whoever writes a pipeline file, and to whoever writes a component.
#![allow(clippy::unwrap_used, clippy::expect_used)] // all of this is tests

mod books;
mod components;
mod environment;
mod flow;
mod life;
mod plan;
mod poll;
mod reload;
mod shutdown;
mod support;
mod tap;
