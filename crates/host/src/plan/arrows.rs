//! Whether each component takes what the one before it emits, and what would help where it does not.

use minicol_config::{Node, Path, Problem, Problems};
use minicol_pdata::Signal;
use minicol_plugin::{ComponentId, ComponentKind, Entry, Flow};

use super::{Pipeline, service::Draft, service::Sections};
use crate::Registry;

/// What a component emits, by the name of the component.
struct Emits<'a> {
    id: &'a ComponentId,
    signals: Vec<Signal>,
}

/// A processor of the pipeline, and every way through it.
type Step<'a> = (&'a ComponentId, &'a Path, &'static [Flow]);

/// The pipeline, where every arrow of it holds. What does not hold is told. Where a component is not known, which has been told, nothing can be
/// said of its arrows.
pub(super) fn check(
    root: &Node,
    draft: &Draft,
    sections: &Sections<'_>,
    registry: Registry,
    problems: &mut Problems,
) -> Option<Pipeline> {
    let receivers = draft.receivers.iter().map(|(id, _)| Some((id, flows(sections.receivers.get(id)?.entry)?)));
    let receivers: Vec<_> = receivers.collect::<Option<_>>()?;
    let steps = draft.processors.iter().map(|(id, at)| Some((id, at, flows(sections.processors.get(id)?.entry)?)));
    let steps: Vec<Step<'_>> = steps.collect::<Option<_>>()?;
    let exporters = draft.exporters.iter().map(|(id, at)| Some((id, at, flows(sections.exporters.get(id)?.entry)?)));
    let exporters: Vec<Step<'_>> = exporters.collect::<Option<_>>()?;

    let checker = Checker { root, draft, sections, registry };
    let before = problems.len();
    let mut sources: Vec<Emits<'_>> =
        receivers.iter().map(|(id, flows)| Emits { id, signals: emitted(flows, None) }).collect();
    // What can enter each step, then the exporters.
    let mut entering: Vec<Vec<Signal>> = vec![common(&sources)];
    for (id, at, flows) in &steps {
        let takes = taken(flows);
        checker.arrow(&sources, id, ComponentKind::Processor, &takes, at, problems);
        let can = common(&sources);
        let through = emitted(flows, Some(&can));
        let signals = if through.is_empty() { emitted(flows, None) } else { through };
        sources = vec![Emits { id, signals }];
        entering.push(common(&sources));
    }
    for (id, at, flows) in &exporters {
        checker.arrow(&sources, id, ComponentKind::Exporter, &taken(flows), at, problems);
    }
    if problems.len() == before {
        checker.names_its_signal(&sources, &exporters, problems);
    }
    if problems.len() > before {
        return None;
    }
    Some(Pipeline {
        id: draft.id.clone(),
        receivers: receivers.iter().map(|(id, _)| (*id).clone()).collect(),
        processors: steps.iter().map(|(id, ..)| (*id).clone()).collect(),
        exporters: exporters.iter().map(|(id, ..)| (*id).clone()).collect(),
        carries: carried(draft.signal, &steps, &entering),
    })
}

struct Checker<'a> {
    root: &'a Node,
    draft: &'a Draft,
    sections: &'a Sections<'a>,
    registry: Registry,
}

