//! Whatever a source says, and whatever becomes of the clocks, a backend sees a valid stream.

use std::time::Duration;

use minicol_pdata::{Attributes, MetricKind, Number, Timestamp};
use proptest::{collection::vec, option, prelude::*};

use super::{
    backend::{Backend, points},
    world::{DELTA_COUNTER, DELTA_EXPONENTIAL, DELTA_HISTOGRAM, Says, World, instrument},
};
use crate::sample::{Instrument, Limits, Measured, ToldStart};

const SECOND: u64 = 1_000_000_000;
const BEGAN: u64 = 1_800_000_000 * SECOND;
const LIMITS: Limits = Limits { max_series: 3, max_keys: 6, expiry: Duration::from_secs(150) };

const NAMES: [&str; 12] =
    ["total", "level", "balance", "average", "drift", "finished", "length", "spread", "rise", "news", "ends", "recent"];

/// One cycle.
#[derive(Clone, Debug)]
struct Step {
    /// Since the cycle before.
    millis: u64,
    event: Event,
    stats: Option<Answered>,
    other: Option<Answered>,
}

#[derive(Clone, Debug)]
enum Event {
    Nothing,
    ClockSet(i64),
    MinicolRestarts,
    RulesReordered,
}

#[derive(Clone, Debug)]
struct Answered {
    late_millis: u64,
    cut: bool,
    told: Option<Told>,
    /// Metric, attribute, value, key.
    values: Vec<(usize, u8, i16, u8)>,
}

#[derive(Clone, Debug)]
enum Told {
    StartedSecondsAgo(i64),
    Start(u64),
    Uptime(u64),
}

fn instruments() -> Vec<Instrument> {
    vec![
        instrument("total", "1", MetricKind::COUNTER, &[]),
        instrument("level", "1", MetricKind::Gauge, &[]),
        instrument("balance", "1", MetricKind::UP_DOWN_COUNTER, &[]),
        instrument("average", "1", MetricKind::HISTOGRAM, &[0.0, 10.0]),
        instrument("drift", "1", MetricKind::HISTOGRAM, &[-5.0, 5.0]),
        instrument("finished", "1", MetricKind::COUNTER, &[]),
        instrument("length", "1", MetricKind::HISTOGRAM, &[5.0]),
        instrument("spread", "1", MetricKind::EXPONENTIAL_HISTOGRAM, &[]),
        instrument("rise", "1", DELTA_COUNTER, &[]),
        instrument("news", "1", DELTA_HISTOGRAM, &[5.0]),
        instrument("ends", "1", DELTA_COUNTER, &[]),
        instrument("recent", "1", DELTA_EXPONENTIAL, &[]),
    ]
}

