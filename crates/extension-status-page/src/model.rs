//! What the page shows, made from a snapshot of the program: the same for a browser and under `/api/v1`.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use minicol_pdata::Signal;
use minicol_plugin::{
    Account, Action, ComponentKind, ComponentSnapshot, EdgeSnapshot, Event, Level, Offer, Phase, Reasons, ReloadStatus,
    Snapshot, Status, sum,
};
use serde::{Deserialize, Serialize};

use crate::history::History;

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Model {
    pub(crate) program: Program,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) targets: Vec<Card>,
    pub(crate) extensions: Vec<Node>,
    /// Newest first.
    pub(crate) events: Vec<Happened>,
}

/// The program as a whole.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Program {
    pub(crate) phase: Phase,
    pub(crate) mood: Mood,
    /// One sentence: all is well, or what is not.
    pub(crate) summary: String,
    /// In seconds since the epoch; `None` while it starts.
    pub(crate) up_since: Option<f64>,
    pub(crate) now: f64,
    /// Items that were accepted and are gone, since the program's start.
    pub(crate) lost: u64,
    /// Whether what became of every item is known.
    pub(crate) balanced: bool,
    /// What is wrong, the worst first.
    pub(crate) troubles: Vec<Trouble>,
    /// The reloads since the start.
    pub(crate) reload: ReloadStatus,
}

/// A component that is not as it should be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trouble {
    pub(crate) kind: ComponentKind,
    pub(crate) id: String,
    pub(crate) anchor: String,
    pub(crate) mood: Mood,
    pub(crate) message: String,
}

/// One pipeline, as a chain from its receivers to its exporters.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pipeline {
    pub(crate) name: String,
    /// Every node once: receivers, processors in their order, exporters.
    pub(crate) nodes: Vec<Node>,
    pub(crate) arrows: Vec<Arrow>,
}

/// A component in a pipeline, or an extension.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) kind: ComponentKind,
    pub(crate) id: String,
    pub(crate) anchor: String,
    pub(crate) status: Status,
    pub(crate) mood: Mood,
    /// In seconds since the epoch; `None` where it is not known.
    pub(crate) since: Option<f64>,
    pub(crate) message: String,
    pub(crate) queued: u64,
    pub(crate) refused: Reasons,
    pub(crate) failed: Reasons,
    pub(crate) dropped: Reasons,
    /// What it tells beside its status, each a word and a value.
    pub(crate) facts: BTreeMap<String, String>,
    /// What can be asked of it now; nothing where actions are off.
    pub(crate) actions: Vec<Action>,
}

/// What passes from one component to the next.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Arrow {
    pub(crate) pipeline: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) anchor: String,
    pub(crate) signal: Signal,
    pub(crate) accepted: u64,
    pub(crate) refused: Reasons,
    pub(crate) waiting: u64,
    pub(crate) lost: u64,
    /// Items a second over the last minute.
    pub(crate) rate: Option<f64>,
}

/// A target that is polled.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Card {
    pub(crate) id: String,
    pub(crate) anchor: String,
    pub(crate) mood: Mood,
    #[serde(flatten)]
    pub(crate) target: Target,
    /// How long the last polls took, in seconds, oldest first.
    pub(crate) polls: Vec<f64>,
    /// What can be asked of its receiver now; nothing where actions are off.
    pub(crate) actions: Vec<Action>,
}

/// What a component that polls a target shows beside its status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) server: Option<String>,
    pub(crate) running: bool,
    pub(crate) paused: bool,
    pub(crate) up: Option<bool>,
    pub(crate) up_changed: Option<f64>,
    pub(crate) poll_cycles: u64,
    pub(crate) errors: u64,
    pub(crate) missed_ticks: u64,
    pub(crate) last_poll_time: Option<f64>,
    pub(crate) last_poll_seconds: Option<f64>,
    pub(crate) last_error: Option<LastError>,
    pub(crate) tools: BTreeMap<String, Tool>,
    pub(crate) breakers: BTreeMap<String, Breaker>,
}

/// One tool of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tool {
    /// What became of it in the last cycle: `answered`, `not_offered`, `failed`, `breaker_open`.
    pub(crate) outcome: String,
    pub(crate) last_answer: Option<f64>,
    pub(crate) last_seconds: Option<f64>,
    pub(crate) last_error: Option<LastError>,
}

/// A failure, in the server's own words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LastError {
    pub(crate) at: f64,
    pub(crate) tool: Option<String>,
    pub(crate) error_type: String,
    pub(crate) message: String,
}

