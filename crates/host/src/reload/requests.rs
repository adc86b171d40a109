//! Reloads that are asked for: one at a time, and however many ask meanwhile, one more.

use std::sync::Arc;

use minicol_pdata::Timestamp;
use minicol_plugin::{CancellationToken, Reload, ReloadChanges, ReloadOutcome};
use tokio::{sync::watch, time::Instant};

use super::{ConfigSource, Core};
use crate::deadline::Deadline;

/// Asks for reloads, and hears how they went. Clones ask the same program.
#[derive(Clone, Debug)]
pub struct Reloader(Arc<Requests>);

#[derive(Debug)]
struct Requests {
    /// How often a reload was asked for.
    asked: watch::Sender<u64>,
    /// What of that has been answered, and how.
    answered: watch::Sender<(u64, Option<Reload>)>,
    /// No more are answered.
    ended: CancellationToken,
}

impl Reloader {
    pub(crate) fn new() -> Self {
        let (asked, answered) = (watch::Sender::new(0), watch::Sender::new((0, None)));
        Self(Arc::new(Requests { asked, answered, ended: CancellationToken::new() }))
    }

    /// Asks for a reload and goes on; the log tells how it went. Asked while one is on its way, one more follows, however often.
    pub fn request(&self) {
        self.ask();
    }

    /// Asks for a reload and waits until what was read runs, or is refused. What is old may go on ending after that. In a program that ends:
    /// `Ignored`.
    pub async fn reload(&self) -> Reload {
        self.answer(self.ask()).await
    }

    /// The number of the request.
    pub(crate) fn ask(&self) -> u64 {
        let mut number = 0;
        self.0.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        number
    }

    pub(crate) async fn answer(&self, request: u64) -> Reload {
        let mut answered = self.0.answered.subscribe();
        let ignored = Reload {
            at: Timestamp::UNSET,
            outcome: ReloadOutcome::Ignored,
            errors: Vec::new(),
            warnings: Vec::new(),
            changes: ReloadChanges::default(),
        };
        tokio::select! {
            biased;
            answer = answered.wait_for(|(number, _)| *number >= request) => {
                answer.ok().and_then(|answer| answer.1.clone()).unwrap_or(ignored)
            }
            () = self.0.ended.cancelled() => ignored,
        }
    }
}

/// Reloads whenever that is asked for, until the program ends.
pub(crate) async fn serve(core: Arc<Core>, source: Arc<dyn ConfigSource>, reloader: Reloader) {
    let requests = &reloader.0;
    let _ended = requests.ended.clone().drop_guard();
    let mut asked = requests.asked.subscribe();
    let mut answered = 0;
    loop {
        let request = tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            asked = asked.wait_for(|asked| *asked > answered) => match asked {
                Ok(asked) => *asked,
                Err(_) => return,
            },
        };
        let (reload, retiring) = core.reload_from(&source).await;
        answered = request;
        requests.answered.send_replace((request, Some(reload)));
        let deadline = Deadline::unless(Instant::now() + core.drain(), core.hurry.subscribe());
        retiring.end(&core.workshop, &deadline).await;
    }
}
