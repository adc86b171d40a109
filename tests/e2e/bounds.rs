//! Promise: `docs/bounds.md` tells every bound as the code has it, and what it names as counting is a metric that there is.

use std::{fs, path::Path};

use crate::promises::Tests;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What a row begins with, what it says, and where the code says the same.
const HELD: [(&str, &str, &str, &str); 64] = [
    ("looks at what passes", "4", "crates/extension-status-page/src/tap.rs", "MAX_TAPS: usize = 4"),
    ("batches that wait for one who looks", "32", "crates/plugin/src/tap.rs", "ROOM: usize = 32"),
    (
        "what is shown of one batch",
        "500 items, 256 KiB",
        "crates/extension-status-page/src/tap.rs",
        "MAX_ITEMS: usize = 500",
    ),
    (
        "what is shown of one batch",
        "500 items, 256 KiB",
        "crates/extension-status-page/src/tap.rs",
        "MAX_BYTES: usize = 256 * 1024",
    ),
    ("batches a second", "2, at most 20", "crates/extension-status-page/src/tap.rs", "MAX_RATE: f64 = 20.0"),
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
    ("memory that one zstd frame", "8 MiB", "crates/receiver-otlp/src/unpack.rs", "MAX_WINDOW_LOG: u32 = 23"),
    ("requests on one connection", "100", "crates/receiver-otlp/src/config.rs", "max_concurrent_streams: 100"),
    ("connections of one protocol", "256", "crates/receiver-otlp/src/config.rs", "max_connections: 256"),
    ("head of a request", "16 KiB, 64 KiB", "crates/plugin/src/net/server.rs", "MAX_HEADER_BYTES: u32 = 16 * 1024"),
    ("head of a request", "16 KiB, 64 KiB", "crates/plugin/src/net/server.rs", "MAX_HEAD_BYTES: usize = 64 * 1024"),
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
    (
        "what it asks within",
        "16 answers, of 2 s each",
        "crates/mcp/src/transport/answers.rs",
        "MAX_ANSWERS: usize = 16",
    ),
    ("one answer, read", "64 MiB", "crates/mcp/src/transport/reply.rs", "MAX_MEMORY: usize = 64 * 1024 * 1024"),
    ("redirects", "3", "crates/mcp/src/transport/exchange.rs", "MAX_REDIRECTS: usize = 3"),
    ("labels of one line", "64", "crates/processor/src/prometheus.rs", "MAX_LABELS: usize = 64"),
    ("texts of attributes", "20000", "crates/processor/src/extract/texts.rs", "MAX_TEXTS: usize = 10_000"),
    ("sources of which", "10000", "crates/processor/src/report.rs", "MAX_SOURCES: usize = 10_000"),
    (
        "series of one of the program's own",
        "2000, and 2 for each component at the start (20 where each tool of a target has its own)",
        "crates/telemetry/src/provider.rs",
        "FLOOR: usize = 2_000",
    ),
    (
        "an answer that its reader",
        "30 s",
        "crates/plugin/src/net/server.rs",
        "STALL_TIMEOUT: Duration = Duration::from_secs(30)",
    ),
    (
        "first bytes of a connection",
        "10 s",
        "crates/plugin/src/net/server.rs",
        "HEAD_TIMEOUT: Duration = Duration::from_secs(10)",
    ),
    (
        "open connections of a page",
        "1 s",
        "crates/plugin/src/net/server.rs",
        "PAGE_DRAIN: Duration = Duration::from_secs(1)",
    ),
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
    ("a token, a secret", "64 KiB, a regular file", "crates/plugin/src/files.rs", "MAX_SECRET: u64 = 64 * 1024"),
    ("a PEM file", "4 MiB, a regular file", "crates/plugin/src/files.rs", "MAX_PEM: u64 = 4 * 1024 * 1024"),
    ("connections of the metrics page", "16", "crates/telemetry/src/serve.rs", "MAX_CONNECTIONS: usize = 16"),
    ("connections of the status page", "64", "crates/extension-status-page/src/lib.rs", "MAX_CONNECTIONS: usize = 64"),
    ("connections of `health_check`", "256", "crates/plugin/src/net/server.rs", "(256, 100, PING)"),
    ("series that the status page", "2000", "crates/extension-status-page/src/config.rs", "max_series: 2_000"),
    ("the memory that they take", "16 MiB", "crates/extension-status-page/src/config.rs", "max_series_mib: 16"),
    ("polls of a target", "120", "crates/receiver-session-buddy/src/poller/status.rs", "POLLS: usize = 120"),
    ("the last hour of one", "121 values", "crates/extension-status-page/src/series/mod.rs", "STEPS: u32 = 120"),
    (
        "points that it looks at",
        "5000",
        "crates/extension-status-page/src/series/mod.rs",
        "POINTS_PER_SECOND: f64 = 5_000.0",
    ),
];

