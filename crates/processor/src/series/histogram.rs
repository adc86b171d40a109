//! A histogram that minicol accumulates.

use minicol_pdata::{HistogramPoint, Timestamp};

/// Counts per bucket, and what goes with them.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    /// `None` where values can be negative: it would not be monotonic.
    sum: Option<f64>,
    min: f64,
    max: f64,
    /// The latest value of one that observes changes.
    latest: Option<f64>,
}

impl Histogram {
    /// Nothing observed yet; `bounds` is the number of boundaries.
    pub(super) fn new(bounds: usize, negative: bool) -> Self {
        Self {
            buckets: vec![0; bounds + 1].into(),
            count: 0,
            sum: (!negative).then_some(0.0),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            latest: None,
        }
    }

    /// Observes one value. Bucket `i` takes `(bounds[i-1], bounds[i]]`, as OTLP has it.
    pub(super) fn observe(&mut self, bounds: &[f64], value: f64) {
        let bucket = bounds.partition_point(|&bound| bound < value);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.filter(|_| value >= 0.0).map(|sum| (sum + value).min(f64::MAX));
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Observes a value that differs from the one before; the first always does.
    pub(super) fn observe_change(&mut self, bounds: &[f64], value: f64) {
        if self.latest.replace(value) != Some(value) {
            self.observe(bounds, value);
        }
    }

    /// As a point.
    pub(super) fn point<'a>(&'a self, bounds: &'a [f64], start: Timestamp, time: Timestamp) -> HistogramPoint<'a> {
        let seen = self.count > 0;
        HistogramPoint {
            start,
            time,
            count: self.count,
            sum: self.sum,
            min: seen.then_some(self.min),
            max: seen.then_some(self.max),
            bounds,
            buckets: &self.buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(bounds: &[f64], negative: bool, values: &[f64]) -> Histogram {
        let mut histogram = Histogram::new(bounds.len(), negative);
        for &value in values {
            histogram.observe(bounds, value);
        }
        histogram
    }

    #[test]
    fn a_boundary_belongs_to_the_bucket_below_it() {
        let histogram = observed(&[10.0, 20.0], false, &[0.0, 10.0, 10.1, 20.0, 20.1]);
        assert_eq!(*histogram.buckets, [2, 2, 1]);
        let point = histogram.point(&[10.0, 20.0], Timestamp::UNSET, Timestamp::UNSET);
        assert_eq!((point.count, point.sum, point.min, point.max), (5, Some(60.2), Some(0.0), Some(20.1)));
    }

    #[test]
    fn where_values_can_be_negative_there_is_no_sum() {
        assert_eq!(observed(&[-1.0, 1.0], true, &[5.0]).sum, None);
        assert_eq!(observed(&[1.0], false, &[5.0, -5.0, 5.0]).sum, None);
    }

    #[test]
    fn a_sum_stays_finite() {
        assert_eq!(observed(&[], false, &[f64::MAX, f64::MAX]).sum, Some(f64::MAX));
    }
}
