//! How long a server asked to be left alone, where that reaches beyond the cycle (`Retry-After`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::Failure;

/// No rest is longer, whatever the server says.
const MAX_REST: Duration = Duration::from_secs(3600);

/// The rests of one target: of single tools, and of all that it is.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    whole: Option<Rest>,
    tools: BTreeMap<Arc<str>, Rest>,
}

/// Not to be asked before its end.
#[derive(Clone, Debug)]
struct Rest {
    end: Instant,
    failure: Failure,
}

/// Why a tool is not asked, and for how long yet.
#[derive(Clone, Debug)]
pub(crate) struct Resting {
    pub(crate) failure: Failure,
    pub(crate) left: Duration,
}

impl Rests {
    /// A set-up has ended, with all its retries.
    pub(crate) fn set_up(&mut self, failure: Option<&Failure>) {
        self.whole = failure.and_then(Rest::asked_by);
    }

    /// A call of `tool` has ended, with all its retries.
    pub(crate) fn called(&mut self, tool: &Arc<str>, failure: Option<&Failure>) {
        match failure.and_then(Rest::asked_by) {
            Some(rest) => drop(self.tools.insert(Arc::clone(tool), rest)),
            None => drop(self.tools.remove(tool)),
        }
    }

    /// Forgets the tools that are none of `names`.
    pub(crate) fn keep(&mut self, names: &[Arc<str>]) {
        self.tools.retain(|name, _| names.contains(name));
    }

    /// Whether `tool` shall be left alone now.
    pub(crate) fn of(&self, tool: &str, now: Instant) -> Option<Resting> {
        let rests = [self.whole.as_ref(), self.tools.get(tool)].into_iter().flatten();
        let longest = rests.max_by_key(|rest| rest.end)?;
        let left = longest.end.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(Resting { failure: longest.failure.clone(), left })
    }
}

impl Rest {
    fn asked_by(failure: &Failure) -> Option<Self> {
        let wait = failure.cause().retry_after()?.min(MAX_REST);
        Some(Self { end: Instant::now() + wait, failure: failure.clone() })
    }
}
