//! What a backend adds up is what happened.
#![allow(clippy::float_cmp)] // sums of small whole numbers are exact

use std::{collections::BTreeMap, time::Duration};

use minicol_pdata::{Attributes, MetricKind, Number, Timestamp};
use proptest::{collection::vec, prelude::*};

use super::{
    backend::{Backend, points},
    world::{DELTA_COUNTER, Says, World, instrument},
};
use crate::sample::{Limits, Measured, ToldStart};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 1_800_000_000 * SECOND;

/// Of the items; three have room.
const SERIES: [&str; 6] = ["{p=0}", "{p=1}", "{p=2}", "{p=3}", "{p=4}", "{otel.metric.overflow=true}"];

/// What happens before a poll.
#[derive(Clone, Debug)]
struct Step {
    more: u32,
    source_restarts: bool,
    minicol_restarts: bool,
    answers: bool,
    holds_value: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rarely = || prop::bool::weighted(0.15);
    let step = (0_u32..20, rarely(), rarely(), prop::bool::weighted(0.7), prop::bool::weighted(0.9));
    let step = step.prop_map(|(more, source_restarts, minicol_restarts, answers, holds_value)| Step {
        more,
        source_restarts,
        minicol_restarts,
        answers,
        holds_value,
    });
    vec(step, 1..60)
}

/// A process that counts, and what of its counting was ever polled.
struct Process {
    began: u64,
    total: u32,
    polled: u32,
    /// Polled of the processes before.
    before: u32,
}

fn limits(expiry: u64) -> Limits {
    Limits { max_series: 3, max_keys: 1000, expiry: Duration::from_secs(expiry) }
}

