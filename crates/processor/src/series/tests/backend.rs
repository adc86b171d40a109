//! What a backend sees, and what it may never see.

use std::collections::BTreeMap;

use minicol_pdata::{MetricKind, Metrics, Number, PointValue, Temporality, Timestamp};

/// One point, as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) series: String,
    pub(super) kind: MetricKind,
    pub(super) start: Timestamp,
    pub(super) time: Timestamp,
    pub(super) flagged: bool,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Number(Number),
    Histogram { count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>, buckets: Vec<u64>, bounds: Vec<f64> },
    Exponential { count: u64, sum: Option<f64>, range: Option<(f64, f64)>, scale: i32, zero: u64, sides: [Side; 2] },
}

/// The offset and the counts of the buckets for values above zero, or below.
pub(super) type Side = (i32, Vec<u64>);

pub(super) fn points(metrics: &Metrics) -> Vec<Point> {
    let mut points = Vec::new();
    for metric in metrics.iter() {
        for point in metric.points() {
            let attributes: Vec<_> = point.attributes().iter().map(|(name, value)| format!("{name}={value}")).collect();
            let attributes =
                if attributes.is_empty() { String::new() } else { format!("{{{}}}", attributes.join(",")) };
            let value = match &point.value {
                PointValue::None => Value::None,
                PointValue::Number(number) => Value::Number(*number),
                PointValue::Histogram { count, sum, min, max, bounds, buckets } => Value::Histogram {
                    count: *count,
                    sum: *sum,
                    min: *min,
                    max: *max,
                    buckets: buckets.to_vec(),
                    bounds: bounds.to_vec(),
                },
                PointValue::ExponentialHistogram {
                    count,
                    sum,
                    min,
                    max,
                    scale,
                    zero_count,
                    positive_offset,
                    positive,
                    negative_offset,
                    negative,
                } => Value::Exponential {
                    count: *count,
                    sum: *sum,
                    range: min.zip(*max),
                    scale: *scale,
                    zero: *zero_count,
                    sides: [(*positive_offset, positive.to_vec()), (*negative_offset, negative.to_vec())],
                },
                other @ PointValue::Summary { .. } => panic!("no point of ours: {other:?}"),
            };
            points.push(Point {
                series: format!("{}{attributes}", metric.name()),
                kind: metric.kind().unwrap(),
                start: point.start,
                time: point.time,
                flagged: point.no_recorded_value,
                value,
            });
        }
    }
    points
}

impl Value {
    /// What a backend adds up: a sum's value, a histogram's count.
    pub(super) fn total(&self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::Number(number) => Some(as_f64(*number)),
            Self::Histogram { count, .. } | Self::Exponential { count, .. } => Some(*count as f64),
        }
    }
}

fn as_f64(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    }
}

/// Everything that one target sent, in the order of sending.
#[derive(Default)]
pub(super) struct Backend {
    series: BTreeMap<String, Vec<Point>>,
}

impl Backend {
    pub(super) fn receive(&mut self, points: &[Point]) {
        for point in points {
            self.series.entry(point.series.clone()).or_default().push(point.clone());
        }
    }

    pub(super) fn of(&self, series: &str) -> &[Point] {
        self.series.get(series).map_or(&[], Vec::as_slice)
    }

    /// Holds the points of every series against the OTLP data model.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, points) in &self.series {
            for point in points {
                check_point(point).map_err(|what| format!("{name}: {what}: {point:?}"))?;
            }
            for pair in points.windows(2) {
                check_pair(&pair[0], &pair[1])
                    .map_err(|what| format!("{name}: {what}:\n {:?}\n {:?}", pair[0], pair[1]))?;
            }
        }
        Ok(())
    }

    /// What happened, as a backend adds it up: rises under one start, and whole values under a new one that lies before its point.
    pub(super) fn sum_of_deltas(&self, series: &str) -> f64 {
        let (mut sum, mut before) = (0.0, None);
        for point in self.of(series) {
            let Some(value) = point.value.total() else { continue };
            sum += match before {
                Some((start, before)) if start == point.start => value - before,
                // Start unknown: nothing tells since when the value counts.
                _ if point.start == point.time => 0.0,
                _ => value,
            };
            before = Some((point.start, value));
        }
        sum
    }
}

