//! What an operator can ask of a poller: to poll now, to rest, to go on, to close a breaker.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use minicol_mcp::BreakerState;
use minicol_pdata::{Outcome, PollReport};
use minicol_plugin::{Action, Actions, async_trait, text::foreign};

use super::engine::Engine;

const POLL_NOW: &str = "poll_now";
const PAUSE: &str = "pause";
const RESUME: &str = "resume";
const CLOSE_BREAKER: &str = "close_breaker";
const CLOSE_BREAKERS: &str = "close_breakers";

/// Offers what can be asked of a poller that is there.
pub(super) struct Steering {
    engine: Weak<Engine>,
    interval: Duration,
}

impl Steering {
    pub(super) fn of(engine: &Arc<Engine>, interval: Duration) -> Self {
        Self { engine: Arc::downgrade(engine), interval }
    }

    async fn poll(&self, engine: &Arc<Engine>) -> Result<String, String> {
        let report = engine.once(self.interval, engine.abandoned()).await;
        report.map(|report| in_words(engine.endpoint(), &report)).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Actions for Steering {
    fn offered(&self) -> Vec<Action> {
        let Some(engine) = self.engine.upgrade() else { return Vec::new() };
        let endpoint = engine.endpoint();
        let plain = |name: &'static str, label: &'static str, asks| Action {
            name: name.into(),
            subject: None,
            label: label.into(),
            asks,
        };
        if engine.is_paused() {
            return vec![plain(RESUME, "Resume", format!("Poll {endpoint} now, and at its interval from then on?"))];
        }
        let mut all = vec![
            plain(POLL_NOW, "Poll now", format!("Poll {endpoint} once more, now? Its interval goes on as it was.")),
            plain(
                PAUSE,
                "Pause",
                format!(
                    "Ask {endpoint} nothing more until it is resumed? A poll that is under way ends first. Its series end, as when it is silent."
                ),
            ),
        ];
        let status = engine.status();
        let open: Vec<_> =
            status.breakers.iter().filter(|(_, breaker)| breaker.state != BreakerState::Closed).collect();
        if open.len() > 1 {
            let asks =
                format!("Ask the {} tools of {endpoint} whose breakers are open in every cycle again?", open.len());
            all.push(plain(CLOSE_BREAKERS, "Close all breakers", asks));
        }
        all.extend(open.into_iter().map(|(tool, breaker)| Action {
            name: CLOSE_BREAKER.into(),
            subject: Some(tool.to_string()),
            label: "Close breaker".into(),
            asks: format!(
                "Ask {} of {endpoint} in every cycle again? It failed {} times in a row.",
                foreign(tool),
                breaker.failures
            ),
        }));
        all
    }

    async fn perform(&self, name: &str, subject: Option<&str>) -> Result<String, String> {
        let Some(engine) = self.engine.upgrade() else { return Err("the receiver has ended".to_owned()) };
        match (name, subject) {
            (POLL_NOW, None) => self.poll(&engine).await,
            (PAUSE, None) => {
                engine.pause().await;
                Ok(format!("{} is not asked until it is resumed", engine.endpoint()))
            }
            (RESUME, None) => {
                engine.resume();
                self.poll(&engine).await
            }
            (CLOSE_BREAKERS, None) => {
                let tools: Vec<_> = engine.status().breakers.into_keys().collect();
                match tools.iter().filter(|tool| engine.close_breaker(tool)).count() {
                    0 => Err("no breaker is open".to_owned()),
                    closed => {
                        let tools = if closed == 1 { "1 tool is".to_owned() } else { format!("{closed} tools are") };
                        Ok(format!("{tools} asked of {} in every cycle", engine.endpoint()))
                    }
                }
            }
            (CLOSE_BREAKER, Some(tool)) if engine.close_breaker(tool) => {
                Ok(format!("{} of {} is asked in every cycle", foreign(tool), engine.endpoint()))
            }
            (CLOSE_BREAKER, Some(tool)) => Err(format!("the breaker of {} is not open", foreign(tool))),
            _ => Err("it does not offer this".to_owned()),
        }
    }
}

/// What a poll brought.
fn in_words(endpoint: &str, report: &PollReport) -> String {
    let answered = report.tools.values().filter(|tool| tool.outcome == Outcome::Answered).count();
    let asked = report.tools.len();
    let how = match (report.up, &report.setup_error) {
        (_, Some(failure)) => format!("is down: {}", failure.message.as_deref().unwrap_or("it gives no reason")),
        (Some(1), None) => format!("is up: {answered} of {asked} tools answered"),
        (Some(_), None) => "is down".to_owned(),
        (None, None) => "was not asked: every breaker is open".to_owned(),
    };
    format!("{endpoint} {how}")
}
