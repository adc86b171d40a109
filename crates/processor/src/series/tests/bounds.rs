//! What a cycle's tally says of values that made no point of their own.

use std::time::Duration;

use minicol_pdata::{Attributes, MetricKind, Number};

use super::world::{Says, World, instrument};
use crate::sample::{Limits, Measured, Tally};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 1_800_000_000 * SECOND;
const LIMITS: Limits = Limits { max_series: 2, max_keys: 10, expiry: Duration::from_secs(90) };

fn world() -> World {
    let kinds = [("level", MetricKind::Gauge), ("total", MetricKind::COUNTER), ("average", MetricKind::HISTOGRAM)];
    World::new(kinds.map(|(name, kind)| instrument(name, "1", kind, &[])).into(), LIMITS, BEGAN)
}

fn cycle(world: &mut World, nth: u64, values: &[(usize, i64, Measured)]) -> Tally {
    let at = BEGAN + nth * 30 * SECOND;
    let values = values.iter().map(|(at, a, value)| (*at, Attributes::new().with("a", *a), value.clone())).collect();
    world.cycle(at, vec![Says { tool: "stats".into(), at, cut: false, values, told: None, feeds: vec![0, 1, 2] }]).1
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
