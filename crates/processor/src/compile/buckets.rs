//! The buckets of a histogram.

use minicol_plugin::config::Problems;

use super::{Kind, words};
use crate::{config::MetricConfig, sample::Exponents};

/// OpenTelemetry's own boundaries of a histogram (the SDK's default explicit bucket boundaries).
const DEFAULT_BOUNDARIES: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0];
const MAX_BOUNDARIES: usize = 200;
/// OpenTelemetry's own size of an exponential histogram.
const DEFAULT_SIZE: i64 = 160;
/// Fewer cannot hold every double at any scale; more are more than a backend takes.
const SIZES: (i64, i64) = (2, 1_000);
const SCALES: (i64, i64) = (Exponents::MIN_SCALE as i64, Exponents::MAX_SCALE as i64);

/// Which buckets an instrument has.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// A histogram's upper boundaries; empty for what is none.
    pub(super) bounds: Vec<f64>,
    /// An exponential histogram's.
    pub(super) exponents: Option<Exponents>,
}

/// `None` where they are wrong; none for what is no histogram.
pub(super) fn buckets(metric: &MetricConfig, kind: Option<Kind>, problems: &mut Problems) -> Option<Buckets> {
    let bounds = boundaries(metric, kind, problems);
    let exponents = exponents(metric, kind, problems)?;
    Some(Buckets { bounds: bounds?, exponents })
}

fn boundaries(metric: &MetricConfig, kind: Option<Kind>, problems: &mut Problems) -> Option<Vec<f64>> {
    let Some(list) = &metric.boundaries else {
        return Some(if kind == Some(Kind::Histogram) { DEFAULT_BOUNDARIES.to_vec() } else { Vec::new() });
    };
    if kind.is_some_and(|kind| kind != Kind::Histogram) {
        let help = if kind == Some(Kind::ExponentialHistogram) {
            "leave them out: its buckets follow from the values, within `max_size`"
        } else {
            "leave them out"
        };
        problems
            .error("boundaries", format!("are for histograms, and this is {}", words::one(&metric.kind)))
            .help(help);
        return None;
    }
    if list.len() > MAX_BOUNDARIES {
        problems
            .error("boundaries", format!("are {}; at most {MAX_BOUNDARIES} are taken", list.len()))
            .help("use fewer");
        return None;
    }
    if let Some(wrong) = list.iter().position(|bound| !bound.is_finite()) {
        let help = "the last bucket has no boundary of its own: leave it out";
        problems.within("boundaries", |problems| {
            problems.item(wrong, |problems| problems.error("", format!("{} is no boundary", list[wrong])).help(help));
        });
        return None;
    }
    if let Some(wrong) = list.windows(2).position(|pair| pair[0] >= pair[1]) {
        let message = format!("must rise, but {} follows {}", list[wrong + 1], list[wrong]);
        problems.within("boundaries", |problems| {
            problems.item(wrong + 1, |problems| problems.error("", message).help("sort them, each once"));
        });
        return None;
    }
    // -0 and 0 are one boundary.
    Some(list.iter().map(|bound| bound + 0.0).collect())
}

/// `None` where one is wrong.
#[allow(clippy::option_option)] // wrong, none, or some
fn exponents(metric: &MetricConfig, kind: Option<Kind>, problems: &mut Problems) -> Option<Option<Exponents>> {
    let exponential = kind == Some(Kind::ExponentialHistogram);
    let mut good = true;
    for (field, value, (min, max)) in [("max_size", metric.max_size, SIZES), ("max_scale", metric.max_scale, SCALES)] {
        let Some(value) = value else { continue };
        if kind.is_some() && !exponential {
            let message = format!("is for exponential histograms, and this is {}", words::one(&metric.kind));
            problems.error(field, message).help("set `type: exponential_histogram`, or leave it out");
            good = false;
        } else if !(min..=max).contains(&value) {
            problems.error(field, format!("must be between {min} and {max}, but is {value}"));
            good = false;
        }
    }
    if !good {
        return None;
    }
    let max_size = u16::try_from(metric.max_size.unwrap_or(DEFAULT_SIZE)).ok()?;
    let max_scale = i8::try_from(metric.max_scale.unwrap_or(SCALES.1)).ok()?;
    Some(exponential.then_some(Exponents { max_size, max_scale }))
}
