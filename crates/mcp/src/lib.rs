#![doc = include_str!("lib.md")]

mod auth;
mod breaker;
mod catalog;
mod connect;
mod cycle;
mod document;
mod endpoint;
mod engine;
mod failure;
mod http_client;
mod param_heads;
mod plan;
mod policy;
mod proxy;
mod rest;
mod retry;
mod session;
mod settings;
mod snapshot;
mod stack;
mod state;
mod target;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;

pub use auth::{Authorize, BearerFile, Challenge, ClientCredential, KeyError, OAuth2, OAuth2Settings};
pub use endpoint::{Endpoint, EndpointError};
pub use failure::{Cause, Failure, Step};
pub use http_client::HttpClient;
pub use plan::{Answer, Ask, CallTool, CycleOutcome, CyclePlan, PollTarget, ToolPlan, ToolResult, Undeclared};
pub use policy::{Class, Policy, RetryRule, failure_table};
pub use proxy::{Proxies, Proxy, ProxyError};
pub use settings::TargetSettings;
pub use snapshot::{BreakerSnapshot, BreakerState, TargetSnapshot};
pub use state::TargetState;
pub use target::Target;

pub use async_trait::async_trait;
