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
        let (mut made, mut lanes): (Vec<(C, Arc<L>)>, _) = (Vec::new(), BTreeMap::new());
        for signal in SIGNALS {
            let Some(config) = config(signal)? else { continue };
            let lane = match made.iter().find(|(other, _)| *other == config) {
                Some((_, lane)) => Arc::clone(lane),
                None => {
                    let lane = Arc::new(make(&config)?);
                    made.push((config, Arc::clone(&lane)));
                    lane
                }
            };
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
