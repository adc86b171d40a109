//! Promise: a configuration that holds is shown as it is; one that does not is told at its places, in words that users know, all at once.

use minicol_config::Problem;

use crate::support::{GOOD, load, one_line, plan, wrong};

#[test]
fn a_plan_is_shown_with_all_defaults_in_the_shape_of_a_file() {
    let yaml = GOOD.replace("ticker: }", "ticker: {token: hunter2}}").replace("sink: }", "sink: {timeout: 7s}}");
    let shown = plan(&yaml).to_value();
    insta::assert_json_snapshot!(shown);
}

#[test]
fn what_is_shown_can_be_read_again() {
    let first = plan(GOOD).to_value();
    assert_eq!(plan(&first.to_string()).to_value(), first);
}

#[test]
fn unknown_types_ids_and_keys_are_told_with_the_nearest() {
    let told = wrong(
        "
receivers:
  tikcer:
  ticker: {intervall: 1s}
processors: {to_metrics: }
exporters:
  sink: {sending_que: {}, timeout: 5}
  9x:
reciever: {}
service:
  extensions: [page]
  pipelines:
    metrics: {receivers: [ticker, ticker/1], processors: [to_metric], exporters: [snik], exporter: []}
    metric/2: {receivers: [ticker], exporters: [sink]}
    metrics/: {receivers: [ticker], exporters: [sink]}
",
    );
    insta::assert_json_snapshot!(told);
}

#[test]
fn delivery_is_checked_at_its_keys() {
    let told =
        wrong(&GOOD.replace("sink: }", "sink: {sending_queue: {queue_size: 0}, retry_on_failure: {multiplier: 0.5}}}"));
    assert_eq!(
        told,
        [
            "4:83 [exporters::sink::retry_on_failure::multiplier] must be between 1 and 100, but is 0.5",
            "4:48 [exporters::sink::sending_queue::queue_size] must be between 1 and 2147483647, but is 0",
        ]
    );
}

#[test]
fn what_a_component_checks_itself_is_told_beside_what_cannot_be_read() {
    let told = wrong(&GOOD.replace(
        "sink: }",
        "sink: {sending_que: {}, sending_queue: {queue_size: 0, sizer: stones}, retry_on_failure: {multiplier: 0.5}}}",
    ));
    assert_eq!(told.len(), 4, "{told:#?}");
    for what in ["unknown key `sending_que`", "sizer]", "multiplier] must be between", "queue_size] must be between"] {
        assert!(told.iter().any(|line| line.contains(what)), "{what}: {told:#?}");
    }
}

#[test]
fn a_pipeline_needs_a_receiver_and_an_exporter() {
    let told = wrong(
        "
receivers: {ticker: }
exporters: {sink: }
service:
  pipelines:
    observations: {receivers: [], exporters: [sink]}
    observations/2: {receivers: [ticker]}
    observations/3:
",
    );
    assert_eq!(
        told,
        [
            "6:20 [service::pipelines::observations] must have at least one receiver | for example `receivers: [...]`",
            "7:5 [service::pipelines::observations/2] must have at least one exporter | for example `exporters: [...]`",
            "8:5 [service::pipelines::observations/3] must have at least one receiver | for example `receivers: [...]`",
            "8:5 [service::pipelines::observations/3] must have at least one exporter | for example `exporters: [...]`",
        ]
    );
}

#[test]
fn a_service_needs_a_pipeline() {
    for file in ["receivers: {ticker: }", "service: {pipelines: {}}", "service: {pipelines: }", "service:"] {
        let told = wrong(file);
        assert!(told.len() == 1 && told[0].contains("service must have at least one pipeline"), "{file}: {told:?}");
    }
}

#[test]
fn what_has_the_wrong_shape_is_told_once() {
    for (file, message) in [
        ("receivers: [ticker]\nservice: {pipelines: {}}", "expected a mapping, found a list"),
        ("service: {pipelines: [metrics]}", "expected a mapping, found a list"),
        ("service: {pipelines: {observations: [ticker]}}", "expected a mapping, found a list"),
        (
            "receivers: {ticker: }\nexporters: {sink: }\nservice: {pipelines: {observations: {receivers: ticker, exporters: [sink]}}}",
            "expected a list, found the text `ticker`",
        ),
    ] {
        let told = wrong(file);
        assert_eq!(told.iter().filter(|one| one.contains(message)).count(), 1, "{file}: {told:?}");
    }
}

