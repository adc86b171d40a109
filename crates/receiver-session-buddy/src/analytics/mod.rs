//! How `get_session_analytics` is asked. Session-Buddy 0.23.0 answers `success: false` as soon as one of the sessions it would return is
//! still open. So the receiver looks for the largest `limit` that answers, remembers it, and tries upwards again when something has
//! changed. [`LargestLimit`] is that way of asking.

mod search;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minicol_mcp::{Answer, Ask, CallTool, Class, Failure};
use minicol_pdata::Cut;
use minicol_plugin::async_trait;
use serde_json::{Map, Value};
use tokio::time::Instant;

use search::Search;

const LIMIT: &str = "limit";

/// Asks for as many sessions as the server can answer with, up to the configured `limit`, within one cycle.
#[derive(Debug)]
pub(crate) struct LargestLimit {
    memory: Arc<LimitMemory>,
    /// How long after the last try upwards the next is due, whether something changed or not.
    look_again: Duration,
}

/// What is known of a server's limit. It outlives the receiver's instances.
#[derive(Debug, Default)]
pub(crate) struct LimitMemory(Mutex<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    /// The largest limit that answers; `None` where the configured one does, or nothing is known.
    limit: Option<u64>,
    /// A search that could not be finished in its cycle.
    unfinished: Option<Search>,
    /// What the answer at `limit` looked like when the last try upwards began.
    seen: Option<Seen>,
    /// When the last try upwards began.
    tried_upwards: Option<Instant>,
}

/// What tells that an answer is about other sessions than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    total: Option<u64>,
    ids: u64,
}

/// How many sessions an answer holds and how many there are, where it says both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) returned: u64,
    pub(crate) total: u64,
}

impl LargestLimit {
    pub(crate) fn new(memory: Arc<LimitMemory>, look_again: Duration) -> Self {
        Self { memory, look_again }
    }
}

#[async_trait]
impl Ask for LargestLimit {
    async fn ask(&self, _tool: &str, arguments: Map<String, Value>, call: &dyn CallTool) -> Result<Answer, Failure> {
        let Some(configured) = arguments.get(LIMIT).and_then(Value::as_u64).filter(|limit| *limit > 0) else {
            // Nothing to lower: the limit is not declared by the server, or not wanted by the user.
            return call.call(arguments).await;
        };
        let began = Instant::now();
        let asked = Question { arguments, call, memory: &self.memory, configured };
        let mut answer = asked.largest(self.look_again).await?;
        answer.took = began.elapsed();
        Ok(answer)
    }
}

/// One cycle's asking.
struct Question<'a> {
    arguments: Map<String, Value>,
    call: &'a dyn CallTool,
    memory: &'a LimitMemory,
    configured: u64,
}

