//! Whether the backend takes what is sent: an empty request per signal, over the exporter's own connections.

use minicol_pdata::{Batch, Logs, Metrics, Signal, Traces};
use minicol_plugin::{Checkup, ComponentError, Exporter};

/// `secure` tells whether a signal goes over TLS.
pub(crate) async fn exporter(
    built: Result<Box<dyn Exporter>, ComponentError>,
    secure: impl Fn(Signal) -> bool + Send,
    checkup: Checkup,
) {
    let exporter = match built {
        Ok(exporter) => exporter,
        Err(error) => return checkup.failed("configuration", error.to_string()),
    };
    let mut over_tls = false;
    for signal in checkup.signals() {
        let nothing = match signal {
            Signal::Metrics => Batch::Metrics(Metrics::default()),
            Signal::Logs => Batch::Logs(Logs::default()),
            Signal::Traces => Batch::Traces(Traces::default()),
            Signal::Observations => continue,
        };
        let answer = exporter.export(nothing).await;
        let no_tls =
            answer.as_ref().is_err_and(|error| matches!(error.error_type.as_str(), "tls" | "connect" | "address"));
        if secure(*signal) && !no_tls && !over_tls {
            over_tls = true;
            checkup.passed("TLS", "the certificate is trusted");
        }
        let step = format!("empty export, {signal}");
        match answer {
            Ok(delivered) => checkup.passed(step, delivered.message.unwrap_or_else(|| "taken".to_owned())),
            Err(error) if error.error_type == "tls" => {
                checkup.failed("TLS", error.message);
                checkup.skipped(step, "not reached");
            }
            Err(error) => checkup.failed(step, error.message),
        }
    }
    // There is nothing in flight that could fail.
    let _ = exporter.shutdown().await;
}
