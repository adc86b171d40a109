//! What there was before a reload and is no more: its books stay in the totals, its metrics end.

use std::collections::HashSet;

use minicol_plugin::{Account, ComponentId, ComponentKind, Reasons};

/// Names that are not in use any more, as metrics' attributes have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    components: HashSet<(ComponentKind, String)>,
    pipelines: HashSet<String>,
    /// Pipeline, from, to.
    arrows: HashSet<(String, String, String)>,
}

/// What is in use.
pub(crate) struct InUse {
    pub(crate) components: Vec<(ComponentKind, ComponentId)>,
    pub(crate) pipelines: Vec<String>,
    pub(crate) arrows: Vec<(String, String, String)>,
}

impl Gone {
    /// What `before` had, or was gone then, and `now` has not.
    pub(crate) fn since(&self, before: &InUse, now: &InUse) -> Self {
        let names = |list: &[(ComponentKind, ComponentId)]| -> HashSet<(ComponentKind, String)> {
            list.iter().map(|(kind, id)| (*kind, id.to_string())).collect()
        };
        let mut gone = self.clone();
        gone.components.extend(names(&before.components));
        gone.pipelines.extend(before.pipelines.iter().cloned());
        gone.arrows.extend(before.arrows.iter().cloned());
        let (components, pipelines, arrows) = (names(&now.components), &now.pipelines, &now.arrows);
        gone.components.retain(|one| !components.contains(one));
        gone.pipelines.retain(|one| !pipelines.contains(one));
        gone.arrows.retain(|one| !arrows.contains(one));
        gone
    }

    /// Whether a series with these attributes is about something that is gone.
    pub(crate) fn has(&self, attribute: &dyn Fn(&str) -> Option<String>) -> bool {
        let kinds =
            [ComponentKind::Receiver, ComponentKind::Processor, ComponentKind::Exporter, ComponentKind::Extension];
        let named = |kind: ComponentKind| attribute(kind.name()).is_some_and(|id| self.is_gone(kind, id));
        if kinds.into_iter().any(named) {
            return true;
        }
        let kind = attribute("kind").and_then(|name| kinds.into_iter().find(|kind| kind.name() == name));
        if let (Some(kind), Some(id)) = (kind, attribute("component"))
            && self.is_gone(kind, id)
        {
            return true;
        }
        let Some(pipeline) = attribute("pipeline") else { return false };
        if self.pipelines.contains(&pipeline) {
            return true;
        }
        match (attribute("from"), attribute("to")) {
            (Some(from), Some(to)) => self.arrows.contains(&(pipeline, from, to)),
            _ => false,
        }
    }

    fn is_gone(&self, kind: ComponentKind, id: String) -> bool {
        self.components.contains(&(kind, id))
    }
}

/// Books of one component that were kept in parts, as one.
pub(crate) fn add_up(accounts: impl IntoIterator<Item = Account>) -> Vec<Account> {
    let mut all: Vec<Account> = Vec::new();
    for one in accounts {
        let same = |other: &&mut Account| {
            (other.kind, &other.component, &other.pipeline, other.signal, other.emits)
                == (one.kind, &one.component, &one.pipeline, one.signal, one.emits)
        };
        match all.iter_mut().find(same) {
            Some(sum) => add(sum, one),
            None => all.push(one),
        }
    }
    all
}

fn add(sum: &mut Account, one: Account) {
    sum.offered += one.offered;
    sum.taken += one.taken;
    sum.out += one.out;
    sum.queued += one.queued;
    // What one part left in a storage and the next found there was in the books of both.
    sum.restored += one.restored;
    sum.kept += one.kept;
    sum.waiting += one.waiting;
    if let Some(made) = one.converted {
        let all = sum.converted.get_or_insert_default();
        all.converted += made.converted;
        all.unused += made.unused;
    }
    let add_reasons = |sum: &mut Reasons, more: Reasons| {
        for (reason, items) in more {
            *sum.entry(reason).or_default() += items;
        }
    };
    add_reasons(&mut sum.failed, one.failed);
    add_reasons(&mut sum.dropped, one.dropped);
    add_reasons(&mut sum.refused, one.refused);
}
