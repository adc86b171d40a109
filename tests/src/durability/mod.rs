//! A relay whose queue is on disk, between senders and a backend of our own: what it takes to kill it at any moment, and to measure what that costs.

mod backlog;
mod cost;
mod kill;
mod relay;
mod traffic;

pub use backlog::{Backlog, backlog};
pub use cost::{Cost, cost};
pub use kill::{Beside, KillReport, Kills, kill};
pub use relay::{Queue, Relay};
pub use traffic::{Backend, Mood, Sender, batch, typical, unlike};
