//! The panel of metrics, as HTML and as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use askama::Template;
use serde::Serialize;
use serde_json::{Value, json};

use crate::series::{Labels, STEP_SECONDS, STEPS, Series, Store, step};

/// So many series are drawn at most; who wants others searches.
const DRAWN: usize = 200;
/// So many steps are drawn at least.
const LEAST: u32 = 10;

#[derive(Template)]
#[template(path = "series.html")]
struct PanelView<'a> {
    search: &'a str,
    known: usize,
    found: usize,
    shown: usize,
    /// The options for want of which series are left out.
    wanting: String,
    passed_over: u64,
    /// How much of the hour is drawn, in minutes: as much as is known.
    minutes: u32,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    series: &'a Series,
    labels: String,
    /// What tells its resource from the others.
    resource: String,
    silent: bool,
    resets: usize,
    drawn: Line,
    told: String,
}

/// The last hour in a box of 120 by 24.
#[derive(Debug, Default, PartialEq)]
struct Line {
    /// Lines without a break, each by its points.
    lines: Vec<String>,
    /// Where there was no value, and how wide that is.
    gaps: Vec<(String, String)>,
    /// Where it began anew.
    resets: Vec<String>,
}

/// What is found, drawn.
pub(crate) fn html(store: &Store, search: &str, at: Duration) -> Result<String, askama::Error> {
    let found = store.found(search);
    let varying = varying(&found);
    let oldest = found.iter().filter_map(|series| series.past.front()).map(|past| past.step).min();
    let window = step(at).saturating_sub(oldest.unwrap_or(0)).clamp(LEAST, STEPS);
    let rows: Vec<_> = found.iter().take(DRAWN).map(|series| row(series, &varying, window, at)).collect();
    let view = PanelView {
        search: search.trim(),
        known: store.len(),
        found: found.len(),
        shown: rows.len(),
        wanting: store.wanting().collect::<Vec<_>>().join(" and "),
        passed_over: store.passed_over,
        minutes: window * STEP_SECONDS / 60,
        rows,
    };
    view.render()
}

/// What is found, whole. `now` is `at` on the wall clock.
pub(crate) fn told(store: &Store, search: &str, at: Duration, now: f64) -> Value {
    #[derive(Serialize)]
    struct Told<'a> {
        pipeline: &'a str,
        name: &'a str,
        r#type: &'static str,
        unit: &'a str,
        description: &'a str,
        value: Option<&'a str>,
        attributes: &'a Labels,
        resource: &'a Labels,
        /// Of the last point, in seconds since the epoch.
        time: f64,
        start: Option<f64>,
        ended: bool,
        silent: bool,
        resets: usize,
        /// Moment and value; `null` where it ended.
        points: Vec<(f64, Option<f64>)>,
    }
    let moment = |step: u32| now - at.as_secs_f64() + f64::from(step) * f64::from(STEP_SECONDS);
    let one = |series: &Series| {
        let of = &series.of;
        let points =
            series.past.iter().map(|past| (moment(past.step), Some(past.value).filter(|value| value.is_finite())));
        json!(Told {
            pipeline: &of.pipeline,
            name: &of.name,
            r#type: of.kind,
            unit: &of.unit,
            description: &of.description,
            value: (!series.ended).then_some(series.value.as_str()),
            attributes: &series.attributes,
            resource: &of.resource,
            time: series.time.as_seconds(),
            start: (!series.start.is_unset()).then(|| series.start.as_seconds()),
            ended: series.ended,
            silent: series.is_silent(at),
            resets: series.resets(),
            points: points.collect(),
        })
    };
    let series: Vec<_> = store.found(search).into_iter().map(one).collect();
    json!({
        "known": store.len(), "bytes": store.held(), "left_out": store.left_out, "wanting": store.wanting().collect::<Vec<_>>(),
        "passed_over": store.passed_over, "series": series,
    })
}

fn row<'a>(series: &'a Series, varying: &BTreeSet<&str>, window: u32, at: Duration) -> Row<'a> {
    let resource = series.of.resource.iter().filter(|(name, _)| varying.contains(name));
    let drawn = line(series, window, at);
    let told = match (drawn.resets.len(), drawn.gaps.len()) {
        (0, 0) => "how it went, without a gap".to_owned(),
        (resets, gaps) => format!("how it went, with {resets} resets and {gaps} gaps"),
    };
    Row {
        series,
        labels: pairs(series.attributes.iter()),
        resource: pairs(resource),
        silent: series.is_silent(at),
        resets: series.resets(),
        drawn,
        told,
    }
}

fn pairs<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let each: Vec<_> = attributes.map(|(name, value)| format!("{name}={value}")).collect();
    each.join(" ")
}

