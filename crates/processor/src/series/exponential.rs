//! Buckets that grow exponentially (OpenTelemetry metrics data model, `ExponentialHistogram`; metrics SDK, "Base2 Exponential Bucket
//! Histogram Aggregation"). The scale begins at its largest, and is lowered whenever the values would need more buckets than there may be.

use minicol_pdata::ExponentialBuckets;

use crate::sample::Exponents;

/// Counts of values by the logarithm of their size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exponential {
    max_size: usize,
    pub(super) scale: i32,
    pub(super) zero: u64,
    positive: Side,
    negative: Side,
}

/// The buckets of the values above zero, or of those below.
#[derive(Clone, Debug, Default, PartialEq)]
struct Side {
    /// The index of the first bucket.
    offset: i32,
    counts: Vec<u64>,
}

impl Exponential {
    /// Nothing observed yet.
    pub(super) fn new(exponents: Exponents) -> Self {
        Self {
            // At the lowest scale two buckets hold every double.
            max_size: usize::from(exponents.max_size).max(2),
            scale: i32::from(exponents.max_scale.clamp(Exponents::MIN_SCALE, Exponents::MAX_SCALE)),
            zero: 0,
            positive: Side::default(),
            negative: Side::default(),
        }
    }

    /// Counts a finite value.
    pub(super) fn observe(&mut self, value: f64) {
        if value == 0.0 {
            self.zero += 1;
            return;
        }
        let index = index(value.abs(), self.scale);
        let side = if value > 0.0 { &self.positive } else { &self.negative };
        let by = side.lowering(index, self.max_size);
        if by > 0 {
            // Both sides have one scale.
            self.scale -= by;
            self.positive.lower(by);
            self.negative.lower(by);
        }
        let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        side.count(index >> by);
    }

    pub(super) fn positive(&self) -> ExponentialBuckets<'_> {
        self.positive.buckets()
    }

    pub(super) fn negative(&self) -> ExponentialBuckets<'_> {
        self.negative.buckets()
    }
}

impl Side {
    fn buckets(&self) -> ExponentialBuckets<'_> {
        ExponentialBuckets { offset: self.offset, counts: &self.counts }
    }

    fn last(&self) -> i32 {
        self.offset + i32::try_from(self.counts.len()).unwrap_or(i32::MAX) - 1
    }

    /// By how much the scale must be lowered for `index` to fit in.
    fn lowering(&self, index: i32, max_size: usize) -> i32 {
        if self.counts.is_empty() {
            return 0;
        }
        let (mut low, mut high) = (self.offset.min(index), self.last().max(index));
        let mut by = 0;
        // Ends: both are -1 or 0 after 31 halvings, and there are at least two buckets.
        while high.abs_diff(low) as usize >= max_size {
            low >>= 1;
            high >>= 1;
            by += 1;
        }
        by
    }

    /// Merges neighbours: the bucket `i` goes to the bucket `i >> by`, without error.
    fn lower(&mut self, by: i32) {
        if self.counts.is_empty() {
            return;
        }
        let offset = self.offset >> by;
        let mut merged = vec![0; (self.last() >> by).abs_diff(offset) as usize + 1];
        for (index, count) in (self.offset..).zip(&self.counts) {
            if let Some(into) = merged.get_mut((index >> by).abs_diff(offset) as usize) {
                *into += count;
            }
        }
        *self = Self { offset, counts: merged };
    }

    /// Counts one value in the bucket `index`. It lies within the size: see [`Side::lowering`].
    fn count(&mut self, index: i32) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let before = self.offset.abs_diff(index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, before));
            self.offset = index;
        }
        let at = index.abs_diff(self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
    }
}

