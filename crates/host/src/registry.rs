use minicol_config::{EnvOverride, KeyTree, Path};
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

    /// Which environment variables override what.
    pub(crate) fn overrides(&self) -> Vec<EnvOverride> {
        let mut all = Vec::new();
        add_overrides(self.receivers, &[ENABLED], &mut all);
        add_overrides(self.processors, &[], &mut all);
        add_overrides(self.exporters, &DeliverySettings::KEYS, &mut all);
        add_overrides(self.extensions, &[], &mut all);
        all
    }
}

fn add_overrides<P: Product + ?Sized>(entries: &[Entry<P>], beside: &[&str], all: &mut Vec<EnvOverride>) {
    for entry in entries {
        let Some(overrides) = entry.environment else { continue };
        let mut keys = KeyTree::from_json_schema((entry.schema)().as_value());
        if let KeyTree::Keys(known) = &mut keys {
            known.extend(beside.iter().map(|key| ((*key).to_owned(), KeyTree::Any)));
        }
        let target = Path::keys([P::KIND.section(), overrides.id]);
        all.push(EnvOverride { prefix: overrides.prefix.to_owned(), target, keys });
    }
}
