use anyhow::bail;
use minicol_plugin::text::foreign;
use serde_json::Value;

/// The block of the settings file.
pub(super) const BLOCK: &str = "session_buddy_polling";
/// Where Mahavishnu sent its metrics: a block, and a key in it.
pub(super) const OTLP_ENDPOINT: (&str, &str) = ("observability", "otlp_endpoint");

const KEYS: [&str; 8] = [
    "enabled",
    "endpoint",
    "interval_seconds",
    "timeout_seconds",
    "max_retries",
    "retry_delay_seconds",
    "circuit_breaker_threshold",
    "metrics_to_collect",
];
/// What the old poller asked where the file was silent.
const TOOLS: [&str; 4] =
    ["get_activity_summary", "get_workflow_metrics", "get_session_analytics", "get_performance_metrics"];
const ENDPOINT: &str = "http://localhost:8678/mcp";
const BACKEND: &str = "http://localhost:4317";

/// What the block says, in minicol's terms.
#[derive(Debug)]
pub(super) struct Settings {
    /// Off where the block does not say otherwise, as in Mahavishnu.
    pub(super) enabled: Became<bool>,
    pub(super) endpoint: Became<String>,
    pub(super) interval_seconds: Became<f64>,
    pub(super) timeout_seconds: Became<f64>,
    pub(super) max_retries: Became<f64>,
    pub(super) retry_delay_seconds: Became<f64>,
    pub(super) circuit_breaker_threshold: Became<f64>,
    pub(super) metrics_to_collect: Became<Vec<String>>,
    /// Where the metrics go: Mahavishnu's own exporter, in another block.
    pub(super) backend: Backend,
    /// Keys of the block that nobody knows, with what each may have meant.
    pub(super) unknown: Vec<String>,
}

/// A value, and what became of it where it is not as it was.
#[derive(Debug)]
pub(super) struct Became<T> {
    pub(super) value: T,
    pub(super) note: Option<String>,
}

/// Where the metrics go.
#[derive(Debug)]
pub(super) struct Backend {
    /// The type of the exporter: `otlp` or `otlphttp`.
    pub(super) exporter: &'static str,
    pub(super) endpoint: Became<String>,
    /// It is not as it was.
    changed: bool,
}

impl Settings {
    /// Reads the block; of the rest of the file, only where the metrics went.
    pub(super) fn read(block: &Value, root: &Value) -> anyhow::Result<Self> {
        let empty = serde_json::Map::new();
        let keys = match block {
            Value::Null => &empty,
            Value::Object(keys) => keys,
            other => bail!("`{BLOCK}` must be a map of keys, but is {}", shown(other)),
        };
        let get = |key: &str| keys.get(key).filter(|value| !value.is_null());
        let unknown = keys.keys().filter(|key| !KEYS.contains(&key.as_str())).map(|key| {
            let near = minicol_config::nearest(key, KEYS);
            let near = near.map(|near| format!(" (did it mean `{near}`?)")).unwrap_or_default();
            format!("`{}`{near}", foreign(key))
        });
        Ok(Self {
            enabled: enabled(get("enabled"))?,
            endpoint: endpoint(get("endpoint"))?,
            interval_seconds: time("interval_seconds", get("interval_seconds"), 30.0, 1.0, 3600.0)?,
            timeout_seconds: time("timeout_seconds", get("timeout_seconds"), 10.0, 0.1, 300.0)?,
            max_retries: retries(get("max_retries"))?,
            retry_delay_seconds: number("retry_delay_seconds", get("retry_delay_seconds"), 5.0, 0.0, 300.0)?,
            circuit_breaker_threshold: whole(
                "circuit_breaker_threshold",
                get("circuit_breaker_threshold"),
                5.0,
                100.0,
            )?,
            metrics_to_collect: tools(get("metrics_to_collect"))?,
            backend: backend(root.get(OTLP_ENDPOINT.0).and_then(|block| block.get(OTLP_ENDPOINT.1))),
            unknown: unknown.collect(),
        })
    }

