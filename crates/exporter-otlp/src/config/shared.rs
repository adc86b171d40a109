//! The keys that both exporters have.

use std::{collections::BTreeMap, path::PathBuf};

use ::http::Uri;
use minicol_plugin::{
    config::{Problems, Secret},
    net::{is_credential, is_plain_text_beyond_here},
};

/// Makes the configuration of an exporter, and of one signal of it, from the keys that it has alone. Those that both exporters have stand here, once: serde could
/// flatten them in, but would no longer know where a mistake in them was written.
///
/// Beside it an exporter says what its keys mean: `lay_over` of its section.
macro_rules! exporter_config {
    (
        $(#[$about:meta])* $name:ident { $($keys:tt)* }
        $(#[$about_signal:meta])* $signal:ident { $($signal_keys:tt)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($keys)*
            /// How the server is checked, where TLS is spoken.
            pub tls: ::minicol_plugin::net::ClientTls,
            /// Sent with every request. Values are never printed.
            #[schemars(extend("examples" = [{"x-api-key": "${env:API_KEY}"}]))]
            pub headers: ::std::collections::BTreeMap<String, ::minicol_plugin::config::Secret>,
            /// Headers whose values stand in files, which are read again for each request: name to path.
            #[schemars(extend("examples" = [{"Authorization": "/run/secrets/otlp"}]))]
            pub header_files: ::std::collections::BTreeMap<String, ::std::path::PathBuf>,
            /// Allows a header that lets its sender in, such as `Authorization`, over plain `http://` to a host that is not this machine.
            pub allow_insecure_auth: bool,
            /// How requests are compressed.
            pub compression: $crate::config::Compression,
            /// What is other for metrics.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub metrics: Option<$signal>,
            /// What is other for logs.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub logs: Option<$signal>,
            /// What is other for traces.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub traces: Option<$signal>,
        }

        $(#[$about_signal])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $signal {
            $($signal_keys)*
            /// How its server is checked.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tls: Option<$crate::config::SignalTls>,
            /// Sent with its requests, in place of the others. Values are never printed.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(extend("examples" = [{"x-api-key": "${env:LOGS_KEY}"}]))]
            pub headers: Option<::std::collections::BTreeMap<String, ::minicol_plugin::config::Secret>>,
            /// How its requests are compressed.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub compression: Option<$crate::config::Compression>,
        }

        impl $name {
            fn section(&self, signal: ::minicol_pdata::Signal) -> Option<&$signal> {
                match signal {
                    ::minicol_pdata::Signal::Metrics => self.metrics.as_ref(),
                    ::minicol_pdata::Signal::Logs => self.logs.as_ref(),
                    ::minicol_pdata::Signal::Traces => self.traces.as_ref(),
                    ::minicol_pdata::Signal::Observations => None,
                }
            }

            /// As it is for one signal, without sections.
            pub(crate) fn of(&self, signal: ::minicol_pdata::Signal) -> Self {
                let mut all = Self { metrics: None, logs: None, traces: None, ..self.clone() };
                if let Some(own) = self.section(signal) {
                    own.lay_over(&mut all);
                    own.tls.iter().for_each(|own| own.lay_over(&mut all.tls));
                    own.headers.iter().for_each(|own| all.headers.clone_from(own));
                    all.compression = own.compression.unwrap_or(all.compression);
                }
                all
            }

            /// Adds an error for each credential that everybody on the way could read.
            fn check_credentials(&self, targets: &[::http::Uri], problems: &mut ::minicol_plugin::config::Problems) {
                if !self.allow_insecure_auth {
                    $crate::config::shared::check_credentials(&self.headers, &self.header_files, targets, problems);
                }
            }

            /// Adds what is wrong with the keys that both exporters have; `at` tells where a signal goes, `also` checks what else a section has.
            fn validate_shared(
                &self,
                at: impl Fn(&Self, ::minicol_pdata::Signal) -> Option<::http::Uri>,
                also: impl Fn(&Self, &$signal, &mut ::minicol_plugin::config::Problems),
                problems: &mut ::minicol_plugin::config::Problems,
            ) {
                use $crate::config::{headers, tls};
                problems.within("tls", |problems| self.tls.validate(problems));
                headers::validate(&self.headers, &self.header_files, problems);
                for signal in $crate::lanes::SIGNALS {
                    let Some(own) = self.section(signal) else { continue };
                    let all = self.of(signal);
                    problems.within(signal.name(), |problems| {
                        also(&all, own, problems);
                        if own.tls.is_some() && tls::holds(&self.tls) {
                            problems.within("tls", |problems| all.tls.validate(problems));
                        }
                        if own.headers.is_some() {
                            all.check_credentials(at(&all, signal).as_slice(), problems);
                            headers::validate(&all.headers, &all.header_files, problems);
                        }
                    });
                }
            }
        }
    };
}

pub(super) use exporter_config;

pub(super) fn check_credentials(
    headers: &BTreeMap<String, Secret>,
    files: &BTreeMap<String, PathBuf>,
    targets: &[Uri],
    problems: &mut Problems,
) {
    let Some(exposed) = targets.iter().find(|uri| is_plain_text_beyond_here(uri)) else { return };
    let host = exposed.host().unwrap_or_default();
    let names = headers.keys().map(|name| ("headers", name)).chain(files.keys().map(|name| ("header_files", name)));
    for (key, name) in names.filter(|(_, name)| is_credential(name)) {
        problems.within(key, |problems| {
            problems
                .error(name, format!("would be sent to `{host}` unencrypted: the endpoint is http://"))
                .help("use an https:// endpoint, or set `allow_insecure_auth: true` where the network is trusted");
        });
    }
}
