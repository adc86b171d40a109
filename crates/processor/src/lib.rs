//! Processor `mapping`: rules, written as data, turn the JSON documents that a source answers with into OTLP metrics.

// The parts are put together in this order: the rules make samples, the series make points.
#[allow(dead_code)]
mod sample;
