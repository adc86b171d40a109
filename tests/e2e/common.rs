//! Pipelines that the tests run.

use std::path::PathBuf;

use tempfile::TempDir;

/// A pipeline file in a folder of its own.
pub(crate) struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipeline.yaml");
        std::fs::write(&path, text).expect("the file is written");
        Self { path, _folder: folder }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("a path in UTF-8")
    }
}

/// A pipeline that polls `target` every second and delivers by `exporter` (an entry of `exporters`, in flow style).
pub(crate) fn pipeline(target: &str, exporter: &str) -> String {
    pipeline_with(target, exporter, "metrics: {level: none}")
}

/// The same with its own telemetry.
pub(crate) fn pipeline_with(target: &str, exporter: &str, telemetry: &str) -> String {
    let id = exporter.split(':').next().expect("an id");
    format!(
        "receivers:
  session_buddy:
    endpoint: \"{target}\"
    interval_seconds: 1
    timeout_seconds: 2
    max_retries: 0
    metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics]
processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  {exporter}
service:
  telemetry: {{{telemetry}}}
  pipelines:
    metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [{id}]}}
"
    )
}
