use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use minicol_pdata::{Attributes, MetricKind, MetricView, Metrics, Number, PointValue, PointView, Resource};

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything under one name.
struct Family<'a> {
    help: &'a str,
    kind: &'static str,
    /// Lines by their labels; a second series with the same labels would make the page invalid.
    series: BTreeMap<Vec<(String, String)>, PointView<'a>>,
}

/// Metrics in the text format of Prometheus (0.0.4). Names stand as they are, with `_` for what Prometheus does not allow; no type or unit is
/// added to them. The resource is `target_info`. Families and series are in the order of their names and labels. Of two metrics whose
/// names fall together, the first gives help and type, and a series of the second is shown where it has the same type and other labels.
pub fn render(metrics: &Metrics, resource: &Resource) -> String {
    let mut families: BTreeMap<String, Family<'_>> = BTreeMap::new();
    for metric in metrics.iter() {
        add(&mut families, &metric);
    }
    let mut page = String::new();
    target_info(&mut page, resource);
    for (name, family) in &families {
        write_family(&mut page, name, family);
    }
    page
}

fn add<'a>(families: &mut BTreeMap<String, Family<'a>>, metric: &MetricView<'a>) {
    let kind = match metric.kind() {
        Some(MetricKind::Sum { monotonic: true, .. }) => "counter",
        Some(MetricKind::Gauge | MetricKind::Sum { .. }) => "gauge",
        Some(MetricKind::Histogram { .. }) => "histogram",
        // The program has no other kinds of its own.
        Some(MetricKind::ExponentialHistogram { .. } | MetricKind::Summary) | None => return,
    };
    let family = families.entry(metric_name(metric.name())).or_insert_with(|| Family {
        help: metric.description(),
        kind,
        series: BTreeMap::new(),
    });
    if family.kind != kind {
        return;
    }
    for point in metric.points().into_iter().filter(|point| !point.no_recorded_value) {
        family.series.entry(labels(&point.attributes())).or_insert(point);
    }
}

fn write_family(page: &mut String, name: &str, family: &Family<'_>) {
    if family.series.is_empty() {
        return;
    }
    head(page, name, family.help, family.kind);
    for (labels, point) in &family.series {
        match &point.value {
            PointValue::Number(number) => line(page, name, labels, None, &plain(*number)),
            PointValue::Histogram { count, sum, bounds, buckets, .. } => {
                write_buckets(page, name, labels, *count, bounds, buckets);
                line(page, &format!("{name}_sum"), labels, None, &float(sum.unwrap_or_default()));
                line(page, &format!("{name}_count"), labels, None, &count.to_string());
            }
            PointValue::None | PointValue::ExponentialHistogram { .. } | PointValue::Summary { .. } => {}
        }
    }
}

/// Buckets count everything up to their boundary.
fn write_buckets(
    page: &mut String,
    name: &str,
    labels: &[(String, String)],
    count: u64,
    bounds: &[f64],
    buckets: &[u64],
) {
    let name = format!("{name}_bucket");
    let mut total = 0;
    for (bound, bucket) in bounds.iter().zip(buckets) {
        total += bucket;
        line(page, &name, labels, Some(&float(*bound)), &total.to_string());
    }
    line(page, &name, labels, Some("+Inf"), &count.to_string());
}

fn target_info(page: &mut String, resource: &Resource) {
    if resource.is_empty() {
        return;
    }
    head(page, "target_info", "Target metadata", "gauge");
    line(page, "target_info", &labels(resource), None, "1");
}

// Writing to a String cannot fail, so the results below are dropped.

fn head(page: &mut String, name: &str, help: &str, kind: &str) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, labels: &[(String, String)], le: Option<&str>, value: &str) {
    page.push_str(name);
    let le = le.map(|bound| ("le", bound));
    let mut separator = '{';
    for (label, text) in labels.iter().map(|(label, text)| (label.as_str(), text.as_str())).chain(le) {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(page, "{separator}{label}=\"{text}\"");
        separator = ',';
    }
    if separator == ',' {
        page.push('}');
    }
    let _ = writeln!(page, " {value}");
}

/// Sorted by name. Names that fall together share one label, their values joined by `;` (OpenTelemetry's rule for Prometheus).
fn labels(attributes: &Attributes) -> Vec<(String, String)> {
    let mut by_name: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, value) in attributes.iter() {
        by_name.entry(label_name(name)).or_default().insert(value.to_string());
    }
    by_name.into_iter().map(|(name, values)| (name, values.into_iter().collect::<Vec<_>>().join(";"))).collect()
}

fn metric_name(name: &str) -> String {
    legal(name, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// `le` is a histogram's own, and names that begin with two underscores are Prometheus' own.
fn label_name(name: &str) -> String {
    let name = legal(name, |c| c.is_ascii_alphanumeric() || c == '_');
    if name == "le" || name.starts_with("__") { format!("attribute_{name}") } else { name }
}

fn legal(name: &str, allowed: impl Fn(char) -> bool) -> String {
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn plain(number: Number) -> String {
    match number {
        Number::Int(value) => value.to_string(),
        Number::Double(value) => float(value),
    }
}

fn float(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}
