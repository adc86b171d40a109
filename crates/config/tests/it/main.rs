//! What is promised to users of the crate: how configuration is read, and how errors look.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod demo;
mod layers;
mod properties;
mod values;
mod wrong;
