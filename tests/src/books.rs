use std::{collections::HashMap, time::Duration};

use minicol_plugin::Books;
use tokio::time::{Instant, sleep};

use crate::http_get;

/// The books as `/status` of the health page at `address` shows them; `None` where nobody answers.
pub async fn books(address: &str) -> Option<Books> {
    let (code, body) = http_get(address, "/status").await?;
    assert_eq!(code, 200, "{body}");
    Some(serde_json::from_str(&body).expect("/status shows the books"))
}

/// Waits until nothing is on its way or queued any more, for at most `within`; checks the books at every look, and then as they are at rest.
pub async fn books_at_rest(address: &str, within: Duration) -> Books {
    let deadline = Instant::now() + within;
    loop {
        let books = books(address).await.expect("the health page answers");
        books.check().unwrap_or_else(|unbalanced| panic!("{unbalanced}"));
        let moving = books.edges.iter().any(|edge| edge.waiting > 0)
            || books.accounts.iter().any(|account| account.queued + account.waiting > 0);
        if !moving {
            books.check_at_rest().unwrap_or_else(|unbalanced| panic!("{unbalanced}"));
            return books;
        }
        assert!(Instant::now() < deadline, "still on its way after {within:?}: {books:#?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Of the totals that the program logs at the end, as text or as JSON: those that do not balance, each with the line.
///
/// # Panics
/// Where there are none.
pub fn unbalanced_totals(log: &str) -> Vec<String> {
    let totals: Vec<_> = log.lines().filter_map(Totals::read).collect();
    assert!(!totals.is_empty(), "the log has no totals:\n{log}");
    totals.into_iter().filter(|totals| !totals.balance()).map(|totals| totals.line).collect()
}

/// One component's.
struct Totals {
    line: String,
    fields: HashMap<String, String>,
}

impl Totals {
    fn read(line: &str) -> Option<Self> {
        let fields = match serde_json::from_str::<serde_json::Map<_, _>>(line) {
            Ok(json) if json.get("message")? == "totals" => json
                .into_iter()
                .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
                .collect(),
            Ok(_) => return None,
            Err(_) => {
                // `totals kind=exporter in=12 refused="2 (queue_full 2)"`
                let mut rest = line.split_once(" totals ")?.1;
                let mut fields = HashMap::new();
                while let Some((name, after)) = rest.split_once('=') {
                    let (value, after) = match after.strip_prefix('"') {
                        Some(quoted) => quoted.split_once('"')?,
                        None => after.split_once(' ').unwrap_or((after, "")),
                    };
                    fields.insert(name.trim().to_owned(), value.to_owned());
                    rest = after;
                }
                fields
            }
        };
        Some(Self { line: line.to_owned(), fields })
    }

    /// A number, or the sum in `12 (queue_full 10, shutdown 2)`; 0 where it is not there.
    fn number(&self, name: &str) -> u64 {
        let Some(value) = self.fields.get(name) else { return 0 };
        let number = value.split(' ').next().unwrap_or_default();
        number.parse().unwrap_or_else(|_| panic!("{name} is no number: {}", self.line))
    }

    fn balance(&self) -> bool {
        // Of what makes another signal, `out` counts other items.
        let out = if self.fields.contains_key("emits") { "converted" } else { "out" };
        let sum = |names: &[&str]| names.iter().map(|name| self.number(name)).sum::<u64>();
        self.number("offered") == sum(&["in", "refused"])
            && sum(&["in", "restored"]) == sum(&[out, "unused", "failed", "dropped", "queued", "kept"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the log.
    fn totals(more: &str) -> String {
        format!(r#"{{"message":"totals","component":"otlp","offered":12,"in":10,"refused":"2 (queue_full 2)",{more}}}"#)
    }

    /// The same line for a person.
    fn text(json: &str) -> String {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap();
        let fields: Vec<_> =
            fields.iter().filter(|(name, _)| *name != "message").map(|(n, v)| format!("{n}={v}")).collect();
        format!("2026-01-01T00:00:00.000000Z  INFO totals {}", fields.join(" "))
    }

    #[test]
    fn totals_balance_with_what_was_stored_and_what_does_not_is_told() {
        let good = [
            r#""out":7,"queued":0,"failed":"2 (timeout 2)","dropped":"1 (shutdown 1)""#,
            r#""restored":5,"out":9,"queued":0,"kept":6"#,
            r#""out":100,"converted":7,"unused":3,"queued":0,"emits":"metrics""#,
        ];
        for more in good {
            assert_eq!(unbalanced_totals(&totals(more)), Vec::<String>::new(), "{more}");
            assert_eq!(unbalanced_totals(&text(&totals(more))), Vec::<String>::new(), "{more}");
        }
        let bad = [
            r#""out":9,"queued":0"#,
            r#""restored":5,"out":10,"queued":0"#,
            r#""out":10,"queued":0,"kept":1"#,
            r#""out":9,"queued":0,"failed":"2 (timeout 2)""#,
            r#""out":10,"converted":9,"queued":0,"emits":"metrics""#,
        ];
        for more in bad {
            assert_eq!(unbalanced_totals(&totals(more)).len(), 1, "{more}");
            assert_eq!(unbalanced_totals(&text(&totals(more))).len(), 1, "{more}");
        }
        let offered = totals(r#""out":10,"queued":0"#).replace("12", "13");
        assert_eq!(unbalanced_totals(&offered).len(), 1);
    }
}
