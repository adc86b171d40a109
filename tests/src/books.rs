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
        let taken = number(&line["in"]);
        let kept = !line["emits"].is_null()
            || taken == number(&line["out"]) + number(&line["queued"]) + sum(&line["failed"]) + sum(&line["dropped"]);
        number(&line["offered"]) == taken + sum(&line["refused"]) && kept
    };
    totals.iter().filter(|line| !balances(line)).map(ToString::to_string).collect()
}
