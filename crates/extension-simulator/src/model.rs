use std::{cmp::Reverse, collections::BinaryHeap};

use minicol_plugin::{Random, SeededRandom};
use serde_json::{Value, json};

/// A small discrete-event simulation of a team that works with AI coding agents: sessions begin and end, checkpoints are written, workflows
/// complete or fail. It moves only in [`Model::advance`], and only by its seed.
#[derive(Debug)]
pub struct Model {
    random: SeededRandom,
    seed: u64,
    /// Simulated microseconds since the model began.
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    recent: Vec<String>,
    active_sessions: u64,
    total_sessions: u64,
    finished_sessions: u64,
    session_seconds: f64,
    checkpoints: u64,
    checkpoint_bytes: f64,
    workflows_completed: u64,
    workflows_failed: u64,
    workflow_seconds: f64,
}

/// What happens next. A session carries its length, a workflow too, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    SessionBegins,
    SessionEnds { took: u64 },
    Checkpoint { until: u64 },
    WorkflowBegins,
    WorkflowEnds { took: u64 },
}

const SECOND: f64 = 1e6;
/// Mean times in simulated seconds.
const BETWEEN_SESSIONS: f64 = 480.0;
const BETWEEN_CHECKPOINTS: f64 = 600.0;
const BETWEEN_WORKFLOWS: f64 = 240.0;
const WORKFLOW_FAILS: f64 = 0.08;
/// So many things happen at most in one step; a machine that slept for a year does not wake up to hours of catching up.
const MAX_EVENTS: usize = 50_000;
const MAX_RECENT: usize = 5;

impl Model {
    /// A process that has just started: nothing has happened yet.
    pub fn new(seed: u64) -> Self {
        let mut model = Self {
            random: SeededRandom::from_seed(seed),
            seed,
            now: 0,
            events: BinaryHeap::new(),
            recent: Vec::new(),
            active_sessions: 0,
            total_sessions: 0,
            finished_sessions: 0,
            session_seconds: 0.0,
            checkpoints: 0,
            checkpoint_bytes: 0.0,
            workflows_completed: 0,
            workflows_failed: 0,
            workflow_seconds: 0.0,
        };
        model.schedule(0.0, Event::SessionBegins);
        model.schedule(BETWEEN_WORKFLOWS / 2.0, Event::WorkflowBegins);
        model
    }

    /// Lets time pass until `seconds` since the model began. It never goes back.
    pub fn advance(&mut self, seconds: f64) {
        let until = micros(seconds);
        for _ in 0..MAX_EVENTS {
            match self.events.peek() {
                Some(Reverse((at, _))) if *at <= until => {}
                _ => break,
            }
            if let Some(Reverse((at, event))) = self.events.pop() {
                self.now = self.now.max(at);
                self.happen(event);
            }
        }
        self.now = self.now.max(until);
    }

    /// Sessions that began.
    pub(crate) fn total_sessions(&self) -> u64 {
        self.total_sessions
    }

    /// Sessions that ended.
    pub(crate) fn finished_sessions(&self) -> u64 {
        self.finished_sessions
    }

    /// What `get_activity_summary` answers.
    pub fn activity_summary(&self) -> Value {
        json!({
            "active_sessions": self.active_sessions,
            "total_sessions": self.total_sessions,
            "recent_activity": self.recent,
        })
    }

    /// What `get_workflow_metrics` answers. An average of nothing is null.
    pub fn workflow_metrics(&self) -> Value {
        let ended = self.workflows_completed + self.workflows_failed;
        json!({
            "workflows_completed": self.workflows_completed,
            "workflows_failed": self.workflows_failed,
            "avg_duration": average(self.workflow_seconds, ended),
        })
    }

    /// What `get_session_analytics` answers. An average of nothing is null.
    pub fn session_analytics(&self) -> Value {
        json!({
            "total_checkpoints": self.checkpoints,
            "avg_checkpoint_size": average(self.checkpoint_bytes, self.checkpoints),
            "session_duration": average(self.session_seconds, self.finished_sessions),
        })
    }

