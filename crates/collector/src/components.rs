//! The one list of what is compiled in. A new component is a new crate and one line here.

use minicol_host::Registry;
use minicol_plugin::{Entry, Exporter, Extension, Processor, Receiver};

const RECEIVERS: &[Entry<dyn Receiver>] =
    &[Entry::of::<minicol_receiver_session_buddy::SessionBuddyFactory>(), minicol_receiver_otlp::ENTRY];

const PROCESSORS: &[Entry<dyn Processor>] =
    &[Entry::of::<minicol_processor::MappingFactory>(), Entry::of::<minicol_processor::MemoryLimiterFactory>()];

const EXPORTERS: &[Entry<dyn Exporter>] =
    &[minicol_exporter_otlp::OTLP, minicol_exporter_otlp::OTLP_HTTP, minicol_exporter_debug::ENTRY];

const EXTENSIONS: &[Entry<dyn Extension>] = &[
    minicol_extension_file_storage::ENTRY,
    minicol_extension_health::ENTRY,
    minicol_extension_status_page::ENTRY,
    minicol_extension_simulator::ENTRY,
];

/// What is compiled in.
pub(crate) const REGISTRY: Registry =
    Registry { receivers: RECEIVERS, processors: PROCESSORS, exporters: EXPORTERS, extensions: EXTENSIONS };

#[cfg(test)]
mod tests {
    use minicol_config::{Environment, Request, Style};
    use minicol_host::Plan;
    use minicol_plugin::Product;

    use super::*;

    /// A configuration that holds, with the example of one entry as the body of one more component.
    fn with_example<P: Product + ?Sized>(entry: &Entry<P>) -> String {
        let body = entry.example.lines().fold(String::new(), |body, line| body + "    " + line + "\n");
        let section = P::KIND.section();
        let component = format!("  {}/example:\n{body}", entry.component_type);
        let mut text = String::new();
        for (name, rest) in [
            ("receivers", "  session_buddy:\n"),
            ("processors", "  mapping: {presets: [session_buddy]}\n"),
            ("exporters", "  debug:\n"),
            ("extensions", ""),
        ] {
            let component = if name == section { component.as_str() } else { "" };
            if !(rest.is_empty() && component.is_empty()) {
                text.extend([name, ":\n", rest, component]);
            }
        }
        text + "service:\n  pipelines:\n    metrics: {receivers: [session_buddy], processors: [mapping], exporters: [debug]}\n"
    }

    fn check<P: Product + ?Sized>(entries: &[Entry<P>]) {
        for entry in entries {
            assert!(!entry.example.trim().is_empty(), "{} has no example configuration", entry.component_type);
            let text = with_example(entry);
            let request = Request {
                configs: vec![format!("yaml:{text}")],
                environment: Environment::default(),
                ..Request::default()
            };
            if let Err(problems) = Plan::load(request, REGISTRY) {
                panic!(
                    "the example of {} does not hold:\n{text}\n{}",
                    entry.component_type,
                    problems.render(Style::PLAIN)
                );
            }
        }
    }

    #[test]
    fn every_component_has_an_example_configuration_that_holds() {
        check(RECEIVERS);
        check(PROCESSORS);
        check(EXPORTERS);
        check(EXTENSIONS);
    }
}