    /// Everything that is not as it was, for a person.
    pub(super) fn notes(&self) -> Vec<String> {
        let noted = [
            ("enabled", &self.enabled.note),
            ("endpoint", &self.endpoint.note),
            ("interval_seconds", &self.interval_seconds.note),
            ("timeout_seconds", &self.timeout_seconds.note),
            ("max_retries", &self.max_retries.note),
            ("retry_delay_seconds", &self.retry_delay_seconds.note),
            ("circuit_breaker_threshold", &self.circuit_breaker_threshold.note),
            ("metrics_to_collect", &self.metrics_to_collect.note),
        ];
        let changed = noted.into_iter().filter_map(|(key, note)| Some(format!("{key}: {}", note.as_ref()?)));
        let backend = self.backend.endpoint.note.as_ref().filter(|_| self.backend.changed);
        let backend = backend.map(|note| format!("{}.{}: {note}", OTLP_ENDPOINT.0, OTLP_ENDPOINT.1));
        let unknown = self.unknown.iter().map(|key| format!("the key {key} of `{BLOCK}` is not known: left out"));
        unknown.chain(changed).chain(backend).collect()
    }
}

impl<T> Became<T> {
    fn same(value: T) -> Self {
        Self { value, note: None }
    }

    fn noted(value: impl Into<T>, note: impl Into<String>) -> Self {
        Self { value: value.into(), note: Some(note.into()) }
    }
}

fn enabled(value: Option<&Value>) -> anyhow::Result<Became<bool>> {
    let off = |why: &str| Became::noted(false, format!("{why}: set it to true to begin"));
    Ok(match value {
        None => off("was not set, which is off"),
        Some(Value::Bool(true)) => Became::same(true),
        Some(Value::Bool(false)) => off("was off"),
        Some(Value::Number(number)) if number.as_u64() == Some(1) => Became::same(true),
        Some(Value::Number(number)) if number.as_u64() == Some(0) => off("was off"),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "t" | "y" => Became::same(true),
            "false" | "no" | "off" | "0" | "f" | "n" => off("was off"),
            _ => bail!("`{BLOCK}.enabled` must be true or false, but is {}", shown(&Value::String(text.clone()))),
        },
        Some(other) => bail!("`{BLOCK}.enabled` must be true or false, but is {}", shown(other)),
    })
}

fn endpoint(value: Option<&Value>) -> anyhow::Result<Became<String>> {
    let Some(value) = value else { return Ok(Became::same(ENDPOINT.to_owned())) };
    let Some(text) = value.as_str() else { bail!("`{BLOCK}.endpoint` must be a URL, but is {}", shown(value)) };
    let written = text.trim();
    let url = with_scheme(written);
    // What no server sees; what the old poller itself added, and a slash that costs a redirect each time.
    let url = url.split('#').next().unwrap_or_default();
    let cut = url.strip_suffix("/tools/call").unwrap_or(url).trim_end_matches('/');
    let (url, had_user) = without_user(cut);
    let note = (url != written).then(|| {
        let (was, _) = without_user(written);
        if had_user {
            format!("was {}, with a user: {NO_USER}", shown(&was.into()))
        } else {
            format!("was {}", shown(value))
        }
    });
    Ok(Became { value: url, note })
}

/// Why a user in a URL does not come along: no endpoint takes one, as it would be told in logs.
const NO_USER: &str =
    "it is left out, write it as `headers: {authorization: \"Basic ${env:NAME}\"}` (in NAME user:password, in base64)";

/// A URL without user and password, and whether it had any.
fn without_user(url: &str) -> (String, bool) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |at| begin + at);
    match url[begin..end].rfind('@') {
        Some(at) => (format!("{}{}", &url[..begin], &url[begin + at + 1..]), true),
        None => (url.to_owned(), false),
    }
}

fn with_scheme(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

/// A number, also in quotes, as the old settings took it.
fn numeric(key: &str, value: &Value) -> anyhow::Result<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    match number.filter(|number| number.is_finite()) {
        Some(number) => Ok(number),
        None => bail!("`{BLOCK}.{key}` must be a number, but is {}", shown(value)),
    }
}

fn number(key: &str, value: Option<&Value>, default: f64, min: f64, max: f64) -> anyhow::Result<Became<f64>> {
    let Some(value) = value else { return Ok(Became::same(default)) };
    let written = numeric(key, value)?;
    let held = written.clamp(min, max);
    let moved = !(min..=max).contains(&written);
    Ok(Became { value: held, note: moved.then(|| format!("was {written}; minicol takes {min} to {max}")) })
}

