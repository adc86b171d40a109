//! The one stream of status changes and notices.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indexmap::IndexMap;
use minicol_plugin::{
    Clock, ComponentId, ComponentKind, Event, EventSink, Level, Notice, ProgramNotice, Status, StatusChange, hidden,
    text,
};
use tokio::sync::{broadcast, watch};
use tracing::{debug, error, info, warn};

/// Takes what components tell, keeps how each is, logs each change once, and hands it on to whoever subscribed.
pub struct Events {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    live: broadcast::Sender<Event>,
    fatal: watch::Sender<Option<StatusChange>>,
}

#[derive(Default)]
struct Kept {
    table: IndexMap<(ComponentKind, ComponentId), Standing>,
    recent: VecDeque<Event>,
}

/// How one component is, and how it was while it worked: stopping does not make good what was broken.
struct Standing {
    change: StatusChange,
    at_work: Status,
}

/// How many events are kept for who looks later.
const RECENT: usize = 200;
/// How many events a subscriber may lag behind before it misses some (and is told so).
const LIVE: usize = 256;
/// How long a message may be, in characters.
const MESSAGE_CHARS: usize = 1_000;

impl Events {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            kept: Mutex::default(),
            live: broadcast::Sender::new(LIVE),
            fatal: watch::Sender::new(None),
        })
    }

    /// The last 200 events, oldest first.
    pub fn recent(&self) -> Vec<Event> {
        self.kept().recent.iter().cloned().collect()
    }

    /// Every event from now on. Who reads slowly misses the oldest and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }

    /// How every component is now, in the order in which they were built.
    pub fn statuses(&self) -> Vec<StatusChange> {
        self.kept().table.values().map(|standing| standing.change.clone()).collect()
    }

    /// How one component is.
    pub(crate) fn status(&self, kind: ComponentKind, id: &ComponentId) -> Option<StatusChange> {
        self.kept().table.get(&(kind, id.clone())).map(|standing| standing.change.clone())
    }

    /// Whether the last word on a component was how its work goes.
    pub(crate) fn is_at_work(&self, kind: ComponentKind, id: &ComponentId) -> bool {
        self.status(kind, id).is_some_and(|now| is_at_work(now.status))
    }

    /// The components that stood at `status` when they were last at work.
    pub(crate) fn stood_at(&self, status: Status) -> Vec<String> {
        let kept = self.kept();
        let stood = kept.table.iter().filter(|(_, standing)| standing.at_work == status);
        stood.map(|((kind, id), _)| format!("{kind} `{id}`")).collect()
    }

    /// Waits until a component reports that the program must end.
    pub(crate) async fn fatal(&self) -> StatusChange {
        let mut fatal = self.fatal.subscribe();
        loop {
            if let Some(change) = fatal.borrow_and_update().clone() {
                return change;
            }
            if fatal.changed().await.is_err() {
                // The sender is ours and lives as long as we do.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reports in the component's name.
    pub(crate) fn report(
        &self,
        kind: ComponentKind,
        component: &ComponentId,
        status: Status,
        message: impl Into<String>,
    ) {
        self.emit(Event::Status(self.change(kind, component, status, message.into())));
    }

    /// A change of status, now.
    pub(crate) fn change(
        &self,
        kind: ComponentKind,
        component: &ComponentId,
        status: Status,
        message: String,
    ) -> StatusChange {
        let (component, at, level) = (component.clone(), self.clock.wall(), status.level());
        StatusChange { kind, component, status, since: at, at, level, message }
    }

    /// A component is gone, and with it how it was.
    pub(crate) fn forget(&self, kind: ComponentKind, component: &ComponentId) {
        self.kept().table.shift_remove(&(kind, component.clone()));
    }

    /// Tells something in the component's name.
    pub(crate) fn notice(
        &self,
        kind: ComponentKind,
        component: &ComponentId,
        level: Level,
        name: &'static str,
        message: String,
    ) {
        let notice = Notice { kind, component: component.clone(), at: self.clock.wall(), level, name, message };
        self.emit(Event::Notice(notice));
    }

    /// Tells something of the program as a whole.
    pub(crate) fn of_program(&self, level: Level, name: &'static str, message: String) {
        self.emit(Event::Program(ProgramNotice { at: self.clock.wall(), level, name, message }));
    }

    /// Puts a change into the table; gives what is to be told, if anything, and how the component was before. A status stands since it is heard: of an
    /// instance that is heard later than it spoke, what it said first does not stand since before it was there.
    fn settle(&self, mut change: StatusChange) -> Option<(StatusChange, Option<Status>)> {
        let mut kept = self.kept();
        change.since = self.clock.wall();
        let key = (change.kind, change.component.clone());
        let Some(standing) = kept.table.get_mut(&key) else {
            let at_work = change.status;
            kept.table.insert(key, Standing { change: change.clone(), at_work });
            return Some((change, None));
        };
        let was = &standing.change;
        if is_at_work(change.status) {
            standing.at_work = change.status;
            if matches!(was.status, Status::Stopping | Status::Stopped) && change.status != Status::FatalError {
                // What it says of its work while it ends does not make it one that works.
                return None;
            }
        }
        if was.status == change.status && was.message == change.message {
            return None;
        }
        let before = was.status;
        let since = if before == change.status { was.since } else { change.since };
        standing.change = StatusChange { since, ..change };
        Some((standing.change.clone(), Some(before)))
    }

    /// Each event has the moment at which it takes its place among the others.
    fn hand_on(&self, mut event: Event, was: Option<Status>) {
        log(&event, was);
        let mut kept = self.kept();
        match &mut event {
            Event::Status(StatusChange { at, .. })
            | Event::Notice(Notice { at, .. })
            | Event::Program(ProgramNotice { at, .. }) => *at = self.clock.wall(),
        }
        if kept.recent.len() == RECENT {
            kept.recent.pop_front();
        }
        kept.recent.push_back(event.clone());
        drop(kept);
        // An error means that nobody listens.
        let _ = self.live.send(event);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Events {
    fn emit(&self, event: Event) {
        match event {
            Event::Status(mut change) => {
                change.message = text::shortened(&hidden::without(&change.message), MESSAGE_CHARS);
                let Some((change, was)) = self.settle(change) else { return };
                self.hand_on(Event::Status(change.clone()), was);
                if change.status == Status::FatalError {
                    self.fatal.send_if_modified(|first| {
                        first.is_none() && {
                            *first = Some(change);
                            true
                        }
                    });
                }
            }
            Event::Notice(mut notice) => {
                notice.message = text::shortened(&hidden::without(&notice.message), MESSAGE_CHARS);
                self.hand_on(Event::Notice(notice), None);
            }
            Event::Program(mut notice) => {
                notice.message = text::shortened(&hidden::without(&notice.message), MESSAGE_CHARS);
                self.hand_on(Event::Program(notice), None);
            }
        }
    }
}

/// Whether a status says how the work goes, rather than where in its life the component is.
const fn is_at_work(status: Status) -> bool {
    matches!(
        status,
        Status::Ok | Status::Paused | Status::RecoverableError | Status::PermanentError | Status::FatalError
    )
}

/// Every event of a component is logged here and nowhere else. The message says in plain words what a person must know; the fields say the rest.
fn log(event: &Event, was: Option<Status>) {
    match event {
        Event::Status(change) => {
            let StatusChange { kind, component, status, message, .. } = change;
            // A field that has nothing to say is left out.
            let why = (!message.is_empty()).then_some(message.as_str());
            let what = in_words(*status, was);
            match change.level {
                Level::Debug => debug!(%kind, %component, %status, why, "{what}"),
                Level::Info => info!(%kind, %component, %status, why, "{what}"),
                Level::Warn => warn!(%kind, %component, %status, why, "{what}"),
                Level::Error => error!(%kind, %component, %status, why, "{what}"),
            }
        }
        // The notice's name is the constant message: short, stable, and what one searches for.
        Event::Notice(Notice { kind, component, level, name, message: what, .. }) => match level {
            Level::Debug => debug!(%kind, %component, what, "{name}"),
            Level::Info => info!(%kind, %component, what, "{name}"),
            Level::Warn => warn!(%kind, %component, what, "{name}"),
            Level::Error => error!(%kind, %component, what, "{name}"),
        },
        // The log has more of it than one line: who tells it logs it.
        Event::Program(_) => {}
    }
}

/// What a change of status means, from a small set of sentences.
const fn in_words(status: Status, was: Option<Status>) -> &'static str {
    match (status, was) {
        (Status::Starting, _) => "component starts",
        (Status::Stopping, _) => "component stops",
        (Status::Ok, None | Some(Status::Starting)) => "component started",
        (Status::Ok, Some(Status::Ok)) => "component works",
        (Status::Ok, _) => "component works again",
        (Status::Paused, _) => "component is paused",
        (Status::Stopped, None) => "component is not started",
        (Status::Stopped, _) => "component stopped",
        (Status::RecoverableError, _) => "component is in trouble and keeps trying",
        (Status::PermanentError, _) => "component cannot do its work until a person acts",
        (Status::FatalError, _) => "component ends the program",
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.statuses()).finish()
    }
}

#[cfg(test)]
mod tests {
    use minicol_pdata::Timestamp;
    use minicol_plugin::SimulatedClock;

    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

    fn events() -> (Arc<SimulatedClock>, Arc<Events>) {
        let clock = Arc::new(SimulatedClock::starting_at(START));
        (Arc::clone(&clock), Events::new(clock))
    }

    fn id() -> ComponentId {
        "session_buddy".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_change_of_status_or_message_is_an_event() {
        let (_, events) = events();
        for message in ["down", "down", "still down", "still down"] {
            events.report(ComponentKind::Receiver, &id(), Status::RecoverableError, message);
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
        assert_eq!(events.recent().len(), 2);
        let now = events.status(ComponentKind::Receiver, &id()).unwrap();
        assert_eq!(
            (now.message.as_str(), now.since),
            ("still down", START),
            "the status stands since the first report"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_event_has_the_moment_at_which_it_was_told_and_none_stands_before_an_earlier_one() {
        let (clock, events) = events();
        let second = std::time::Duration::from_secs(1);
        let early = events.change(ComponentKind::Receiver, &id(), Status::Ok, "heard late".to_owned());
        let told_early = Notice {
            kind: ComponentKind::Receiver,
            component: id(),
            at: clock.wall(),
            level: Level::Info,
            name: "test",
            message: String::new(),
        };
        for message in ["down", "still down"] {
            tokio::time::advance(second).await;
            events.report(ComponentKind::Receiver, &id(), Status::RecoverableError, message);
        }
        tokio::time::advance(second).await;
        events.report(ComponentKind::Receiver, &id(), Status::Starting, "");
        events.emit(Event::Status(early));
        events.emit(Event::Notice(told_early));
        let moments = |event: &Event| match event {
            Event::Status(change) => (change.at.since(START).as_secs(), change.since.since(START).as_secs()),
            Event::Notice(notice) => (notice.at.since(START).as_secs(), 0),
            Event::Program(notice) => (notice.at.since(START).as_secs(), 0),
        };
        let told: Vec<_> = events.recent().iter().map(moments).collect();
        assert_eq!(told, [(1, 1), (2, 1), (3, 3), (3, 3), (3, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_reported_while_stopping_does_not_hide_the_stop_but_is_remembered() {
        let (_, events) = events();
        for status in [Status::Starting, Status::Ok, Status::Stopping, Status::PermanentError] {
            events.report(ComponentKind::Exporter, &id(), status, "");
        }
        assert_eq!(events.status(ComponentKind::Exporter, &id()).unwrap().status, Status::Stopping);
        assert_eq!(events.stood_at(Status::PermanentError), ["exporter `session_buddy`"]);
    }

    #[tokio::test]
    async fn a_permanent_error_that_was_made_good_does_not_stand() {
        let (_, events) = events();
        for status in [Status::PermanentError, Status::Ok, Status::Stopping, Status::Stopped] {
            events.report(ComponentKind::Exporter, &id(), status, "");
        }
        assert!(events.stood_at(Status::PermanentError).is_empty());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_foreign_text_harmless() {
        let (_, events) = events();
        for number in 0..RECENT + 50 {
            let message = format!("\u{1b}[31m{number}{}", "x".repeat(5_000));
            events.notice(ComponentKind::Receiver, &id(), Level::Info, "test", message);
        }
        let recent = events.recent();
        assert_eq!(recent.len(), RECENT);
        let Event::Notice(oldest) = &recent[0] else { panic!("{recent:?}") };
        assert!(oldest.message.starts_with("\\u{1b}[31m50x") && oldest.message.chars().count() < 1_100);
    }

    #[tokio::test]
    async fn the_first_fatal_error_is_told_to_whoever_waits_also_later() {
        let (_, events) = events();
        events.report(ComponentKind::Extension, &id(), Status::FatalError, "disk is gone");
        events.report(ComponentKind::Receiver, &id(), Status::FatalError, "second");
        assert_eq!(events.fatal().await.message, "disk is gone");
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_happens_from_now_on() {
        let (_, events) = events();
        events.report(ComponentKind::Receiver, &id(), Status::Starting, "");
        let mut live = events.subscribe();
        events.report(ComponentKind::Receiver, &id(), Status::Ok, "");
        assert!(matches!(live.recv().await, Ok(Event::Status(change)) if change.status == Status::Ok));
    }
}
