//! How much memory a message takes once it is decoded, seen before it is: in protobuf two bytes can ask for a structure of two hundred.

use std::mem::size_of;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, SummaryDataPoint, summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span,
        span::{Event, Link},
    },
};
use prost::encoding::decode_varint;

/// A message: what one takes by itself, and which of its fields are messages or lists of numbers.
pub(crate) struct Shape {
    size: usize,
    fields: &'static [(u64, Field)],
}

/// A field that takes more memory than bytes.
enum Field {
    Message(&'static Shape),
    /// Varints, packed: a byte becomes a number of eight.
    Numbers,
    /// Texts: an empty one takes memory, too.
    Texts,
}

use Field::{Message, Numbers, Texts};

/// A message that stands inside another (a `oneof`), so that it takes nothing more.
const INSIDE: usize = 0;
/// Nesting beyond this is an error of the decoder.
const MAX_DEPTH: usize = 100;
/// More than any structure takes that an object of JSON becomes.
const PER_OBJECT: usize = 256;
/// More than any value takes, on the way or in the end.
const PER_ITEM: usize = 96;

const fn shape<T>(fields: &'static [(u64, Field)]) -> Shape {
    Shape { size: size_of::<T>(), fields }
}

const fn inside(fields: &'static [(u64, Field)]) -> Shape {
    Shape { size: INSIDE, fields }
}

static ANY: Shape = shape::<AnyValue>(&[(5, Message(&ARRAY)), (6, Message(&LIST))]);
static ARRAY: Shape = inside(&[(1, Message(&ANY))]);
static LIST: Shape = inside(&[(1, Message(&KEY_VALUE))]);
static KEY_VALUE: Shape = shape::<KeyValue>(&[(2, Message(&ANY_INSIDE))]);
static ANY_INSIDE: Shape = inside(&[(5, Message(&ARRAY)), (6, Message(&LIST))]);
static RESOURCE: Shape = shape::<Resource>(&[(1, Message(&KEY_VALUE)), (3, Message(&ENTITY))]);
static ENTITY: Shape = shape::<EntityRef>(&[(3, Texts), (4, Texts)]);
static SCOPE: Shape = shape::<InstrumentationScope>(&[(3, Message(&KEY_VALUE))]);

pub(crate) static METRICS: Shape = inside(&[(1, Message(&RESOURCE_METRICS))]);
static RESOURCE_METRICS: Shape = shape::<ResourceMetrics>(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS))]);
static SCOPE_METRICS: Shape = shape::<ScopeMetrics>(&[(1, Message(&SCOPE)), (2, Message(&METRIC))]);
static METRIC: Shape = shape::<Metric>(&[
    (5, Message(&NUMBERS)),
    (7, Message(&NUMBERS)),
    (9, Message(&HISTOGRAMS)),
    (10, Message(&EXPONENTIALS)),
    (11, Message(&SUMMARIES)),
    (12, Message(&KEY_VALUE)),
]);
static NUMBERS: Shape = inside(&[(1, Message(&NUMBER))]);
static NUMBER: Shape = shape::<NumberDataPoint>(&[(5, Message(&EXEMPLAR)), (7, Message(&KEY_VALUE))]);
static HISTOGRAMS: Shape = inside(&[(1, Message(&HISTOGRAM))]);
static HISTOGRAM: Shape = shape::<HistogramDataPoint>(&[(8, Message(&EXEMPLAR)), (9, Message(&KEY_VALUE))]);
static EXPONENTIALS: Shape = inside(&[(1, Message(&EXPONENTIAL))]);
static EXPONENTIAL: Shape = shape::<ExponentialHistogramDataPoint>(&[
    (1, Message(&KEY_VALUE)),
    (8, Message(&BUCKETS)),
    (9, Message(&BUCKETS)),
    (11, Message(&EXEMPLAR)),
]);
static BUCKETS: Shape = inside(&[(2, Numbers)]);
static SUMMARIES: Shape = inside(&[(1, Message(&SUMMARY))]);
static SUMMARY: Shape = shape::<SummaryDataPoint>(&[(6, Message(&QUANTILE)), (7, Message(&KEY_VALUE))]);
static QUANTILE: Shape = shape::<ValueAtQuantile>(&[]);
static EXEMPLAR: Shape = shape::<Exemplar>(&[(7, Message(&KEY_VALUE))]);

