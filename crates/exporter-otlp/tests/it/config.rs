//! What a user can write: the examples, the examples of the README, and mistakes.

use minicol_exporter_otlp::{OTLP, OTLP_HTTP};
use minicol_plugin::{
    Entry, Exporter, OtlpProtocol,
    testing::{check, printed, problems},
};

#[tokio::test(start_paused = true)]
async fn they_are_as_every_component_has_to_be() {
    const ENTRIES: [Entry<dyn Exporter>; 2] = [OTLP, OTLP_HTTP];
    for entry in &ENTRIES {
        check::configuration(entry);
        check::life(entry, "endpoint: 'http://localhost:4317'").await;
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
            let problems = problems(&entry, &serde_yaml::to_string(&body).unwrap());
            // The file of an authority need not be here.
            let problems: Vec<_> = problems.into_iter().filter(|one| !one.contains(": ca_file")).collect();
            assert_eq!(problems, [""; 0], "{id}");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    for (entry, yaml, said) in [
        (OTLP, "compression: snappy", "compression: expected one of `gzip`, `zstd`, `none`, found `snappy`"),
        (OTLP, "headers: [a]", "headers: expected a mapping, found a list"),
        (OTLP_HTTP, "keepalive: {time: 10s}", "unknown key `keepalive`"),
        (OTLP, "encoding: json", "unknown key `encoding`"),
        (OTLP, "tls: {insecure_skip_verfy: true}", "tls::insecure_skip_verfy: unknown key `insecure_skip_verfy`"),
        (OTLP, "metrics_endpoint: x", "unknown key `metrics_endpoint`"),
        (OTLP_HTTP, "encoding: xml", "encoding: expected `proto` or `json`, found `xml`"),
    ] {
        let told = problems(&entry, yaml);
        assert!(told.len() == 1 && told[0].contains(said), "{yaml}: {told:?}");
    }
    for entry in [OTLP, OTLP_HTTP] {
        let written = "headers: {Authorization: hunter2}";
        assert_eq!(problems(&entry, written), ["endpoint: an endpoint is required"]);
        assert!(!printed(&entry, written).to_string().contains("hunter2"), "secrets are not printed");
    }
}