fn total(steps: &[Step], tell: impl Fn(&Process, u64) -> Option<ToldStart>, told_start: bool) -> (Backend, f64) {
    let kinds = [("total", MetricKind::COUNTER), ("rise", DELTA_COUNTER)];
    let instruments = kinds.map(|(name, kind)| instrument(name, "1", kind, &[])).into();
    let mut world = World::new(instruments, limits(150), BEGAN);
    let mut process = Process { began: BEGAN - 500 * SECOND, total: 0, polled: 0, before: 0 };
    let mut backend = Backend::default();
    for (nth, step) in steps.iter().enumerate() {
        let at = BEGAN + (nth as u64 + 1) * 30 * SECOND;
        // Where a new life could not start before the flagged point of the old one, a minicol that knows nothing of that point starts it
        // earlier: there a backend sees a jump.
        let began = Timestamp::from_nanos(process.began);
        let consistent = backend.of("total").last().is_none_or(|last| last.start == began || began >= last.time);
        if step.minicol_restarts && (consistent || !told_start) {
            world.restart(at - 20 * SECOND);
        }
        if step.source_restarts {
            let before = process.before + process.polled;
            process = Process { began: at - 10 * SECOND, total: 0, polled: 0, before };
        }
        process.total += step.more;
        let values = if step.holds_value {
            [0, 1].map(|metric| (metric, Attributes::new(), Measured::Total(Number::Int(process.total.into())))).into()
        } else {
            Vec::new()
        };
        let told = tell(&process, at);
        let says = Says { tool: "stats".into(), at, cut: false, values, told, feeds: vec![0, 1] };
        if step.answers && step.holds_value {
            process.polled = process.total;
        }
        let (metrics, _) = world.cycle(at, if step.answers { vec![says] } else { Vec::new() });
        backend.receive(&points(&metrics));
    }
    (backend, f64::from(process.before + process.polled))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Everything that was ever polled is counted once, whoever restarts and whatever pauses or is forgotten.
    #[test]
    fn where_the_start_is_told_the_deltas_are_what_happened(steps in steps()) {
        let (backend, happened) =
            total(&steps, |process, _| Some(ToldStart::At(Timestamp::from_nanos(process.began))), true);
        prop_assert_eq!(backend.sum_of_deltas("total"), happened);
    }

    /// A restart can be missed (the uptime has outgrown the one told last, and the total has, too), but nothing is counted twice.
    #[test]
    fn where_the_uptime_is_told_no_more_is_counted_than_happened(steps in steps()) {
        let (backend, happened) =
            total(&steps, |process, at| Some(ToldStart::Uptime(Duration::from_nanos(at - process.began))), true);
        prop_assert!(backend.sum_of_deltas("total") <= happened);
    }

    /// From the first poll on, falls are all that tells of a restart, and each is counted as one.
    #[test]
    fn where_no_start_is_told_no_more_is_counted_than_happened(steps in steps()) {
        let (backend, happened) = total(&steps, |_, _| None, false);
        prop_assert!(backend.sum_of_deltas("total") <= happened);
        prop_assert!(backend.check().is_ok(), "{}", backend.check().unwrap_err());
    }

    /// Whoever restarts: no two deltas tell of one moment, their sum is no more than what happened, and where no start is told it is what
    /// the cumulative points add up to.
    #[test]
    fn a_delta_is_told_once(steps in steps(), tells_start: bool) {
        let tell = |process: &Process, _| tells_start.then(|| ToldStart::At(Timestamp::from_nanos(process.began)));
        let (backend, happened) = total(&steps, tell, tells_start);
        let deltas = backend.of("rise");
        prop_assert!(deltas.windows(2).all(|pair| pair[0].time <= pair[1].start), "{deltas:?}");
        let sum = deltas.iter().filter_map(|point| point.value.total()).sum::<f64>();
        prop_assert!(sum <= happened);
        prop_assert!(tells_start || sum == backend.sum_of_deltas("total"), "{sum}");
    }

    /// Each item counts once in a counter and in a histogram, through pauses and expiry.
    #[test]
    fn each_item_counts_once(steps in steps(), window in 1_usize..6, tells_end: bool) {
        let kinds = [("finished", MetricKind::COUNTER), ("length", MetricKind::HISTOGRAM)];
        let instruments = kinds.map(|(name, kind)| instrument(name, "1", kind, &[])).into();
        let mut world = World::new(instruments, limits(150), BEGAN);
        let (mut backend, mut items) = (Backend::default(), Vec::new());
        let mut counted = BTreeMap::new();
        for (nth, step) in steps.iter().enumerate() {
            let at = BEGAN + (nth as u64 + 1) * 30 * SECOND;
            items.extend((0..step.more % 4).map(|item| (nth as u64 * 4 + u64::from(item), at - SECOND)));
            if !step.answers {
                backend.receive(&points(&world.cycle(at, Vec::new()).0));
                continue;
            }
            let says = items_of(items.iter().rev().take(window).copied(), at, tells_end);
            counted.extend(items.iter().rev().take(window).map(|&(key, _)| (key, item_value(key))));
            backend.receive(&points(&world.cycle(at, vec![says]).0));
        }
        let sum = |name| SERIES.iter().map(|one| backend.sum_of_deltas(&format!("{name}{one}"))).sum::<f64>();
        prop_assert_eq!(sum("finished"), counted.values().sum::<i64>() as f64);
        prop_assert_eq!(sum("length"), counted.len() as f64);
        prop_assert!(backend.check().is_ok(), "{}", backend.check().unwrap_err());
    }

    /// As long as the answers still hold the items, a restart of minicol makes no jump.
    #[test]
    fn the_same_items_give_the_same_series_after_a_restart_of_minicol(steps in steps()) {
        let kinds = [("finished", MetricKind::COUNTER), ("length", MetricKind::HISTOGRAM)];
        let instruments = kinds.map(|(name, kind)| instrument(name, "1", kind, &[])).into();
        let mut world = World::new(instruments, limits(100_000), BEGAN);
        let (mut backend, mut items) = (Backend::default(), Vec::new());
        let mut counted = 0;
        for (nth, step) in steps.iter().enumerate() {
            let at = BEGAN + (nth as u64 + 1) * 30 * SECOND;
            if step.minicol_restarts {
                world.restart(at - SECOND);
            }
            items.extend((0..step.more % 4).map(|item| (nth as u64 * 4 + u64::from(item), at - SECOND)));
            if step.answers {
                counted = items.len();
                backend.receive(&points(&world.cycle(at, vec![items_of(items.iter().copied(), at, true)]).0));
            }
        }
        prop_assert_eq!(SERIES.iter().map(|one| backend.sum_of_deltas(&format!("length{one}"))).sum::<f64>(), counted as f64);
        prop_assert!(backend.check().is_ok(), "{}", backend.check().unwrap_err());
    }
}

fn item_value(key: u64) -> i64 {
    (key % 7).cast_signed()
}

fn items_of(items: impl Iterator<Item = (u64, u64)>, at: u64, tells_end: bool) -> Says {
    let mut values = Vec::new();
    for (key, ended) in items {
        for metric in 0..2 {
            let measured = Measured::Item {
                key: key.to_string().into(),
                ended: tells_end.then(|| Timestamp::from_nanos(ended)),
                value: Number::Int(item_value(key)),
            };
            values.push((metric, Attributes::new().with("p", (key % 5).cast_signed()), measured));
        }
    }
    Says { tool: "items".into(), at, cut: false, values, told: None, feeds: vec![0, 1] }
}