/// What a row begins with, and the test in which its bound bites.
const BITES: [(&str, &str); 75] = [
    ("looks at what passes", "only_so_many_look_and_who_looks_away_makes_room"),
    ("batches that wait for one who looks", "what_there_is_no_room_for_is_counted_and_nobody_waits"),
    ("what is shown of one batch", "a_line_is_no_longer_than_it_may_be"),
    ("batches a second", "what_passes_is_shown_so_often_as_was_asked_and_the_rest_is_counted"),
    ("sending queue of an exporter", "a_full_queue_refuses_and_says_that_trying_again_may_help"),
    ("one batch in it", "a_request_that_is_too_large_is_not_asked_to_come_again"),
    ("deliveries at once", "consumers_deliver_at_the_same_time"),
    ("one attempt", "each_attempt_has_its_own_timeout"),
    ("trying one batch", "a_batch_is_given_up_when_the_next_attempt_would_come_too_late"),
    ("a wait that a backend asks for", "a_wait_that_the_far_end_asked_for_is_kept"),
    ("queue on disk", "at_max_size_it_refuses_until_something_is_gone_and_the_file_keeps_to_it"),
    ("memory of what is in flight", "what_is_held_anywhere_counts_until_its_last_part_is_gone"),
    ("waiting for a second arrow", "a_dead_exporter_that_makes_senders_wait_delays_no_other"),
    ("cycles of a poller", "observations_that_are_not_taken_are_counted_as_lost"),
    ("reasons that an exporter's books", "reasons_are_bounded"),
    ("stored records of one", "at_max_size_it_refuses_until_something_is_gone_and_the_file_keeps_to_it"),
    ("room of the disk", "on_a_full_disk_it_refuses_and_recovers_by_itself"),
    ("a stored queue's batches", "what_waits_is_in_the_storage_and_not_in_memory"),
    ("damaged stores", "of_stores_that_could_not_be_opened_a_few_are_kept"),
    ("requests of a receiver at once", "what_is_beyond_the_memory_of_all_requests_shall_come_again"),
    ("one request, packed", "each_request_that_is_refused_is_counted_under_its_reason"),
    ("arrival of one request", "each_request_that_is_refused_is_counted_under_its_reason"),
    ("gzip members or zstd frames", "a_body_of_very_many_members_that_hold_nothing_is_refused"),
    ("memory that one zstd frame", "a_zstd_frame_that_asks_for_too_much_memory_is_refused"),
    ("depth of a Protobuf message", "what_nests_too_deep_is_refused"),
    ("connections of one protocol", "connections_beyond_their_bound_wait"),
    ("head of a request", "a_head_beyond_its_bound_is_refused"),
    ("an answer that its reader", "who_reads_nothing_is_sent_away_and_holds_up_no_stop"),
    ("first bytes of a connection", "who_connects_and_says_nothing_is_sent_away_and_holds_up_no_stop"),
    ("open connections of a page", "who_reads_nothing_is_sent_away_and_holds_up_no_stop"),
    ("one answer, read", "what_would_take_far_more_memory_than_it_has_bytes_is_not_read"),
    ("one answer, unpacked", "a_body_that_never_ends_is_cut_at_the_largest_reply"),
    ("one call, and its tries", "retries_end_with_their_number"),
    ("one cycle", "a_cycle_that_overruns_is_cut_at_the_next_tick_which_is_on_time"),
    ("calls at once", "of_one_session_no_more_than_256_calls_are_out_at_once"),
    ("list of tools", "a_list_without_end_is_cut"),
    ("what it asks within", "answers_are_bounded_and_none_that_fails_fails_the_call"),
    ("redirects", "a_redirect_on_the_same_origin_is_followed_and_one_to_another_never_sees_the_headers"),
    ("a wait that it asks for", "no_rest_is_longer_than_an_hour"),
    ("series of one metric", "what_finds_no_room_is_counted"),
    ("keys of counted items", "the_longest_unseen_are_forgotten_first_and_never_those_of_the_latest_answers"),
    ("items of one answer", "a_hundred_thousand_members_and_items_are_cut_at_the_bounds_and_told"),
    ("text of one attribute", "long_attributes_are_cut_at_a_character"),
    ("texts of attributes", "what_is_seen_again_lives_on_and_what_is_not_is_forgotten"),
    ("life of a series", "what_got_no_more_values_is_forgotten_and_counted"),
    ("labels of one line", "pages_of_prometheus_are_bounded"),
    ("sources of which", "of_very_many_sources_the_one_silent_longest_is_forgotten"),
    ("series of one of the program's own", "many_components_have_a_series_each_and_what_nobody_expected_is_added_up"),
    ("one field of a log line", "a_long_field_is_cut"),
    ("message of a status", "what_is_kept_is_bounded_and_foreign_text_harmless"),
    ("text of a server", "long_text_is_cut_at_a_character"),
    ("lines about one kind of loss", "losses_are_told_by_their_exact_number_at_most_once_a_minute"),
    ("events that are remembered", "what_is_kept_is_bounded_and_foreign_text_harmless"),
    ("what is gathered before it is sent", "what_waits_is_sent_together_once_it_is_enough"),
    ("reloads that wait for one", "reloads_that_are_asked_for_during_one_are_one"),
    ("body of a backend's answer", "an_answer_beyond_its_bound_is_cut_and_taken_for_what_its_status_says"),
    ("connections of the metrics page", "a_connection_that_says_nothing_is_closed_and_too_many_wait"),
    ("connections of the status page", "a_connection_that_says_nothing_is_closed_and_too_many_wait"),
    (
        "connections of `health_check`",
        "a_connection_beyond_the_bound_is_counted_when_it_comes_is_served_later_and_holds_up_no_stop",
    ),
    ("series that the status page", "what_is_kept_is_bounded_in_number_and_in_time"),
    ("the memory that they take", "what_is_kept_is_bounded_in_bytes_which_is_told_and_what_is_forgotten_makes_room"),
    ("polls of a target", "how_long_each_of_the_last_cycles_took_is_told_whoever_looks"),
    ("the last hour of one", "what_is_kept_is_bounded_in_number_and_in_time"),
    ("points that it looks at", "the_work_of_a_second_is_bounded"),
    ("actions of one component", "one_action_at_a_time_and_each_is_told"),
    ("one file of configuration", "a_file_that_is_too_large_is_refused_unread"),
    ("its depth", "what_nests_too_deep_is_refused"),
    ("a token, a secret", "a_secret_that_never_ends_is_refused_at_once"),
    ("a PEM file", "what_is_no_small_file_is_refused_at_once_and_fills_no_memory"),
    ("one receiver's or extension's start", "a_component_that_never_gets_ready_fails_the_start"),
    ("the shutdown", "at_the_deadline_everything_left_is_dropped_and_counted"),
    ("records in quarantine", "flipped_bytes_cost_what_they_hit_and_nothing_else"),
    ("what an instance says before a reload", "of_what_is_said_before_it_is_heard_so_much_is_remembered"),
    ("errors of a reload on", "of_very_many_errors_the_first_are_kept_to_be_shown"),
    ("books of what reloads have removed", "what_comes_and_goes_under_one_name_has_one_entry_in_the_books"),
];

/// Rows whose bound is a library's, set by us: that it holds is the library's to test.
const OF_LIBRARIES: [(&str, &str); 5] = [
    ("pages of the store", "redb's cache"),
    ("calls that wait for the store", "tokio's bounded channel"),
    ("requests on one connection at once", "h2's streams"),
    ("idle connection (HTTP/1)", "hyper's timer"),
    ("events that a reader may lag", "tokio's broadcast channel"),
];

#[test]
fn for_every_row_there_is_a_test_in_which_its_bound_bites() {
    let (page, tests) = (read("docs/bounds.md"), Tests::all());
    for row in rows(&page) {
        let own = BITES.iter().find(|(what, _)| row[0].starts_with(what));
        let library = OF_LIBRARIES.iter().any(|(what, _)| row[0].starts_with(what));
        assert!(own.is_some() != library, "one thing holds it: {row:?}");
        if let Some((_, test)) = own {
            assert!(tests.has(&[], test), "`{test}` is no test: {row:?}");
        }
    }
}

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