#[test]
fn naming_one_twice_is_an_error() {
    let told = wrong(&GOOD.replace("exporters: [sink]", "exporters: [sink, sink]"));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("[service::pipelines::metrics::exporters[1]] references exporter \"sink\" multiple times")
    );
}

#[test]
fn a_connector_is_told_to_be_unsupported() {
    let told = wrong(&format!("{GOOD}connectors: {{forward: }}"));
    assert!(told.len() == 1 && told[0].contains("no connectors are compiled in"), "{told:?}");
    assert!(load(&format!("{GOOD}connectors: {{}}")).is_ok());
}

#[test]
fn arrows_that_do_not_fit_are_told_with_what_would_help() {
    let told = [
        // The mapping was forgotten.
        wrong(
            "
receivers: {ticker: }
processors: {to_metrics/mine: }
exporters: {otlp_sink: }
service: {pipelines: {metrics: {receivers: [ticker], exporters: [otlp_sink]}}}",
        ),
        wrong(
            "
receivers: {ticker: }
exporters: {log_sink: }
service: {pipelines: {logs: {receivers: [ticker], exporters: [log_sink]}}}",
        ),
        wrong(
            "
receivers: {ticker: }
exporters: {sink: }
service: {pipelines: {metrics: {receivers: [ticker], exporters: [sink]}}}",
        ),
        wrong(
            "
receivers: {ticker: }
processors: {to_metrics/mine: }
exporters: {sink: }
service: {pipelines: {metrics/a: {receivers: [ticker], exporters: [sink]}}}",
        ),
        // The mapping is there twice: what it makes is not what it takes.
        wrong(
            "
receivers: {ticker: }
processors: {to_metrics: , to_metrics/2: }
exporters: {sink: }
service: {pipelines: {metrics: {receivers: [ticker], processors: [to_metrics, to_metrics/2], exporters: [sink]}}}",
        ),
        // One of two receivers.
        wrong(
            "
receivers: {ticker: , log_source: }
processors: {to_metrics: }
exporters: {sink: }
service: {pipelines: {metrics: {receivers: [ticker, log_source], processors: [to_metrics], exporters: [sink]}}}",
        ),
        // The id names another signal.
        wrong(
            "
receivers: {ticker: }
processors: {to_metrics: }
exporters: {sink: }
service: {pipelines: {traces: {receivers: [ticker], processors: [to_metrics], exporters: [sink]}}}",
        ),
    ];
    insta::assert_json_snapshot!(told);
}

#[test]
fn a_processor_that_keeps_the_signal_stands_on_both_sides_of_one_that_changes_it() {
    let yaml = GOOD
        .replace("to_metrics: }", "to_metrics: , keeper: , keeper/2: }")
        .replace("[to_metrics]", "[keeper, to_metrics, keeper/2]");
    assert!(load(&yaml).is_ok());
}

#[test]
fn what_no_pipeline_uses_is_decoded_and_warned_of() {
    let unused = "
extensions: {page: }
receivers: {ticker: {tags: [old]}, ticker/spare: }
exporters: {sink: , drain/spare: }
processors: {keeper: }
service: {pipelines: {observations: {receivers: [ticker], exporters: [sink]}}}";
    let warnings: Vec<String> = plan(unused).warnings().iter().map(one_line).collect();
    insta::assert_json_snapshot!(warnings);
    let wrong_all_the_same = wrong(&unused.replace("drain/spare: ", "drain/spare: {tiemout: 1s}"));
    assert!(wrong_all_the_same.len() == 1 && wrong_all_the_same[0].contains("did you mean `timeout`?"));
}

