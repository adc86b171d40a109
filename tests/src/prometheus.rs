//! How Prometheus calls what arrives there over OTLP: the rules of the specification (`compatibility/prometheus_and_openmetrics.md`), as Prometheus 3 follows
//! them unless it is told otherwise (`otlp.translation_strategy: UnderscoreEscapingWithSuffixes`).

/// The words that units become.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
];
/// The same behind a slash.
const PER: &[(&str, &str)] =
    &[("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

/// The names of a metric's series. `kind` is `counter`, `updowncounter`, `gauge` or `histogram`.
pub fn series(name: &str, unit: &str, kind: &str) -> Vec<String> {
    let name = metric_name(name, unit, kind);
    match kind {
        "histogram" => ["bucket", "sum", "count"].iter().map(|part| format!("{name}_{part}")).collect(),
        _ => vec![name],
    }
}

/// The name of a metric: its words, those of its unit, and `total` of what only counts up, or `ratio` of a gauge with the unit `1`.
pub fn metric_name(name: &str, unit: &str, kind: &str) -> String {
    let mut words: Vec<&str> = split(name).collect();
    let (unit_of, per) = unit.split_once('/').unwrap_or((unit, ""));
    let unit_word = word(unit_of, UNITS);
    let per_word = word(per, PER);
    if !words.contains(&unit_word) {
        words.extend(split(unit_word));
    }
    if !per_word.is_empty() {
        words.push("per");
        words.extend(split(per_word));
    }
    let ending = match (kind, unit) {
        ("counter", _) => "total",
        ("gauge", "1") => "ratio",
        _ => "",
    };
    if !ending.is_empty() {
        words.retain(|word| *word != ending);
        words.push(ending);
    }
    let name = words.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The label that an attribute becomes.
pub fn label_name(attribute: &str) -> String {
    attribute.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// What is in braces annotates, and is no unit.
fn word<'a>(unit: &'a str, known: &[(&str, &'static str)]) -> &'a str {
    let unit = unit.trim();
    if unit.contains(['{', '}']) {
        return "";
    }
    known.iter().find(|(short, _)| *short == unit).map_or(unit, |(_, word)| word)
}

fn split(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_specification_has_them() {
        for (name, unit, kind, expected) in [
            ("system.filesystem.usage", "By", "gauge", "system_filesystem_usage_bytes"),
            ("system.network.io", "By", "counter", "system_network_io_bytes_total"),
            ("system.disk.operation_time", "s", "counter", "system_disk_operation_time_seconds_total"),
            ("system.network.dropped", "{packets}", "counter", "system_network_dropped_total"),
            ("system.cpu.utilization", "1", "gauge", "system_cpu_utilization_ratio"),
            ("hw.gpu.memory.utilization", "1", "updowncounter", "hw_gpu_memory_utilization"),
            ("hw.fan.speed", "rpm", "gauge", "hw_fan_speed_rpm"),
            ("storage.speed", "m/s", "gauge", "storage_speed_meters_per_second"),
            ("broken.rate", "By/{request}", "gauge", "broken_rate_bytes"),
            ("commit.rate", "{commit}/h", "gauge", "commit_rate_per_hour"),
            ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
            ("requests.total", "{request}", "counter", "requests_total"),
            ("total.requests", "", "counter", "requests_total"),
            ("up_time_seconds", "s", "counter", "up_time_seconds_total"),
            ("a..b__c-d/e", "", "gauge", "a_b_c_d_e"),
            ("3xx.answers", "", "gauge", "_3xx_answers"),
            ("rule:name", "%", "gauge", "rule:name_percent"),
        ] {
            assert_eq!(metric_name(name, unit, kind), expected, "{name} in {unit:?}");
        }
        assert_eq!(series("d", "s", "histogram"), ["d_seconds_bucket", "d_seconds_sum", "d_seconds_count"]);
        assert_eq!(
            (label_name("error.type"), label_name("gen_ai.tool.name")),
            ("error_type".into(), "gen_ai_tool_name".into())
        );
    }
}
