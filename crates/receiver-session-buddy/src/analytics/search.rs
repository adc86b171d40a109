//! The search for the largest `limit` that a server can answer, as a state machine: it says which limit to ask next and is told how that
//! went. It knows nothing of calls, so that its promises (the largest one is found; few questions) can be tested for every size.

/// Where a search stands. `good` answered, `bad` did not; everything at or below a good limit answers, everything at or above a bad one
/// does not, because the server's list for a smaller limit is the beginning of that for a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// The largest limit that has answered; 0 where none has.
    good: u64,
    /// The smallest limit that has failed.
    bad: u64,
    /// How far below `bad` the next question lies while nothing below it has answered since the search began to step down.
    step: Option<u64>,
}

impl Search {
    /// After `limit` has failed and nothing is known to answer.
    pub(crate) const fn down_from(limit: u64) -> Self {
        Self { good: 0, bad: limit, step: Some(1) }
    }

    /// After `limit` has failed and `good`, which is smaller, has answered that there are `total` sessions.
    pub(crate) fn between(good: u64, limit: u64, total: Option<u64>) -> Self {
        Self { good, bad: limit, step: Some(1) }.bounded(total)
    }

    /// The limit to ask next; `None` at the end: the one told good last is the largest that answers.
    ///
    /// 1 comes first: where that fails the tool itself does not work, and the search is over after two questions; where it answers, it
    /// tells how many sessions there are. After that the steps go down from there, 1, 2, 4, ...: what is not answered is mostly the one or
    /// two sessions that are still open. Then the interval that is left is halved.
    pub(crate) const fn next(&self) -> Option<u64> {
        if self.bad <= self.good.saturating_add(1) {
            return None;
        }
        if self.good == 0 {
            return Some(1);
        }
        let gap = self.bad - self.good;
        match self.step {
            Some(step) if step < gap => Some(self.bad - step),
            _ => Some(self.good + gap / 2),
        }
    }

    /// `limit` answered that there are `total` sessions.
    pub(crate) fn answered(&mut self, limit: u64, total: Option<u64>) {
        if self.good > 0 {
            self.step = None;
        }
        self.good = self.good.max(limit);
        *self = self.bounded(total);
    }

    /// A limit beyond all sessions means the same as that of all of them: where it failed, that does.
    fn bounded(self, total: Option<u64>) -> Self {
        let bad = total.map_or(self.bad, |total| self.bad.min(total.max(self.good.saturating_add(1))));
        Self { bad, ..self }
    }

    /// `limit` failed.
    pub(crate) fn failed(&mut self, limit: u64) {
        self.bad = self.bad.min(limit);
        self.step = self.step.map(|step| step.saturating_mul(2));
    }

    /// The largest limit that has answered; 0 where none has.
    pub(crate) const fn good(&self) -> u64 {
        self.good
    }

    /// The smallest limit that has failed.
    pub(crate) const fn bad(&self) -> u64 {
        self.bad
    }
}
