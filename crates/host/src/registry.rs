use minicol_config::{EnvOverride, Environment, KeyTree, Path};
use minicol_delivery::DeliverySettings;
use minicol_plugin::{Entry, Exporter, Extension, OtlpProtocol, Processor, Product, Receiver};

/// What is compiled in: the one list, made by the program. The host knows no component by name.
#[derive(Clone, Copy, Default)]
pub struct Registry {
    /// What brings telemetry in.
    pub receivers: &'static [Entry<dyn Receiver>],
    /// What works on it.
    pub processors: &'static [Entry<dyn Processor>],
    /// What sends it out.
    pub exporters: &'static [Entry<dyn Exporter>],
    /// What serves the program itself.
    pub extensions: &'static [Entry<dyn Extension>],
}

/// The key that the host takes off every receiver's configuration.
pub(crate) const ENABLED: &str = "enabled";

impl Registry {
    /// The exporter that speaks `protocol`: what the program's own telemetry is pushed through.
    pub(crate) fn speaks(&self, protocol: OtlpProtocol) -> Option<&'static Entry<dyn Exporter>> {
        self.exporters.iter().find(|entry| entry.otlp_protocol == Some(protocol))
    }

    /// Which variables of `environment` override what. Which keys there are takes a schema, so it is asked only where there is such a variable.
    pub(crate) fn overrides(&self, environment: &Environment) -> Vec<EnvOverride> {
        let mut all = Vec::new();
        add_overrides(self.receivers, &[ENABLED], environment, &mut all);
        add_overrides(self.processors, &[], environment, &mut all);
        add_overrides(self.exporters, &DeliverySettings::KEYS, environment, &mut all);
        add_overrides(self.extensions, &[], environment, &mut all);
        all
    }
}

fn add_overrides<P: Product + ?Sized>(
    entries: &[Entry<P>],
    beside: &[&str],
    environment: &Environment,
    all: &mut Vec<EnvOverride>,
) {
    for entry in entries {
        let Some(overrides) = entry.environment else { continue };
        if !environment.names().any(|name| name.starts_with(overrides.prefix)) {
            continue;
        }
        let mut keys = KeyTree::from_json_schema((entry.schema)().as_value());
        if let KeyTree::Keys(known) = &mut keys {
            known.extend(beside.iter().map(|key| ((*key).to_owned(), KeyTree::Any)));
        }
        let target = Path::keys([P::KIND.section(), overrides.id]);
        all.push(EnvOverride { prefix: overrides.prefix.to_owned(), target, keys });
    }
}
