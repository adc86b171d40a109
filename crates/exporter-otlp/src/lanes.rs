//! One way to deliver per signal. Signals that are configured alike share one.

use std::{collections::BTreeMap, sync::Arc};

use minicol_pdata::Signal;
use minicol_plugin::ExportError;

/// What delivers each signal.
pub(crate) struct Lanes<L>(BTreeMap<Signal, Arc<L>>);

/// What OTLP carries.
pub(crate) const SIGNALS: [Signal; 3] = [Signal::Metrics, Signal::Logs, Signal::Traces];

impl<L> Lanes<L> {
    /// `config` tells how a signal is delivered, if it is; `make` makes of that what delivers it.
    pub(crate) fn build<C: PartialEq, E>(
        config: impl Fn(Signal) -> Result<Option<C>, E>,
        mut make: impl FnMut(&C) -> Result<L, E>,
    ) -> Result<Self, E> {
        let mut known: Vec<(C, Arc<L>)> = Vec::new();
        let mut lanes = BTreeMap::new();
        for signal in SIGNALS {
            let Some(config) = config(signal)? else { continue };
            let alike = known.iter().find(|(other, _)| *other == config);
            let lane = if let Some((_, lane)) = alike { Arc::clone(lane) } else { Arc::new(make(&config)?) };
            known.push((config, Arc::clone(&lane)));
            lanes.insert(signal, lane);
        }
        Ok(Self(lanes))
    }

    /// What delivers `signal`.
    pub(crate) fn of(&self, signal: Signal) -> Result<&L, ExportError> {
        self.0.get(&signal).map(AsRef::as_ref).ok_or_else(|| match signal {
            Signal::Observations => ExportError::permanent(
                "signal",
                "OTLP carries metrics, logs and traces, but no observations: put `mapping` before the exporter",
            ),
            signal => ExportError::permanent(
                "endpoint",
                format!("there is no endpoint for {signal}: set endpoint, or one for {signal}"),
            ),
        })
    }

    /// All of them; one that several signals share comes several times.
    pub(crate) fn all(&self) -> impl Iterator<Item = &L> {
        self.0.values().map(AsRef::as_ref)
    }
}
