//! Reads a pipeline file, builds the graph of components and runs it. Start from [`Plan::load`], which gives a configuration that holds or
//! everything that is wrong with it; [`Host::start`] makes a [`Running`] program of it, and [`Running::shutdown`] ends that. The host knows no
//! component by name: what there is stands in the [`Registry`].

mod arrow;
mod books;
mod doctor;
mod events;
mod fork;
mod gate;
mod graph;
mod host;
mod life;
mod meters;
mod own;
mod plan;
mod poll;
mod registry;
mod running;
mod schema;
mod stage;
mod view;
mod workshop;

pub use doctor::Examined;
pub use events::Events;
pub use host::{Host, Limits, StartError, Started};
pub use minicol_telemetry::Program;
pub use plan::Plan;
pub use poll::{PollError, PollOutcome, PollResult, PolledPipeline, PolledReceiver};
pub use registry::Registry;
pub use running::{ExporterReport, Running, ShutdownReport};
