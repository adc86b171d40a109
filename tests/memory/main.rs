//! What minicol promises of memory and of slow backends, measured on the real program over real sockets:
//!
//!     cargo run --release -p minicol-tests --bin memory -- stopped-sink --seconds 300
//!     cargo run --release -p minicol-tests --bin memory -- dead-exporter
//!
//! Each fails where its promise does not hold. `MINICOL` names another program than the one that is built from this checkout.
// A tool of the developers: it prints, and panics with a message.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

mod dead_exporter;
mod load;
mod program;
mod sink;
mod stopped_sink;

use std::time::Duration;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().expect("a whole number"))
    };
    match arguments.first().map(String::as_str) {
        Some("stopped-sink") => {
            stopped_sink::run(Duration::from_secs(number("--seconds", 30)), number("--limit-mib", 256)).await;
        }
        Some("dead-exporter") => dead_exporter::run(number("--rounds", 5), number("--requests", 200)).await,
        _ => println!(
            "memory stopped-sink [--seconds 30] [--limit-mib 256]\nmemory dead-exporter [--rounds 5] [--requests 200]"
        ),
    }
}
