//! The books: what became of every item, at every arrow and in every component. [`Books::check`] says whether they balance.

use std::collections::{BTreeMap, BTreeSet};

use minicol_pdata::Signal;
use serde::{Deserialize, Serialize};

use crate::{ComponentId, ComponentKind, EdgeName};

/// Items by reason.
pub type Reasons = BTreeMap<String, u64>;

/// The books of a program since its start, as `/status` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Every arrow.
    pub edges: Vec<EdgeSnapshot>,
    /// Every component through which items pass: one account for each signal that it takes (a receiver: gives) and, of a processor, for each
    /// pipeline.
    #[serde(rename = "books")]
    pub accounts: Vec<Account>,
}

/// What passed one arrow since the program's start, in items: `offered = accepted + refused + waiting` at every moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeSnapshot {
    /// The pipeline it belongs to.
    pub pipeline: String,
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What kind of component that is: a receiver and an exporter may have one id.
    pub to_kind: ComponentKind,
    /// What it carries.
    pub signal: Signal,
    /// Items that were to pass.
    pub offered: u64,
    /// Items that were taken.
    pub accepted: u64,
    /// Items that were not taken, by reason.
    pub refused: Reasons,
    /// Items for which the far end has not answered yet.
    pub waiting: u64,
    /// Those of the refused that are gone for good here, because another arrow from the same place took the batch.
    pub lost: u64,
    /// True where a reload made or removed it: it was not there for everything that the place where it begins gave.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub partial: bool,
}

/// What became of the items that one component was given (a receiver: that it gave), in items of `signal`. At every moment
/// `offered = in + refused + waiting` and `in + restored = out + failed + dropped + queued + kept`; where `emits` is another signal, `converted` stands
/// in the place of `out`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub component: ComponentId,
    /// Of a processor, which has an instance in each pipeline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pipeline: Option<String>,
    /// What it takes; of a receiver what it gives.
    pub signal: Signal,
    /// What a processor makes of it, where that is another signal: then `out` counts that one's items.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emits: Option<Signal>,
    /// Items that it was to take.
    pub offered: u64,
    /// Items that it took: it answers for them.
    #[serde(rename = "in")]
    pub taken: u64,
    /// Items that it passed on: the next one, or the far end, has them.
    pub out: u64,
    /// Where it makes another signal of what it takes and says so itself ([`crate::Processor::converted`]): what became of that.
    #[serde(flatten, default)]
    pub converted: Option<Converted>,
    /// Items that it took, tried to pass on, and lost, by reason.
    pub failed: Reasons,
    /// Items that it took and lost without a last try, by reason.
    pub dropped: Reasons,
    /// Items that it took and still has.
    pub queued: u64,
    /// Items that an earlier life of the program had left in a storage.
    #[serde(default)]
    pub restored: u64,
    /// Items that are left in a storage at the end: the next life has them as restored.
    #[serde(default)]
    pub kept: u64,
    /// Items that it did not take, by reason: they stay with whoever offered them.
    pub refused: Reasons,
    /// Items for which it has not answered yet.
    pub waiting: u64,
}

/// What a processor made of the items of the signal that it takes, where it emits another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converted {
    /// Items that it read.
    pub converted: u64,
    /// Items that nobody asked it to read.
    pub unused: u64,
}

/// Books that do not balance: each sentence is one equation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the books do not balance:\n{}", .0.join("\n"))]
pub struct Unbalanced(pub Vec<String>);

impl Books {
    /// What holds at every moment: the equations of each arrow and of each account.
    pub fn check(&self) -> Result<(), Unbalanced> {
        let edges = self.edges.iter().filter_map(EdgeSnapshot::wrong);
        settled(edges.chain(self.accounts.iter().flat_map(Account::wrong)).collect())
    }

    /// What holds beside it when nothing is on its way between two components: what leaves one has come to the next.
    pub fn check_at_rest(&self) -> Result<(), Unbalanced> {
        let mut wrong = self.check().err().map(|unbalanced| unbalanced.0).unwrap_or_default();
        let waits = self.edges.iter().filter(|edge| edge.waiting > 0);
        wrong.extend(waits.map(|edge| format!("{}: {} items are on their way", edge.name(), edge.waiting)));
        wrong.extend(self.accounts.iter().filter_map(|account| self.wrong_between(account)));
        wrong.extend(self.wrong_forks());
        settled(wrong)
    }

    /// What holds beside it after a shutdown: nobody has anything any more.
    pub fn check_at_end(&self) -> Result<(), Unbalanced> {
        let mut wrong = self.check_at_rest().err().map(|unbalanced| unbalanced.0).unwrap_or_default();
        let left = self.accounts.iter().filter(|account| account.queued > 0);
        wrong.extend(left.map(|account| format!("{}: {} items are left in it", account.name(), account.queued)));
        settled(wrong)
    }

