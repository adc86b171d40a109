use minicol_plugin::config::{ComponentConfig, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of `status_page`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatusPageConfig {
    /// Where it listens, as `host:port`.
    #[schemars(extend("pattern" = "^.+:[0-9]{1,5}$"))]
    pub endpoint: String,
    /// Whether who looks at the page may also look at the telemetry that passes, as `minicol tap` does. Default: yes where only this machine
    /// reaches the page, else no.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub tap: Option<bool>,
    /// Whether who looks at the page may act, too: reload, and what components offer, such as to pause a receiver. There are no users and no
    /// passwords: everybody who reaches the page may.
    pub actions: bool,
    /// Whether the page shows every series that pipelines give to exporters, with its last hour. Where `tap` does not let who looks see telemetry, it
    /// does not.
    pub metrics: bool,
    /// How many series are remembered for that. Those beyond are left out, and the page says so.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_series: u32,
    /// How much memory they may take, labels and the last hour included, in MiB. Those for which there is no room are left out, and the page says so.
    #[schemars(range(min = 1, max = 64))]
    pub max_series_mib: u32,
}

impl Default for StatusPageConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:55679".to_owned(),
            tap: None,
            actions: false,
            metrics: true,
            max_series: 2_000,
            max_series_mib: 16,
        }
    }
}

impl ComponentConfig for StatusPageConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.address("endpoint", &self.endpoint, "localhost:55679");
        problems.range("max_series", f64::from(self.max_series), 1.0, 10_000.0);
        problems.range("max_series_mib", f64::from(self.max_series_mib), 1.0, 64.0);
    }
}