/// The bucket of a value above zero. A boundary belongs to the bucket below it. Values that are too small to be normal doubles count as the
/// smallest that is.
#[allow(clippy::cast_possible_truncation)] // a logarithm from 0 to 1, by at most 2^20
fn index(value: f64, scale: i32) -> i32 {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    // The sign is not set: eleven bits are left.
    let exponent = i32::try_from(bits >> 52).unwrap_or(i32::MAX) - 1023;
    let power_of_two = bits & FRACTION == 0;
    if scale <= 0 {
        return (exponent - i32::from(power_of_two)) >> -scale;
    }
    if power_of_two {
        return (exponent << scale) - 1;
    }
    let fraction = f64::from_bits((bits & FRACTION) | 1.0_f64.to_bits());
    let parts = 1_i32 << scale;
    // Multiplying by a power of two is exact: a bucket at one scale lies in its bucket at the scale below.
    let part = (fraction.log2() * f64::from(parts)).ceil() as i32 - 1;
    exponent * parts + part.clamp(0, parts - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The square root of two, as the specification writes it.
    const ROOT: f64 = 141_421.0 / 100_000.0;

    fn observed(max_size: u16, max_scale: i8, values: &[f64]) -> Exponential {
        let mut one = Exponential::new(Exponents { max_size, max_scale });
        for &value in values {
            one.observe(value);
        }
        one
    }

    /// The data model's table of scales and bases.
    #[test]
    fn a_scale_has_the_base_that_the_specification_tells() {
        for (scale, base) in [
            (10, 1.00068),
            (9, 1.00135),
            (8, 1.00271),
            (7, 1.00543),
            (6, 1.01089),
            (5, 1.02190),
            (4, 1.04427),
            (3, 1.09051),
            (2, 1.18921),
            (1, ROOT),
            (0, 2.0),
            (-1, 4.0),
            (-2, 16.0),
            (-3, 256.0),
            (-4, 65_536.0),
        ] {
            // The bucket 0 reaches from 1 to the base.
            let (below, above) = if scale > 0 { (base - 0.00001, base + 0.00001) } else { (base, base * 1.00001) };
            assert_eq!((index(1.00001, scale), index(below, scale)), (0, 0), "{scale}");
            assert_eq!((index(1.0, scale), index(above, scale)), (-1, 1), "{scale}");
        }
    }

    /// The data model's buckets at scale 3, from 1 to 2.
    #[test]
    fn the_buckets_of_scale_3_are_those_of_the_specification() {
        let bounds = [1.0, 1.09051, 1.18921, 1.29684, ROOT, 1.54221, 1.68179, 1.83401, 2.0];
        for (at, pair) in (0..).zip(bounds.windows(2)) {
            assert_eq!(index(pair[0] + 0.00001, 3), at);
            assert_eq!(index(pair[1] - 0.00001, 3), at);
        }
    }

    #[test]
    fn powers_of_two_and_the_ends_of_a_double_are_exact() {
        for scale in i32::from(Exponents::MIN_SCALE)..=i32::from(Exponents::MAX_SCALE) {
            for exponent in [-1022, -1021, -17, -1, 0, 1, 2, 16, 1023] {
                let value = 2.0_f64.powi(exponent);
                let shown = |scale: i32, index: i32| if scale > 0 { index << scale } else { index >> -scale };
                let below = if scale > 0 { shown(scale, exponent) - 1 } else { shown(scale, exponent - 1) };
                assert_eq!(index(value, scale), below, "2^{exponent} at {scale}");
                assert_eq!(index(value.next_up(), scale), shown(scale, exponent), "above 2^{exponent} at {scale}");
            }
            assert_eq!(index(f64::from_bits(1), scale), index(f64::MIN_POSITIVE, scale));
            assert!(index(f64::MAX, scale) > index(1.0, scale));
        }
    }

    #[test]
    fn one_value_has_the_largest_scale_and_more_have_the_largest_that_fits() {
        let one = observed(4, 20, &[3.0]);
        assert_eq!((one.scale, one.positive.counts.as_slice()), (20, [1].as_slice()));
        // 1, 2, 4 and 8 lie at the scale 0 in the buckets -1 to 2; 16 makes a fifth.
        let four = observed(4, 20, &[1.0, 2.0, 4.0, 8.0]);
        assert_eq!(four.positive(), ExponentialBuckets { offset: -1, counts: &[1, 1, 1, 1] });
        assert_eq!(four.scale, 0);
        let five = observed(4, 20, &[1.0, 2.0, 4.0, 8.0, 16.0]);
        assert_eq!(five.positive(), ExponentialBuckets { offset: -1, counts: &[1, 2, 2] });
        assert_eq!(five.scale, -1);
    }

    #[test]
    fn the_scale_begins_at_max_scale_and_only_falls() {
        for max_scale in [-10, -3, 0, 5, 20] {
            let one = observed(160, max_scale, &[1.0, 1.0]);
            assert_eq!(
                (one.scale, one.positive()),
                (max_scale.into(), ExponentialBuckets { offset: -1, counts: &[2] })
            );
        }
        // 4 and 5 lie in one bucket of scale 0, also where 160 would have room for more.
        assert_eq!(observed(160, 0, &[4.1, 5.0]).positive(), ExponentialBuckets { offset: 2, counts: &[2] });
        // The specification's bounds of the scale hold what is out of them.
        assert_eq!((observed(160, 21, &[]).scale, observed(160, -11, &[]).scale), (20, -10));
    }

    /// The data model's perfect subsetting: what was counted at one scale and lowered is what the lower scale would have counted.
    #[test]
    fn a_lowered_histogram_is_the_one_of_the_lower_scale() {
        let values = [0.1, 0.5, 0.75, 1.0, 1.4, 2.0, 3.0, 4.0];
        for by in 1..=6 {
            let mut fine = observed(1000, 3, &values);
            fine.positive.lower(by);
            let coarse = observed(1000, i8::try_from(3 - by).unwrap(), &values);
            assert_eq!(fine.positive, coarse.positive, "by {by}");
        }
    }

    #[test]
    fn lowering_merges_neighbours_also_below_the_index_zero() {
        let mut side = Side { offset: -6, counts: vec![3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] };
        side.lower(2);
        assert_eq!(side, Side { offset: -2, counts: vec![4, 14, 30, 10] });
    }

    #[test]
    fn values_below_zero_and_zero_have_buckets_of_their_own_under_one_scale() {
        let one = observed(2, 20, &[0.0, -0.0, -1.0, -3.0, 1.5]);
        assert_eq!(one.zero, 2);
        assert_eq!(one.negative(), ExponentialBuckets { offset: -1, counts: &[1, 1] });
        assert_eq!(one.positive(), ExponentialBuckets { offset: 0, counts: &[1] });
        assert_eq!(one.scale, -1);
    }

    #[test]
    fn two_buckets_hold_every_double() {
        let one = observed(2, 20, &[f64::MIN_POSITIVE, 1.0, f64::MAX, f64::from_bits(1), f64::MIN]);
        assert_eq!(one.positive(), ExponentialBuckets { offset: -1, counts: &[3, 1] });
        assert_eq!((one.scale, one.negative().counts), (-10, [1].as_slice()));
    }

    proptest! {
        #[test]
        fn a_bucket_lies_in_its_bucket_at_every_lower_scale(value in prop::num::f64::POSITIVE, scale in -9_i32..=20) {
            prop_assert_eq!(index(value, scale) >> 1, index(value, scale - 1));
        }

        #[test]
        fn the_order_of_values_does_not_matter_and_the_scale_is_the_largest_that_fits(
            mut values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..40),
            max_size in 2_u16..20,
        ) {
            let one = observed(max_size, 20, &values);
            let counted: u64 = one.positive.counts.iter().chain(&one.negative.counts).sum();
            prop_assert_eq!(counted + one.zero, values.len() as u64);
            prop_assert!(one.positive.counts.len().max(one.negative.counts.len()) <= usize::from(max_size));
            if one.scale < 20 {
                let width = |positive: bool| {
                    let of_side = || values.iter().filter(|value| **value != 0.0 && (**value > 0.0) == positive);
                    let indexes = || of_side().map(|value| index(value.abs(), one.scale + 1));
                    indexes().max().zip(indexes().min()).map_or(0, |(high, low)| high.abs_diff(low) + 1)
                };
                prop_assert!(width(true).max(width(false)) > u32::from(max_size));
            }
            values.reverse();
            prop_assert_eq!(one, observed(max_size, 20, &values));
        }
    }
}
