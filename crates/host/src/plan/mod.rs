//! From a pipeline file to a configuration that holds: what is decoded, checked, and refers to what exists.

mod arrows;
mod fill;
mod secrets;
mod section;
mod service;
mod settings;
mod show;
mod storage;

use std::sync::Arc;

use indexmap::IndexMap;
use minicol_config::{AppliedOverride, Loaded, Mark, Node, Path, Problem, Problems, Request, load};
use minicol_delivery::DeliveryConfig;
use minicol_pdata::Signal;
use minicol_plugin::{
    Buildable, ComponentId, ComponentKind, Entry, Exporter, Extension, Processor, Receiver, Redactor, Setting,
};
use minicol_telemetry::TelemetryConfig;

use crate::Registry;

/// A configuration that holds. It can be shown, polled, or started.
pub struct Plan {
    pub(crate) registry: Registry,
    pub(crate) receivers: Planned<dyn Receiver, Enabled>,
    pub(crate) processors: Planned<dyn Processor, ()>,
    pub(crate) exporters: Planned<dyn Exporter, DeliveryConfig>,
    pub(crate) extensions: Planned<dyn Extension, ()>,
    /// The extensions that the service lists, in its order.
    pub(crate) started_extensions: Vec<ComponentId>,
    pub(crate) pipelines: Vec<Pipeline>,
    telemetry: TelemetryConfig,
    warnings: Problems,
    overrides: Vec<AppliedOverride>,
    redactor: Arc<Redactor>,
    /// What was read.
    root: Node,
}

/// The components of one kind, in the order in which they were written.
pub(crate) type Planned<P, X> = IndexMap<ComponentId, Component<P, X>>;

/// A component's decoded configuration, and what the host itself took off it.
pub(crate) struct Component<P: ?Sized + 'static, X> {
    pub(crate) entry: &'static Entry<P>,
    pub(crate) config: Box<dyn Buildable<P>>,
    pub(crate) beside: X,
    /// What was written, all references replaced.
    pub(crate) written: Node,
    /// Where.
    pub(crate) mark: Mark,
}

/// Whether a receiver is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enabled(pub(crate) bool);

/// One pipeline; every id in it is one of the plan's components, and every arrow carries what its far end takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pipeline {
    /// `signal[/name]`.
    pub(crate) id: String,
    pub(crate) receivers: Vec<ComponentId>,
    pub(crate) processors: Vec<ComponentId>,
    pub(crate) exporters: Vec<ComponentId>,
    /// What enters each processor, then what enters the exporters.
    pub(crate) carries: Vec<Signal>,
}

impl Plan {
    /// Reads, merges, decodes and checks a configuration. `request.overrides` is added to from the registry.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included, each at its place.
    pub fn load(mut request: Request, registry: Registry) -> Result<Self, Problems> {
        request.overrides.extend(registry.overrides(&request.environment));
        let mut loaded = load(&request)?;
        fill::exporters(&mut loaded, registry.exporters, &request.environment);
        fill::own_telemetry(&mut loaded, registry, &request.environment);
        Self::read(loaded, registry)
    }

    /// What the user should know although the configuration holds.
    pub fn warnings(&self) -> &Problems {
        &self.warnings
    }

    /// The environment variables that took effect: those that override, then those that give what is not written.
    pub fn overrides(&self) -> &[AppliedOverride] {
        &self.overrides
    }

    /// How many components are configured.
    pub(crate) fn components(&self) -> usize {
        self.receivers.len() + self.processors.len() + self.exporters.len() + self.extensions.len()
    }

    /// `service::telemetry`.
    pub fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    /// The merged configuration with all defaults, secrets redacted, in the shape of a pipeline file.
    pub fn to_value(&self) -> serde_json::Value {
        show::plan(self)
    }

