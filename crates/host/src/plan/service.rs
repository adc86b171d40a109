//! `service`: which extensions run, and what is chained to what.

use minicol_config::{Body, Node, Part, Path, Problem, Problems, decode_checked};
use minicol_delivery::DeliveryConfig;
use minicol_pdata::Signal;
use minicol_plugin::{
    ComponentId, ComponentKind, Exporter, Extension, Processor, Product, Receiver,
    config::{self, ComponentConfig},
};
use minicol_telemetry::TelemetryConfig;
use serde::Deserialize;

use super::{
    Enabled, Pipeline, arrows, known_keys,
    section::{Hints, Section, references, valid_signals},
    storage,
};
use crate::{Registry, own};

/// What was found in the four sections.
pub(super) struct Sections<'a> {
    pub(super) receivers: &'a Section<dyn Receiver, Enabled>,
    pub(super) processors: &'a Section<dyn Processor, ()>,
    pub(super) exporters: &'a Section<dyn Exporter, DeliveryConfig>,
    pub(super) extensions: &'a Section<dyn Extension, ()>,
    pub(super) hints: Hints,
}

/// The decoded `service`.
pub(super) struct Service {
    pub(super) extensions: Vec<ComponentId>,
    pub(super) pipelines: Vec<Pipeline>,
    pub(super) telemetry: TelemetryConfig,
}

/// A pipeline as it is written: ids with their places.
pub(super) struct Draft {
    pub(super) path: Path,
    pub(super) id: String,
    pub(super) signal: Signal,
    pub(super) receivers: Vec<(ComponentId, Path)>,
    pub(super) processors: Vec<(ComponentId, Path)>,
    pub(super) exporters: Vec<(ComponentId, Path)>,
}

/// `None` where something is wrong, which has been told then.
pub(super) fn read(
    root: &Node,
    sections: &Sections<'_>,
    registry: Registry,
    problems: &mut Problems,
) -> Option<Service> {
    let at = Path::keys(["service"]);
    known_keys(root, &at, &["telemetry", "extensions", "pipelines"], problems);
    let telemetry = telemetry(root, &at.join("telemetry"), registry, problems);
    let extensions =
        references(root, &at.join("extensions"), sections.extensions, &sections.hints, problems).unwrap_or_default();
    let (drafts, whole) = drafts(root, &at.join("pipelines"), sections, problems);
    let pipelines: Vec<Option<Pipeline>> =
        drafts.iter().map(|draft| arrows::check(root, draft, sections, registry, problems)).collect();
    if whole {
        let used = |kind: ComponentKind| -> Vec<&ComponentId> {
            drafts.iter().flat_map(|draft| draft.ids(kind)).map(|(id, _)| id).collect()
        };
        warn_unused(root, sections.receivers, &used(ComponentKind::Receiver), problems);
        warn_unused(root, sections.processors, &used(ComponentKind::Processor), problems);
        warn_unused(root, sections.exporters, &used(ComponentKind::Exporter), problems);
        let listed: Vec<&ComponentId> = extensions.iter().map(|(id, _)| id).collect();
        warn_unused(root, sections.extensions, &listed, problems);
    }
    let extensions: Vec<ComponentId> = extensions.into_iter().map(|(id, _)| id).collect();
    storage::check(root, sections, &extensions, &pipelines, registry, problems);
    Some(Service { extensions, pipelines: pipelines.into_iter().collect::<Option<_>>()?, telemetry: telemetry? })
}

fn telemetry(root: &Node, path: &Path, registry: Registry, problems: &mut Problems) -> Option<TelemetryConfig> {
    let check = |telemetry: &TelemetryConfig| {
        let mut found = config::Problems::default();
        telemetry.validate(&mut found);
        let pushes =
            own::pushes(telemetry).filter_map(|(otlp, push)| Some((otlp, own::configured(registry, push).err()?)));
        // What an exporter says of a key stands at the same key here.
        let wrong = pushes.flat_map(|(otlp, wrong)| {
            wrong.into_iter().map(move |one| {
                let at = otlp.join_all(&one.path);
                one.in_path(&at)
            })
        });
        found.into_vec().into_iter().map(Problem::from).chain(wrong).collect()
    };
    let decode = |body: Body<'_>| TelemetryConfig::deserialize(body);
    decode_checked(root, path, Part::All, problems, decode, check)
}

