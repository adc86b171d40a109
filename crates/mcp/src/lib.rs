#![doc = include_str!("lib.md")]

mod endpoint;
mod failure;
mod http_client;
mod plan;
mod policy;
mod settings;
mod snapshot;
mod target;

pub use endpoint::{Endpoint, EndpointError};
pub use failure::{Cause, Failure, Step};
pub use http_client::HttpClient;
pub use plan::{Answer, Ask, CallTool, CycleOutcome, CyclePlan, PollTarget, ToolPlan, ToolResult, Undeclared};
pub use policy::{Class, Policy, RetryRule, failure_table};
pub use settings::TargetSettings;
pub use snapshot::{BreakerSnapshot, BreakerState, TargetSnapshot};
pub use target::{Target, TargetState};
