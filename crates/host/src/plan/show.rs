//! A plan in the shape of a pipeline file.

use serde_json::{Map, Value, json};

use super::{Enabled, Pipeline, Plan, Planned};
use crate::registry::ENABLED;

pub(super) fn plan(plan: &Plan) -> Value {
    let mut file = Map::new();
    let receivers = section(&plan.receivers, |Enabled(enabled), own| {
        // Where a user would write it: first.
        let own = std::mem::take(own);
        [(ENABLED.to_owned(), json!(enabled))].into_iter().chain(own).collect()
    });
    let as_is = |(): &(), own: &mut Map<String, Value>| std::mem::take(own);
    let exporters = section(&plan.exporters, |delivery, own| {
        let mut own = std::mem::take(own);
        if let Ok(Value::Object(delivery)) = serde_json::to_value(delivery) {
            own.extend(delivery);
        }
        own
    });
    file.insert("receivers".to_owned(), receivers);
    file.insert("processors".to_owned(), section(&plan.processors, as_is));
    file.insert("exporters".to_owned(), exporters);
    file.insert("extensions".to_owned(), section(&plan.extensions, as_is));
    // What is empty says nothing.
    file.retain(|_, section| section.as_object().is_some_and(|section| !section.is_empty()));
    let pipelines: Map<String, Value> = plan.pipelines.iter().map(|one| (one.id.clone(), pipeline(one))).collect();
    let telemetry = serde_json::to_value(&plan.telemetry).unwrap_or(Value::Null);
    let service = json!({ "telemetry": telemetry, "extensions": plan.started_extensions, "pipelines": pipelines });
    file.insert("service".to_owned(), service);
    Value::Object(file)
}

fn section<P: ?Sized, X>(
    components: &Planned<P, X>,
    add: impl Fn(&X, &mut Map<String, Value>) -> Map<String, Value>,
) -> Value {
    let shown = components.iter().map(|(id, component)| {
        let body = match component.config.to_json() {
            Value::Object(mut own) => Value::Object(add(&component.beside, &mut own)),
            other => other,
        };
        (id.to_string(), body)
    });
    Value::Object(shown.collect())
}

fn pipeline(pipeline: &Pipeline) -> Value {
    let Pipeline { receivers, processors, exporters, .. } = pipeline;
    json!({ "receivers": receivers, "processors": processors, "exporters": exporters })
}
