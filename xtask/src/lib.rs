//! Chores of the repository. A chore is a module with one entry in [`CHORES`]; `cargo run -p xtask -- NAME` does it.

pub mod docs;
pub mod new;

use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
};

/// One chore.
#[derive(Clone, Copy)]
pub struct Chore {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Does it, with the arguments behind its name.
    pub run: fn(&[String]) -> anyhow::Result<()>,
}

/// All of them.
pub const CHORES: &[Chore] = &[docs::CHORE, new::CHORE];

/// The root of this checkout.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Says something to who called.
fn say(text: &str) {
    // Where standard output is gone there is nobody left to tell.
    let _ = stdout().write_all(text.as_bytes());
}
