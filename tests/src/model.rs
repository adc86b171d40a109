use std::collections::{BTreeMap, BTreeSet};

use crate::{Point, Value};

/// What tells a series from others.
type Series<'a> = (&'a str, &'a BTreeMap<String, String>, &'a BTreeMap<String, String>);

/// Holds points, in whatever order they arrived, against OTLP's data model for cumulative streams: one breach a line, none where it holds. A point
/// that came more than once, every byte the same, is none: see [`repeated`].
pub fn breaches(points: &[Point]) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut identities: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for point in points {
        identities.entry((&point.name, &point.resource)).or_default().insert((point.kind, &point.unit));
        found.extend(of_one(point).into_iter().map(|what| format!("{what}: {point:?}")));
    }
    for ((name, _), seen) in identities {
        if seen.len() > 1 {
            found.insert(format!("{name}: one name, several kinds or units {seen:?}"));
        }
    }
    for stream in series(points).into_values() {
        let mut valued: Option<&Point> = None;
        for pair in stream.windows(2) {
            if has_value(pair[0]) {
                valued = Some(pair[0]);
            }
            let what = of_two(pair[0], pair[1]);
            let fell = valued.filter(|before| before.start == pair[1].start && fell(before, pair[1]));
            let what = what.into_iter().chain(fell.map(|_| "it fell under one start"));
            found.extend(what.map(|what| format!("{what}: {:?}, then {:?}", pair[0], pair[1])));
        }
    }
    found.into_iter().collect()
}

/// How many points arrived more often than once, each time counted after the first.
pub fn repeated(points: &[Point]) -> usize {
    points.len() - series(points).values().map(Vec::len).sum::<usize>()
}

/// The points of each series in the order of their times, each once.
fn series(points: &[Point]) -> BTreeMap<Series<'_>, Vec<&Point>> {
    let mut series: BTreeMap<Series<'_>, Vec<&Point>> = BTreeMap::new();
    for point in points {
        series.entry((&point.name, &point.attributes, &point.resource)).or_default().push(point);
    }
    for stream in series.values_mut() {
        // Stable: points of one time stay in the order of their arrival.
        stream.sort_by_key(|point| point.time);
        let mut at: Vec<&Point> = Vec::new();
        for point in std::mem::take(stream) {
            let twin = at.iter().rev().take_while(|other| other.time == point.time).any(|other| *other == point);
            if !twin {
                at.push(point);
            }
        }
        *stream = at;
    }
    series
}

fn of_one(point: &Point) -> Vec<&'static str> {
    let mut found = Vec::new();
    let cumulative = point.kind != "gauge";
    let mut breach = |is: bool, what| found.extend(is.then_some(what));
    breach(point.time == 0, "no time");
    breach(cumulative && point.start == 0, "no start time");
    breach(point.start > point.time, "the start lies after the time");
    for key in ["service.name", "service.instance.id"] {
        breach(point.resource.get(key).is_none_or(String::is_empty), "the resource lacks service.name or its instance");
    }
    match &point.value {
        Value::Double(value) => breach(!value.is_finite(), "no usable value"),
        Value::Int(value) => breach(point.kind == "counter" && *value < 0, "a negative monotonic sum"),
        Value::Histogram(count, _, buckets) => {
            breach(buckets.iter().sum::<u64>() != *count, "the buckets do not add up to the count");
        }
        Value::NoRecordedValue | Value::Other => {}
    }
    found
}

fn of_two(before: &Point, after: &Point) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut breach = |is: bool, what| found.extend(is.then_some(what));
    breach(before.time == after.time, "two points of one time");
    if after.kind != "gauge" {
        breach(after.start < before.start, "the start went back");
        breach(before.start < after.start && after.start < before.time, "the new start overlaps the points before it");
    }
    found
}

fn fell(before: &Point, after: &Point) -> bool {
    match (&before.value, &after.value) {
        (Value::Int(before), Value::Int(value)) => after.kind == "counter" && value < before,
        (Value::Double(before), Value::Double(value)) => after.kind == "counter" && value < before,
        (Value::Histogram(before, _, one), Value::Histogram(count, _, other)) => {
            count < before || one.iter().zip(other).any(|(before, after)| after < before)
        }
        _ => false,
    }
}

fn has_value(point: &Point) -> bool {
    point.value != Value::NoRecordedValue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start: u64, time: u64, value: Value) -> Point {
        let resource = ["service.name", "service.instance.id"].map(|key| (key.to_owned(), "x".to_owned()));
        Point {
            name: "m".into(),
            unit: "1".into(),
            kind: if matches!(value, Value::Histogram(..)) { "histogram" } else { "counter" },
            attributes: BTreeMap::new(),
            resource: resource.into(),
            start,
            time,
            value,
        }
    }

    fn int(start: u64, time: u64, value: i64) -> Point {
        point(start, time, Value::Int(value))
    }

    #[test]
    fn streams_that_hold_are_let_be() {
        let ended = point(5, 30, Value::NoRecordedValue);
        let restarted = int(30, 40, 1);
        let whole = [int(5, 10, 3), int(5, 20, 3), ended, restarted];
        assert_eq!(breaches(&whole), Vec::<String>::new());
        let [a, b, c, d] = whole.clone();
        let unordered = [d, b.clone(), c, a, b];
        assert_eq!((breaches(&unordered), repeated(&unordered)), (Vec::new(), 1), "late and repeated is no breach");
    }

    #[test]
    fn every_breach_is_found() {
        let unit = Point { unit: "s".into(), ..int(1, 9, 5) };
        let timeless = Point { kind: "gauge", ..int(0, 0, 3) };
        let nameless = Point { resource: BTreeMap::new(), ..int(1, 2, 5) };
        for (points, breach) in [
            (vec![int(0, 10, 3)], "no start time"),
            (vec![timeless], "no time"),
            (vec![int(11, 10, 3)], "lies after the time"),
            (vec![int(1, 10, -3)], "negative"),
            (vec![point(1, 2, Value::Double(f64::NAN))], "no usable value"),
            (vec![nameless], "lacks service.name"),
            (vec![int(1, 8, 4), unit], "several kinds or units"),
            (vec![int(5, 10, 3), int(5, 10, 4)], "two points of one time"),
            (vec![int(5, 10, 3), int(4, 20, 4)], "the start went back"),
            (vec![int(5, 10, 3), int(9, 20, 4)], "overlaps"),
            (vec![int(5, 10, 3), int(5, 20, 2)], "fell under one start"),
            (vec![int(5, 10, 3), point(5, 20, Value::NoRecordedValue), int(5, 30, 2)], "fell under one start"),
            (vec![point(1, 2, Value::Histogram(3, None, vec![1, 1]))], "do not add up"),
            (
                vec![
                    point(1, 2, Value::Histogram(3, None, vec![2, 1])),
                    point(1, 3, Value::Histogram(4, None, vec![1, 3])),
                ],
                "fell under one start",
            ),
        ] {
            let found = breaches(&points);
            assert!(found.len() == 1 && found[0].contains(breach), "{breach}: {found:?}");
        }
    }
}
