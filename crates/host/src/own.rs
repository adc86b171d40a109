//! The exporters that the program's own metrics and traces are sent through: components like any other, configured where they are sent from.

use std::sync::Arc;

use minicol_config::{Path, Problem};
use minicol_pdata::Signal;
use minicol_plugin::{Buildable, ComponentError, ComponentId, ComponentKind, Entry, Exporter, Scope, net::ClientTls};
use minicol_telemetry::{
    OtlpPush, OtlpPushProtocol, Periodic, PushExporter, Reader, SpanProcessor, Telemetry, TelemetryConfig,
    TelemetryError,
};
use serde_json::{Value, json};

use crate::{Plan, Registry, StartError, workshop::Workshop};

/// Where ways out are listed below `service.telemetry`: the list, what an item of it is called, and what leaves there.
pub(crate) const LISTS: [([&str; 2], &str, Signal); 2] =
    [(["metrics", "readers"], "periodic", Signal::Metrics), (["traces", "processors"], "batch", Signal::Traces)];

/// A way out over OTLP, below `service.telemetry`.
pub(crate) fn place(list: [&str; 2], index: usize, kind: &str) -> Path {
    Path::keys(list).join(index).join_all(&Path::keys([kind, "exporter", "otlp"]))
}

/// Every way out over OTLP that is configured, with its place below `service.telemetry`.
pub(crate) fn pushes(telemetry: &TelemetryConfig) -> impl Iterator<Item = (Path, &OtlpPush)> {
    let [(readers, periodic, _), (processors, batch, _)] = LISTS;
    let metrics = telemetry.metrics.readers.iter().enumerate().filter_map(move |(index, reader)| match reader {
        Reader::Periodic(Periodic { exporter: PushExporter::Otlp(otlp), .. }) => {
            Some((place(readers, index, periodic), otlp))
        }
        Reader::Pull(_) => None,
    });
    let traces = telemetry.traces.processors.iter().enumerate();
    metrics.chain(traces.map(move |(index, SpanProcessor::Batch(one))| {
        let PushExporter::Otlp(otlp) = &one.exporter;
        (place(processors, index, batch), otlp)
    }))
}

/// An exporter that could be built.
pub(crate) type Configured = (&'static Entry<dyn Exporter>, Box<dyn Buildable<dyn Exporter>>);

/// The configuration of the exporter that a push goes through.
pub(crate) fn configured(registry: Registry, push: &OtlpPush) -> Result<Configured, Vec<Problem>> {
    let entry = registry.speaks(push.protocol.into());
    let entry = entry.ok_or_else(|| vec![Problem::error("no exporter of this protocol is compiled in")])?;
    let decoded = entry.decode_text(&body(push).to_string());
    let config = decoded.map_err(|problems| problems.iter().cloned().collect::<Vec<_>>())?;
    let errors = config.problems().into_iter().filter(|problem| !problem.warning);
    let errors: Vec<Problem> = errors.map(Problem::from).collect();
    if errors.is_empty() { Ok((entry, config)) } else { Err(errors) }
}

/// What a user would write under that exporter; what says nothing is left away, for an exporter need not know it.
fn body(push: &OtlpPush) -> Value {
    let OtlpPush { protocol, endpoint, metrics_endpoint, traces_endpoint, timeout: _, .. } = push;
    let OtlpPush { compression, tls, headers, header_files, allow_insecure_auth, .. } = push;
    let mut body = json!({ "endpoint": endpoint });
    for (key, value) in
        [("metrics_endpoint", metrics_endpoint), ("traces_endpoint", traces_endpoint), ("compression", compression)]
    {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    if *protocol == OtlpPushProtocol::HttpJson {
        body["encoding"] = json!("json");
    }
    if *tls != ClientTls::default() {
        body["tls"] = json!(tls);
    }
    if !headers.is_empty() {
        // As JSON secrets would be covered.
        body["headers"] = headers.iter().map(|(name, value)| (name.clone(), json!(value.expose()))).collect();
    }
    if !header_files.is_empty() {
        body["header_files"] = json!(header_files);
    }
    if *allow_insecure_auth {
        body["allow_insecure_auth"] = json!(true);
    }
    body
}

/// Builds every push's exporter, and throws it away.
pub(crate) fn check(plan: &Plan, workshop: &Workshop) -> Result<(), StartError> {
    for (_, push) in pushes(plan.telemetry()) {
        build(plan.registry, workshop, push)
            .map_err(|source| TelemetryError::Push { endpoint: push.shown_endpoint().to_owned(), source })?;
    }
    Ok(())
}

/// Opens the pages and begins to send.
pub(crate) async fn start(plan: &Plan, workshop: &Workshop, telemetry: &mut Telemetry) -> Result<(), TelemetryError> {
    telemetry.start(|push| build(plan.registry, workshop, push)).await
}

fn build(registry: Registry, workshop: &Workshop, push: &OtlpPush) -> Result<Arc<dyn Exporter>, ComponentError> {
    let words = |problems: Vec<Problem>| {
        ComponentError::new(problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))
    };
    let (entry, config) = configured(registry, push).map_err(words)?;
    let scope = scope(workshop, entry)?;
    config.build(&scope).map(Arc::from)
}

/// A name that no component of a pipeline file is likely to have.
fn scope(workshop: &Workshop, entry: &Entry<dyn Exporter>) -> Result<Scope, ComponentError> {
    let id = format!("{}/own telemetry", entry.component_type).parse::<ComponentId>();
    let id = id.map_err(|error| ComponentError::caused("the exporter's type is no id", error))?;
    let governed = workshop.scope(ComponentKind::Exporter, &id);
    governed.go_live();
    Ok(governed.scope)
}
