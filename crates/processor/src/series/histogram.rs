//! A histogram that minicol accumulates.

use minicol_pdata::{Attributes, ExponentialHistogramPoint, HistogramPoint, MetricWriter, Timestamp};

use super::exponential::Exponential;
use crate::sample::Instrument;

/// Counts per bucket, and what goes with them.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Buckets,
    count: u64,
    /// `None` where values can be negative, or one was: it would not be monotonic.
    sum: Option<f64>,
    min: f64,
    max: f64,
    /// The latest value of one that observes changes.
    latest: Option<f64>,
}

/// Where the values are counted.
#[derive(Debug)]
enum Buckets {
    /// Between the instrument's boundaries.
    Explicit(Box<[u64]>),
    Exponential(Exponential),
}

impl Histogram {
    /// Nothing observed yet.
    pub(super) fn new(instrument: &Instrument) -> Self {
        Self {
            buckets: match instrument.exponents {
                Some(exponents) => Buckets::Exponential(Exponential::new(exponents)),
                None => Buckets::Explicit(vec![0; instrument.bounds.len() + 1].into()),
            },
            count: 0,
            sum: (!instrument.negative).then_some(0.0),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            latest: None,
        }
    }

    /// Observes one value. With boundaries, bucket `i` takes `(bounds[i-1], bounds[i]]`, as OTLP has it.
    pub(super) fn observe(&mut self, bounds: &[f64], value: f64) {
        match &mut self.buckets {
            Buckets::Explicit(buckets) => {
                let bucket = bounds.partition_point(|&bound| bound < value);
                if let Some(bucket) = buckets.get_mut(bucket) {
                    *bucket += 1;
                }
            }
            Buckets::Exponential(exponential) => exponential.observe(value),
        }
        self.count += 1;
        self.sum = self.sum.filter(|_| value >= 0.0).map(|sum| (sum + value).min(f64::MAX));
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Takes a value for the one before, without observing it.
    pub(super) fn begin_with(&mut self, value: f64) {
        self.latest = Some(value);
    }

    /// Observes a value that differs from the one before; the first always does.
    pub(super) fn observe_change(&mut self, bounds: &[f64], value: f64) {
        if self.latest.replace(value) != Some(value) {
            self.observe(bounds, value);
        }
    }

    /// Forgets the values, but not which was the latest.
    pub(super) fn reset(&mut self, instrument: &Instrument) {
        *self = Self { latest: self.latest, ..Self::new(instrument) };
    }

    /// Writes it as a point.
    pub(super) fn write(
        &self,
        writer: &mut MetricWriter<'_>,
        attributes: &Attributes,
        bounds: &[f64],
        (start, time): (Timestamp, Timestamp),
    ) {
        let Self { count, sum, .. } = *self;
        let (min, max) = if count > 0 { (Some(self.min), Some(self.max)) } else { (None, None) };
        match &self.buckets {
            Buckets::Explicit(buckets) => {
                writer.histogram(attributes, &HistogramPoint { start, time, count, sum, min, max, bounds, buckets });
            }
            Buckets::Exponential(one) => {
                let (positive, negative) = (one.positive(), one.negative());
                let (scale, zero_count) = (one.scale, one.zero);
                let point = ExponentialHistogramPoint {
                    start,
                    time,
                    count,
                    sum,
                    min,
                    max,
                    scale,
                    zero_count,
                    positive,
                    negative,
                };
                writer.exponential(attributes, &point);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use minicol_pdata::{MetricDescriptor, MetricKind};

    use super::*;
    use crate::sample::Exponents;

    fn observed(bounds: &[f64], exponents: Option<Exponents>, values: &[f64]) -> Histogram {
        let mut histogram = Histogram::new(&instrument(bounds, exponents));
        for &value in values {
            histogram.observe(bounds, value);
        }
        histogram
    }

    fn instrument(bounds: &[f64], exponents: Option<Exponents>) -> Instrument {
        let descriptor = MetricDescriptor {
            name: "h".into(),
            description: "d".into(),
            unit: "s".into(),
            kind: MetricKind::HISTOGRAM,
        };
        let negative = bounds.first().is_some_and(|bound| *bound < 0.0);
        Instrument { descriptor, bounds: bounds.into(), exponents, negative }
    }

    /// As each point of a delta begins.
    #[test]
    fn a_reset_begins_at_the_largest_scale_again_and_with_a_sum() {
        let exponents = Some(Exponents { max_size: 4, max_scale: 20 });
        let mut histogram = observed(&[], exponents, &[1.0, 1e9, -1.0]);
        let scale = |histogram: &Histogram| match &histogram.buckets {
            Buckets::Exponential(exponential) => exponential.scale,
            Buckets::Explicit(_) => panic!("{histogram:?}"),
        };
        assert!(scale(&histogram) < 0 && histogram.sum.is_none(), "{histogram:?}");
        histogram.reset(&instrument(&[], exponents));
        assert_eq!((scale(&histogram), histogram.count, histogram.sum), (20, 0, Some(0.0)));
    }

    #[test]
    fn a_boundary_belongs_to_the_bucket_below_it() {
        let histogram = observed(&[10.0, 20.0], None, &[0.0, 10.0, 10.1, 20.0, 20.1]);
        let Buckets::Explicit(buckets) = &histogram.buckets else { panic!("{histogram:?}") };
        assert_eq!(**buckets, [2, 2, 1]);
        assert_eq!((histogram.count, histogram.sum, histogram.min, histogram.max), (5, Some(60.2), 0.0, 20.1));
    }

    #[test]
    fn where_values_can_be_negative_or_one_was_there_is_no_sum() {
        assert_eq!(observed(&[-1.0, 1.0], None, &[5.0]).sum, None);
        assert_eq!(observed(&[1.0], None, &[5.0, -5.0, 5.0]).sum, None);
        let exponents = Some(Exponents { max_size: 4, max_scale: 20 });
        assert_eq!(observed(&[], exponents, &[5.0, 0.0]).sum, Some(5.0));
        assert_eq!(observed(&[], exponents, &[5.0, -5.0, 5.0]).sum, None);
    }

    #[test]
    fn a_sum_stays_finite() {
        assert_eq!(observed(&[], None, &[f64::MAX, f64::MAX]).sum, Some(f64::MAX));
    }
}
