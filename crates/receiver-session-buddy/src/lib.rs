#![doc = include_str!("lib.md")]

mod analytics;
mod config;
mod diagnose;
mod factory;
mod poller;
mod source;

pub use config::{OAuth2Config, ResourceValue, SessionBuddyConfig, ToolOptions, ToolTable};
pub use factory::SessionBuddyFactory;
pub use poller::{LastError, PollerError, PollerStatus, SessionBuddyPoller, Stopped};