/// A circuit breaker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Breaker {
    /// `closed`, `open`, `probing`.
    pub(crate) state: String,
    pub(crate) failures: u64,
}

/// An event, for a person.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Happened {
    /// In seconds since the epoch.
    pub(crate) at: f64,
    pub(crate) kind: ComponentKind,
    pub(crate) id: String,
    pub(crate) mood: Mood,
    /// The new status, or the notice's name.
    pub(crate) what: String,
    pub(crate) message: String,
}

/// How something is told from across the room. Never by colour alone: each has a sign and a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mood {
    /// As it should be.
    Good,
    /// Not at work: it starts, stops or has stopped.
    Idle,
    /// An operator told it to rest.
    Paused,
    /// Something it needs is down.
    Warn,
    /// It does not work.
    Bad,
}

impl Mood {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Idle => "○",
            Self::Paused => "‖",
            Self::Warn => "▲",
            Self::Bad => "✗",
        }
    }

    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// Of a component. A poller whose target is down goes on trying, but for who looks from across the room the target is down.
    fn of_component(component: &ComponentSnapshot) -> Self {
        let of = Self::of(component.status);
        match Target::of(component) {
            Some(target) if target.paused => Self::Paused,
            Some(target) if target.up == Some(false) => of.max(Self::Bad),
            _ => of,
        }
    }

    const fn of(status: Status) -> Self {
        match status {
            Status::Ok => Self::Good,
            Status::Paused => Self::Paused,
            Status::Starting | Status::Stopping | Status::Stopped => Self::Idle,
            Status::RecoverableError => Self::Warn,
            Status::PermanentError | Status::FatalError => Self::Bad,
        }
    }
}

impl Target {
    /// Whether a tool's failure tells something that the target's own does not: where that is down, each tool fails in the same way.
    pub(crate) fn tells_more(&self, tool: &Tool) -> bool {
        let kind = |error: &Option<LastError>| error.as_ref().map(|error| error.error_type.clone());
        tool.outcome != "answered" && (self.up != Some(false) || kind(&self.last_error) != kind(&tool.last_error))
    }

    /// `None` for a component that polls no target.
    pub(crate) fn of(component: &ComponentSnapshot) -> Option<Self> {
        let details = component.details.as_ref()?;
        if component.kind != ComponentKind::Receiver || details.get("poll_cycles").is_none() {
            return None;
        }
        // What does not fit is another component's own; its facts are shown as they are.
        serde_json::from_value(details.clone()).ok()
    }
}

/// How everything is, `at` on the monotonic clock, and what can be done about it.
pub(crate) fn model(snapshot: &Snapshot, events: &[Event], offers: &[Offer], history: &History, at: Duration) -> Model {
    let seen = Seen { snapshot, offers, history, at, now: snapshot.now.as_seconds() };
    let of_kind = |kind| snapshot.components.iter().filter(move |component| component.kind == kind);
    Model {
        program: seen.program(),
        pipelines: seen.pipelines(),
        targets: of_kind(ComponentKind::Receiver).filter_map(|component| seen.card(component)).collect(),
        extensions: of_kind(ComponentKind::Extension).map(|component| seen.node(component, None)).collect(),
        events: events.iter().rev().map(happened).collect(),
    }
}

struct Seen<'a> {
    snapshot: &'a Snapshot,
    offers: &'a [Offer],
    history: &'a History,
    at: Duration,
    now: f64,
}

