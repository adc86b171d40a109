//! Pipeline files and the references in them.

use minicol_config::{Environment, Problems, Request, Style, load};
use minicol_host::{Plan, Registry};
use minicol_plugin::{Entry, Exporter, Extension, Processor, Receiver};

pub(crate) const WORDS: &[&str] = &[
    "receivers:\n",
    "processors:\n",
    "exporters:\n",
    "extensions:\n",
    "service:\n",
    "pipelines:\n",
    "telemetry:",
    "session_buddy",
    "mapping",
    "otlp",
    "otlphttp",
    "debug",
    "health_check",
    "file_storage",
    "storage: file_storage",
    "memory_limiter",
    "${env:A}",
    "${env:NOT_SET:-x}",
    "$$",
    "&a",
    "*a",
    "<<: *a",
    "!!str",
    "!!int",
    "? ",
    "|\n",
    ">-\n",
    "{a: ",
    "[a, ",
    "interval_seconds: 5",
    "rules:\n",
    "- tool: any\n",
    "headers: {Authorization: x}",
    "sending_queue:",
    "1h30m",
    "\t",
];

pub(crate) const REFERENCE_WORDS: &[&str] = &[
    "${",
    "}",
    "${env:A}",
    "${env:",
    "${A}",
    ":-",
    "$$",
    "${env:A:-${env:B}}",
    "${env:LIST}",
    "$",
    "${{",
    "${file:x}",
    "${env:MAP}",
];

const RECEIVERS: &[Entry<dyn Receiver>] =
    &[Entry::of::<minicol_receiver_session_buddy::SessionBuddyFactory>(), minicol_receiver_otlp::ENTRY];
const PROCESSORS: &[Entry<dyn Processor>] =
    &[Entry::of::<minicol_processor::MappingFactory>(), Entry::of::<minicol_processor::MemoryLimiterFactory>()];
const EXPORTERS: &[Entry<dyn Exporter>] =
    &[minicol_exporter_otlp::OTLP, minicol_exporter_otlp::OTLP_HTTP, minicol_exporter_debug::ENTRY];
const EXTENSIONS: &[Entry<dyn Extension>] =
    &[minicol_extension_file_storage::ENTRY, minicol_extension_health::ENTRY, minicol_extension_simulator::ENTRY];
const REGISTRY: Registry =
    Registry { receivers: RECEIVERS, processors: PROCESSORS, exporters: EXPORTERS, extensions: EXTENSIONS };

fn shown(problems: &Problems) {
    let text = problems.render(Style::PLAIN);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

/// A file that is read, substituted, checked, and either printed or complained of.
pub(crate) fn file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A file that names other files would read whatever there is on this machine.
    if text.contains("_file") || text.contains("files") || text.contains("presets") && text.contains('/') {
        return;
    }
    let request = |config: String| Request {
        configs: vec![config],
        environment: Environment::from(vec![("FILE", text), ("A", "1"), ("B", "[1, 2]"), ("C", "{a: &x [*x]}")]),
        ..Request::default()
    };
    for config in ["env:FILE".to_owned(), format!("yaml:{text}")] {
        match Plan::load(request(config), REGISTRY) {
            Ok(plan) => {
                let printed = serde_yaml::to_string(&plan.to_value()).expect("it can be printed");
                shown(plan.warnings());
                if printed.contains("[REDACTED]") {
                    return; // a secret is gone
                }
                let again = Request {
                    configs: vec!["env:AGAIN".to_owned()],
                    environment: Environment::from(vec![("AGAIN", printed.replace('$', "$$"))]),
                    ..Request::default()
                };
                if let Err(problems) = Plan::load(again, REGISTRY) {
                    panic!("what is printed does not hold:\n{printed}\n{}", problems.render(Style::PLAIN));
                }
            }
            Err(problems) => shown(&problems),
        }
    }
}

/// A value with references, and what a variable holds: the two halves of the input, a line break between them.
pub(crate) fn substitution(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (value, variable) = text.split_once('\n').unwrap_or((&text, ""));
    let quoted = serde_json::to_string(value).expect("JSON");
    let config =
        format!("quoted: {quoted}\nwhole: ${{env:A}}\nmixed: x${{A}}y\ndefault: ${{env:NOT_SET:-d}}\nplain: {value}\n");
    let request = Request {
        configs: vec!["env:CONFIG".to_owned()],
        environment: Environment::from(vec![("CONFIG", &*config), ("A", variable), ("B", value)]),
        ..Request::default()
    };
    match load(&request) {
        Ok(loaded) => shown(&loaded.problems),
        Err(problems) => shown(&problems),
    }
}
