//! The graph: pipelines, components, and the arrows between them.

use std::{collections::BTreeMap, fmt::Write};

use minicol_plugin::{Account, Action, ComponentKind, ComponentSnapshot, EdgeSnapshot, Reasons};

use super::{Seen, since};
use crate::{
    api::{Arrow, Mood, Node, Pipeline, Target},
    history::Lately,
};

impl Seen<'_> {
    pub(super) fn pipelines(&self) -> Vec<Pipeline> {
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

    pub(super) fn node(&self, component: &ComponentSnapshot, pipeline: Option<&str>) -> Node {
        let mut node = Node {
            kind: component.kind,
            id: component.id.to_string(),
            anchor: node_anchor(pipeline.unwrap_or_default(), component.kind, &component.id.to_string()),
            status: component.status,
            mood: Mood::of_component(component),
            since: since(component),
            message: component.message.clone(),
            queued: 0,
            refused: Reasons::new(),
            failed: Reasons::new(),
            dropped: Reasons::new(),
            refused_lately: 0,
            lost_lately: 0,
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
            let Lately { refused, lost } = self.history.of(account);
            node.refused_lately += refused;
            node.lost_lately += lost;
        }
        if node.lost_lately > 0 {
            node.mood = node.mood.max(Mood::Warn);
        }
        node
    }

    pub(super) fn actions(&self, component: &ComponentSnapshot) -> Vec<Action> {
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

    /// Items that were lost in a component, or on their way to it, within the last minute.
    pub(super) fn lost_lately(&self, component: &ComponentSnapshot) -> u64 {
        let id = component.id.to_string();
        let to_it = self.snapshot.books.edges.iter().filter(|edge| edge.to_kind == component.kind && edge.to == id);
        let on_their_way: u64 = to_it.map(|edge| self.history.at(edge).lost).sum();
        on_their_way + self.accounts(component, None).map(|account| self.history.of(account).lost).sum::<u64>()
    }

    fn arrow(&self, edge: &EdgeSnapshot) -> Arrow {
        let Lately { refused, lost } = self.history.at(edge);
        let mood = match (lost, refused) {
            (0, 0) => Mood::Good,
            (0, _) => Mood::Warn,
            _ => Mood::Bad,
        };
        Arrow {
            mood,
            refused_lately: refused,
            lost_lately: lost,
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

pub(super) fn node_anchor(pipeline: &str, kind: ComponentKind, id: &str) -> String {
    anchor(&["node", pipeline, kind.name(), id])
}

/// An id in the page, for links: letters, digits, `-` and `_`; every other character by its code, so that no two ids fall together.
pub(crate) fn anchor(parts: &[&str]) -> String {
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
