//! What one instance of a component says, and when it is heard.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minicol_plugin::{Actions, ComponentId, ComponentKind, Event, EventSink, Status};

use crate::{
    events::Events,
    view::{Details, View},
};

/// Where an instance's events and details go. One that is started beside another is not heard before it takes that one's place, and from then on
/// the other's status is no longer the component's.
pub(crate) struct Voice {
    kind: ComponentKind,
    id: ComponentId,
    events: Arc<Events>,
    view: Arc<View>,
    heard: Mutex<Heard>,
}

enum Heard {
    NotYet {
        said: Vec<Event>,
        details: Option<Details>,
        actions: Option<Arc<dyn Actions>>,
        /// How the one before stood holds for this one too.
        carries_on: bool,
    },
    Now,
    /// It is still told what it did, but not how it is.
    NoMore,
}

/// What is remembered of an instance that is not heard yet.
const SAID: usize = 64;

impl Voice {
    pub(crate) fn new(kind: ComponentKind, id: ComponentId, events: Arc<Events>, view: Arc<View>) -> Self {
        let heard = Mutex::new(Heard::NotYet { said: Vec::new(), details: None, actions: None, carries_on: false });
        Self { kind, id, events, view, heard }
    }

    /// It is heard from now on, and so is what it said before.
    pub(crate) fn rise(&self) {
        let mut heard = self.heard();
        if let Heard::NotYet { said, details, actions, .. } = std::mem::replace(&mut *heard, Heard::Now) {
            if let Some(details) = details {
                self.view.show(self.kind, &self.id, details);
            }
            if let Some(actions) = actions {
                self.view.offer(self.kind, &self.id, actions);
            }
            for event in said {
                self.events.emit(event);
            }
        }
    }

    /// Whether how the component stood holds for this instance, which is not heard yet, too.
    pub(crate) fn carries_on(&self) -> bool {
        matches!(&*self.heard(), Heard::NotYet { carries_on: true, .. })
    }

    /// Another speaks for the component.
    pub(crate) fn fall_silent(&self) {
        *self.heard() = Heard::NoMore;
    }

    pub(crate) fn show(&self, shown: Details) {
        match &mut *self.heard() {
            Heard::NotYet { details, .. } => *details = Some(shown),
            Heard::Now => self.view.show(self.kind, &self.id, shown),
            Heard::NoMore => {}
        }
    }

    pub(crate) fn offer(&self, offered: Arc<dyn Actions>) {
        match &mut *self.heard() {
            Heard::NotYet { actions, .. } => *actions = Some(offered),
            Heard::Now => self.view.offer(self.kind, &self.id, offered),
            Heard::NoMore => {}
        }
    }

    /// Reports in the component's name, as long as this instance speaks for it.
    pub(crate) fn report(&self, status: Status, message: impl Into<String>) {
        let change = self.events.change(self.kind, &self.id, status, message.into());
        self.emit(Event::Status(change));
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Voice {
    fn emit(&self, event: Event) {
        match &mut *self.heard() {
            Heard::NotYet { said, .. } if said.len() < SAID => said.push(event),
            Heard::NotYet { .. } => {}
            Heard::NoMore if matches!(event, Event::Status(_)) => {}
            Heard::Now | Heard::NoMore => self.events.emit(event),
        }
    }

    fn carry_on(&self) {
        if let Heard::NotYet { carries_on, .. } = &mut *self.heard() {
            *carries_on = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use minicol_plugin::testing::Harness;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_what_is_said_before_it_is_heard_so_much_is_remembered() {
        let clock = Harness::default().environment().clock;
        let events = Events::new(Arc::clone(&clock));
        let view = View::new(clock, Arc::clone(&events));
        let id: ComponentId = "session_buddy".parse().unwrap();
        let voice = Voice::new(ComponentKind::Receiver, id, Arc::clone(&events), view);
        for nth in 0..SAID + 10 {
            voice.report(Status::RecoverableError, format!("{nth}"));
        }
        assert!(events.recent().is_empty());
        voice.rise();
        let told = events.recent();
        assert_eq!(told.len(), SAID);
        assert!(format!("{:?}", told[SAID - 1]).contains(&format!("\"{}\"", SAID - 1)), "{told:?}");
        voice.report(Status::Ok, "");
        assert_eq!(events.recent().len(), SAID + 1);
    }
}
