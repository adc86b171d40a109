//! A plan as a list of settings, each with the place where it was written.

use minicol_config::{Node, Path};
use minicol_plugin::Setting;
use serde_json::Value;

/// Every value of `shown`, a plan in the shape of a pipeline file, in order; `written` is what was read.
pub(super) fn of(shown: &Value, written: &Node) -> Vec<Setting> {
    let mut all = Vec::new();
    add(&Path::root(), shown, written, &mut all);
    all
}

fn add(path: &Path, shown: &Value, written: &Node, all: &mut Vec<Setting>) {
    match shown {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(key, value)| add(&path.join(key.as_str()), value, written, all));
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().enumerate().for_each(|(index, item)| add(&path.join(index), item, written, all));
        }
        value => {
            let place = written.find(path).map(|_| written.mark_of_value(path).to_string());
            all.push(Setting { path: path.to_string(), value: value.clone(), place });
        }
    }
}

#[cfg(test)]
mod tests {
    use minicol_config::{Request, load};
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_tells_where_it_was_written_and_a_default_that_it_was_not() {
        let request = Request {
            configs: vec!["yaml:a: {b: 1, c: [x, y]}\nd:\n  - {e: secret}".to_owned()],
            sets: vec!["a.b=2".to_owned()],
            ..Request::default()
        };
        let written = load(&request).unwrap().root;
        let shown = json!({"a": {"b": 2, "c": ["x", "y"], "f": null}, "d": [{"e": "[REDACTED]"}]});
        let settings = of(&shown, &written);
        let told: Vec<_> = settings
            .iter()
            .map(|one| format!("{} = {} ({})", one.path, one.value, one.place.as_deref().unwrap_or("default")))
            .collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].starts_with("a::b = 2 (<--set"), "{told:?}");
        assert!(told[1].starts_with(r#"a::c = ["x","y"] ("#) && told[1].ends_with(":1:14)"), "{told:?}");
        assert_eq!(told[2], "a::f = null (default)");
        assert!(told[3].starts_with(r#"d[0]::e = "[REDACTED]" ("#) && told[3].ends_with(":3:9)"), "{told:?}");
    }
}