/// The attributes of resources that are not the same everywhere. An id says nothing where something else tells them apart.
fn varying<'a>(found: &[&'a Series]) -> BTreeSet<&'a str> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in found.iter().flat_map(|series| series.of.resource.iter()) {
        values.entry(name).or_default().insert(value);
    }
    let mut varying: BTreeSet<_> =
        values.iter().filter(|(_, values)| values.len() > 1).map(|(name, _)| *name).collect();
    if varying.len() > 1 {
        varying.remove("service.instance.id");
    }
    varying
}

/// The last `window` steps.
fn line(series: &Series, window: u32, at: Duration) -> Line {
    let now = step(at);
    let first = now.saturating_sub(window);
    let across = |step: u32| 120.0 - f64::from(now.saturating_sub(step)) * 120.0 / f64::from(window);
    let values = series.past.iter().map(|past| past.value).filter(|value| value.is_finite());
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let up = |value: f64| if high > low { 22.0 - 20.0 * (value - low) / (high - low) } else { 12.0 };
    let patience = series.patience();
    let (mut line, mut points, mut last) = (Line::default(), Vec::new(), None);
    let end = |points: &mut Vec<(f64, f64)>, line: &mut Line| {
        // One point alone is a short dash, or it would not be seen.
        if let [(x, y)] = points[..] {
            points.insert(0, (x - 1.0, y));
        }
        if !points.is_empty() {
            let each: Vec<_> = points.drain(..).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            line.lines.push(each.join(" "));
        }
    };
    let gap = |line: &mut Line, from: u32, to: u32| {
        let width = across(to) - across(from);
        if width > 0.0 {
            line.gaps.push((format!("{:.1}", across(from)), format!("{width:.1}")));
        }
    };
    for past in series.past.iter().filter(|past| past.step >= first) {
        if let Some(last) = last
            && past.step - last > patience
        {
            end(&mut points, &mut line);
            gap(&mut line, last, past.step);
        }
        if past.reset {
            end(&mut points, &mut line);
            line.resets.push(format!("{:.1}", across(past.step)));
        }
        if past.value.is_finite() {
            points.push((across(past.step), up(past.value)));
            last = Some(past.step);
        } else {
            end(&mut points, &mut line);
        }
    }
    end(&mut points, &mut line);
    if let Some(last) = last
        && (series.ended || series.is_silent(at))
    {
        gap(&mut line, last, now);
    }
    line
}

#[cfg(test)]
mod tests {
    use minicol_pdata::{Attributes, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};

    use super::*;
    use crate::StatusPageConfig;

    /// A counter that was asked every 30 s: seconds, values, and since when it counts.
    fn store(points: &[(u64, Option<i64>, u64)]) -> Store {
        let mut store = Store::new(&StatusPageConfig::default());
        for (second, value, start) in points {
            let mut builder = MetricsBuilder::new();
            let (name, description, unit) = ("calls".into(), "<b>".into(), "1".into());
            let descriptor = MetricDescriptor { name, description, unit, kind: MetricKind::COUNTER };
            let nanos = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
            let point = NumberPoint { start: nanos(*start), time: nanos(*second), value: value.map(Number::Int) };
            builder.metric(&descriptor).number(&Attributes::new().with("tool", "<i>"), &point);
            store.take("metrics", &builder.build(), &minicol_plugin::Redactor::default(), Duration::from_secs(*second));
        }
        store
    }

    #[test]
    fn a_line_breaks_at_a_reset_and_at_a_gap() {
        let mut points = vec![(30, Some(1), 1), (60, Some(3), 1), (90, Some(2), 80)];
        points.push((600, Some(5), 80));
        let store = store(&points);
        let drawn = line(store.found("")[0], 120, Duration::from_secs(610));
        assert_eq!(drawn.lines, ["101.0,22.0 102.0,12.0", "102.0,17.0 103.0,17.0", "119.0,2.0 120.0,2.0"]);
        assert_eq!(
            (drawn.resets, drawn.gaps),
            (vec!["103.0".to_owned()], vec![("103.0".to_owned(), "17.0".to_owned())])
        );
    }

    #[test]
    fn what_has_ended_is_a_gap_until_now() {
        let store = store(&[(30, Some(1), 1), (60, Some(3), 1), (90, None, 1)]);
        let drawn = line(store.found("")[0], 10, Duration::from_secs(300));
        assert_eq!(drawn.gaps, [("24.0".to_owned(), "96.0".to_owned())]);
        let html = html(&store, "", Duration::from_secs(300)).unwrap();
        assert!(html.contains("○ ended") && html.contains("tool=&#60;i&#62;") && !html.contains("<b>\""), "{html}");
        let told = told(&store, "", Duration::from_secs(300), 1_000.0);
        assert_eq!((&told["series"][0]["value"], &told["series"][0]["ended"]), (&Value::Null, &json!(true)));
        assert_eq!(told["series"][0]["points"][0], json!([730.0, 1.0]));
    }
}
