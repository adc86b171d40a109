//! The exporter `debug` prints each batch to standard output, for a person to read: to see what a pipeline makes before it goes anywhere. Start
//! from [`DebugExporter`].

mod config;

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    ComponentError, Delivered, Entry, ExportError, Exporter, Factory, Flow, Scope, Stability, async_trait,
    print::render,
};

pub use config::DebugConfig;
pub use minicol_plugin::print::Verbosity;

/// What the collector lists.
pub const ENTRY: Entry<dyn Exporter> = Entry::of::<DebugExporter>();

/// Prints batches.
#[derive(Clone)]
pub struct DebugExporter {
    config: DebugConfig,
    out: Arc<Mutex<dyn Write + Send>>,
}

impl DebugExporter {
    /// Prints to `out` instead of standard output.
    pub fn writing_to(config: DebugConfig, out: impl Write + Send + 'static) -> Self {
        Self { config, out: Arc::new(Mutex::new(out)) }
    }
}

impl Factory for DebugExporter {
    type Product = dyn Exporter;
    type Config = DebugConfig;
    const TYPE: &'static str = "debug";
    const DESCRIPTION: &'static str = "prints what passes to standard output, for a person to read";
    const STABILITY: Stability = Stability::Beta;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const FLOWS: &'static [Flow] = &[
        Flow::into_exporter(Signal::Observations),
        Flow::into_exporter(Signal::Metrics),
        Flow::into_exporter(Signal::Logs),
        Flow::into_exporter(Signal::Traces),
    ];
    const EXAMPLE: &'static str = "verbosity: normal\n";
    /// What cannot be printed now is of no use later.
    const QUEUED: bool = false;

    fn build(config: DebugConfig, _: &Scope) -> Result<Box<dyn Exporter>, ComponentError> {
        Ok(Box::new(Self::writing_to(config, io::stdout())))
    }
}

#[async_trait]
impl Exporter for DebugExporter {
    async fn export(&self, batch: Batch) -> Result<Delivered, ExportError> {
        let text = render(&batch, self.config.verbosity);
        let out = Arc::clone(&self.out);
        // A terminal that is slow, or stopped, blocks who writes to it.
        let written = tokio::task::spawn_blocking(move || {
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            out.write_all(text.as_bytes())?;
            out.flush()
        });
        match written.await {
            Ok(Ok(())) => Ok(Delivered::default()),
            Ok(Err(error)) => Err(ExportError::permanent("write", format!("cannot print to standard output: {error}"))),
            Err(error) => Err(ExportError::permanent("write", format!("printing was broken off: {error}"))),
        }
    }
}

impl fmt::Debug for DebugExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugExporter").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