fn answered() -> impl Strategy<Value = Answered> {
    let told = option::of(prop_oneof![
        (-100_i64..2000).prop_map(Told::StartedSecondsAgo),
        any::<u64>().prop_map(Told::Start),
        (0_u64..2000).prop_map(Told::Uptime),
        any::<u64>().prop_map(Told::Uptime),
    ]);
    let values = vec((0_usize..NAMES.len(), 0_u8..5, -20_i16..60, 0_u8..12), 0..12);
    (0_u64..29_000, prop::bool::weighted(0.1), told, values).prop_map(|(late_millis, cut, told, values)| Answered {
        late_millis,
        cut,
        told,
        values,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = prop_oneof![
        20 => Just(Event::Nothing),
        2 => (-5000_i64..5000).prop_map(Event::ClockSet),
        1 => (-4_000_000_i64..4_000_000).prop_map(Event::ClockSet),
        1 => Just(Event::MinicolRestarts),
        1 => Just(Event::RulesReordered),
    ];
    let millis = prop_oneof![8 => Just(30_000_u64), 2 => 29_000..31_000_u64, 1 => 1..400_000_u64, 1 => Just(0)];
    let step = (millis, event, option::weighted(0.7, answered()), option::weighted(0.5, answered()));
    vec(step.prop_map(|(millis, event, stats, other)| Step { millis, event, stats, other }), 1..40)
}

impl Answered {
    fn says(&self, tool: &str, at: u64, instruments: &[Instrument]) -> Says {
        let at = at + self.late_millis * 1_000_000;
        let told = self.told.as_ref().map(|told| match told {
            Told::StartedSecondsAgo(ago) => {
                ToldStart::At(Timestamp::from_nanos(at.saturating_add_signed(-ago * SECOND.cast_signed())))
            }
            Told::Start(start) => ToldStart::At(Timestamp::from_nanos(*start)),
            Told::Uptime(uptime) => ToldStart::Uptime(Duration::from_secs(*uptime)),
        });
        let values = self.values.iter().map(|&(metric, attribute, value, key)| {
            let name = NAMES[metric];
            let place = instruments.iter().position(|one| &*one.descriptor.name == name).unwrap();
            let number = if key % 2 == 0 { Number::Int(value.into()) } else { Number::Double(f64::from(value) / 4.0) };
            let ended =
                [None, Some(Timestamp::from_nanos(at.saturating_add_signed(i64::from(value) * SECOND.cast_signed())))];
            let item = || Measured::Item {
                key: key.to_string().into(),
                ended: ended[usize::from(key % 3 != 0)],
                value: number,
            };
            let measured = match name {
                "total" | "rise" => Measured::Total(number),
                "level" => Measured::Level(number),
                "balance" => Measured::UpDown(number),
                "average" | "drift" | "spread" | "news" | "recent" => Measured::Change(value.into()),
                _ => item(),
            };
            let attributes = Attributes::new().with("a", i64::from(attribute));
            (place, attributes, measured)
        });
        let feeds = (0..instruments.len()).collect();
        Says { tool: tool.into(), at, cut: self.cut, values: values.collect(), told, feeds }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// The invariants of `backend::check`, for every stream between two beginnings of minicol's knowledge; and bounded memory.
    #[test]
    fn every_history_makes_valid_streams(steps in steps()) {
        let mut world = World::new(instruments(), LIMITS, BEGAN);
        let (mut backend, mut at, mut heard) = (Backend::default(), BEGAN, BEGAN);
        for step in steps {
            let mut begins_anew = false;
            match step.event {
                Event::Nothing => {}
                Event::ClockSet(millis) => world.wall_offset += millis * 1_000_000,
                Event::MinicolRestarts => {
                    world.restart(at);
                    begins_anew = true;
                }
                Event::RulesReordered => world.instruments.reverse(),
            }
            at += step.millis * 1_000_000;
            let says: Vec<Says> = [("stats", &step.stats), ("other", &step.other)]
                .into_iter()
                .filter_map(|(tool, answered)| Some(answered.as_ref()?.says(tool, at, &world.instruments)))
                .collect();
            at = says.iter().map(|one| one.at).fold(at, u64::max);
            let held = says.iter().map(|one| one.values.len()).sum::<usize>();
            let (metrics, tally) = world.cycle(at, says);
            // A source of which nothing was heard for so long is new.
            begins_anew |= tally.clock_set_back || Duration::from_nanos(at - heard) > LIMITS.expiry;
            heard = at;
            if begins_anew {
                prop_assert!(backend.check().is_ok(), "{}", backend.check().unwrap_err());
                backend = Backend::default();
            }
            backend.receive(&points(&metrics));
            let [series, keys, hidden, graves] = world.store.largest();
            // The latest answers of two tools hold at most two dozen items.
            prop_assert!(series <= LIMITS.max_series + 1 && graves <= LIMITS.max_series, "{series} series, {graves} graves");
            prop_assert!(keys <= LIMITS.max_keys + 24 && hidden <= LIMITS.max_keys + 24, "{keys} keys, {hidden} hidden");
            prop_assert!(tally.dropped + tally.overflowed + tally.duplicates <= held as u64);
        }
        prop_assert!(backend.check().is_ok(), "{}", backend.check().unwrap_err());
    }
}
