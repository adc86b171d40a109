//! What was expected against what came.

use minicol_config::Path;
use minicol_pdata::Attributes;
use serde_json::{Map, Value};

use crate::{
    file::{Case, ExpectedMetric, ExpectedPoint, Match, attributes},
    series::{Series, named},
};

/// One way in which what came is not what was expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// A point that did not come.
    Missing {
        /// Where it is expected, below the step.
        path: Path,
        /// Its metric's name and its attributes.
        series: String,
        /// What it was to say.
        expected: String,
        /// What else came of this metric.
        instead: Vec<String>,
    },
    /// A point that nobody expects.
    Unexpected {
        /// Its metric's name and its attributes.
        series: String,
        /// What it says.
        got: String,
    },
    /// A point that says something else.
    Different {
        /// Where it is expected, below the step.
        path: Path,
        /// Its metric's name and its attributes.
        series: String,
        /// What differs.
        fields: Vec<Field>,
    },
}

/// One thing that differs in a point or its metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its key in the file.
    pub name: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// A double that was computed is seldom the one that was written.
const TOLERANCE: f64 = 1e-9;

/// Everything in which `got` is not what is expected.
pub(crate) fn differences(case: &Case, expected: &[ExpectedMetric], got: &[Series]) -> Vec<Difference> {
    let looked_at = |series: &&Series| case.only.is_empty() || case.only.iter().any(|one| is_like(one, &series.name));
    let mut left: Vec<Option<&Series>> = got.iter().filter(looked_at).map(Some).collect();
    let (mut found, mut open) = (Vec::new(), Vec::new());
    // What agrees in everything is taken first, so that a point that differs takes no other's place.
    for (at, metric) in expected.iter().enumerate() {
        for (index, point) in metric.points.iter().enumerate() {
            let its = attributes(&point.attributes);
            let same = |one: &&mut Option<&Series>| {
                one.is_some_and(|one| is_of(metric, &its, one) && fields(metric, point, one, case).is_empty())
            };
            match left.iter_mut().find(same) {
                Some(taken) => *taken = None,
                None => open.push((at, metric, index, point, its)),
            }
        }
    }
    for (at, metric, index, point, its) in open {
        let path = Path::keys(["expect"]).join(at).join("points").join(index);
        let series = named(&metric.name, &its);
        if let Some(taken) = left.iter_mut().find(|one| one.is_some_and(|one| is_of(metric, &its, one))) {
            let fields = taken.take().map(|one| fields(metric, point, one, case)).unwrap_or_default();
            found.push(Difference::Different { path, series, fields });
        } else {
            let others = left.iter().flatten().filter(|one| one.name == metric.name);
            let instead = others.map(ToString::to_string).collect();
            found.push(Difference::Missing { path, series, expected: says(point), instead });
        }
    }
    if case.matching == Match::Exact {
        let others = left.into_iter().flatten();
        found.extend(others.map(|one| Difference::Unexpected { series: one.to_string(), got: says(&one.point) }));
    }
    found
}

/// Whether it is this series: by name, attributes, and what is told of the resource.
fn is_of(metric: &ExpectedMetric, its: &Attributes, one: &Series) -> bool {
    let resource = attributes(&metric.resource);
    one.name == metric.name
        && one.attributes == *its
        && resource.iter().all(|(name, value)| one.resource.get(name) == Some(value))
}

/// What differs between what is written and what came.
fn fields(metric: &ExpectedMetric, point: &ExpectedPoint, one: &Series, case: &Case) -> Vec<Field> {
    let mut differ = Vec::new();
    let mut text = |name: &str, expected: Option<&str>, got: &str| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            differ.push(Field { name: name.to_owned(), expected: expected.to_owned(), got: got.to_owned() });
        }
    };
    text("type", metric.kind.as_deref(), one.kind);
    text("temporality", metric.temporality.as_deref(), one.temporality.unwrap_or("none"));
    text("unit", metric.unit.as_deref(), &one.unit);
    text("description", metric.description.as_deref(), &one.description);
    let moment = |when: Option<crate::When>| when.map(|when| when.resolved(case.start));
    for (name, expected, got) in [("start", point.start, one.point.start), ("time", point.time, one.point.time)] {
        if expected.is_some() && moment(expected) != moment(got) {
            let told = |when: Option<crate::When>| when.map_or_else(|| "none".to_owned(), |when| when.to_string());
            differ.push(Field { name: name.to_owned(), expected: told(expected), got: told(got) });
        }
    }
    let (expected, got) = (values(point), values(&one.point));
    let none = Value::Null;
    for (name, expected) in &expected {
        let got = got.get(name).unwrap_or(&none);
        let absent = *expected == Value::Bool(false) && got.is_null();
        if !absent && !agree(expected, got) {
            differ.push(Field { name: name.clone(), expected: shown(expected), got: shown(got) });
        }
    }
    differ
}

/// What a point says, apart from its attributes and times.
fn values(point: &ExpectedPoint) -> Map<String, Value> {
    let Ok(Value::Object(mut all)) = serde_json::to_value(point) else { return Map::new() };
    for key in ["attributes", "start", "time"] {
        all.shift_remove(key);
    }
    all
}

/// The values of a point, for a person.
fn says(point: &ExpectedPoint) -> String {
    let all = values(point);
    match all.get("value") {
        Some(value) => shown(value),
        None => all.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect::<Vec<_>>().join(", "),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => crate::yaml::flow(other),
    }
}

/// The same, but for what a computation leaves of a double.
fn agree(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(one), Value::Number(other)) => {
            let exact = one.as_i64().zip(other.as_i64()).map(|(one, other)| one == other);
            exact.unwrap_or_else(|| match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) => (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()),
                _ => false,
            })
        }
        (Value::Array(some), Value::Array(others)) => {
            some.len() == others.len() && some.iter().zip(others).all(|(one, other)| agree(one, other))
        }
        (Value::Object(some), Value::Object(others)) => {
            some.len() == others.len()
                && some.iter().all(|(name, one)| others.get(name).is_some_and(|other| agree(one, other)))
        }
        _ => expected == got,
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
pub(crate) fn is_like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, like) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a.*", "a.b.c", true),
            ("*.c", "a.b.c", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(is_like(pattern, name), like, "{pattern} {name}");
        }
    }

    #[test]
    fn numbers_agree_but_for_what_a_computation_leaves() {
        use serde_json::json;
        assert!(
            agree(&json!(0.3), &json!(0.1 + 0.2)) && agree(&json!(3), &json!(3.0)) && agree(&json!(0), &json!(0.0))
        );
        assert!(
            !agree(&json!(3), &json!(3.001))
                && !agree(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64))
        );
        assert!(
            !agree(&json!("NaN"), &json!(1))
                && agree(&json!("NaN"), &json!("NaN"))
                && !agree(&json!([1]), &json!([1, 2]))
        );
    }
}
