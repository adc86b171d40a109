//! What an operator asks of components.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;
use minicol_plugin::{Action, ActionError, Actions, ComponentId, ComponentKind, Level, Performing};

use crate::{events::Events, life::panic_message};

/// What one component can be asked to do, and whether it is at it. Clones share the latter.
#[derive(Clone, Default)]
pub(crate) struct Offering {
    actions: Option<Arc<dyn Actions>>,
    busy: Arc<AtomicBool>,
}

/// Ends with the action, however that ends.
struct Busy(Arc<AtomicBool>);

impl Offering {
    /// Another instance speaks for the component, or none does.
    pub(crate) fn replace(&mut self, actions: Option<Arc<dyn Actions>>) -> Option<Arc<dyn Actions>> {
        std::mem::replace(&mut self.actions, actions)
    }

    /// What can be asked for now. The code is the component's: what it does wrong is not the page's fault.
    pub(crate) fn offered(&self) -> Vec<Action> {
        let offered = |actions: &Arc<dyn Actions>| catch_unwind(AssertUnwindSafe(|| actions.offered())).ok();
        self.actions.as_ref().and_then(offered).unwrap_or_default()
    }

    fn begin(&self) -> Option<Busy> {
        let began = self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        began.then(|| Busy(Arc::clone(&self.busy)))
    }
}

/// Does it in the background, one at a time for each component, and tells how it went.
pub(crate) fn perform(
    offering: &Offering,
    (kind, id): (ComponentKind, &ComponentId),
    (name, subject): (&str, Option<&str>),
    events: &Arc<Events>,
) -> Performing {
    let refused = |error| Box::pin(std::future::ready(Err(error))) as Performing;
    let asked = |action: &Action| action.name == name && action.subject.as_deref() == subject;
    let (Some(actions), Some(action)) = (offering.actions.clone(), offering.offered().into_iter().find(asked)) else {
        return refused(ActionError::NotOffered);
    };
    let Some(busy) = offering.begin() else { return refused(ActionError::Busy) };
    let (id, events) = (id.clone(), Arc::clone(events));
    let performing = tokio::spawn(async move {
        let _busy = busy;
        let work = AssertUnwindSafe(actions.perform(&action.name, action.subject.as_deref())).catch_unwind().await;
        let result = work.unwrap_or_else(|panic| Err(panic_message(&*panic)));
        let of = action.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
        let (level, notice, told) = match &result {
            Ok(told) => (Level::Info, "action_done", told),
            Err(why) => (Level::Warn, "action_failed", why),
        };
        events.notice(kind, &id, level, notice, format!("{}{of}: {told}", action.name));
        result.map_err(ActionError::Failed)
    });
    Box::pin(
        async move { performing.await.unwrap_or_else(|_| Err(ActionError::Failed("it was broken off".to_owned()))) },
    )
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use minicol_plugin::{Event, async_trait, testing::Harness};

    use super::*;

    /// Offers to rest for a second, to fail, and to break.
    struct Restful;

    #[async_trait]
    impl Actions for Restful {
        fn offered(&self) -> Vec<Action> {
            let action = |name: &'static str| Action {
                name: name.into(),
                subject: Some("it".to_owned()),
                label: "".into(),
                asks: String::new(),
            };
            ["rest", "fail", "break"].map(action).into()
        }

        async fn perform(&self, name: &str, _: Option<&str>) -> Result<String, String> {
            match name {
                "rest" => tokio::time::sleep(Duration::from_secs(1)).await,
                "fail" => return Err("it cannot".to_owned()),
                _ => panic!("broken"),
            }
            Ok("rested".to_owned())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_action_at_a_time_and_each_is_told() {
        let events = Events::new(Harness::default().clock);
        let id: ComponentId = "ticker".parse().unwrap();
        let mut offering = Offering::default();
        let ask = |offering: &Offering, name, subject| {
            perform(offering, (ComponentKind::Receiver, &id), (name, subject), &events)
        };
        assert_eq!(ask(&offering, "rest", Some("it")).await, Err(ActionError::NotOffered));
        offering.replace(Some(Arc::new(Restful)));
        for (name, subject) in [("rest", None), ("rest", Some("another")), ("sleep", Some("it"))] {
            assert_eq!(ask(&offering, name, subject).await, Err(ActionError::NotOffered), "{name} {subject:?}");
        }
        // Nobody waits for the first, and it is done all the same.
        drop(ask(&offering, "rest", Some("it")));
        assert_eq!(ask(&offering.clone(), "fail", Some("it")).await, Err(ActionError::Busy));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(ask(&offering, "fail", Some("it")).await, Err(ActionError::Failed("it cannot".to_owned())));
        assert!(
            matches!(ask(&offering, "break", Some("it")).await, Err(ActionError::Failed(why)) if why.contains("broken"))
        );
        assert_eq!(ask(&offering, "rest", Some("it")).await, Ok("rested".to_owned()));
        let told: Vec<_> = events
            .recent()
            .iter()
            .map(|event| match event {
                Event::Notice(notice) => format!("{:?} {} {}", notice.level, notice.name, notice.message),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[..2], ["Info action_done rest it: rested", "Warn action_failed fail it: it cannot"]);
    }
}
