//! What the page shows, made from a snapshot of the program: the same for a browser and under `/api/v1`.

mod graph;

use std::time::Duration;

use minicol_plugin::{ComponentKind, ComponentSnapshot, Event, Level, Offer, Phase, Snapshot, Status};

use crate::{
    api::{Card, Happened, Mood, Node, Pipeline, Program, Target, Trouble},
    history::History,
};
pub(crate) use graph::anchor;
use graph::node_anchor;

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) program: Program,
    pub(crate) pipelines: Vec<Pipeline>,
    pub(crate) targets: Vec<Card>,
    pub(crate) extensions: Vec<Node>,
    /// Newest first.
    pub(crate) events: Vec<Happened>,
}

impl Mood {
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

    const fn of_level(level: Level) -> Self {
        match level {
            Level::Debug | Level::Info => Self::Good,
            Level::Warn => Self::Warn,
            Level::Error => Self::Bad,
        }
    }
}

impl Target {
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
        let lost_lately = self.history.lost_lately(lost);
        let balanced = books.check().is_ok();
        let mut told = Vec::new();
        if !paused.is_empty() {
            told.push((Mood::Paused, format!("{} paused.", counted(paused.len()))));
        }
        if !balanced {
            told.push((Mood::Bad, "The books do not balance: what became of some items is not known.".to_owned()));
        }
        if lost_lately > 0 {
            told.push((Mood::Warn, format!("Items are being lost: {lost_lately} within the last minute.")));
        }
        if *phase == Phase::Running {
            told.extend(running(&bad, &warn));
        }
        if self.snapshot.reload.last.as_ref().is_some_and(|last| !last.outcome.is_success()) {
            told.push((Mood::Warn, "The last reload failed: what ran before goes on.".to_owned()));
        }
        match phase {
            Phase::Starting => told.push((Mood::Idle, "Starting.".to_owned())),
            Phase::Stopping => told.push((Mood::Idle, "Stopping.".to_owned())),
            Phase::Running if told.is_empty() => told.push((Mood::Good, "Everything works.".to_owned())),
            Phase::Running if bad.is_empty() && warn.is_empty() => {
                told.push((Mood::Good, "Everything else works.".to_owned()));
            }
            Phase::Running => {}
        }
        let mood = told.iter().map(|(mood, _)| *mood).max().unwrap_or_default();
        let summary = told.into_iter().map(|(_, sentence)| sentence).collect::<Vec<_>>().join(" ");
        Program {
            phase: *phase,
            mood,
            summary,
            up_since: (!up_since.is_unset()).then(|| up_since.as_seconds()),
            now: self.now,
            lost,
            lost_lately,
            last_lost: self.history.last_lost(),
            balanced,
            troubles: self.troubles(),
            reload: self.snapshot.reload.clone(),
        }
    }

    fn troubles(&self) -> Vec<Trouble> {
        let mut all: Vec<_> = self.snapshot.components.iter().filter_map(|one| self.trouble(one)).collect();
        all.sort_by_key(|trouble| std::cmp::Reverse(trouble.mood));
        all
    }

    /// `None` where a component is as it should be.
    fn trouble(&self, component: &ComponentSnapshot) -> Option<Trouble> {
        let (mut mood, lost) = (Mood::of_component(component), self.lost_lately(component));
        let is_wrong = mood >= Mood::Paused;
        if !is_wrong && lost == 0 {
            return None;
        }
        let (id, kind, target) = (component.id.to_string(), component.kind, Target::of(component));
        let pipeline = component.pipelines.first().map_or("", String::as_str);
        let anchor = if target.is_some() { anchor(&["target", &id]) } else { node_anchor(pipeline, kind, &id) };
        let mut told = if is_wrong { vec![component.message.clone()] } else { Vec::new() };
        if lost > 0 {
            mood = mood.max(Mood::Warn);
            told.push(format!("{} lost within the last minute", items(lost)));
        }
        told.retain(|message| !message.is_empty());
        let down = target.filter(|target| target.up == Some(false) && !target.paused);
        let since = down.and_then(|target| target.up_changed).or_else(|| since(component)).filter(|_| is_wrong);
        Some(Trouble { kind, id, anchor, mood, since, message: told.join("; ") })
    }

    fn card(&self, component: &ComponentSnapshot) -> Option<Card> {
        let id = component.id.to_string();
        let target = Target::of(component)?;
        let mood = match target.up {
            None if !target.paused => Mood::Idle,
            _ => Mood::of_component(component),
        };
        Some(Card { anchor: anchor(&["target", &id]), id, mood, target, actions: self.actions(component) })
    }
}

fn happened(event: &Event) -> Happened {
    match event {
        Event::Status(change) => Happened {
            at: change.at.as_seconds(),
            kind: Some(change.kind),
            id: change.component.to_string(),
            mood: Mood::of(change.status),
            what: change.status.to_string(),
            message: change.message.clone(),
        },
        Event::Notice(notice) => Happened {
            at: notice.at.as_seconds(),
            kind: Some(notice.kind),
            id: notice.component.to_string(),
            mood: Mood::of_level(notice.level),
            what: notice.name.to_owned(),
            message: notice.message.clone(),
        },
        Event::Program(notice) => Happened {
            at: notice.at.as_seconds(),
            kind: None,
            id: "minicol".to_owned(),
            mood: Mood::of_level(notice.level),
            what: notice.name.to_owned(),
            message: notice.message.clone(),
        },
    }
}

/// What is wrong with components, in a sentence each: by name where it is one.
fn running(bad: &[&ComponentSnapshot], warn: &[&ComponentSnapshot]) -> impl Iterator<Item = (Mood, String)> {
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
    let broken = broken.map(|sentence| (Mood::Bad, sentence));
    broken.into_iter().chain(trying.map(|sentence| (Mood::Warn, sentence)))
}

/// In seconds since the epoch; `None` where it is not known.
fn since(component: &ComponentSnapshot) -> Option<f64> {
    (!component.since.is_unset()).then(|| component.since.as_seconds())
}

fn items(number: u64) -> String {
    if number == 1 { "1 item".to_owned() } else { format!("{number} items") }
}

fn counted(components: usize) -> String {
    if components == 1 { "1 component".to_owned() } else { format!("{components} components") }
}
