//! Looking at what passes an arrow of a running program.

use std::{fmt::Write, io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp, Unit};
use minicol_config::{Environment, Style};
use minicol_pipeline_test::Paint;
use minicol_plugin::{EdgeName, text};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{page::Page, print};
use crate::{
    cli::{TapFormat, Tapping},
    tell,
};

/// How long the program may take to say that it is still there.
const SILENCE: Duration = Duration::from_secs(60);
/// No line of minicol is longer.
const MAX_BYTES: usize = 4 << 20;

/// One line of what it tells.
#[derive(Debug, Deserialize)]
struct Line {
    at: Option<f64>,
    #[serde(default)]
    items: u64,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    skipped: u64,
    text: Option<String>,
    batch: Option<Value>,
    end: Option<String>,
}

/// Without an arrow, lists them. With one, shows what passes until it is gone, or enough has passed.
pub(crate) async fn tap(wanted: &Tapping) -> anyhow::Result<ExitCode> {
    let page = Page::at(&wanted.endpoint)?;
    let Some(edge) = &wanted.edge else { return list(&page).await };
    let format = match wanted.format {
        TapFormat::Text => "text",
        TapFormat::Json => "json",
    };
    let verbosity = if wanted.detailed { "detailed" } else { "normal" };
    let rate = wanted.rate;
    let asked = format!("tap?edge={}&format={format}&verbosity={verbosity}&rate={rate}", encoded(edge));
    let (mut body, base) = (page.open(&asked).await?, page.base());
    let (mut rest, mut shown) = (Vec::new(), 0);
    loop {
        let frame = timeout(SILENCE, body.frame())
            .await
            .with_context(|| format!("{base} has not said anything for {SILENCE:?}"))?;
        let Some(frame) = frame else {
            tell("minicol has ended\n");
            return Ok(ExitCode::SUCCESS);
        };
        let Ok(data) = frame.with_context(|| format!("{base} broke off"))?.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if line.len() <= 1 {
                continue;
            }
            let line: Line = serde_json::from_slice(&line).map_err(|error| page.strange(&error.to_string()))?;
            let ends = line.end.is_some();
            shown += u64::from(line.at.is_some());
            show(&line)?;
            if ends || wanted.count.is_some_and(|count| shown >= count) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if rest.len() > MAX_BYTES {
            return Err(page.strange("a line that does not end"));
        }
    }
}

/// What passed goes to standard output; what was left out to standard error.
fn show(line: &Line) -> anyhow::Result<()> {
    if line.skipped > 0 {
        tell(&format!("({} items were not shown)\n", line.skipped));
    }
    if let Some(shown) = &line.text {
        let style = Style::for_terminal(std::io::stdout().is_terminal(), &Environment::of_process());
        let paint = if style.color { Paint::Ansi } else { Paint::Plain };
        let since_epoch = line.at.and_then(|at| SignedDuration::try_from_secs_f64(at).ok());
        let at = since_epoch.and_then(|at| Timestamp::from_duration(at.round(Unit::Millisecond).ok()?).ok());
        let at = at.map(|at| at.to_string()).unwrap_or_default();
        let outcome = if line.outcome == "taken" {
            String::new()
        } else {
            format!(", refused: {}", text::foreign(&line.outcome))
        };
        print(&format!("{}\n{}", paint.dim(&format!("{at} {} items{outcome}", line.items)), lines(shown)))?;
    }
    if let Some(batch) = &line.batch {
        print(&format!("{batch}\n"))?;
    }
    if let Some(end) = &line.end {
        tell(&format!("{}\n", text::foreign(end)));
    }
    Ok(())
}

/// Lines of another program, fit for a terminal.
fn lines(shown: &str) -> String {
    let one = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        format!("{}{}\n", " ".repeat(indent), text::shortened(line, 4_000))
    };
    shown.lines().map(one).collect()
}

async fn list(page: &Page) -> anyhow::Result<ExitCode> {
    let edges: Vec<EdgeName> = page.get("tap").await?;
    let mut out = String::new();
    for edge in &edges {
        let twice = edges.iter().filter(|other| other.is_called(&edge.label())).count() > 1;
        let name = if twice { format!("{}:{}", edge.pipeline, edge.label()) } else { edge.label() };
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "{}  {} in pipeline {}", text::foreign(&name), edge.signal, text::foreign(&edge.pipeline));
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// A value of a query.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}