/// The pipelines, and whether all of them could be read and name only what there is: else nobody can say what is not used.
fn drafts(root: &Node, at: &Path, sections: &Sections<'_>, problems: &mut Problems) -> (Vec<Draft>, bool) {
    let node = root.find(at);
    if node.is_none_or(|node| node.is_null() || node.as_mapping().is_some_and(minicol_config::Mapping::is_empty)) {
        let problem = Problem::error("service must have at least one pipeline").at_key(root, at);
        problems.push(problem.with_help("for example `pipelines: {metrics: {receivers: [...], exporters: [...]}}`"));
        return (Vec::new(), false);
    }
    let keys: Vec<&str> = node.map(|node| node.section(at, problems).map(|(key, _)| key).collect()).unwrap_or_default();
    let drafts: Vec<Option<Draft>> =
        keys.iter().map(|key| draft(root, &at.join(*key), key, sections, problems)).collect();
    let known = |draft: &Option<Draft>| draft.as_ref().is_some_and(|draft| draft.is_known(sections));
    let whole = !drafts.is_empty() && drafts.iter().all(known);
    (drafts.into_iter().flatten().collect(), whole)
}

fn draft(root: &Node, path: &Path, id: &str, sections: &Sections<'_>, problems: &mut Problems) -> Option<Draft> {
    let signal = signal(root, path, id, problems);
    let node = root.find(path)?;
    if node.is_invalid() {
        return None;
    }
    // Says what it is where it is no mapping.
    let mapping = node.is_null() || node.section(path, problems).count() > 0 || node.as_mapping().is_some();
    if !mapping {
        return None;
    }
    known_keys(root, path, &["receivers", "processors", "exporters"], problems);
    let receivers = references(root, &path.join("receivers"), sections.receivers, &sections.hints, problems);
    let processors = references(root, &path.join("processors"), sections.processors, &sections.hints, problems);
    let exporters = references(root, &path.join("exporters"), sections.exporters, &sections.hints, problems);
    // A list that could not be read has been told of.
    let receivers = at_least_one(root, path, ComponentKind::Receiver, receivers, problems)?;
    let exporters = at_least_one(root, path, ComponentKind::Exporter, exporters, problems)?;
    let processors = match processors {
        None if root.find(&path.join("processors")).is_some() => return None,
        list => list.unwrap_or_default(),
    };
    Some(Draft { path: path.clone(), id: id.to_owned(), signal: signal?, receivers, processors, exporters })
}

fn at_least_one(
    root: &Node,
    path: &Path,
    kind: ComponentKind,
    list: Option<Vec<(ComponentId, Path)>>,
    problems: &mut Problems,
) -> Option<Vec<(ComponentId, Path)>> {
    let at = path.join(kind.section());
    let unreadable = list.is_none() && root.find(&at).is_some();
    let list = list.unwrap_or_default();
    if list.is_empty() && !unreadable {
        let problem = Problem::error(format!("must have at least one {kind}")).at_key(root, &at).in_path(path);
        problems.push(problem.with_help(format!("for example `{}: [...]`", kind.section())));
    }
    (!unreadable).then_some(list)
}

/// The signal that a pipeline's id names.
fn signal(root: &Node, path: &Path, id: &str, problems: &mut Problems) -> Option<Signal> {
    let (kind, name) = id.split_once('/').map_or((id, None), |(kind, name)| (kind, Some(name)));
    let found = Signal::ALL.into_iter().find(|signal| signal.name() == kind);
    if found.is_none() {
        let problem =
            Problem::error(format!("unknown signal \"{kind}\" in the pipeline id \"{id}\"")).at_key(root, path);
        problems.push(problem.with_help(valid_signals(kind)));
    }
    if name.is_some_and(|name| name.trim().is_empty()) {
        let problem = Problem::error(format!("the pipeline id \"{id}\" has an empty name")).at_key(root, path);
        problems.push(problem.with_help("write `signal` or `signal/name`"));
        return None;
    }
    found
}

fn warn_unused<P: Product + ?Sized, X>(
    root: &Node,
    section: &Section<P, X>,
    used: &[&ComponentId],
    problems: &mut Problems,
) {
    for (id, slot) in section.iter().filter(|(id, _)| !used.contains(id)) {
        let (message, help) = if P::KIND == ComponentKind::Extension {
            (
                format!("extension \"{id}\" is not listed in `service::extensions`: it is not started"),
                "list it there, or remove it",
            )
        } else {
            (
                format!("{} \"{id}\" is used by no pipeline: it is not started", P::KIND),
                "name it in a pipeline, or remove it",
            )
        };
        problems.push(Problem::warning(message).at_key(root, &slot.path).with_help(help));
    }
}

impl Draft {
    fn is_known(&self, sections: &Sections<'_>) -> bool {
        self.receivers.iter().all(|(id, _)| sections.receivers.contains_key(id))
            && self.processors.iter().all(|(id, _)| sections.processors.contains_key(id))
            && self.exporters.iter().all(|(id, _)| sections.exporters.contains_key(id))
    }

    fn ids(&self, kind: ComponentKind) -> &[(ComponentId, Path)] {
        match kind {
            ComponentKind::Receiver => &self.receivers,
            ComponentKind::Processor => &self.processors,
            ComponentKind::Exporter => &self.exporters,
            ComponentKind::Extension => &[],
        }
    }
}
