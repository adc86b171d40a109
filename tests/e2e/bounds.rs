//! Promise: `docs/bounds.md` tells every bound as the code has it, and what it names as counting is a metric that there is.

use std::{fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What a row begins with, what it says, and where the code says the same.
const HELD: [(&str, &str, &str, &str); 44] = [
    ("sending queue of an exporter", "1000 requests", "crates/delivery/src/config.rs", "queue_size: 1000"),
    ("deliveries at once", "10", "crates/delivery/src/config.rs", "num_consumers: 10"),
    ("one attempt", "5s", "crates/delivery/src/config.rs", "timeout: GoDuration::from_secs(5)"),
    ("trying one batch", "5m", "crates/delivery/src/config.rs", "max_elapsed_time: GoDuration::from_secs(300)"),
    (
        "a wait that a backend asks for",
        "1 day",
        "crates/delivery/src/backoff.rs",
        "MAX_ASKED: Duration = Duration::from_secs(24 * 60 * 60)",
    ),
    (
        "waiting for a second arrow",
        "1s, once",
        "crates/host/src/fork.rs",
        "PATIENCE: Duration = Duration::from_secs(1)",
    ),
    ("reasons that an exporter's books", "32", "crates/delivery/src/ledger.rs", "MAX_REASONS: usize = 32"),
    ("stored records of one", "1024 MiB", "crates/extension-file-storage/src/config.rs", "max_size_mib: 1024"),
    ("room of the disk", "16 MiB", "crates/extension-file-storage/src/group.rs", "HEADROOM: u64 = 16 * MIB"),
    ("a stored queue's batches", "4 MiB", "crates/delivery/src/stored.rs", "READY_BYTES: usize = 4 * 1024 * 1024"),
    (
        "pages of the store",
        "32 MiB",
        "crates/extension-file-storage/src/store.rs",
        "CACHE_BYTES: usize = 32 * 1024 * 1024",
    ),
    ("calls that wait for the store", "1024", "crates/extension-file-storage/src/queue.rs", "COMMANDS: usize = 1024"),
    ("damaged stores", "3", "crates/extension-file-storage/src/place.rs", "KEEP_BROKEN: usize = 3"),
    (
        "records in quarantine",
        "64 MiB",
        "crates/extension-file-storage/src/place.rs",
        "KEEP_QUARANTINED: u64 = 64 * 1024 * 1024",
    ),
    ("requests of a receiver at once", "256 MiB", "crates/receiver-otlp/src/config.rs", "max_in_flight_mib: 256"),
    ("one request, packed", "20 MiB", "crates/receiver-otlp/src/config.rs", "max_recv_msg_size_mib: 20"),
    ("one request, packed", "20 MiB", "crates/receiver-otlp/src/config.rs", "max_request_body_size: 20 * MIB"),
    ("arrival of one request", "30s", "crates/receiver-otlp/src/config.rs", "read_timeout: GoDuration::from_secs(30)"),
    ("memory that one zstd frame", "8 MiB", "crates/receiver-otlp/src/body.rs", "MAX_WINDOW_LOG: u32 = 23"),
    ("requests on one connection", "100", "crates/receiver-otlp/src/config.rs", "max_concurrent_streams: 100"),
    ("connections of one protocol", "256", "crates/receiver-otlp/src/config.rs", "max_connections: 256"),
    ("head of a request", "16 KiB", "crates/plugin/src/net/server.rs", "MAX_HEADER_BYTES: u32 = 16 * 1024"),
    ("idle connection", "100s", "crates/receiver-otlp/src/receiver.rs", "IDLE: Duration = Duration::from_secs(100)"),
    (
        "one answer, unpacked",
        "4194304 (4 MiB)",
        "crates/receiver-session-buddy/src/config/mod.rs",
        "max_response_bytes: 4 * 1024 * 1024",
    ),
    ("calls at once", "256", "crates/mcp/src/session.rs", "MAX_CONCURRENT: usize = 256"),
    ("list of tools", "50, 10000, 8 MiB", "crates/mcp/src/catalog.rs", "MAX_PAGES: usize = 50"),
    ("what is gathered", "8192, where `batch` is written", "crates/delivery/src/batch.rs", "min_size: 8192"),
    ("list of tools", "50, 10000, 8 MiB", "crates/mcp/src/catalog.rs", "MAX_TOOLS: usize = 10_000"),
    ("list of tools", "50, 10000, 8 MiB", "crates/mcp/src/catalog.rs", "MAX_BYTES: usize = 8 * 1024 * 1024"),
    ("redirects", "3", "crates/mcp/src/transport/exchange.rs", "MAX_REDIRECTS: usize = 3"),
    ("labels of one line", "64", "crates/processor/src/prometheus.rs", "MAX_LABELS: usize = 64"),
    ("texts of attributes", "20000", "crates/processor/src/extract/texts.rs", "MAX_TEXTS: usize = 10_000"),
    ("sources of which", "10000", "crates/processor/src/report.rs", "MAX_SOURCES: usize = 10_000"),
    ("series of one of the program's own", "20000", "crates/telemetry/src/provider.rs", "MAX_SERIES: usize = 20_000"),
    ("one field of a log line", "2000 characters", "crates/telemetry/src/logs.rs", "FIELD_CHARS: usize = 2_000"),
    ("message of a status", "1000 characters", "crates/host/src/events.rs", "MESSAGE_CHARS: usize = 1_000"),
    ("text of a server", "200 characters", "crates/plugin/src/text.rs", "MAX_CHARS: usize = 200"),
    (
        "lines about one kind of loss",
        "one a minute",
        "crates/delivery/src/health.rs",
        "TELL_AGAIN: Duration = Duration::from_secs(60)",
    ),
    ("what an instance says before", "64 events", "crates/host/src/voice.rs", "SAID: usize = 64"),
    ("errors of a reload", "20", "crates/host/src/reload/mod.rs", "TOLD: usize = 20"),
    ("events that are remembered", "200", "crates/host/src/events.rs", "RECENT: usize = 200"),
    ("events that a reader may lag", "256", "crates/host/src/events.rs", "LIVE: usize = 256"),
    ("body of a backend's answer", "64 KiB", "crates/exporter-otlp/src/lib.rs", "MAX_ANSWER_BYTES: usize = 64 * 1024"),
    ("connections of the metrics page", "16", "crates/telemetry/src/serve.rs", "MAX_CONNECTIONS: usize = 16"),
];

fn read(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of every row of the table of bounds: what, key, bound, what happens, counted.
fn rows(page: &str) -> Vec<Vec<&str>> {
    fn cells(line: &str) -> Vec<&str> {
        line.trim_matches('|').split('|').map(str::trim).collect()
    }
    // What follows is measured, not bounded.
    let page = page.split("\n## Memory").next().unwrap_or_default();
    let table = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("| --- |"));
    table.map(cells).filter(|cells| cells[0] != "what").collect()
}

#[test]
fn the_table_says_what_the_code_does() {
    let page = read("docs/bounds.md");
    let rows = rows(&page);
    assert!(rows.len() >= 40, "{}", rows.len());
    for (what, bound, file, code) in HELD {
        let row = rows.iter().find(|row| row[0].starts_with(what)).unwrap_or_else(|| panic!("no row for: {what}"));
        assert_eq!(row[2], bound, "{what}");
        assert!(read(file).contains(code), "{file} does not say `{code}`: does docs/bounds.md still hold?");
    }
}

#[test]
fn every_row_is_whole_and_what_counts_is_a_metric_that_is_told() {
    let (page, told) = (read("docs/bounds.md"), read("docs/own-telemetry.md"));
    let mut counted = 0;
    for row in rows(&page) {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().enumerate().all(|(at, cell)| at == 1 || !cell.is_empty()), "{row:?}");
        let code = row[4].split('`').skip(1).step_by(2);
        let metrics = code
            .map(|name| name.split('{').next().unwrap())
            .filter(|name| name.contains('_') && name.len() > 12 && !name.contains('='));
        for metric in metrics {
            counted += 1;
            assert!(
                told.contains(&format!("`{metric}`")),
                "docs/own-telemetry.md does not tell of `{metric}`: {row:?}"
            );
        }
    }
    assert!(counted >= 30, "{counted}");
}
