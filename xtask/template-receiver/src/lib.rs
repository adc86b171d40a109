//! The receiver `my_source` polls a JSON document over HTTP, and emits it as an observation. Start from [`MySourceReceiver`].

mod client;
mod config;
mod receiver;
#[cfg(test)]
mod tests;

use minicol_plugin::{Entry, Receiver};

pub use config::MySourceConfig;
pub use receiver::MySourceReceiver;

/// What the collector lists.
pub const ENTRY: Entry<dyn Receiver> = Entry::of::<MySourceReceiver>();