    /// Items that were accepted and are gone, everywhere together.
    pub fn lost(&self) -> u64 {
        let at_arrows: u64 = self.edges.iter().map(|edge| edge.lost).sum();
        at_arrows + self.accounts.iter().map(Account::lost).sum::<u64>()
    }

    /// What the arrows to (of a receiver: from) a component say, against what it says itself.
    fn wrong_between(&self, account: &Account) -> Option<String> {
        let name = account.component.to_string();
        let of_signal = self.edges.iter().filter(|edge| edge.signal == account.signal);
        if account.kind == ComponentKind::Receiver {
            // Each arrow is offered everything; what no arrow is for was refused before.
            let offered = account.offered - account.refused.get("no_pipeline").copied().unwrap_or_default();
            let differs =
                |edge: &&EdgeSnapshot| if edge.partial { edge.offered > offered } else { edge.offered != offered };
            let edge = of_signal.filter(|edge| edge.from == name).find(differs)?;
            return Some(format!(
                "{} gave {offered} items, but {} was offered {}",
                account.name(),
                edge.name(),
                edge.offered
            ));
        }
        let here = |edge: &&EdgeSnapshot| {
            edge.to == name && account.pipeline.as_ref().is_none_or(|pipeline| edge.pipeline == *pipeline)
        };
        let arrived: u64 = of_signal.clone().filter(here).map(|edge| edge.accepted).sum();
        // A sender that stopped waiting does not know what was taken of its batch.
        let unknown: u64 = of_signal.filter(here).filter_map(|edge| edge.refused.get("cancelled")).sum();
        let agree = (arrived..=arrived + unknown).contains(&account.taken);
        (!agree).then(|| format!("{} took {}, but arrows gave it {arrived}", account.name(), account.taken))
    }

    /// Arrows that begin at one place and carry one signal are offered the same, as long as they are there.
    fn wrong_forks(&self) -> Vec<String> {
        let mut forks: BTreeMap<(&str, &str, Signal), BTreeSet<u64>> = BTreeMap::new();
        for edge in self.edges.iter().filter(|edge| !edge.partial) {
            forks.entry((&edge.pipeline, &edge.from, edge.signal)).or_default().insert(edge.offered);
        }
        let differ = forks.into_iter().filter(|(_, offered)| offered.len() > 1);
        differ
            .map(|((pipeline, from, _), offered)| format!("{pipeline}: {from} offered its arrows {offered:?}"))
            .collect()
    }
}

impl EdgeSnapshot {
    /// Which arrow it is.
    pub fn edge(&self) -> EdgeName {
        let Self { pipeline, from, to, signal, .. } = self;
        EdgeName { pipeline: pipeline.clone(), from: from.clone(), to: to.clone(), signal: *signal }
    }

    fn name(&self) -> String {
        format!("arrow {}", self.edge())
    }

    fn wrong(&self) -> Option<String> {
        let refused = sum(&self.refused);
        let balanced = self.offered == self.accepted + refused + self.waiting && self.lost <= refused;
        (!balanced).then(|| {
            format!(
                "{}: offered {} = accepted {} + refused {refused} + waiting {}, of the refused lost {}",
                self.name(),
                self.offered,
                self.accepted,
                self.waiting,
                self.lost
            )
        })
    }
}

impl Account {
    /// Items that it took and that are gone.
    pub fn lost(&self) -> u64 {
        sum(&self.failed) + sum(&self.dropped)
    }

    fn name(&self) -> String {
        let pipeline = self.pipeline.as_ref().map(|pipeline| format!(" in {pipeline}")).unwrap_or_default();
        format!("{} `{}`{pipeline} ({})", self.kind, self.component, self.signal)
    }

    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let refused = sum(&self.refused);
        if self.offered != self.taken + refused + self.waiting {
            wrong.push(format!(
                "{}: offered {} = in {} + refused {refused} + waiting {}",
                self.name(),
                self.offered,
                self.taken,
                self.waiting
            ));
        }
        let out = match (self.emits, self.converted) {
            (None, _) => self.out,
            (Some(_), Some(Converted { converted, unused })) => converted + unused,
            // It does not say, and `out` counts other items.
            (Some(_), None) => return wrong,
        };
        let (had, accounted) = (self.taken + self.restored, out + self.lost() + self.queued + self.kept);
        // What is passed on is passed on before the sender has its answer.
        let ahead = accounted > had && accounted <= had + self.waiting;
        if accounted != had && !ahead {
            wrong.push(format!(
                "{}: in {} + restored {} = out {out} + failed {:?} + dropped {:?} + queued {} + kept {}",
                self.name(),
                self.taken,
                self.restored,
                self.failed,
                self.dropped,
                self.queued,
                self.kept
            ));
        }
        wrong
    }
}

/// All reasons together.
pub fn sum(reasons: &Reasons) -> u64 {
    reasons.values().sum()
}

