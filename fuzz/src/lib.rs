//! Fuzz targets for everything that minicol reads from outside. Each is a function of bytes that must neither panic, nor hang, nor grow. `cargo test`
//! runs each over its seeds, its regressions and a bounded number of mutated inputs ([`mutate`]); `fuzz/run` runs them under libFuzzer, guided by
//! coverage. Start from [`TARGETS`].

// A finding is a panic.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc)]

mod config;
mod mapping;
mod mcp;
pub mod mutate;
mod otlp;
mod queue;
mod seeds;

/// One kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its folder of regressions.
    pub name: &'static str,
    /// Takes any bytes. It panics where something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with: what servers were recorded to say, and what users write.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that mean something in such an input.
    pub words: &'static [&'static str],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "mcp_http", run: mcp::http, seeds: seeds::http_replies, words: mcp::WORDS },
    Target { name: "mcp_sse", run: mcp::sse, seeds: seeds::event_streams, words: mcp::WORDS },
    Target { name: "mcp_json_rpc", run: mcp::json_rpc, seeds: seeds::json_rpc, words: mcp::WORDS },
    Target { name: "mcp_tool_result", run: mcp::tool_result, seeds: seeds::tool_results, words: mcp::WORDS },
    Target { name: "mapping", run: mapping::document, seeds: seeds::documents, words: mapping::WORDS },
    Target { name: "jsonpath", run: mapping::rule, seeds: seeds::rules, words: mapping::RULE_WORDS },
    Target { name: "prometheus", run: mapping::prometheus, seeds: seeds::prometheus, words: mapping::PROMETHEUS_WORDS },
    Target { name: "config", run: config::file, seeds: seeds::pipelines, words: config::WORDS },
    Target {
        name: "substitution",
        run: config::substitution,
        seeds: seeds::references,
        words: config::REFERENCE_WORDS,
    },
    Target { name: "otlp_proto", run: otlp::proto, seeds: seeds::otlp_proto, words: &[] },
    Target { name: "otlp_json", run: otlp::json, seeds: seeds::otlp_json, words: otlp::WORDS },
    Target { name: "otlp_receiver", run: otlp::receiver, seeds: seeds::otlp_requests, words: otlp::WORDS },
    Target { name: "queue_record", run: queue::record, seeds: seeds::queue_records, words: &[] },
    Target { name: "queue_store", run: queue::store, seeds: seeds::queue_histories, words: &[] },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Its clock stands still: whoever waits is woken at once.
fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// Runs a future to its end on such a clock.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

#[cfg(test)]
mod tests;
