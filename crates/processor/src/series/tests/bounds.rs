//! What a cycle's tally says of values that made no point of their own.

use std::time::Duration;

use minicol_pdata::{Attributes, MetricKind, Number};

use super::{
    backend::{Backend, points},
    world::{Says, World, instrument},
};
use crate::sample::{Limits, Measured, Tally};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 1_800_000_000 * SECOND;
const LIMITS: Limits = Limits { max_series: 2, max_keys: 10, expiry: Duration::from_secs(90) };

fn world() -> World {
    let kinds = [("level", MetricKind::Gauge), ("total", MetricKind::COUNTER), ("average", MetricKind::HISTOGRAM)];
    World::new(kinds.map(|(name, kind)| instrument(name, "1", kind, &[])).into(), LIMITS, BEGAN)
}

fn cycle(world: &mut World, nth: u64, values: &[(usize, i64, Measured)]) -> Tally {
    world.cycle(tick(nth), vec![says("stats", nth, values)]).1
}

fn tick(nth: u64) -> u64 {
    BEGAN + nth * 30 * SECOND
}

fn says(tool: &str, nth: u64, values: &[(usize, i64, Measured)]) -> Says {
    let values = values.iter().map(|(at, a, value)| (*at, Attributes::new().with("a", *a), value.clone())).collect();
    Says { tool: tool.into(), at: tick(nth), cut: false, values, told: None, feeds: vec![0, 1, 2] }
}

fn level(a: i64) -> (usize, i64, Measured) {
    (0, a, Measured::Level(Number::Int(1)))
}

fn total(a: i64, value: i64) -> (usize, i64, Measured) {
    (1, a, Measured::Total(Number::Int(value)))
}

fn average(a: i64, value: f64) -> (usize, i64, Measured) {
    (2, a, Measured::Change(value))
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut world = world();
    let tally = cycle(&mut world, 1, &[level(1), level(2), level(3), total(1, 1), total(2, 1), total(3, 1)]);
    assert_eq!(tally, Tally { dropped: 2, live: 4, ..Tally::default() });
    let averages = [average(1, 1.0), average(2, 1.0), average(3, 1.0), average(4, 1.0)];
    let tally = cycle(&mut world, 2, &averages);
    assert_eq!(tally, Tally { overflowed: 2, live: 3, ..Tally::default() }, "levels and totals have ended");
    assert_eq!(cycle(&mut world, 3, &averages).overflowed, 0, "nothing has changed");
}

#[test]
fn the_first_of_two_values_of_one_series_counts() {
    let tally =
        cycle(&mut world(), 1, &[level(1), level(1), total(1, 5), total(1, 2), average(1, 1.0), average(1, 2.0)]);
    assert_eq!(tally, Tally { duplicates: 3, live: 3, ..Tally::default() });
}

#[test]
fn a_total_below_zero_and_a_value_of_another_kind_make_no_point() {
    let mut world = world();
    let tally = cycle(&mut world, 1, &[total(1, -1), (0, 1, Measured::Total(Number::Int(1)))]);
    assert_eq!(tally, Tally { dropped: 2, ..Tally::default() });
}

#[test]
fn what_got_no_more_values_is_forgotten_and_counted() {
    let mut world = world();
    cycle(&mut world, 1, &[level(1), average(1, 1.0)]);
    let tallies: Vec<Tally> = (2..=5).map(|nth| cycle(&mut world, nth, &[])).collect();
    assert_eq!(tallies.iter().map(|tally| tally.live).collect::<Vec<_>>(), [1, 1, 1, 0]);
    assert_eq!(tallies.iter().map(|tally| tally.expired).collect::<Vec<_>>(), [0, 0, 0, 2]);
}

#[test]
fn a_clock_that_was_set_back_is_said_once() {
    let mut world = world();
    cycle(&mut world, 1, &[level(1), level(2)]);
    world.wall_offset -= 60 * SECOND.cast_signed();
    let tally = cycle(&mut world, 2, &[level(1)]);
    assert_eq!(tally, Tally { clock_set_back: true, live: 1, ..Tally::default() });
    assert!(!cycle(&mut world, 3, &[level(1)]).clock_set_back);
}

#[test]
fn lower_limits_hold_for_what_comes() {
    let mut world = world();
    cycle(&mut world, 1, &[level(1), level(2)]);
    world.store.set_limits(Limits { max_series: 1, ..LIMITS });
    assert_eq!(
        cycle(&mut world, 2, &[level(1), level(2), level(3)]),
        Tally { dropped: 1, live: 2, ..Tally::default() }
    );
    world.store.set_limits(Limits { max_series: 0, ..LIMITS });
    let tally = cycle(&mut world, 3, &[average(1, 1.0)]);
    assert_eq!((tally.overflowed, tally.live), (1, 1));
}

#[test]
fn a_series_that_ends_in_this_cycle_makes_no_room_before_its_end_is_told() {
    let mut world = world();
    world.cycle(tick(1), vec![says("a", 1, &[level(1), level(2)])]);
    let (metrics, tally) = world.cycle(tick(2), vec![says("a", 2, &[]), says("b", 2, &[level(3)])]);
    assert_eq!(points(&metrics).iter().map(|point| point.flagged).collect::<Vec<_>>(), [true, true]);
    assert_eq!(tally, Tally { dropped: 1, ..Tally::default() });
    assert_eq!(world.cycle(tick(3), vec![says("b", 3, &[level(3)])]).1, Tally { live: 1, ..Tally::default() });
}

#[test]
fn what_went_to_the_overflow_series_stays_there_and_is_not_observed_again_when_there_is_room() {
    let mut world = world();
    cycle(&mut world, 1, &[average(1, 1.0), average(2, 1.0), average(3, 1.0)]);
    for nth in 2..8 {
        cycle(&mut world, nth, &[average(2, 1.0), average(3, 1.0)]);
    }
    let tally = cycle(&mut world, 8, &[average(2, 1.0), average(3, 2.0)]);
    assert_eq!(tally, Tally { overflowed: 1, live: 2, ..Tally::default() });
}

#[test]
fn a_tool_that_answers_twice_in_a_cycle_gets_two_points_at_two_times() {
    let (metrics, _) = world().cycle(tick(1), vec![says("a", 1, &[total(1, 5)]), says("a", 1, &[total(1, 3)])]);
    let points = points(&metrics);
    assert_eq!(points.iter().map(|point| point.value.total()).collect::<Vec<_>>(), [Some(5.0), Some(3.0)]);
    assert!(points[0].time < points[1].time && points[0].start < points[1].start, "{points:?}");
    assert!(points[1].start <= points[1].time);
}

#[test]
fn a_clock_that_begins_at_the_epoch_still_makes_valid_points() {
    let mut world = world();
    world.wall_offset = -tick(1).cast_signed();
    let values = [total(1, 5), average(1, 1.0)];
    let mut backend = Backend::default();
    for nth in 1..4 {
        backend.receive(&points(&world.cycle(tick(nth), vec![says("stats", nth, &values)]).0));
    }
    backend.check().unwrap();
    assert_eq!(backend.of("total{a=1}").len(), 3);
}