fn check_point(point: &Point) -> Result<(), &'static str> {
    let gauge = point.kind == MetricKind::Gauge;
    if point.time.is_unset() {
        return Err("no time");
    }
    if gauge != point.start.is_unset() {
        return Err("a start on a gauge, or none on anything else");
    }
    if point.start > point.time {
        return Err("start after time");
    }
    if is_delta(point.kind) && (point.flagged || point.start == point.time) {
        return Err("a delta of nothing");
    }
    if point.flagged != (point.value == Value::None) {
        return Err("a value beside the flag, or neither");
    }
    match &point.value {
        Value::Number(number) if !as_f64(*number).is_finite() => Err("not finite"),
        Value::Number(number)
            if matches!(point.kind, MetricKind::Sum { monotonic: true, .. }) && as_f64(*number) < 0.0 =>
        {
            Err("negative")
        }
        Value::Histogram { count, buckets, bounds, sum, min, max } => {
            if buckets.iter().sum::<u64>() != *count || buckets.len() != bounds.len() + 1 {
                return Err("buckets do not add up");
            }
            let empty = *count == 0 && !is_delta(point.kind);
            if empty || min > max || sum.is_some_and(|sum| !sum.is_finite() || sum < 0.0) {
                return Err("sum, min or max cannot be");
            }
            Ok(())
        }
        Value::Exponential { count, sum, range, zero, sides, .. } => {
            if sides.iter().flat_map(|side| &side.1).sum::<u64>() + zero != *count {
                return Err("buckets do not add up");
            }
            let empty = *count == 0 && !is_delta(point.kind);
            if empty
                || range.is_none() != (*count == 0)
                || range.is_some_and(|(min, max)| min > max)
                || sum.is_some_and(|sum| !sum.is_finite() || sum < 0.0)
            {
                return Err("sum, min or max cannot be");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_delta(kind: MetricKind) -> bool {
    matches!(
        kind,
        MetricKind::Sum { temporality: Temporality::Delta, .. }
            | MetricKind::Histogram { temporality: Temporality::Delta }
            | MetricKind::ExponentialHistogram { temporality: Temporality::Delta }
    )
}

fn check_pair(before: &Point, point: &Point) -> Result<(), &'static str> {
    if point.time <= before.time {
        return Err("time does not rise");
    }
    if point.kind == MetricKind::Gauge {
        return if point.flagged && before.flagged { Err("ended twice") } else { Ok(()) };
    }
    if is_delta(point.kind) {
        return if point.start < before.time { Err("two points tell of one moment") } else { Ok(()) };
    }
    if point.flagged && (before.flagged || before.start != point.start) {
        return Err("ended twice, or under another start");
    }
    if point.start < before.start {
        return Err("start went back");
    }
    if point.start != before.start {
        return if point.start < before.time { Err("the new start overlaps the points before it") } else { Ok(()) };
    }
    let falls = match (&before.value, &point.value) {
        (Value::Histogram { buckets: a, .. }, Value::Histogram { buckets: b, .. }) => {
            a.iter().zip(b).any(|(a, b)| b < a)
        }
        (
            Value::Exponential { scale: from, sides: a, zero: x, .. },
            Value::Exponential { scale: to, sides: b, zero: y, .. },
        ) => to > from || y < x || a.iter().zip(b).any(|(a, b)| !holds(b, a, from - to)),
        _ => matches!((before.value.total(), point.value.total()), (Some(a), Some(b)) if b < a),
    };
    if falls && point.kind != MetricKind::UP_DOWN_COUNTER { Err("fell under one start") } else { Ok(()) }
}

/// True where one side holds what the other did before the scale was lowered by so much.
fn holds((offset, counts): &Side, before: &Side, by: i32) -> bool {
    let mut merged = std::collections::BTreeMap::new();
    for (index, count) in (before.0..).zip(&before.1) {
        *merged.entry(index >> by).or_insert(0) += count;
    }
    let now = |index: i32| usize::try_from(index - offset).ok().and_then(|at| counts.get(at)).copied().unwrap_or(0);
    merged.into_iter().all(|(index, count)| now(index) >= count)
}
