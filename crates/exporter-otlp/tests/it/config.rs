//! What a user can write: the examples, the examples of the README, and mistakes.

use minicol_exporter_otlp::{OTLP, OTLP_HTTP};
use minicol_plugin::{Entry, Exporter, OtlpProtocol, config::Problem};

fn decode(entry: &Entry<dyn Exporter>, yaml: &str) -> Result<Vec<Problem>, String> {
    let body: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap();
    let config =
        (entry.decode)(&mut <dyn erased_serde::Deserializer>::erase(body)).map_err(|error| error.to_string())?;
    assert!(!config.to_json().to_string().contains("hunter2"), "secrets are not printed");
    Ok(config.problems())
}

#[test]
fn the_examples_hold() {
    for entry in [OTLP, OTLP_HTTP] {
        assert_eq!(decode(&entry, entry.example), Ok(Vec::new()), "{}", entry.component_type);
        assert_eq!(entry.flows.len(), 3);
        assert!(entry.queued);
    }
    assert!(OTLP.is_called("otlp_grpc") && OTLP.otlp_protocol == Some(OtlpProtocol::Grpc));
    assert!(OTLP_HTTP.is_called("otlp_http") && OTLP_HTTP.otlp_protocol == Some(OtlpProtocol::HttpProtobuf));
}

#[test]
fn the_examples_of_the_readme_hold() {
    let readme = include_str!("../../README.md");
    let mut seen = 0;
    for block in readme.split("```yaml\n").skip(1) {
        let yaml: serde_yaml::Value = serde_yaml::from_str(block.split("```").next().unwrap()).unwrap();
        for (id, body) in yaml["exporters"].as_mapping().unwrap() {
            let id = id.as_str().unwrap();
            let entry = [OTLP, OTLP_HTTP].into_iter().find(|one| one.is_called(id.split('/').next().unwrap())).unwrap();
            let mut body = body.clone();
            for of_the_host in ["timeout", "retry_on_failure", "sending_queue"] {
                body.as_mapping_mut().unwrap().remove(of_the_host);
            }
            let problems = decode(&entry, &serde_yaml::to_string(&body).unwrap()).unwrap();
            // The file of an authority need not be here.
            let problems: Vec<_> = problems.into_iter().filter(|one| !one.message.starts_with("ca_file")).collect();
            assert_eq!(problems, Vec::new(), "{id}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    for (entry, yaml, said) in [
        (OTLP, "compression: snappy", "unknown variant `snappy`, expected one of `gzip`, `zstd`, `none`"),
        (OTLP, "headers: [a]", "invalid type: sequence"),
        (OTLP_HTTP, "keepalive: {time: 10s}", "unknown field `keepalive`"),
        (OTLP, "encoding: json", "unknown field `encoding`"),
        (OTLP, "tls: {insecure_skip_verfy: true}", "unknown field `insecure_skip_verfy`"),
        (OTLP, "metrics_endpoint: x", "unknown field `metrics_endpoint`"),
        (OTLP_HTTP, "encoding: xml", "unknown variant `xml`, expected `proto` or `json`"),
    ] {
        let error = decode(&entry, yaml).unwrap_err();
        assert!(error.contains(said), "{yaml}: {error}");
    }
    for entry in [OTLP, OTLP_HTTP] {
        let problems = decode(&entry, "headers: {Authorization: hunter2}").unwrap();
        assert_eq!(problems[0].message, "an endpoint is required");
    }
}
