//! The rules and limits may be others at each cycle, and sources come and go.

use std::time::Duration;

use minicol_pdata::{Attributes, MetricKind, Number, Timestamp};

use super::{
    backend::{Backend, Point, Value, points},
    world::{Says, World, instrument},
};
use crate::sample::{Instrument, Limits, Measured};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 1_800_000_000 * SECOND;
const LIMITS: Limits = Limits { max_series: 10, max_keys: 10, expiry: Duration::from_secs(600) };

fn counter() -> Instrument {
    instrument("total", "1", MetricKind::COUNTER, &[])
}

fn average(bounds: &[f64]) -> Instrument {
    instrument("average", "s", MetricKind::HISTOGRAM, bounds)
}

/// One cycle at the given tick; the value is the total's and the average's.
fn tick(world: &mut World, backend: &mut Backend, nth: u64, value: i64) -> Vec<Point> {
    let at = BEGAN + nth * 30 * SECOND;
    let place = |name: &str| world.instruments.iter().position(|one| &*one.descriptor.name == name);
    let mut values = Vec::new();
    if let Some(place) = place("total") {
        values.push((place, Attributes::new(), Measured::Total(Number::Int(value))));
    }
    if let Some(place) = place("average") {
        values.push((place, Attributes::new(), Measured::Change(value as f64)));
    }
    let feeds = (0..world.instruments.len()).collect();
    let says = Says { tool: "stats".into(), at, cut: false, values, told: None, feeds };
    let points = points(&world.cycle(at, vec![says]).0);
    backend.receive(&points);
    points
}

fn second(second: u64) -> Timestamp {
    Timestamp::from_nanos(BEGAN + second * SECOND)
}

#[test]
fn series_live_on_where_the_rules_are_reordered_or_only_described_anew() {
    let (mut world, mut backend) = (World::new(vec![counter(), average(&[5.0])], LIMITS, BEGAN), Backend::default());
    tick(&mut world, &mut backend, 1, 3);
    let mut described = counter();
    described.descriptor.description = "other words".into();
    world.instruments = vec![average(&[5.0]), described];
    let points = tick(&mut world, &mut backend, 2, 4);
    assert_eq!(points[0].value.total(), Some(2.0), "both values of the average are observed");
    assert_eq!((points[1].start, &points[1].value), (second(30), &Value::Number(Number::Int(4))));
    backend.check().unwrap();
}

#[test]
fn other_boundaries_begin_a_new_life_at_the_previous_answer() {
    let (mut world, mut backend) = (World::new(vec![average(&[5.0])], LIMITS, BEGAN), Backend::default());
    tick(&mut world, &mut backend, 1, 3);
    tick(&mut world, &mut backend, 2, 4);
    world.instruments = vec![average(&[1.0, 2.0])];
    let points = tick(&mut world, &mut backend, 3, 6);
    assert_eq!((points[0].start, points[0].value.total()), (second(60), Some(1.0)));
}

#[test]
fn a_metric_that_no_rule_feeds_any_more_does_not_end_and_goes_on_when_one_does() {
    let (mut world, mut backend) = (World::new(vec![counter(), average(&[])], LIMITS, BEGAN), Backend::default());
    tick(&mut world, &mut backend, 1, 3);
    world.instruments = vec![average(&[])];
    for nth in 2..6 {
        assert_eq!(tick(&mut world, &mut backend, nth, 4).len(), 1, "nothing ends at a reload");
    }
    world.instruments = vec![counter(), average(&[])];
    let points = tick(&mut world, &mut backend, 6, 9);
    assert_eq!((points[0].start, &points[0].value), (second(30), &Value::Number(Number::Int(9))));
    backend.check().unwrap();
}

#[test]
fn a_series_whose_rule_is_away_ends_only_when_the_rule_is_back() {
    let (mut world, mut backend) = (World::new(vec![counter()], LIMITS, BEGAN), Backend::default());
    tick(&mut world, &mut backend, 1, 3);
    world.instruments = Vec::new();
    for nth in 2..5 {
        assert!(world.cycle(BEGAN + nth * 30 * SECOND, Vec::new()).0.is_empty());
    }
    world.instruments = vec![counter()];
    let points = points(&world.cycle(BEGAN + 150 * SECOND, Vec::new()).0);
    assert!(points.len() == 1 && points[0].flagged && points[0].time == second(150), "{points:?}");
}

