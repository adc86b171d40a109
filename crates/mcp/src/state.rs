//! What is known of a target across cycles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, HeaderName};
use minicol_pdata::Timestamp;
use tokio::time::Instant;

use crate::{
    CyclePlan, Endpoint, TargetSettings, TargetSnapshot, ToolPlan,
    breaker::{Admission, BreakerRules, Breakers},
    catalog::{Catalog, resolve},
    rest::{Resting, Rests},
    session::Session,
};

/// What is known of one MCP server across cycles, and across instances of the receiver that polls it: the session, the list of tools, the
/// circuit breakers. Keep it in a slot of [`Scope::state`](minicol_plugin::Scope::state).
#[derive(Default)]
pub struct TargetState(Mutex<Known>);

#[derive(Default)]
pub(crate) struct Known {
    identity: Option<Identity>,
    pub(crate) session: Option<Arc<Session>>,
    sessions: u64,
    /// When the server was last found to speak with sessions only.
    initialized_at: Option<Instant>,
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// Set where the list is known to be wrong.
    pub(crate) stale: bool,
    pub(crate) breakers: Breakers,
    pub(crate) rests: Rests,
    /// Tools that were refused, as if their session were lost, on a new one as well: what they are refused for is something else.
    pub(crate) beyond_help: BTreeSet<Arc<str>>,
    resolved: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether that was without a list.
    guessed: bool,
    missing: Vec<Arc<str>>,
    protocol_version: Option<String>,
    server: Option<String>,
}

/// What a session was made for.
#[derive(Clone, PartialEq)]
struct Identity {
    endpoint: Endpoint,
    headers: HeaderMap,
    header_files: Vec<(HeaderName, PathBuf)>,
    authorize: Option<String>,
    max_response_bytes: usize,
}

/// A wanted tool by its resolved name.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) name: Arc<str>,
    pub(crate) plan: ToolPlan,
    /// Whether it may be called; `None` where the server is known not to offer it.
    pub(crate) admission: Option<Admission>,
    /// Set where it shall be left alone in this cycle.
    pub(crate) resting: Option<Resting>,
}

impl Wanted {
    /// Whether nothing shall be asked for its sake in this cycle: its breaker is open, or the server asked for time.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.admission == Some(Admission::Refused) || self.resting.is_some()
    }
}

impl TargetState {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what does not belong to the target of `settings`: everything where the endpoint is another; where the headers are others, the session that
    /// was made with them, and how long their sender was to wait.
    pub(crate) fn adopt(&self, settings: &TargetSettings) {
        let identity = Identity {
            endpoint: settings.endpoint.clone(),
            headers: settings.headers.clone(),
            header_files: settings.header_files.clone(),
            authorize: settings.authorize.as_ref().map(|authorize| authorize.identity()),
            max_response_bytes: settings.max_response_bytes,
        };
        let mut known = self.lock();
        if known.identity.as_ref() == Some(&identity) {
            return;
        }
        if known.identity.as_ref().is_some_and(|old| old.endpoint == identity.endpoint) {
            known.session = None;
            known.rests = Rests::default();
            known.beyond_help.clear();
        } else {
            *known = Known::default();
        }
        known.identity = Some(identity);
    }

    /// `until` tells when the cooldown of a breaker that was opened at an instant is over, on the wall clock.
    pub(crate) fn snapshot(&self, until: impl Fn(Instant) -> Timestamp) -> TargetSnapshot {
        let known = self.lock();
        TargetSnapshot {
            session: known.session.is_some(),
            protocol_version: known.protocol_version.clone(),
            server: known.server.clone(),
            offered: known.catalog.as_ref().map(|catalog| Arc::clone(catalog.offered())),
            missing: known.missing.clone(),
            breakers: known.breakers.snapshot(until),
        }
    }
}

impl Known {
    /// The wanted tools by what is known now, each once; from now on these have breakers, but for those that are not offered.
    pub(crate) fn resolve(&mut self, plan: &CyclePlan, rules: BreakerRules) -> Vec<Wanted> {
        let mut resolved = BTreeMap::new();
        let mut wanted: Vec<(Arc<str>, &ToolPlan)> = Vec::new();
        for tool in &plan.tools {
            let name = resolve(&tool.name, self.catalog.as_deref());
            // What counted under a name that was a guess counts for the tool that was meant. A name that a list gave is another tool's.
            if let Some(old) = self.resolved.get(&tool.name).filter(|_| self.guessed)
                && *old != name
            {
                self.breakers.rename(old, &name);
            }
            resolved.insert(Arc::clone(&tool.name), Arc::clone(&name));
            if !wanted.iter().any(|(known, _)| *known == name) {
                wanted.push((name, tool));
            }
        }
        self.resolved = resolved;
        self.guessed = self.catalog.is_none();
        let (offered, missing): (Vec<_>, Vec<_>) =
            wanted.iter().map(|(name, _)| Arc::clone(name)).partition(|name| self.offers(name));
        self.breakers.keep(&offered);
        self.rests.keep(&offered);
        self.beyond_help.retain(|tool| offered.contains(tool));
        self.missing = missing;
        let admission = |name: &str| self.offers(name).then(|| self.breakers.admission(name, plan.tick, rules));
        let now = Instant::now();
        let resting = |name: &str| self.rests.of(name, now).filter(|_| !plan.insists);
        wanted
            .into_iter()
            .map(|(name, tool)| Wanted {
                admission: admission(&name),
                resting: resting(&name),
                plan: tool.clone(),
                name,
            })
            .collect()
    }

    /// True also while no list is known.
    pub(crate) fn offers(&self, tool: &str) -> bool {
        self.catalog.as_ref().is_none_or(|catalog| catalog.offers(tool))
    }

    pub(crate) fn missing(&self) -> &[Arc<str>] {
        &self.missing
    }

    pub(crate) fn next_session_number(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    /// Whether a new connection shall ask if the server speaks without sessions: not where it said no a short while ago.
    pub(crate) fn probe_is_due(&self, tick: Instant, settings: &TargetSettings) -> bool {
        self.initialized_at.is_none_or(|at| tick.saturating_duration_since(at) >= settings.discovery_interval)
    }

    /// The next connection asks again whether the server speaks without sessions.
    pub(crate) fn forget_kind(&mut self) {
        self.initialized_at = None;
    }

    /// `probed`: the tick of a connection that asked whether the server speaks without sessions.
    pub(crate) fn keep_session(&mut self, session: &Arc<Session>, probed: Option<Instant>) {
        if probed.is_some() {
            self.initialized_at = probed.filter(|_| session.initialized);
        }
        self.protocol_version = Some(session.protocol_version.clone());
        self.server.clone_from(&session.server);
        self.session = Some(Arc::clone(session));
    }

    /// Lets go of the session, where it is still the one that is held.
    pub(crate) fn drop_session(&mut self, number: u64) {
        if self.session.as_ref().is_some_and(|held| held.number == number) {
            self.session = None;
        }
    }

    /// Whether the tools shall be listed on `session` in the cycle of `tick`.
    pub(crate) fn list_is_due(&self, session: u64, tick: Instant, settings: &TargetSettings) -> bool {
        self.stale
            || self.catalog.as_ref().is_none_or(|catalog| {
                catalog.session != session
                    || tick.saturating_duration_since(catalog.listed_at) >= settings.discovery_interval
            })
    }
}

impl fmt::Debug for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known { session, breakers, .. } = &*self.lock();
        f.debug_struct("TargetState")
            .field("session", &session.is_some())
            .field("breakers", breakers)
            .finish_non_exhaustive()
    }
}
