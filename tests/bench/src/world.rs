//! Where everything is.

use std::{fmt::Write, net::Ipv4Addr, path::Path};

/// The address of one target. Each has its own, as in life: clients pool their connections by it.
pub(crate) fn address(target: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + target / 250 * 256 + target % 250)
}

/// The endpoint of one target.
pub(crate) fn endpoint(target: u32, port: u16) -> String {
    format!("http://{}:{port}/mcp", address(target))
}

/// A pipeline file: so many receivers, the mapping, OTLP over gRPC without compression.
pub(crate) struct Pipeline {
    pub(crate) targets: u32,
    pub(crate) interval_seconds: u64,
    pub(crate) mcp_port: u16,
    pub(crate) otlp_port: u16,
    pub(crate) page_port: u16,
    pub(crate) health_port: u16,
}

impl Pipeline {
    pub(crate) fn write(&self, to: &Path) -> std::io::Result<()> {
        let Self { targets, interval_seconds, mcp_port, otlp_port, page_port, health_port } = self;
        let mut text = "receivers:\n".to_owned();
        let mut ids = Vec::new();
        for target in 0..*targets {
            let endpoint = endpoint(target, *mcp_port);
            let _ = writeln!(
                text,
                "  session_buddy/{target}: {{endpoint: \"{endpoint}\", interval_seconds: {interval_seconds}, metrics_to_collect: [activity_summary, workflow_metrics, session_analytics, performance_metrics]}}"
            );
            ids.push(format!("session_buddy/{target}"));
        }
        let ids = ids.join(", ");
        let _ = write!(
            text,
            "processors:
  mapping: {{presets: [session_buddy]}}
exporters:
  otlp: {{endpoint: \"http://127.0.0.1:{otlp_port}\", compression: none, tls: {{insecure: true}}}}
extensions:
  health_check: {{endpoint: \"127.0.0.1:{health_port}\"}}
service:
  extensions: [health_check]
  telemetry:
    logs: {{level: error}}
    metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page_port}}}}}}}}}]}}
  pipelines:
    metrics: {{receivers: [{ids}], processors: [mapping], exporters: [otlp]}}
"
        );
        std::fs::write(to, text)
    }
}
