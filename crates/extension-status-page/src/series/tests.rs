use minicol_pdata::{Attributes, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};

use super::{one::CHARS, *};

fn store(max_series: u32) -> Store {
    Store::new(&StatusPageConfig { max_series, ..StatusPageConfig::default() })
}

/// A counter's point at a second: what it says, and since which second it counts.
fn point(name: &str, of: &str, second: u64, value: Option<i64>, start: u64) -> Metrics {
    let mut builder = MetricsBuilder::new();
    builder.resource(&Attributes::new().with("server.port", "1"), "scope", "1");
    let descriptor = MetricDescriptor {
        name: name.into(),
        description: "what it is".into(),
        unit: "{call}".into(),
        kind: MetricKind::COUNTER,
    };
    let (start, time) = (Timestamp::from_nanos(start * 1_000_000_000), Timestamp::from_nanos(second * 1_000_000_000));
    let point = NumberPoint { start, time, value: value.map(Number::Int) };
    builder.metric(&descriptor).number(&Attributes::new().with("tool", of), &point);
    builder.build()
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

#[test]
fn a_series_shows_its_last_value_its_resets_and_where_it_ended() {
    let mut store = store(10);
    for (second, value, start) in
        [(60, Some(5), 1), (90, Some(8), 1), (120, Some(2), 95), (150, None, 95), (180, Some(4), 95)]
    {
        store.take("metrics", &point("calls", "a", second, value, start), &Redactor::default(), at(second));
    }
    let found = store.found("");
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.value.as_str(), one.of.kind, &*one.of.unit, one.ended), ("4", "counter", "{call}", false));
    let steps: Vec<_> = one.past.iter().map(|past| (past.step, past.reset, past.value.is_nan())).collect();
    assert_eq!(steps, [(2, false, false), (3, false, false), (4, true, false), (5, false, true), (6, false, false)]);
    assert_eq!(one.resets(), 1);
    assert!(!one.is_silent(at(200)) && one.is_silent(at(400)));
}

#[test]
fn what_is_kept_is_bounded_in_number_and_in_time() {
    let mut store = store(3);
    for number in 0..10 {
        store.take(
            "metrics",
            &point("calls", &format!("{number}{}", "x".repeat(5_000)), 1, Some(1), 1),
            &Redactor::default(),
            at(1),
        );
    }
    assert_eq!((store.len(), store.left_out), (3, 7));
    assert!(
        store.found("").iter().all(|one| one.attributes.iter().all(|(_, value)| value.chars().count() < CHARS + 40))
    );
    for second in (1..20_000).step_by(10) {
        store.take(
            "metrics",
            &point("calls", &format!("0{}", "x".repeat(5_000)), second, Some(1), 1),
            &Redactor::default(),
            at(second),
        );
    }
    assert_eq!(store.found("")[0].past.len(), STEPS as usize + 1);
    store.forget(at(20_000));
    assert_eq!(store.len(), 1, "what has been silent for an hour is forgotten");
}

#[test]
fn the_work_of_a_second_is_bounded() {
    let mut store = store(10);
    for _ in 0..5_040 {
        store.take("metrics", &point("calls", "a", 1, Some(1), 1), &Redactor::default(), at(1));
    }
    assert_eq!(store.passed_over, 40);
    store.take("metrics", &point("calls", "a", 2, Some(1), 1), &Redactor::default(), at(2));
    assert_eq!(store.passed_over, 40, "a second later there is room again");
}

#[test]
fn a_search_finds_names_attributes_and_resources() {
    let mut store = store(10);
    store.take("metrics", &point("calls", "alpha", 1, Some(1), 1), &Redactor::default(), at(1));
    store.take("metrics", &point("errors", "beta", 1, Some(1), 1), &Redactor::default(), at(1));
    let found = |search: &str| store.found(search).iter().map(|one| one.of.name.to_string()).collect::<Vec<_>>();
    assert_eq!(found(""), ["calls", "errors"]);
    assert_eq!(found("CALL counter"), ["calls", "errors"], "the unit is {{call}}");
    assert_eq!(found("tool=beta"), ["errors"]);
    assert_eq!(found("server.port=1 alpha"), ["calls"]);
    assert!(found("nothing").is_empty());
}

#[test]
fn what_is_kept_is_bounded_in_bytes_which_is_told_and_what_is_forgotten_makes_room() {
    let config = StatusPageConfig { max_series: 10_000, max_series_mib: 1, ..StatusPageConfig::default() };
    let (mut store, budget) = (Store::new(&config), 1 << 20);
    let take = |store: &mut Store, number: u32, second: u64| {
        let metrics = point("calls", &format!("{number} {}", "é".repeat(150)), second, Some(1), 1);
        store.take("metrics", &metrics, &Redactor::default(), at(second));
    };
    for number in 0..1_000 {
        take(&mut store, number, u64::from(number));
    }
    assert!(store.held() <= budget && store.held() > budget * 9 / 10, "{} of {budget}", store.held());
    assert_eq!(store.len() as u64 + store.left_out, 1_000);
    assert!(store.len() < 500, "each takes its last hour from the beginning: {}", store.len());
    assert_eq!((store.newly_wanting(), store.newly_wanting()), (vec!["max_series_mib"], vec![]), "it is told once");
    let (kept, held) = (store.len(), store.held());
    store.forget(at(1_000));
    assert_eq!((store.len(), store.held()), (kept, held), "what is told of each is what all of them are");
    store.forget(at(3_700));
    assert!(store.len() < kept && store.held() < held, "the first are silent for an hour");
    take(&mut store, 5_000, 3_700);
    assert_eq!(store.found("5000").len(), 1, "there is room again");
    store.forget(at(8_000));
    assert_eq!((store.len(), store.held(), store.wanting().count()), (0, 0, 0));
}

/// Everything that a series holds, by what it has: it is not more than what is reckoned for it.
#[test]
fn a_series_takes_no_more_than_is_reckoned() {
    let mut store = store(1);
    for second in (1..8_000).step_by(30) {
        store.take("metrics", &point("calls", "a", second, Some(i64::MAX), 1), &Redactor::default(), at(second));
    }
    let one = store.found("")[0];
    let past = one.past.capacity() * size_of::<one::Past>();
    let table = store.series.capacity().min(2) * size_of::<(u64, Series)>();
    let text: usize = one.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(past + table + text + one.value.capacity() <= one.bytes());
    assert_eq!(store.held(), one.bytes() + one.of.bytes());
}

#[test]
fn what_comes_again_or_late_is_no_reset_and_no_other_pace() {
    let mut store = store(10);
    for (second, value, arrives) in [(30, 1, 30), (60, 2, 60), (60, 2, 61), (30, 1, 62), (90, 3, 90), (120, 4, 120)] {
        store.take("metrics", &point("calls", "a", second, Some(value), 1), &Redactor::default(), at(arrives));
    }
    let one = store.found("")[0];
    assert_eq!((one.value.as_str(), one.resets(), one.is_silent(at(200))), ("4", 0, false));
}