impl Seen<'_> {
    fn program(&self) -> Program {
        let Snapshot { phase, up_since, books, components, .. } = self.snapshot;
        let of = |wanted: Mood| components.iter().filter(|one| Mood::of_component(one) == wanted).collect::<Vec<_>>();
        let (bad, warn, paused, lost) = (of(Mood::Bad), of(Mood::Warn), of(Mood::Paused), books.lost());
        let (mut mood, mut summary) = match phase {
            Phase::Starting => (Mood::Idle, "Starting.".to_owned()),
            Phase::Stopping => (Mood::Idle, "Stopping.".to_owned()),
            Phase::Running => running(&bad, &warn, !paused.is_empty()),
        };
        if self.history.lost_lately(lost) {
            mood = mood.max(Mood::Warn);
            summary = format!("Items are being lost. {summary}");
        }
        let balanced = books.check().is_ok();
        if !balanced {
            mood = Mood::Bad;
            summary = format!("The books do not balance: what became of some items is not known. {summary}");
        }
        if !paused.is_empty() {
            summary = format!("{} paused. {summary}", counted(paused.len()));
        }
        if lost > 0 {
            summary = format!("{summary} {lost} {} lost since the start.", if lost == 1 { "item" } else { "items" });
        }
        Program {
            phase: *phase,
            mood,
            summary,
            up_since: (!up_since.is_unset()).then(|| up_since.as_seconds()),
            now: self.now,
            lost,
            balanced,
            troubles: self.troubles(),
            reload: self.snapshot.reload.clone(),
        }
    }

    fn troubles(&self) -> Vec<Trouble> {
        let wrong = self.snapshot.components.iter().filter(|one| Mood::of_component(one) >= Mood::Paused);
        let mut all: Vec<_> = wrong
            .map(|one| {
                let (id, kind) = (one.id.to_string(), one.kind);
                let pipeline = one.pipelines.first().map_or("", String::as_str);
                let anchor =
                    if Target::of(one).is_some() { anchor(&["target", &id]) } else { node_anchor(pipeline, kind, &id) };
                Trouble { kind, id, anchor, mood: Mood::of_component(one), message: one.message.clone() }
            })
            .collect();
        all.sort_by_key(|trouble| std::cmp::Reverse(trouble.mood));
        all
    }

    fn pipelines(&self) -> Vec<Pipeline> {
        let mut names: Vec<&str> = Vec::new();
        for edge in &self.snapshot.books.edges {
            if !names.contains(&edge.pipeline.as_str()) {
                names.push(&edge.pipeline);
            }
        }
        names.into_iter().map(|name| self.pipeline(name)).collect()
    }

    fn pipeline(&self, name: &str) -> Pipeline {
        let edges: Vec<_> = self.snapshot.books.edges.iter().filter(|edge| edge.pipeline == name).collect();
        let there = |kind| {
            let of_kind = self.snapshot.components.iter().filter(move |component| component.kind == kind);
            of_kind.filter(|component| component.pipelines.iter().any(|pipeline| pipeline == name))
        };
        let mut processors: Vec<_> = there(ComponentKind::Processor).collect();
        processors.sort_by_key(|processor| before(&edges, &processor.id.to_string()));
        let all = there(ComponentKind::Receiver).chain(processors).chain(there(ComponentKind::Exporter));
        Pipeline {
            name: name.to_owned(),
            nodes: all.map(|component| self.node(component, Some(name))).collect(),
            arrows: edges.iter().map(|edge| self.arrow(edge)).collect(),
        }
    }

    fn node(&self, component: &ComponentSnapshot, pipeline: Option<&str>) -> Node {
        let mut node = Node {
            kind: component.kind,
            id: component.id.to_string(),
            anchor: node_anchor(pipeline.unwrap_or_default(), component.kind, &component.id.to_string()),
            status: component.status,
            mood: Mood::of_component(component),
            since: (!component.since.is_unset()).then(|| component.since.as_seconds()),
            message: component.message.clone(),
            queued: 0,
            refused: Reasons::new(),
            failed: Reasons::new(),
            dropped: Reasons::new(),
            facts: BTreeMap::new(),
            actions: Vec::new(),
        };
        // What a target's card shows need not stand here as well.
        if Target::of(component).is_none() {
            (node.facts, node.actions) = (facts(component), self.actions(component));
        }
        for account in self.accounts(component, pipeline) {
            node.queued += account.queued;
            add(&mut node.refused, &account.refused);
            add(&mut node.failed, &account.failed);
            add(&mut node.dropped, &account.dropped);
        }
        node
    }

    fn actions(&self, component: &ComponentSnapshot) -> Vec<Action> {
        let own = self.offers.iter().filter(|offer| offer.kind == component.kind && offer.id == component.id);
        own.map(|offer| offer.action.clone()).collect()
    }

    /// The accounts of a component; of a processor those of its instance in `pipeline`.
    fn accounts<'a>(
        &'a self,
        component: &'a ComponentSnapshot,
        pipeline: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Account> {
        let own = self.snapshot.books.accounts.iter();
        own.filter(move |account| account.kind == component.kind && account.component == component.id).filter(
            move |account| account.pipeline.as_deref().is_none_or(|its| pipeline.is_none_or(|name| name == its)),
        )
    }

    fn arrow(&self, edge: &EdgeSnapshot) -> Arrow {
        Arrow {
            pipeline: edge.pipeline.clone(),
            from: edge.from.clone(),
            to: edge.to.clone(),
            anchor: anchor(&["arrow", &edge.pipeline, &edge.from, &edge.to, edge.signal.name()]),
            signal: edge.signal,
            accepted: edge.accepted,
            refused: edge.refused.clone(),
            waiting: edge.waiting,
            lost: edge.lost,
            rate: self.history.rate(edge, self.at),
        }
    }

    fn card(&self, component: &ComponentSnapshot) -> Option<Card> {
        let id = component.id.to_string();
        let target = Target::of(component)?;
        let mood = match target.up {
            None if !target.paused => Mood::Idle,
            _ => Mood::of_component(component),
        };
        let (anchor, polls) = (anchor(&["target", &id]), self.history.polls(&id));
        Some(Card { id, anchor, mood, target, polls, actions: self.actions(component) })
    }
}

