use std::{fmt::Write, path::Path, time::Duration};

use tempfile::TempDir;

use super::Sender;
use crate::{Program, free_port};

/// A relay's pipeline file, its ports and its folder; the program can be started from it again and again.
#[derive(Debug)]
pub struct Relay {
    /// Where its receiver `otlp` takes HTTP.
    pub port: u16,
    folder: TempDir,
}

/// Where a relay's queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// In memory.
    Memory,
    /// In `file_storage` with `fsync: always`.
    Stored,
}

impl Relay {
    /// From a receiver `otlp` to an exporter `otlphttp` at `backend`, with these keys (flow style) added to its queue.
    pub fn new(backend: &str, queue: Queue, settings: &str) -> Self {
        Self::several(&[backend], false, queue, settings)
    }

    /// The same with one such exporter for each backend and, where `debug` says so, an exporter `debug` before them.
    pub fn several(backends: &[&str], debug: bool, queue: Queue, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let stored = folder.path().join("stored");
        let storage = if queue == Queue::Stored { "storage: file_storage, " } else { "" };
        let extensions = if queue == Queue::Stored {
            format!("extensions: {{file_storage: {{directory: \"{}\", max_size_mib: 8192}}}}", stored.display())
        } else {
            String::new()
        };
        let listed = if queue == Queue::Stored { "file_storage" } else { "" };
        let (mut exporters, mut ids) = (String::new(), Vec::new());
        if debug {
            exporters.push_str("\n  debug: {verbosity: basic}");
            ids.push("debug".to_owned());
        }
        for (nth, backend) in backends.iter().enumerate() {
            let id = format!("otlphttp/{nth}");
            let retry = "{initial_interval: 20ms, max_interval: 100ms, max_elapsed_time: 0s}";
            let _ = write!(
                exporters,
                "
  {id}:
    endpoint: \"{backend}\"
    compression: none
    timeout: 1s
    retry_on_failure: {retry}
    sending_queue: {{{storage}{settings}}}"
            );
            ids.push(id);
        }
        let file = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}}}
exporters:{exporters}
{extensions}
service:
  extensions: [{listed}]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [{}]}}}}
",
            ids.join(", ")
        );
        std::fs::write(folder.path().join("relay.yaml"), file).expect("the file is written");
        Self { port, folder }
    }

    /// Starts the program.
    pub fn start(&self) -> Program {
        self.start_by(|arguments| Program::start(arguments, &[]))
    }

    /// Starts it, and waits until it takes requests.
    pub async fn started(&self) -> (Program, Sender) {
        self.taking(self.start()).await
    }

    /// The same where no file can be larger than so many KiB.
    pub async fn started_with_small_files(&self, kib: u32) -> (Program, Sender) {
        self.taking(self.start_by(|arguments| Program::start_with_small_files(kib, arguments, &[]))).await
    }

    fn start_by(&self, start: impl FnOnce(&[&str]) -> Program) -> Program {
        let file = self.folder.path().join("relay.yaml");
        start(&["run", "--config", file.to_str().expect("a path in UTF-8"), "--shutdown-timeout", "20s"])
    }

    async fn taking(&self, program: Program) -> (Program, Sender) {
        let sender = Sender::new(self.port);
        for _ in 0..1_000 {
            if sender.send(super::batch(0, 1)).await {
                return (program, sender);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the relay does not start:\n{}", program.stderr());
    }

    /// Where its store is.
    pub fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("stored")
    }

    /// What its store left aside: damaged stores and records.
    pub fn aside(&self) -> usize {
        let names = |path: &Path| std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        let broken = names(&self.store()).filter(|file| file.file_name().to_string_lossy().contains("broken")).count();
        broken + names(&self.store().join("quarantine")).count()
    }
}
