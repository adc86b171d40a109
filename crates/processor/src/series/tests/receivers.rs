//! Two receivers may poll what a backend knows as one target: the instance id can be set.

use std::{sync::Arc, time::Duration};

use minicol_pdata::{Attributes, MetricKind, Number, Source};

use super::{
    backend::{Backend, Point, points},
    world::{Says, World, instrument},
};
use crate::sample::{Limits, Measured, Tally, ToldStart};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 1_800_000_000 * SECOND;
const LIMITS: Limits = Limits { max_series: 10, max_keys: 10, expiry: Duration::from_secs(1) };

struct Two {
    world: World,
    backend: Backend,
    /// Asks `stats` every 5 s, and `items` every 60 s.
    fast: Arc<Source>,
    slow: Arc<Source>,
}

impl Two {
    fn new() -> Self {
        let kinds = [("total", MetricKind::COUNTER), ("level", MetricKind::Gauge)];
        let world = World::new(kinds.map(|(name, kind)| instrument(name, "1", kind, &[])).into(), LIMITS, BEGAN);
        let source = |receiver: &str, seconds| {
            let interval = Duration::from_secs(seconds);
            Arc::new(Source { receiver: receiver.into(), interval, ..(*world.source).clone() })
        };
        let (fast, slow) = (source("session_buddy/fast", 5), source("session_buddy/slow", 60));
        Self { world, backend: Backend::default(), fast, slow }
    }

    /// A batch that is over at `now`, of answers that came at `at` seconds and told the uptime.
    fn batch(&mut self, fast: bool, now: u64, answers: &[(&str, u64, usize)]) -> (Vec<Point>, Tally) {
        self.world.source = Arc::clone(if fast { &self.fast } else { &self.slow });
        let says = answers.iter().map(|&(tool, at, metric)| {
            let value = Number::Int(at.cast_signed());
            let value = if metric == 0 { Measured::Total(value) } else { Measured::Level(value) };
            Says {
                tool: tool.into(),
                at: BEGAN + at * SECOND,
                cut: false,
                values: vec![(metric, Attributes::new(), value)],
                told: Some(ToldStart::Uptime(Duration::from_secs(1000 + at))),
                feeds: vec![metric],
            }
        });
        let says = says.collect();
        let (metrics, tally) = self.world.cycle(BEGAN + now * SECOND, says);
        let points = points(&metrics);
        self.backend.receive(&points);
        (points, tally)
    }
}

#[test]
fn each_receivers_tools_are_silent_by_its_own_interval() {
    let mut two = Two::new();
    two.batch(false, 1, &[("items", 1, 1)]);
    for at in (5..120).step_by(5) {
        let (points, tally) = two.batch(true, at, &[("stats", at, 0)]);
        assert_eq!((points.len(), tally.expired), (1, 0), "{at}: the other one's series live");
    }
    assert!(two.batch(true, 120, &[]).0.is_empty(), "one answer is missing");
    let (points, _) = two.batch(true, 125, &[]);
    assert_eq!(points.iter().map(|point| (&*point.series, point.flagged)).collect::<Vec<_>>(), [("total", true)]);
    let (points, _) = two.batch(false, 126, &[]);
    assert_eq!(points.iter().map(|point| (&*point.series, point.flagged)).collect::<Vec<_>>(), [("level", true)]);
    two.backend.check().unwrap();
}

#[test]
fn a_batch_that_comes_late_sets_no_clock_back_and_restarts_nothing() {
    let mut two = Two::new();
    for at in (5..30).step_by(5) {
        two.batch(true, at, &[("stats", at, 0)]);
    }
    let (points, tally) = two.batch(false, 26, &[("items", 1, 1), ("stats", 2, 0)]);
    assert_eq!((tally.clock_set_back, tally.late), (false, 1));
    assert_eq!(
        points.iter().map(|point| (&*point.series, point.time.as_nanos())).collect::<Vec<_>>(),
        [("level", BEGAN + SECOND)]
    );
    two.batch(true, 30, &[("stats", 30, 0)]);
    let totals = two.backend.of("total");
    assert!(totals.len() == 6 && totals.iter().all(|point| point.start == totals[0].start), "{totals:?}");
    two.backend.check().unwrap();
}
