//! Reads a pipeline file, builds the graph of components and runs it. Start from [`Plan::load`], which gives a configuration that holds or
//! everything that is wrong with it; [`Host::start`] makes a [`Running`] program of it, and [`Running::shutdown`] ends that. The host knows no
//! component by name: what there is stands in the [`Registry`].

mod actions;
mod arrow;
mod books;
mod deadline;
mod doctor;
mod door;
mod events;
mod fork;
mod gate;
mod gone;
mod graph;
mod handover;
mod host;
mod life;
mod meters;
mod own;
mod packed;
mod plan;
mod poll;
mod registry;
mod reload;
mod replay;
mod running;
mod schema;
mod stage;
mod view;
mod voice;
mod workshop;

#[cfg(feature = "testing")]
pub use arrow::Line;
pub use doctor::Examined;
pub use events::Events;
pub use host::{Host, Limits, StartError, Started};
pub use minicol_telemetry::Program;
pub use plan::Plan;
pub use poll::{PollError, PollOutcome, PollResult, PolledPipeline, PolledReceiver};
pub use registry::Registry;
pub use reload::{ConfigSource, Reloader};
pub use replay::Replay;
pub use running::{ExporterReport, Running, ShutdownReport};
pub use schema::schema_of;