    /// What `get_performance_metrics` answers: load follows the active sessions.
    pub fn performance_metrics(&self) -> Value {
        let active = self.active_sessions as f64;
        json!({
            "cpu_usage": round(100.0 * (1.0 - 0.9_f64.powf(active + 2.0 * self.flicker(1)))),
            "memory_usage": round(180.0 + 24.0 * active + 6.0 * self.flicker(2)),
            "response_time": round(2.5 + 0.8 * active * (0.5 + self.flicker(3))),
        })
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::SessionBegins => {
                let took = self.between(300.0, 7200.0);
                self.active_sessions += 1;
                self.total_sessions += 1;
                self.remember("a session began");
                let until = self.now + micros(took);
                self.schedule(took, Event::SessionEnds { took: micros(took) });
                let first = self.exponential(BETWEEN_CHECKPOINTS);
                self.schedule(first, Event::Checkpoint { until });
                let next = self.exponential(BETWEEN_SESSIONS);
                self.schedule(next, Event::SessionBegins);
            }
            Event::SessionEnds { took } => {
                self.active_sessions = self.active_sessions.saturating_sub(1);
                self.finished_sessions += 1;
                self.session_seconds += took as f64 / SECOND;
                self.remember("a session ended");
            }
            Event::Checkpoint { until } if self.now < until => {
                self.checkpoints += 1;
                self.checkpoint_bytes += self.between(2_048.0, 65_536.0).floor();
                self.remember("a checkpoint was written");
                let next = self.exponential(BETWEEN_CHECKPOINTS);
                self.schedule(next, Event::Checkpoint { until });
            }
            Event::Checkpoint { .. } => {}
            Event::WorkflowBegins => {
                let took = self.between(20.0, 900.0);
                self.schedule(took, Event::WorkflowEnds { took: micros(took) });
                let next = self.exponential(BETWEEN_WORKFLOWS);
                self.schedule(next, Event::WorkflowBegins);
            }
            Event::WorkflowEnds { took } => {
                self.workflow_seconds += took as f64 / SECOND;
                if self.random.next_f64() < WORKFLOW_FAILS {
                    self.workflows_failed += 1;
                    self.remember("a workflow failed");
                } else {
                    self.workflows_completed += 1;
                    self.remember("a workflow completed");
                }
            }
        }
    }

    fn schedule(&mut self, after_seconds: f64, event: Event) {
        self.events.push(Reverse((self.now + micros(after_seconds), event)));
    }

    fn remember(&mut self, what: &str) {
        self.recent.insert(0, format!("{:.0} s: {what}", self.now as f64 / SECOND));
        self.recent.truncate(MAX_RECENT);
    }

    fn between(&self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random.next_f64()
    }

    fn exponential(&self, mean: f64) -> f64 {
        -mean * (1.0 - self.random.next_f64()).ln()
    }

    /// Noise from 0 to 1 that stays for a simulated minute, so that asking twice answers the same.
    fn flicker(&self, of: u64) -> f64 {
        let minute = self.now / 60_000_000;
        SeededRandom::from_seed(self.seed ^ minute.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of).next_f64()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast from f64 saturates
fn micros(seconds: f64) -> u64 {
    (seconds * SECOND) as u64
}

fn average(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| round(sum / count as f64))
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(model: &Model) -> String {
        [model.activity_summary(), model.workflow_metrics(), model.session_analytics(), model.performance_metrics()]
            .map(|answer| answer.to_string())
            .join("\n")
    }

    #[test]
    fn the_same_seed_moves_the_same_way_however_often_it_is_asked() {
        let (mut often, mut once, mut other) = (Model::new(7), Model::new(7), Model::new(8));
        for second in 0..20_000 {
            often.advance(f64::from(second));
        }
        once.advance(19_999.0);
        other.advance(19_999.0);
        assert_eq!(answers(&often), answers(&once));
        assert_ne!(answers(&often), answers(&other));
    }

    #[test]
    fn totals_only_grow_and_add_up() {
        let mut model = Model::new(3);
        let mut before = (0, 0, 0, 0);
        for step in 0..2_000 {
            model.advance(f64::from(step) * 30.0);
            let now = (model.total_sessions, model.checkpoints, model.workflows_completed, model.workflows_failed);
            assert!(now.0 >= before.0 && now.1 >= before.1 && now.2 >= before.2 && now.3 >= before.3);
            assert_eq!(model.total_sessions, model.active_sessions + model.finished_sessions);
            before = now;
        }
        assert!(before.0 > 50 && before.1 > 50 && before.2 > 50 && before.3 > 0, "{before:?}");
    }

    #[test]
    fn a_new_process_has_totals_of_zero_and_no_averages() {
        let model = Model::new(1);
        assert_eq!(
            model.workflow_metrics(),
            json!({"workflows_completed": 0, "workflows_failed": 0, "avg_duration": null})
        );
    }

    #[test]
    fn a_machine_that_slept_for_years_wakes_up_at_once() {
        let mut model = Model::new(1);
        model.advance(1e12);
        model.advance(f64::INFINITY);
        assert!(model.events.len() < 1_000);
    }
}