    /// Takes out of what is shown of telemetry what this configuration knows as a secret.
    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor)
    }

    /// The same as a list, each value with the place where it was written.
    pub fn settings(&self) -> Vec<Setting> {
        settings::of(&self.to_value(), &self.root)
    }

    /// Whether this receiver is in some pipeline, and so is built.
    pub(crate) fn uses_receiver(&self, id: &ComponentId) -> bool {
        self.pipelines.iter().any(|pipeline| pipeline.receivers.contains(id))
    }

    /// The pipelines that name a component.
    pub(crate) fn pipelines_of(&self, kind: ComponentKind, id: &ComponentId) -> Vec<String> {
        self.pipelines.iter().filter(|one| one.ids(kind).contains(id)).map(|one| one.id.clone()).collect()
    }

    /// What the pipelines give to an exporter; nothing where none names it.
    pub(crate) fn signals_to(&self, id: &ComponentId) -> Vec<Signal> {
        let users = self.pipelines.iter().filter(|pipeline| pipeline.exporters.contains(id));
        users.filter_map(|pipeline| pipeline.carries.last().copied()).collect()
    }

    /// What was written of a component.
    pub(crate) fn written(&self, kind: ComponentKind, id: &ComponentId) -> Node {
        let written = match kind {
            ComponentKind::Receiver => self.receivers.get(id).map(|one| &one.written),
            ComponentKind::Processor => self.processors.get(id).map(|one| &one.written),
            ComponentKind::Exporter => self.exporters.get(id).map(|one| &one.written),
            ComponentKind::Extension => self.extensions.get(id).map(|one| &one.written),
        };
        written.cloned().unwrap_or_else(|| Node::empty(""))
    }

    /// Where a component is configured.
    pub(crate) fn mark_of(&self, kind: ComponentKind, id: &ComponentId) -> Option<&Mark> {
        match kind {
            ComponentKind::Receiver => self.receivers.get(id).map(|one| &one.mark),
            ComponentKind::Processor => self.processors.get(id).map(|one| &one.mark),
            ComponentKind::Exporter => self.exporters.get(id).map(|one| &one.mark),
            ComponentKind::Extension => self.extensions.get(id).map(|one| &one.mark),
        }
    }

    fn read(loaded: Loaded, registry: Registry) -> Result<Self, Problems> {
        let Loaded { root, mut problems, overrides } = loaded;
        check_top_level(&root, &mut problems);
        let receivers = section::receivers(&root, registry.receivers, &mut problems);
        let processors = section::plain(&root, registry.processors, &mut problems);
        let exporters = section::exporters(&root, registry.exporters, &mut problems);
        let extensions = section::plain(&root, registry.extensions, &mut problems);
        let sections = service::Sections {
            receivers: &receivers,
            processors: &processors,
            exporters: &exporters,
            extensions: &extensions,
            hints: section::Hints::default(),
        };
        let service = service::read(&root, &sections, registry, &mut problems);
        let Some(service) = service.filter(|_| !problems.has_errors()) else { return Err(problems) };
        let mut plan = Self {
            registry,
            receivers: section::planned(receivers),
            processors: section::planned(processors),
            exporters: section::planned(exporters),
            extensions: section::planned(extensions),
            started_extensions: service.extensions,
            pipelines: service.pipelines,
            telemetry: service.telemetry,
            warnings: problems,
            overrides,
            redactor: Arc::default(),
            root,
        };
        let mut secrets = secrets::Secrets::default();
        secrets.gather(&plan.to_value(), Some(&plan.root));
        plan.redactor = secrets.redactor();
        Ok(plan)
    }
}

impl Pipeline {
    pub(crate) fn ids(&self, kind: ComponentKind) -> &[ComponentId] {
        match kind {
            ComponentKind::Receiver => &self.receivers,
            ComponentKind::Processor => &self.processors,
            ComponentKind::Exporter => &self.exporters,
            ComponentKind::Extension => &[],
        }
    }
}

const TOP_LEVEL: [&str; 6] = ["receivers", "processors", "exporters", "connectors", "extensions", "service"];

fn check_top_level(root: &Node, problems: &mut Problems) {
    known_keys(root, &Path::root(), &TOP_LEVEL, problems);
    let path = Path::keys(["connectors"]);
    if root.find(&path).is_some_and(|node| !node.is_null() && node.as_mapping().is_none_or(|map| !map.is_empty())) {
        let problem = Problem::error("no connectors are compiled in").at_key(root, &path);
        problems.push(problem.with_help("remove `connectors`: let one pipeline name the components of both"));
    }
}

/// Tells every key of the mapping at `path` that is none of `known`.
fn known_keys(root: &Node, path: &Path, known: &[&str], problems: &mut Problems) {
    let keys = root.find(path).and_then(Node::as_mapping).into_iter().flat_map(minicol_config::Mapping::keys);
    for key in keys.filter(|key| !known.contains(key)) {
        let problem = Problem::error(format!("unknown key `{key}`")).at_key(root, &path.join(key));
        problems.push(problem.with_help(valid("keys", key, known.iter().copied())));
    }
}

/// The cure for a name that is not known: the nearest one, and all of them.
fn valid<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let list = format!("valid {what}: {}", known.join(", "));
    match minicol_config::nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? {list}"),
        None if known.is_empty() => format!("there are no {what}"),
        None => list,
    }
}