#[test]
fn a_metric_of_another_kind_begins_a_new_life_after_the_points_it_had() {
    let value = |kind, value: i64| match kind {
        MetricKind::Gauge => Measured::Level(Number::Int(value)),
        MetricKind::COUNTER => Measured::Total(Number::Int(value)),
        MetricKind::UP_DOWN_COUNTER => Measured::UpDown(Number::Int(value)),
        _ => Measured::Change(value as f64),
    };
    let kinds = [
        MetricKind::COUNTER,
        MetricKind::HISTOGRAM,
        MetricKind::UP_DOWN_COUNTER,
        MetricKind::Gauge,
        MetricKind::EXPONENTIAL_HISTOGRAM,
    ];
    let mut world = World::new(Vec::new(), LIMITS, BEGAN);
    let mut last = Timestamp::UNSET;
    for (nth, kind) in (1..).zip(kinds.into_iter().chain(kinds).chain([MetricKind::HISTOGRAM, MetricKind::COUNTER])) {
        world.instruments = vec![instrument("m", "s", kind, &[])];
        let values = vec![(0, Attributes::new(), value(kind, 5))];
        let at = BEGAN + nth * 30 * SECOND;
        let says = Says { tool: "stats".into(), at, cut: false, values, told: None, feeds: vec![0] };
        let points = points(&world.cycle(at, vec![says]).0);
        let [point] = &points[..] else { panic!("{points:?}") };
        assert!((point.kind, point.flagged, point.time) == (kind, false, second(nth * 30)), "{point:?}");
        assert!(kind == MetricKind::Gauge || point.start >= last, "{point:?}");
        last = point.time;
    }
}

#[test]
fn another_tool_takes_a_series_over_and_ends_it() {
    let mut world = World::new(vec![counter()], LIMITS, BEGAN);
    let says = |tool: &str, nth: u64, value: Option<i64>| Says {
        tool: tool.into(),
        at: BEGAN + nth * 30 * SECOND,
        cut: false,
        values: value.map(|value| (0, Attributes::new(), Measured::Total(Number::Int(value)))).into_iter().collect(),
        told: None,
        feeds: vec![0],
    };
    let mut flags = Vec::new();
    let history = [
        vec![("a", Some(1)), ("b", Some(2))], // the first tool counts
        vec![("b", Some(3))],
        vec![("a", None), ("b", Some(4))], // it is `b`'s now: `a` does not end it
        vec![("a", None), ("b", None)],
        vec![("a", Some(5)), ("b", None)],
    ];
    for (nth, answers) in history.into_iter().enumerate() {
        let nth = nth as u64 + 1;
        let says = answers.into_iter().map(|(tool, value)| says(tool, nth, value)).collect();
        let (metrics, _) = world.cycle(BEGAN + nth * 30 * SECOND, says);
        flags.extend(points(&metrics).iter().map(|point| (point.value.total(), point.flagged)));
    }
    let told = |value| (Some(value), false);
    assert_eq!(flags, [told(1.0), told(3.0), told(4.0), (None, true), told(5.0)]);
}

#[test]
fn an_instrument_that_does_not_exist_is_passed_over() {
    let mut world = World::new(vec![counter()], LIMITS, BEGAN);
    let values = vec![(7, Attributes::new(), Measured::Level(Number::Int(1)))];
    let says = Says { tool: "a".into(), at: BEGAN + SECOND, cut: false, values, told: None, feeds: vec![9] };
    assert!(world.cycle(BEGAN + SECOND, vec![says]).0.is_empty());
}

#[test]
fn a_source_that_was_gone_for_long_is_new_and_overlaps_nothing() {
    let (mut world, mut backend) = (World::new(vec![average(&[]), counter()], LIMITS, BEGAN), Backend::default());
    tick(&mut world, &mut backend, 1, 3);
    let points = tick(&mut world, &mut backend, 100, 3);
    assert!(points.iter().all(|point| point.start > second(30)), "{points:?}");
    backend.check().unwrap();
}
