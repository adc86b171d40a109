use std::sync::{Arc, Mutex, PoisonError};

use minicol_plugin::Clock;
use opentelemetry::metrics::Meter;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Reads this process's own use of the machine.
struct Usage {
    system: System,
    pid: Pid,
}

/// CPU time in seconds, memory in bytes.
#[derive(Clone, Copy)]
struct Reading {
    cpu_seconds: f64,
    memory_rss: u64,
}

/// Measures this process: its uptime, its tasks, and what it uses where the platform tells.
pub(crate) fn measure(meter: &Meter, clock: Arc<dyn Clock>) {
    let begun = clock.monotonic();
    meter
        .f64_observable_counter("otelcol_process_uptime")
        .with_description("Uptime of the process")
        .with_unit("s")
        .with_callback(move |observer| observer.observe(clock.monotonic().saturating_sub(begun).as_secs_f64(), &[]))
        .build();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        meter
            .u64_observable_gauge("minicol_process_tasks")
            .with_description("Tasks inside the program that have not ended; that they grow for ever is a bug")
            .with_unit("{task}")
            .with_callback(move |observer| observer.observe(runtime.metrics().num_alive_tasks() as u64, &[]))
            .build();
    }
    let Some(usage) = Usage::new() else { return };
    let usage = Arc::new(Mutex::new(usage));
    let for_memory = Arc::clone(&usage);
    meter
        .f64_observable_counter("otelcol_process_cpu_seconds")
        .with_description("Total CPU user and system time in seconds")
        .with_unit("s")
        .with_callback(move |observer| {
            if let Some(reading) = read(&usage) {
                observer.observe(reading.cpu_seconds, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("otelcol_process_memory_rss")
        .with_description("Total physical memory (resident set size)")
        .with_unit("By")
        .with_callback(move |observer| {
            if let Some(reading) = read(&for_memory) {
                observer.observe(reading.memory_rss, &[]);
            }
        })
        .build();
}

fn read(usage: &Mutex<Usage>) -> Option<Reading> {
    usage.lock().unwrap_or_else(PoisonError::into_inner).read()
}

impl Usage {
    /// `None` where the platform does not tell.
    fn new() -> Option<Self> {
        if !sysinfo::IS_SUPPORTED_SYSTEM {
            return None;
        }
        let mut usage = Self { system: System::new(), pid: sysinfo::get_current_pid().ok()? };
        usage.read().map(|_| usage)
    }

    fn read(&mut self) -> Option<Reading> {
        let wanted = ProcessRefreshKind::nothing().with_cpu().with_memory();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, wanted);
        let process = self.system.process(self.pid)?;
        Some(Reading { cpu_seconds: process.accumulated_cpu_time() as f64 / 1_000.0, memory_rss: process.memory() })
    }
}
