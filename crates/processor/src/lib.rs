//! Processor `mapping`: rules, written as data, turn the JSON documents that a source answers with into OTLP metrics. Start from
//! [`MappingFactory`], which the program lists; [`MappingConfig`] is the rule language. A batch of observations goes through three steps:
//! `compile` (once) makes rules ready to run, `extract` makes samples of each answer, `series` makes points of the samples.

mod compile;
mod config;
mod extract;
mod mapping;
mod memory_limiter;
mod preset;
mod prometheus;
mod report;
mod sample;
mod series;

pub use config::{
    AttributeConfig, Literal, MappingConfig, MetricConfig, RuleConfig, StartConfig, StartList, ValueConfig,
};
pub use mapping::{MappingFactory, SCOPE_NAME};
pub use memory_limiter::{MemoryLimiterConfig, MemoryLimiterFactory};
