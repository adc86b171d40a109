//! What can be written, and what is told of what cannot.

use minicol_plugin::testing::{check, problems};
use minicol_receiver_otlp::ENTRY;

#[test]
fn its_configuration_is_read_printed_and_refused_as_users_expect() {
    check::configuration(&ENTRY);
}

#[tokio::test(start_paused = true)]
async fn it_starts_and_stops_when_told() {
    check::life(&ENTRY, "").await;
}

#[test]
fn every_bound_is_checked_where_it_is_written() {
    for (yaml, error) in [
        ("protocols: {}", "protocols: names no protocol"),
        (
            "protocols: {grpc: {endpoint: localhost}}",
            "protocols::grpc::endpoint: must be host:port, but is `localhost`",
        ),
        ("protocols: {http: {endpoint: ''}}", "protocols::http::endpoint: must be host:port, but is ``"),
        (
            "protocols: {grpc: {max_recv_msg_size_mib: 0}}",
            "protocols::grpc::max_recv_msg_size_mib: must be between 1 and 1024, but is 0",
        ),
        (
            "protocols: {grpc: {max_concurrent_streams: 0}}",
            "protocols::grpc::max_concurrent_streams: must be between 1 and 65536, but is 0",
        ),
        (
            "protocols: {http: {max_connections: 0}}",
            "protocols::http::max_connections: must be between 1 and 65536, but is 0",
        ),
        ("protocols: {http: {read_timeout: 1ms}}", "protocols::http::read_timeout: must be at least 100ms"),
        ("max_in_flight_mib: 0", "max_in_flight_mib: must be between 1 and 65536, but is 0"),
        (
            "{max_in_flight_mib: 10, protocols: {grpc: }}",
            "protocols::grpc::max_recv_msg_size_mib: is more than all requests together may have",
        ),
        (
            "protocols: {grpc: {endpoint: 'localhost:1'}, http: {endpoint: 'localhost:1'}}",
            "protocols: grpc and http both want localhost:1",
        ),
        ("protocols: {grpc: {tls: {}}}", "protocols::grpc::tls::cert_file: is required where tls is set"),
        (
            "protocols: {grpc: {tls: {cert_file: /none.pem, key_file: /none.pem}}}",
            "protocols::grpc::tls::cert_file: cert_file /none.pem cannot be used: No such file or directory (os error 2)",
        ),
    ] {
        let found = problems(&ENTRY, yaml);
        assert!(found.iter().any(|one| one == error), "{yaml}: {found:?}");
    }
}

#[test]
fn the_examples_of_the_readme_hold() {
    let readme = include_str!("../../README.md");
    let examples: Vec<&str> = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let tree: serde_yaml::Value = serde_yaml::from_str(example).unwrap();
        for (id, body) in tree["receivers"].as_mapping().unwrap() {
            let text = serde_yaml::to_string(body).unwrap();
            // The files of certificates are the reader's.
            let found: Vec<_> =
                problems(&ENTRY, &text).into_iter().filter(|one| !one.contains("/etc/minicol")).collect();
            assert!(found.is_empty(), "{id:?}: {found:?}");
        }
    }
}

#[test]
fn the_readme_names_every_option() {
    let readme = include_str!("../../README.md");
    let schema = serde_json::to_value((ENTRY.schema)()).unwrap();
    let mut options = Vec::new();
    for shape in schema["$defs"].as_object().unwrap().values().chain([&schema]) {
        options.extend(shape["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    assert!(options.len() > 10, "{options:?}");
    for option in options {
        assert!(readme.contains(&format!("{option}`")), "the README does not tell of `{option}`");
    }
}