/// How many steps of the chain lie before a processor: the arrows say which follows which.
fn before(edges: &[&EdgeSnapshot], processor: &str) -> usize {
    let (mut steps, mut at) = (0, processor.to_owned());
    // A chain is no longer than its arrows, whatever these say.
    while steps <= edges.len() {
        let Some(edge) =
            edges.iter().find(|edge| edge.to_kind == ComponentKind::Processor && edge.to == at && edge.from != at)
        else {
            break;
        };
        at.clone_from(&edge.from);
        steps += 1;
    }
    steps
}

fn happened(event: &Event) -> Happened {
    match event {
        Event::Status(change) => Happened {
            at: change.since.as_seconds(),
            kind: change.kind,
            id: change.component.to_string(),
            mood: Mood::of(change.status),
            what: change.status.to_string(),
            message: change.message.clone(),
        },
        Event::Notice(notice) => Happened {
            at: notice.at.as_seconds(),
            kind: notice.kind,
            id: notice.component.to_string(),
            mood: match notice.level {
                Level::Debug | Level::Info => Mood::Good,
                Level::Warn => Mood::Warn,
                Level::Error => Mood::Bad,
            },
            what: notice.name.to_owned(),
            message: notice.message.clone(),
        },
    }
}

/// What a component shows beside its status: its plain values.
fn facts(component: &ComponentSnapshot) -> BTreeMap<String, String> {
    let fields = component.details.as_ref().and_then(|details| details.as_object()).into_iter().flatten();
    let plain = fields.filter_map(|(name, value)| {
        let value = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        Some((name.replace('_', " "), value))
    });
    plain.collect()
}

fn add(to: &mut Reasons, more: &Reasons) {
    for (reason, items) in more {
        *to.entry(reason.clone()).or_default() += items;
    }
}

/// A program that runs, in a sentence: what is wrong, by name where it is one thing.
fn running(bad: &[&ComponentSnapshot], warn: &[&ComponentSnapshot], paused: bool) -> (Mood, String) {
    let named = |one: &ComponentSnapshot| format!("{} {}", one.kind, one.id);
    let is_down = |one: &ComponentSnapshot| Target::of(one).is_some_and(|target| target.up == Some(false));
    let broken = match bad {
        [] => None,
        [one] if is_down(one) => Some(format!("{} is down.", one.id)),
        [one] => Some(format!("{} does not work.", named(one))),
        all if all.iter().all(|one| is_down(one)) => Some(format!("{} targets are down.", all.len())),
        all => Some(format!("{} components do not work.", all.len())),
    };
    let trying = match warn {
        [] => None,
        [one] => Some(format!("{} is in trouble, and tries again.", named(one))),
        all => Some(format!("{} components are in trouble, and try again.", all.len())),
    };
    let mood = match (&broken, &trying) {
        (Some(_), _) => Mood::Bad,
        (None, Some(_)) => Mood::Warn,
        (None, None) if paused => return (Mood::Paused, "Everything else works.".to_owned()),
        (None, None) => return (Mood::Good, "Everything works.".to_owned()),
    };
    (mood, [broken, trying].into_iter().flatten().collect::<Vec<_>>().join(" "))
}

fn counted(components: usize) -> String {
    if components == 1 { "1 component".to_owned() } else { format!("{components} components") }
}

fn node_anchor(pipeline: &str, kind: ComponentKind, id: &str) -> String {
    anchor(&["node", pipeline, kind.name(), id])
}

/// An id in the page, for links: letters, digits, `-` and `_`; every other character by its code, so that no two ids fall together.
fn anchor(parts: &[&str]) -> String {
    let mut anchor = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            anchor.push('-');
        }
        for c in part.chars() {
            if c.is_ascii_alphanumeric() || c == '_' {
                anchor.push(c);
            } else {
                // Writing to a String cannot fail.
                let _ = write!(anchor, ".{:x}.", u32::from(c));
            }
        }
    }
    anchor
}

impl Node {
    /// Everything that it took and that is gone.
    pub(crate) fn lost(&self) -> u64 {
        sum(&self.failed) + sum(&self.dropped)
    }
}
