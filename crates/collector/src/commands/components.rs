use std::process::ExitCode;

use minicol_plugin::{Entry, Flow, Product, Stability};
use serde::Serialize;

use super::print;
use crate::components::REGISTRY;

/// Everything that is compiled in, in the shape that otelcol prints it.
#[derive(Serialize)]
struct Listing {
    buildinfo: BuildInfo,
    receivers: Vec<Component>,
    processors: Vec<Component>,
    exporters: Vec<Component>,
    extensions: Vec<Component>,
}

#[derive(Serialize)]
struct BuildInfo {
    command: &'static str,
    description: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Component {
    name: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aliases: &'static [&'static str],
    description: &'static str,
    version: &'static str,
    stability: Stability,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<String>,
}

/// Prints what is compiled in.
pub(crate) fn components() -> anyhow::Result<ExitCode> {
    let listing = Listing {
        buildinfo: BuildInfo {
            command: "minicol",
            description: "A mini OpenTelemetry collector that polls MCP servers",
            version: env!("CARGO_PKG_VERSION"),
        },
        receivers: described(REGISTRY.receivers),
        processors: described(REGISTRY.processors),
        exporters: described(REGISTRY.exporters),
        extensions: described(REGISTRY.extensions),
    };
    print(&serde_yaml::to_string(&listing)?)?;
    Ok(ExitCode::SUCCESS)
}

fn described<P: Product + ?Sized>(entries: &'static [Entry<P>]) -> Vec<Component> {
    entries
        .iter()
        .map(|entry| Component {
            name: entry.component_type,
            aliases: entry.aliases,
            description: entry.description,
            version: entry.version,
            stability: entry.stability,
            signals: entry.flows.iter().copied().map(flow).collect(),
        })
        .collect()
}

fn flow(flow: Flow) -> String {
    match (flow.takes, flow.emits) {
        (Some(takes), Some(emits)) => format!("{takes} to {emits}"),
        (Some(only), None) | (None, Some(only)) => only.to_string(),
        (None, None) => String::new(),
    }
}
