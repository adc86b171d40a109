//! What minicol promises its users, held by the real program over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backends;
mod bounds;
mod certificates;
mod common;
mod delivery;
mod doctor;
mod durability;
mod first_steps;
mod from_mahavishnu;
mod house;
mod otlp;
mod otlp_environment;
mod program;
mod promises;
mod reload;
mod schema;
mod secrets;
mod servers;
mod simulate;
mod status_page;
mod targets;
mod thin_path;
mod traces;
mod wrong_files;
