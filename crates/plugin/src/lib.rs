//! Everything a component needs, and nothing of the host. Start from the trait of the kind you write ([`Receiver`], [`Processor`],
//! [`Exporter`], [`Extension`]), then implement [`Factory`] to name its type, its signals and its configuration. What a component
//! needs from the outside (cancellation, status, clocks, randomness, connections, state, meter, tracer) comes in through its [`Scope`].

mod actions;
mod attributes;
mod books;
mod checkup;
mod component;
pub mod config;
mod consumer;
mod environment;
mod factory;
pub mod files;
pub mod hidden;
mod host_view;
mod memory;
pub mod net;
pub mod print;
mod redact;
mod scope;
mod state;
mod status;
pub mod storage;
mod tap;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
mod ticks;
pub mod trace;
mod variables;

pub use actions::{Action, ActionError, Actions, Offer, Performing};
pub use attributes::sort;
pub use books::{Account, Books, Converted, EdgeSnapshot, Reasons, Unbalanced, sum};
pub use checkup::{Check, Checkup, Diagnosis, Verdict};
pub use component::{
    ComponentError, Delivered, ExportError, Exporter, Extension, Polls, Processor, Receiver, Retry, export_all,
};
pub use consumer::{Consumer, Next, Rejected};
pub use environment::{Clock, Environment, Random, SeededRandom, SimulatedClock, SystemClock};
pub use factory::{
    Buildable, ComponentId, ComponentKind, Decode, Entry, EnvironmentOverrides, Factory, Flow, IdError, OtlpProtocol,
    Product, Stability,
};
pub use host_view::{
    ComponentSnapshot, HostView, Phase, Reload, ReloadChanges, ReloadOutcome, ReloadStatus, Reloading, Setting,
    Snapshot, place_among,
};
pub use memory::{HeldMemory, MemoryLimit, SharedMemory};
pub use redact::Redactor;
pub use scope::{Scope, ScopeParts, StopReason};
pub use state::StateStore;
pub use status::{Event, EventSink, Level, Notice, ProgramNotice, Status, StatusChange};
pub use tap::{EdgeName, Seen, Tap, Taps, Watched};
pub use ticks::{Tick, Ticks};
pub use variables::EnvironmentDefault;

pub use async_trait::async_trait;
pub use tokio_util::sync::CancellationToken;
