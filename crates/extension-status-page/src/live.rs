//! Looks at the program while it runs, and tells whoever watches what has changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minicol_pdata::{Batch, Signal};
use minicol_plugin::{
    Books, CancellationToken, ComponentKind, EdgeName, EdgeSnapshot, HostView, Level, Phase, Scope, Snapshot, Tap,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    StatusPageConfig,
    history::{History, STEP},
    model::{Model, model},
    series::Store,
    views::{Fragment, fragments},
};

/// How often a page that somebody looks at is made anew.
const PACE: Duration = Duration::from_secs(1);

/// How often arrows are looked for while the program starts: the first poll comes at once.
const SOON: Duration = Duration::from_millis(50);

/// What the page remembers, and who looks at it.
pub(crate) struct Watch {
    scope: Scope,
    /// Whether who looks may act.
    acts: bool,
    history: Mutex<History>,
    /// `None` where nobody wants to see the metrics.
    series: Option<Arc<Mutex<Store>>>,
    drawn: watch::Sender<Arc<Drawing>>,
}

/// The parts of the page at one moment. One for all who look: what each of them has seen is a number.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    /// Goes up with each drawing.
    pub(crate) number: u64,
    /// The drawing since which the page has had these parts.
    pub(crate) layout: u64,
    /// When it was drawn, in seconds since the epoch.
    pub(crate) now: f64,
    /// Goes up whenever a series does.
    pub(crate) series: u64,
    pub(crate) parts: Vec<Part>,
}

/// A part, and the drawing since which it has looked so.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) since: u64,
    pub(crate) fragment: Fragment,
}

impl Watch {
    pub(crate) fn new(scope: Scope, config: &StatusPageConfig) -> Self {
        let series = config.metrics.then(|| Arc::new(Mutex::new(Store::new(config))));
        Self { scope, acts: config.actions, history: Mutex::default(), series, drawn: watch::Sender::default() }
    }

    /// What is known of the series now, `at` on the monotonic clock; `None` where they are not shown.
    pub(crate) fn series<T>(&self, of: impl FnOnce(&Store, Duration) -> T) -> Option<T> {
        let at = self.scope.clock().monotonic();
        self.series.as_ref().map(|store| of(&lock(store), at))
    }

    pub(crate) fn now(&self) -> f64 {
        self.scope.clock().wall().as_seconds()
    }

    pub(crate) fn host(&self) -> &Arc<dyn HostView> {
        self.scope.host()
    }

    /// Tells something in the page's name.
    pub(crate) fn tell(&self, level: Level, name: &'static str, message: String) {
        self.scope.notice(level, name, message);
    }

    pub(crate) fn acts(&self) -> bool {
        self.acts
    }

    /// How everything is now.
    pub(crate) fn model(&self) -> Model {
        let snapshot = self.scope.host().snapshot();
        let offers = if self.acts { self.scope.host().actions() } else { Vec::new() };
        let at = self.scope.clock().monotonic();
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.sample(&snapshot, at);
        model(&snapshot, &self.scope.host().events(), &offers, &history, at)
    }

    /// The page, each time that it was drawn. It is drawn while somebody holds this.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Drawing>> {
        self.drawn.subscribe()
    }

    /// Takes samples, looks at what passes, and draws for whoever looks, until `stop`.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async { tokio::join!(self.draw(), self.listen()) }).await;
    }

    /// Looks at one arrow of each fork that leads metrics into exporters: all of them are given the same, whether they take it or not.
    async fn listen(&self) {
        let Some(store) = &self.series else { return };
        let mut looking = JoinSet::new();
        let mut at: Vec<EdgeName> = Vec::new();
        loop {
            let Snapshot { phase, books, .. } = self.scope.host().snapshot();
            for edge in self.to_be_looked_at(&books, &at) {
                if let Some(tap) = self.scope.host().tap(&edge) {
                    at.push(edge.clone());
                    looking.spawn(look(edge, tap, Arc::clone(store), self.scope.clone()));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(if phase == Phase::Starting { SOON } else { STEP }) => {}
                // One that panicked is a mistake of ours; that arrow is not looked at again.
                Some(ended) = looking.join_next() => at.retain(|edge| ended.as_ref().ok() != Some(edge)),
            }
            lock(store).forget(self.scope.clock().monotonic());
        }
    }

    /// Of each fork at which nobody looks the first arrow.
    fn to_be_looked_at(&self, books: &Books, at: &[EdgeName]) -> Vec<EdgeName> {
        let there = self.scope.host().edges();
        let mut chosen: Vec<EdgeName> = Vec::new();
        let into = |edge: &&EdgeSnapshot| edge.signal == Signal::Metrics && edge.to_kind == ComponentKind::Exporter;
        for edge in books.edges.iter().filter(into).map(EdgeSnapshot::edge).filter(|edge| there.contains(edge)) {
            if !at.iter().chain(&chosen).any(|one| (&one.pipeline, &one.from) == (&edge.pipeline, &edge.from)) {
                chosen.push(edge);
            }
        }
        chosen
    }

    async fn draw(&self) {
        let mut rested = STEP;
        {
            loop {
                if self.drawn.receiver_count() > 0 {
                    let model = self.model();
                    // A template that fails is a mistake of ours; the page stays as it was.
                    if let Ok(fragments) = fragments(&model, self.acts) {
                        let before = Arc::clone(&self.drawn.borrow());
                        let series = self.series(|store, _| store.version).unwrap_or_default();
                        self.drawn.send_replace(Arc::new(before.then(fragments, model.program.now, series)));
                    }
                    rested = Duration::ZERO;
                } else if rested >= STEP {
                    let snapshot = self.scope.host().snapshot();
                    let at = self.scope.clock().monotonic();
                    self.history.lock().unwrap_or_else(PoisonError::into_inner).sample(&snapshot, at);
                    rested = Duration::ZERO;
                }
                tokio::time::sleep(PACE).await;
                rested += PACE;
            }
        }
    }
}

/// Until the arrow is gone; gives it back.
async fn look(edge: EdgeName, mut tap: Tap, store: Arc<Mutex<Store>>, scope: Scope) -> EdgeName {
    while let Some(seen) = tap.next().await {
        // What this exporter refuses another may take; that it is refused is told at its arrow.
        let Batch::Metrics(metrics) = &seen.batch else { continue };
        let wanting = {
            let mut store = lock(&store);
            store.passed_over += tap.take_missed();
            store.take(&edge.pipeline, metrics, &scope.host().redactor(), scope.clock().monotonic());
            store.newly_wanting()
        };
        for option in wanting {
            let what = format!("the page leaves series out: raise {option} to see them all");
            scope.notice(Level::Warn, "series_left_out", what);
        }
    }
    edge
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drawing {
    /// The next one.
    fn then(&self, fragments: Vec<Fragment>, now: f64, series: u64) -> Self {
        let number = self.number + 1;
        let before: HashMap<&str, &Part> = self.parts.iter().map(|part| (part.fragment.id.as_str(), part)).collect();
        let same = self.parts.len() == fragments.len()
            && self.parts.iter().zip(&fragments).all(|(part, fragment)| part.fragment.id == fragment.id);
        let since = |fragment: &Fragment| {
            let part = before.get(fragment.id.as_str()).filter(|part| part.fragment.html == fragment.html);
            part.map_or(number, |part| part.since)
        };
        let layout = if same { self.layout } else { number };
        let parts = fragments.into_iter().map(|fragment| Part { since: since(&fragment), fragment }).collect();
        Self { number, layout, now, series, parts }
    }
}
