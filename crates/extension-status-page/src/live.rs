//! Looks at the program while it runs, and tells whoever watches what has changed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use minicol_plugin::{CancellationToken, Clock, HostView};
use tokio::sync::watch;

use crate::{
    history::{History, STEP},
    model::{Model, model},
    views::{Fragment, fragments},
};

/// How often a page that somebody looks at is made anew.
const PACE: Duration = Duration::from_secs(1);

/// What the page remembers, and who looks at it.
pub(crate) struct Watch {
    host: Arc<dyn HostView>,
    clock: Arc<dyn Clock>,
    history: Mutex<History>,
    drawn: watch::Sender<Arc<[Fragment]>>,
}

impl Watch {
    pub(crate) fn new(host: Arc<dyn HostView>, clock: Arc<dyn Clock>) -> Self {
        Self { host, clock, history: Mutex::default(), drawn: watch::Sender::new(Arc::from([])) }
    }

    /// How everything is now.
    pub(crate) fn model(&self) -> Model {
        let snapshot = self.host.snapshot();
        let at = self.clock.monotonic();
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.sample(&snapshot, at);
        model(&snapshot, &self.host.events(), &history, at)
    }

    /// The parts of the page, each time that they were made anew. They are made while somebody holds this.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<[Fragment]>> {
        self.drawn.subscribe()
    }

    /// Takes samples, and draws for whoever looks, until `stop`.
    pub(crate) async fn keep(&self, stop: CancellationToken) {
        let looking = async {
            let mut rested = STEP;
            loop {
                if self.drawn.receiver_count() > 0 {
                    // A template that fails is a mistake of ours; the page stays as it was.
                    if let Ok(fragments) = fragments(&self.model()) {
                        self.drawn.send_replace(fragments.into());
                    }
                    rested = Duration::ZERO;
                } else if rested >= STEP {
                    let snapshot = self.host.snapshot();
                    let at = self.clock.monotonic();
                    self.history.lock().unwrap_or_else(PoisonError::into_inner).sample(&snapshot, at);
                    rested = Duration::ZERO;
                }
                tokio::time::sleep(PACE).await;
                rested += PACE;
            }
        };
        stop.run_until_cancelled(looking).await;
    }
}