pub(crate) static LOGS: Shape = inside(&[(1, Message(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Shape = shape::<ResourceLogs>(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_LOGS))]);
static SCOPE_LOGS: Shape = shape::<ScopeLogs>(&[(1, Message(&SCOPE)), (2, Message(&LOG))]);
static LOG: Shape = shape::<LogRecord>(&[(5, Message(&ANY)), (6, Message(&KEY_VALUE))]);

pub(crate) static TRACES: Shape = inside(&[(1, Message(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: Shape = shape::<ResourceSpans>(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_SPANS))]);
static SCOPE_SPANS: Shape = shape::<ScopeSpans>(&[(1, Message(&SCOPE)), (2, Message(&SPAN))]);
static SPAN: Shape = shape::<Span>(&[(9, Message(&KEY_VALUE)), (11, Message(&EVENT)), (13, Message(&LINK))]);
static EVENT: Shape = shape::<Event>(&[(3, Message(&KEY_VALUE))]);
static LINK: Shape = shape::<Link>(&[(4, Message(&KEY_VALUE))]);

impl Shape {
    /// About how many bytes of memory `message` takes once it is decoded. What is wrong with it ends the count: the decoder ends there as well.
    pub(crate) fn weigh(&self, message: &[u8]) -> usize {
        let mut total = 0;
        self.walk(message, 0, &mut total);
        total
    }

    fn walk(&self, mut rest: &[u8], depth: usize, total: &mut usize) -> Option<()> {
        while !rest.is_empty() && depth < MAX_DEPTH {
            let key = decode_varint(&mut rest).ok()?;
            match key & 7 {
                0 => {
                    decode_varint(&mut rest).ok()?;
                    // A list of numbers that is not packed.
                    if self.fields.iter().any(|(number, field)| *number == key >> 3 && matches!(field, Numbers)) {
                        *total += size_of::<u64>();
                    }
                }
                1 => rest = rest.get(8..)?,
                5 => rest = rest.get(4..)?,
                2 => {
                    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                    let (inner, after) = rest.split_at_checked(length)?;
                    rest = after;
                    match self.fields.iter().find(|(number, _)| *number == key >> 3) {
                        None => *total += length,
                        Some((_, Numbers)) => *total += length * size_of::<u64>(),
                        Some((_, Texts)) => *total += length + size_of::<String>(),
                        Some((_, Message(shape))) => {
                            *total += shape.size;
                            shape.walk(inner, depth + 1, total)?;
                        }
                    }
                }
                // The decoder passes over a group and goes on behind it.
                3 => rest = behind_group(rest, key >> 3, depth + 1)?,
                _ => return None,
            }
        }
        Some(())
    }
}

/// What follows the end of a group that has begun.
fn behind_group(mut rest: &[u8], number: u64, depth: usize) -> Option<&[u8]> {
    if depth >= MAX_DEPTH {
        return None;
    }
    loop {
        let key = decode_varint(&mut rest).ok()?;
        match key & 7 {
            0 => drop(decode_varint(&mut rest).ok()?),
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                rest = rest.get(length..)?;
            }
            3 => rest = behind_group(rest, key >> 3, depth + 1)?,
            4 => return (key >> 3 == number).then_some(rest),
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
}

/// About how many bytes of memory a document in JSON takes once it is read: every object may become a structure, and every item a value.
pub fn weigh_json(text: &[u8]) -> usize {
    let weigh = |byte: &u8| match byte {
        b'{' => PER_OBJECT,
        b'[' | b',' => PER_ITEM,
        _ => 1,
    };
    text.iter().map(weigh).sum()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_kind_of_structure_is_seen_where_it_stands() {
        // Each is a chain of fields from the root down, with an empty message at its end.
        let at = |fields: &[u8]| {
            fields.iter().rev().fold(Vec::new(), |inner, field| {
                let length = u8::try_from(inner.len()).unwrap();
                [&[(field << 3) | 2, length][..], &inner].concat()
            })
        };
        for (shape, fields, size) in [
            (&METRICS, &[1][..], size_of::<ResourceMetrics>()),
            (&METRICS, &[1, 2, 2], size_of::<Metric>()),
            (&METRICS, &[1, 2, 2, 5, 1], size_of::<NumberDataPoint>()),
            (&METRICS, &[1, 2, 2, 7, 1, 7], size_of::<KeyValue>()),
            (&METRICS, &[1, 2, 2, 10, 1], size_of::<ExponentialHistogramDataPoint>()),
            (&LOGS, &[1, 2, 2, 5], size_of::<LogRecord>()),
            (&LOGS, &[1, 2, 2, 6, 2, 5, 1], size_of::<AnyValue>()),
            (&TRACES, &[1, 2, 2, 13], size_of::<Link>()),
        ] {
            let more = shape.weigh(&at(fields)) - shape.weigh(&at(&fields[..fields.len() - 1]));
            assert!(more == size || fields.len() == 4, "{fields:?}: {more}, not {size}");
            assert!(shape.weigh(&at(fields)) >= size, "{fields:?}");
        }
        // The decoder goes on behind a group, so the count does: empty ones, nested ones, one that never ends.
        let many = [0x0a, 0].repeat(1000);
        for (group, seen) in
            [(&[0x7b, 0x7c][..], true), (&[0x7b, 0x08, 1, 0x83, 1, 0x84, 1, 0x7c], true), (&[0x7b, 0x08], false)]
        {
            let message = [group, &many].concat();
            assert_eq!(METRICS.weigh(&message) >= 1000 * size_of::<ResourceMetrics>(), seen, "{group:?}");
            assert_eq!(ExportMetricsServiceRequest::decode(&message[..]).is_ok(), seen, "{group:?}");
        }
        // Numbers that are not packed take as much memory as those that are.
        assert_eq!(BUCKETS.weigh(&[0x10, 0].repeat(100)), 800);
        assert_eq!(METRICS.weigh(&[0x0a, 5]), 0, "cut off");
        assert_eq!(METRICS.weigh(&[0xff; 20]), 0, "no varint");
    }
}