fn settled(wrong: Vec<String>) -> Result<(), Unbalanced> {
    if wrong.is_empty() { Ok(()) } else { Err(Unbalanced(wrong)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(reason: &str, items: u64) -> Reasons {
        BTreeMap::from([(reason.to_owned(), items)])
    }

    fn edge(from: &str, to: &str, accepted: u64) -> EdgeSnapshot {
        EdgeSnapshot {
            pipeline: "metrics".into(),
            from: from.into(),
            to: to.into(),
            to_kind: ComponentKind::Processor,
            signal: Signal::Metrics,
            offered: accepted,
            accepted,
            refused: Reasons::new(),
            waiting: 0,
            lost: 0,
            partial: false,
        }
    }

    fn account(kind: ComponentKind, id: &str, items: u64) -> Account {
        Account {
            kind,
            component: id.parse().unwrap(),
            pipeline: None,
            signal: Signal::Metrics,
            emits: None,
            offered: items,
            taken: items,
            out: items,
            converted: None,
            failed: Reasons::new(),
            dropped: Reasons::new(),
            queued: 0,
            restored: 0,
            kept: 0,
            refused: Reasons::new(),
            waiting: 0,
        }
    }

    fn good() -> Books {
        Books {
            edges: vec![edge("in", "one", 7), edge("in", "two", 7)],
            accounts: vec![
                account(ComponentKind::Receiver, "in", 7),
                account(ComponentKind::Exporter, "one", 7),
                account(ComponentKind::Exporter, "two", 7),
            ],
        }
    }

    #[test]
    fn books_that_balance_pass_also_through_json() {
        let books = good();
        assert_eq!(books.check_at_end(), Ok(()));
        let json = serde_json::to_value(&books).unwrap();
        assert_eq!(json["books"][1]["in"], 7);
        assert_eq!(serde_json::from_value::<Books>(json).unwrap(), books);
    }

    #[test]
    fn each_equation_that_does_not_hold_is_told() {
        type Break = fn(&mut Books);
        let breaks: [(Break, &str); 10] = [
            (|books| books.accounts[1].restored = 2, "in 7 + restored 2 = out 7"),
            (|books| books.accounts[1].kept = 3, "queued 0 + kept 3"),
            (|books| books.edges[0].offered = 8, "arrow in -> one (metrics, metrics): offered 8 = accepted 7"),
            (|books| books.edges[0].lost = 1, "of the refused lost 1"),
            (|books| books.accounts[1].offered = 8, "exporter `one` (metrics): offered 8 = in 7"),
            (|books| books.accounts[1].out = 6, "exporter `one` (metrics): in 7 + restored 0 = out 6"),
            (|books| books.accounts[1].failed = reasons("timeout", 1), "failed {\"timeout\": 1}"),
            (
                |books| (books.edges[1].accepted, books.edges[1].refused) = (6, reasons("queue_full", 1)),
                "exporter `two` (metrics) took 7, but arrows gave it 6",
            ),
            (
                |books| (books.edges[1].offered, books.edges[1].accepted) = (6, 6),
                "receiver `in` (metrics) gave 7 items, but arrow in -> two (metrics, metrics) was offered 6",
            ),
            (
                |books| (books.accounts[2].out, books.accounts[2].queued) = (6, 1),
                "exporter `two` (metrics): 1 items are left in it",
            ),
        ];
        for (wrong, told) in breaks {
            let mut books = good();
            wrong(&mut books);
            let unbalanced = books.check_at_end().unwrap_err().to_string();
            assert!(unbalanced.contains(told), "{told}: {unbalanced}");
        }
    }

    #[test]
    fn what_is_on_its_way_is_no_error_but_no_rest_either() {
        let mut books = good();
        (books.edges[0].offered, books.edges[0].waiting) = (9, 2);
        (books.accounts[0].offered, books.accounts[0].waiting) = (9, 2);
        // The exporter has it already; the answer is on its way back.
        (books.accounts[1].offered, books.accounts[1].waiting, books.accounts[1].out) = (9, 2, 9);
        assert_eq!(books.check(), Ok(()));
        assert!(books.check_at_rest().is_err());
    }

    #[test]
    fn what_becomes_of_another_signal_is_compared_by_what_its_maker_says_of_it() {
        let mut books = good();
        books.accounts[1].emits = Some(Signal::Logs);
        books.accounts[1].out = 100;
        assert_eq!(books.check_at_end(), Ok(()));
        for (converted, unused, told) in [(7, 0, None), (4, 3, None), (6, 0, Some("out 6")), (7, 1, Some("out 8"))] {
            books.accounts[1].converted = Some(Converted { converted, unused });
            let json = serde_json::to_value(&books).unwrap();
            assert_eq!(json["books"][1]["converted"], converted);
            assert_eq!(serde_json::from_value::<Books>(json).unwrap(), books);
            match (books.check_at_end(), told) {
                (Ok(()), None) => {}
                (Err(unbalanced), Some(told)) => assert!(unbalanced.to_string().contains(told), "{unbalanced}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