impl Question<'_> {
    async fn largest(&self, look_again: Duration) -> Result<Answer, Failure> {
        let (limit, unfinished) = self.memory.begin(self.configured);
        let first = unfinished.map_or(limit, |search| search.good().max(1));
        match (self.with_limit(first).await, unfinished) {
            (Err(failure), _) if failure.class() == Class::Tool => {
                self.down(Search::down_from(first), Err(failure)).await
            }
            (Err(failure), _) => Err(failure),
            // The server took the argument out of its declaration since the list was made: it is not sent, so there is nothing to search.
            (Ok(answer), _) if first == self.configured || !answer.arguments.contains_key(LIMIT) => {
                self.memory.forget();
                Ok(answer)
            }
            (Ok(answer), Some(unfinished)) => {
                let search = Search::between(first, unfinished.bad(), total(&answer.document));
                self.down(search, Ok(answer)).await
            }
            (Ok(answer), None) if self.memory.upwards_is_due(&answer, look_again) => Ok(self.up(first, answer).await),
            (Ok(answer), None) => Ok(answer),
        }
    }

    /// Goes on until the largest limit is found. Nothing is told before: where trouble of another kind, or the cycle's end, interrupts it,
    /// the next cycle goes on from there. `so_far` is the answer at the largest limit that answered, or why the first one did not.
    async fn down(&self, mut search: Search, mut so_far: Result<Answer, Failure>) -> Result<Answer, Failure> {
        while let Some(limit) = search.next() {
            self.memory.lock().unfinished = Some(search); // the cycle may be cut in the call
            match self.with_limit(limit).await {
                Ok(answer) => {
                    search.answered(limit, total(&answer.document));
                    so_far = Ok(answer);
                }
                Err(failure) if failure.class() == Class::Tool => search.failed(limit),
                Err(failure) => return Err(failure),
            }
        }
        self.memory.found(search.good(), so_far.as_ref().ok());
        so_far
    }

    /// `first` has answered with `answer`, as it did before: do more? Each step is a gain of its own; an interruption loses none.
    async fn up(&self, first: u64, mut answer: Answer) -> Answer {
        let all = total(&answer.document);
        if all.is_some_and(|all| all <= first) {
            return answer;
        }
        match self.with_limit(self.configured).await {
            Ok(answer) => {
                self.memory.forget();
                return answer;
            }
            Err(failure) if failure.class() == Class::Tool => {}
            Err(_) => return answer,
        }
        let mut search = Search::between(first, self.configured, all);
        while let Some(limit) = search.next() {
            match self.with_limit(limit).await {
                Ok(more) => {
                    search.answered(limit, total(&more.document));
                    self.memory.found(limit, Some(&more));
                    answer = more;
                }
                Err(failure) if failure.class() == Class::Tool => search.failed(limit),
                Err(_) => return answer,
            }
        }
        answer
    }

    async fn with_limit(&self, limit: u64) -> Result<Answer, Failure> {
        let mut arguments = self.arguments.clone();
        arguments.insert(LIMIT.to_owned(), limit.into());
        self.call.call(arguments).await
    }
}

impl LimitMemory {
    /// The limit to ask first, and the search that the last cycle left unfinished.
    fn begin(&self, configured: u64) -> (u64, Option<Search>) {
        let known = self.lock();
        let unfinished = known.unfinished.filter(|search| search.bad() <= configured);
        (known.limit.unwrap_or(configured).min(configured), unfinished)
    }

    /// The configured limit answers: there is nothing to remember.
    fn forget(&self) {
        *self.lock() = Known::default();
    }

    /// `limit` is the largest that answers (0: none does), with `answer`.
    fn found(&self, limit: u64, answer: Option<&Answer>) {
        let mut known = self.lock();
        known.unfinished = None;
        if let Some(answer) = answer {
            known.limit = Some(limit);
            known.seen = Some(Seen::of(&answer.document));
            known.tried_upwards = Some(Instant::now());
        }
    }

    /// True where `answer`, at the remembered limit, is about other sessions than when a larger limit was tried last, or that was
    /// `look_again` ago. The try is taken for begun: where the cycle is cut in it, the next one does not try again.
    fn upwards_is_due(&self, answer: &Answer, look_again: Duration) -> bool {
        let mut known = self.lock();
        let seen = Some(Seen::of(&answer.document));
        let due = known.seen != seen || known.tried_upwards.is_none_or(|tried| tried.elapsed() >= look_again);
        if due {
            known.seen = seen;
            known.tried_upwards = Some(Instant::now());
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn of(document: &Value) -> Self {
        let mut ids: Vec<_> = sessions(document).iter().map(|session| session["session_id"].as_str()).collect();
        ids.sort_unstable();
        let mut hasher = DefaultHasher::new();
        ids.hash(&mut hasher);
        Self { total: total(document), ids: hasher.finish() }
    }
}

impl Coverage {
    /// Of an answer of `get_session_analytics`.
    pub(crate) fn of(document: &Value) -> Option<Self> {
        let returned = document.get("sessions")?.as_array()?.len() as u64;
        Some(Self { returned, total: total(document)? })
    }

    /// The mark that the configured limit cut the answer; `None` where it did not. Where no limit was sent, the server's own cuts.
    pub(crate) fn cut(self, configured: Option<u64>) -> Option<Cut> {
        let cut = match configured {
            Some(limit) => self.total > limit,
            None => self.total > self.returned,
        };
        cut.then_some(Cut { returned: self.returned, total: self.total })
    }
}

fn total(document: &Value) -> Option<u64> {
    document.get("total_analyzed")?.as_u64()
}

fn sessions(document: &Value) -> &[Value] {
    document.get("sessions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
