//! Promise: input that is made to kill takes bounded time and memory, and ends in an error that says so.
//!
//! Memory is what the allocator counts. Each test waits for the others: what one takes is not another's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::format_collect)]

mod configuration;
mod documents;
mod otlp;
mod replies;

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Each test begins with it: what another prepares meanwhile would be counted, too.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `run` gives, and how much memory it had taken at its most, in bytes.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = run();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

/// The same on a clock that stands still.
fn measured_async<T, F: Future<Output = T>>(run: impl FnOnce() -> F) -> (T, usize) {
    measured(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run())
    })
}
