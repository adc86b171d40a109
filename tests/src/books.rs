use std::time::Duration;

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

/// Of the totals that the program logs at the end (`encoding: json`): those that do not balance, each with the line.
pub fn unbalanced_totals(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let totals: Vec<_> = lines.filter(|line| line["message"] == "totals").collect();
    assert!(!totals.is_empty(), "the log has no totals:\n{log}");
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    // `12 (queue_full 10, shutdown 2)`
    let sum = |value: &serde_json::Value| {
        value.as_str().and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    let balances = |line: &serde_json::Value| {
        let had = number(&line["in"]) + number(&line["restored"]);
        let left = number(&line["queued"]) + number(&line["kept"]);
        let balanced = had == number(&line["out"]) + sum(&line["failed"]) + sum(&line["dropped"]) + left;
        number(&line["offered"]) == number(&line["in"]) + sum(&line["refused"])
            && (balanced || !line["emits"].is_null())
    };
    totals.iter().filter(|line| !balances(line)).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the log.
    fn totals(more: &str) -> String {
        format!(r#"{{"message":"totals","component":"otlp","offered":12,"in":10,"refused":"2 (queue_full 2)",{more}}}"#)
    }

    #[test]
    fn totals_balance_with_what_was_stored_and_what_does_not_is_told() {
        let good = [
            r#""out":7,"queued":0,"failed":"2 (timeout 2)","dropped":"1 (shutdown 1)""#,
            r#""restored":5,"out":9,"queued":0,"kept":6"#,
            r#""out":100,"queued":0,"emits":"metrics""#,
        ];
        for more in good {
            assert_eq!(unbalanced_totals(&totals(more)), Vec::<String>::new(), "{more}");
        }
        let bad = [
            r#""out":9,"queued":0"#,
            r#""restored":5,"out":10,"queued":0"#,
            r#""out":10,"queued":0,"kept":1"#,
            r#""out":9,"queued":0,"failed":"2 (timeout 2)""#,
        ];
        for more in bad {
            assert_eq!(unbalanced_totals(&totals(more)).len(), 1, "{more}");
        }
        let offered = totals(r#""out":10,"queued":0"#).replace("12", "13");
        assert_eq!(unbalanced_totals(&offered).len(), 1);
    }
}