/// A time in seconds. None at all, or less, is no time that was meant.
fn time(key: &str, value: Option<&Value>, default: f64, min: f64, max: f64) -> anyhow::Result<Became<f64>> {
    match value.map(|value| numeric(key, value)).transpose()? {
        Some(written) if written <= 0.0 => {
            Ok(Became::noted(default, format!("was {written}, which is no time: this is the old poller's default")))
        }
        _ => number(key, value, default, min, max),
    }
}

fn whole(key: &str, value: Option<&Value>, default: f64, max: f64) -> anyhow::Result<Became<f64>> {
    let mut found = number(key, value, default, 1.0, max)?;
    if found.value.fract() != 0.0 {
        found = Became::noted(found.value.round(), format!("was {}: a whole number is needed", found.value));
    }
    Ok(found)
}

/// The old poller counted attempts by this key, the first one included.
fn retries(value: Option<&Value>) -> anyhow::Result<Became<f64>> {
    const MOST: f64 = 10.0;
    let written = value.map_or(Ok(3.0), |value| numeric("max_retries", value))?;
    let attempts = written.round();
    let retries = (attempts - 1.0).clamp(0.0, MOST);
    let said = if (0.0..=MOST).contains(&(attempts - 1.0)) { "" } else { ", and minicol takes 0 to 10 after it" };
    Ok(Became::noted(
        retries,
        format!("was {written} attempts, the first one counted{said}: that is {retries} after the first"),
    ))
}

fn tools(value: Option<&Value>) -> anyhow::Result<Became<Vec<String>>> {
    let default = || TOOLS.map(str::to_owned).to_vec();
    let list = match value {
        None => return Ok(Became::same(default())),
        Some(Value::Array(list)) => list,
        Some(other) => bail!("`{BLOCK}.metrics_to_collect` must be a list of tools, but is {}", shown(other)),
    };
    let (mut kept, mut dropped): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for one in list {
        let bare = |name: &str| name.strip_prefix("get_").unwrap_or(name).to_owned();
        match one.as_str().map(str::trim) {
            Some(name)
                if is_name(name) && kept.len() < MAX_TOOLS && !kept.iter().any(|other| bare(other) == bare(name)) =>
            {
                kept.push(name.to_owned());
            }
            _ => dropped.push(shown(one)),
        }
    }
    let left_out = (!dropped.is_empty()).then(|| format!("left out {}: no tool, or named before", dropped.join(", ")));
    Ok(match (kept.is_empty(), left_out) {
        (false, note) => Became { value: kept, note },
        (true, _) => Became::noted(default(), "named no tool: these are the four that the old poller knew"),
    })
}

/// As many as one receiver polls.
const MAX_TOOLS: usize = 256;

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
}

/// Port 4318 and a path are OTLP over HTTP; everything else was gRPC, as Mahavishnu sends it.
fn backend(value: Option<&Value>) -> Backend {
    let grpc = |endpoint, changed| Backend { exporter: "otlp", endpoint, changed };
    let Some(address) = value.and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()) else {
        return grpc(Became::noted(BACKEND, "Mahavishnu's default"), false);
    };
    let (url, had_user) = without_user(&with_scheme(address));
    let url = match url.split_once("://") {
        Some(("grpc", rest)) => format!("http://{rest}"),
        Some(("grpcs", rest)) => format!("https://{rest}"),
        _ => url,
    };
    let url = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/').to_owned();
    // No signal is named here: the exporter adds `/v1/metrics` itself.
    let base = ["/v1/metrics", "/v1/traces", "/v1/logs"].iter().find_map(|path| url.strip_suffix(path));
    let base = base.unwrap_or(&url).trim_end_matches('/').to_owned();
    let beyond_scheme = base.split_once("://").map_or("", |(_, rest)| rest);
    let over_http = base != url || beyond_scheme.contains('/') || beyond_scheme.ends_with(":4318");
    // What makes no URL is told where the new file is checked.
    let mut note = "as `observability.otlp_endpoint` was".to_owned();
    if over_http {
        note += ", which is OTLP over HTTP: the exporter is otlphttp, and adds /v1/metrics";
    }
    if had_user {
        note.push_str(", but for its user: ");
        note.push_str(NO_USER);
    }
    let exporter = if over_http { "otlphttp" } else { "otlp" };
    Backend { exporter, endpoint: Became::noted(base, note), changed: over_http || had_user }
}

/// A value of the file, safe and short.
fn shown(value: &Value) -> String {
    foreign(&value.to_string())
}