impl Checker<'_> {
    /// Tells each source that emits nothing of what `to` takes.
    fn arrow(
        &self,
        sources: &[Emits<'_>],
        to: &ComponentId,
        kind: ComponentKind,
        takes: &[Signal],
        at: &Path,
        problems: &mut Problems,
    ) {
        for source in sources.iter().filter(|source| !source.signals.iter().any(|signal| takes.contains(signal))) {
            let remedy = self.between(&source.signals, takes);
            let what = format!("{kind} `{to}` takes {}, but `{}` emits {}", or(takes), source.id, or(&source.signals));
            let problem = match &remedy {
                Some(processor) => Problem::error(format!("{what}: put `{processor}` between them")),
                None => Problem::error(format!("{what}: no processor makes one of the other")),
            };
            let problem = problem.at_value(self.root, at);
            problems.push(match remedy {
                Some(name) => problem.with_help(format!(
                    "write `processors: [{name}]` in the pipeline `{}`, in its place",
                    self.draft.id
                )),
                None if kind == ComponentKind::Exporter => {
                    problem.with_help(format!("name `{to}` in a pipeline that gives it {}", or(takes)))
                }
                None => problem.with_help(format!("leave `{to}` out, or put it where it is given {}", or(takes))),
            });
        }
    }

    /// Tells where the pipeline's id names another signal than its exporters are given.
    fn names_its_signal(&self, sources: &[Emits<'_>], exporters: &[Step<'_>], problems: &mut Problems) {
        let named = self.draft.signal;
        let given = common(sources);
        if !given.contains(&named) {
            let what = format!("the pipeline's id says `{named}`, but its exporters are given {}", or(&given));
            let name = self.draft.id.split_once('/').map(|(_, name)| format!("/{name}")).unwrap_or_default();
            let renamed: Vec<String> = given.iter().map(|signal| format!("`{signal}{name}`")).collect();
            let rename = format!("call the pipeline {}", renamed.join(" or "));
            let problem = match self.between(&given, &[named]) {
                Some(processor) => {
                    Problem::error(format!("{what}: put `{processor}` before them")).with_help(format!("or {rename}"))
                }
                None => Problem::error(what).with_help(rename),
            };
            problems.push(problem.at_key(self.root, &self.draft.path));
            return;
        }
        for (id, at, flows) in exporters {
            let takes = taken(flows);
            if !takes.contains(&named) {
                let message = format!("exporter `{id}` takes {}, but this pipeline gives it {named}", or(&takes));
                let help = "name it in a pipeline of a signal that it takes";
                problems.push(Problem::error(message).at_value(self.root, at).with_help(help));
            }
        }
    }

    /// A processor that makes something of `wanted` out of something of `given`: one that is configured, else one that is compiled in.
    fn between(&self, given: &[Signal], wanted: &[Signal]) -> Option<String> {
        let makes = |flows: &[Flow]| {
            let mut ways = flows.iter().filter_map(|flow| Some((flow.takes?, flow.emits?)));
            ways.any(|(takes, emits)| takes != emits && given.contains(&takes) && wanted.contains(&emits))
        };
        let mut configured = self.sections.processors.iter();
        let configured = configured.find(|(_, slot)| slot.entry.is_some_and(|entry| makes(entry.flows)));
        let compiled_in = || self.registry.processors.iter().find(|entry| makes(entry.flows));
        configured.map(|(id, _)| id.to_string()).or_else(|| compiled_in().map(|entry| entry.component_type.to_owned()))
    }
}

/// The one signal of each arrow, chosen from the end: as little is changed on the way as possible.
fn carried(last: Signal, steps: &[Step<'_>], entering: &[Vec<Signal>]) -> Vec<Signal> {
    let mut wanted = last;
    let mut carries = vec![last];
    for ((_, _, flows), can) in steps.iter().zip(entering).rev() {
        let ways = || flows.iter().filter(|flow| flow.emits == Some(wanted)).filter_map(|flow| flow.takes);
        let possible = || ways().filter(|signal| can.contains(signal));
        wanted = possible().find(|signal| *signal == wanted).or_else(|| possible().next()).unwrap_or(wanted);
        carries.push(wanted);
    }
    carries.reverse();
    carries
}

fn flows<P: ?Sized>(entry: Option<&'static Entry<P>>) -> Option<&'static [Flow]> {
    entry.map(|entry| entry.flows)
}

/// What is taken, each signal once.
fn taken(flows: &[Flow]) -> Vec<Signal> {
    each_once(flows.iter().filter_map(|flow| flow.takes))
}

/// What is emitted, each signal once; only for what is in `of`, where that is given.
fn emitted(flows: &[Flow], of: Option<&[Signal]>) -> Vec<Signal> {
    let possible = |flow: &&Flow| of.is_none_or(|of| flow.takes.is_none_or(|takes| of.contains(&takes)));
    each_once(flows.iter().filter(possible).filter_map(|flow| flow.emits))
}

/// What every source emits.
fn common(sources: &[Emits<'_>]) -> Vec<Signal> {
    Signal::ALL.into_iter().filter(|signal| sources.iter().all(|source| source.signals.contains(signal))).collect()
}

fn each_once(signals: impl Iterator<Item = Signal>) -> Vec<Signal> {
    let found: Vec<Signal> = signals.collect();
    Signal::ALL.into_iter().filter(|signal| found.contains(signal)).collect()
}

/// `metrics, logs or traces`.
fn or(signals: &[Signal]) -> String {
    let names: Vec<&str> = signals.iter().map(|signal| signal.name()).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