#[test]
fn a_push_of_own_metrics_is_checked_as_the_exporter_it_goes_through() {
    let push = |protocol: &str, endpoint: &str| {
        let reader = format!("{{periodic: {{exporter: {{otlp: {{protocol: {protocol}, endpoint: '{endpoint}'}}}}}}}}");
        GOOD.replace("service:", &format!("service:\n  telemetry: {{metrics: {{readers: [{reader}]}}}}"))
    };
    assert!(load(&push("grpc", "here")).is_ok());
    let told = wrong(&push("grpc", "gopher://here"));
    let path = "service::telemetry::metrics::readers[0]::periodic::exporter::otlp";
    assert!(told.len() == 1 && told[0].contains(&format!("[{path}::endpoint] gopher is not spoken here")), "{told:?}");
    let told = wrong(&push("http/protobuf", "here"));
    assert!(told.len() == 1 && told[0].contains("no exporter of this protocol is compiled in"), "{told:?}");
}

#[test]
fn a_storage_that_cannot_keep_a_queue_is_told_at_its_place() {
    let file = |storage: &str, extensions: &str, pipeline: &str| {
        format!(
            "
receivers: {{ticker: }}
processors: {{to_metrics: }}
exporters:
  sink:
    sending_queue:
      storage: {storage}
extensions: {{page: , shelf: , shelf/2: }}
service:
  extensions: [{extensions}]
  pipelines:
    {pipeline}: {{receivers: [ticker], processors: [{processor}], exporters: [sink]}}
",
            processor = if pipeline == "metrics" { "to_metrics" } else { "" },
        )
    };
    assert!(load(&file("shelf/2", "page, shelf, shelf/2", "metrics")).is_ok());
    let place = "7:16 [exporters::sink::sending_queue::storage]";
    for (storage, extensions, pipeline, told) in [
        (
            "shelf/3",
            "shelf",
            "metrics",
            "references extension \"shelf/3\" which is not configured | did you mean `shelf/2`?",
        ),
        (
            "file",
            "shelf",
            "metrics",
            "references extension \"file\" which is not configured | add `file:` under `extensions:`, and list it in `service::extensions`",
        ),
        (
            "page",
            "page, shelf",
            "metrics",
            "requested extension is not a storage extension: \"page\" | extensions of these types are: `shelf`",
        ),
        (
            "shelf",
            "page",
            "metrics",
            "no storage client extension found: \"shelf\" is not listed in `service::extensions` | add `shelf` to `service::extensions`: only what is listed there runs",
        ),
        (
            "shelf",
            "shelf",
            "observations",
            "storage `shelf` keeps metrics, logs and traces, but pipeline `observations` gives exporter `sink` observations | remove `storage` there, or put a processor before it that makes metrics of them",
        ),
        ("/x", "shelf", "metrics", "the id `/x` has no type: write `type` or `type/name`"),
    ] {
        assert_eq!(wrong(&file(storage, extensions, pipeline)), [format!("{place} {told}")]);
    }
    let off = file("nothing", "shelf", "metrics").replace("storage:", "enabled: false\n      storage:");
    assert!(load(&off).is_ok(), "what is switched off is not checked");
}

/// What was meant is looked for with the first of them only: else this takes an hour.
#[test]
fn very_many_wrong_references_among_very_many_components_are_told() {
    use std::fmt::Write;
    let (mut exporters, mut wrong_ones, long) = (String::new(), String::new(), "x".repeat(60));
    for number in 1_000..3_000 {
        writeln!(exporters, "  sink/{long}{number}: ").unwrap();
        write!(wrong_ones, "sink/{long}{number}y, ").unwrap();
    }
    let told = load(&format!(
        "
receivers: {{ticker: }}
exporters:
{exporters}
service: {{pipelines: {{observations: {{receivers: [ticker], exporters: [{wrong_ones}]}}}}}}
"
    ));
    let told = told.err().expect("none of them is there");
    assert!(told.len() >= 2_000, "{}", told.len());
    let meant = |one: &&Problem| one.help.as_ref().is_some_and(|help| help.contains("did you mean"));
    assert_eq!(told.errors().filter(meant).count(), 2, "each is compared with all 2,000");
}
