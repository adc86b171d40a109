//! Looking at what passes an arrow of a running program.

use std::{fmt::Write, io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::{SignedDuration, Timestamp, Unit};
use minicol_config::{Environment, Style};
use minicol_pipeline_test::Paint;
use minicol_plugin::{EdgeName, net::HttpConnector, text};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{host, print};
use crate::{
    cli::{TapFormat, Tapping},
    tell,
};

/// How long the program may take to answer, and to say that it is still there.
const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(60);
/// No line and no answer of minicol is longer.
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
    let base = wanted.endpoint.trim_end_matches('/');
    let is_page = base.parse().ok().is_some_and(|uri: Uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    if !is_page {
        bail!("`{base}` is no endpoint: write it as http://127.0.0.1:55679, where status_page listens");
    }
    let Some(edge) = &wanted.edge else { return list(base).await };
    let format = match wanted.format {
        TapFormat::Text => "text",
        TapFormat::Json => "json",
    };
    let verbosity = if wanted.detailed { "detailed" } else { "normal" };
    let rate = wanted.rate;
    let mut body = get(
        &format!("{base}/api/v1/tap?edge={}&format={format}&verbosity={verbosity}&rate={rate}", encoded(edge)),
        base,
    )
    .await?;
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
            let line: Line = serde_json::from_slice(&line).map_err(|error| strange(base, &error.to_string()))?;
            let ends = line.end.is_some();
            shown += u64::from(line.at.is_some());
            show(&line)?;
            if ends || wanted.count.is_some_and(|count| shown >= count) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if rest.len() > MAX_BYTES {
            return Err(strange(base, "a line that does not end"));
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

async fn list(base: &str) -> anyhow::Result<ExitCode> {
    let body = get(&format!("{base}/api/v1/tap"), base).await?;
    let read = timeout(PATIENCE, Limited::new(body, MAX_BYTES).collect()).await;
    let bytes = read.ok().and_then(Result::ok).with_context(|| format!("{base} broke off"))?.to_bytes();
    let edges: Vec<EdgeName> = serde_json::from_slice(&bytes).map_err(|error| strange(base, &error.to_string()))?;
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

/// The body of a good answer.
async fn get(url: &str, base: &str) -> anyhow::Result<Incoming> {
    let (_, environment) = host();
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HttpConnector::new(environment.network, None));
    let asked = client.request(Request::get(url).body(Empty::new())?);
    let answered =
        timeout(PATIENCE, asked).await.with_context(|| format!("no answer from {base} within {PATIENCE:?}"))?;
    let response = answered.map_err(|error| {
        let error = anyhow::Error::from(error);
        let why = error.chain().last().map(ToString::to_string).unwrap_or_default();
        anyhow::anyhow!("no answer from {base}: {why}; does minicol run there, with the extension status_page?")
    })?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response.into_body());
    }
    let read = timeout(PATIENCE, Limited::new(response.into_body(), MAX_BYTES).collect()).await;
    let bytes = read.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let told = serde_json::from_slice::<Value>(&bytes).ok().and_then(|told| told["error"].as_str().map(str::to_owned));
    match told {
        Some(why) => bail!("{}", text::shortened(&why, 2_000)),
        None => Err(strange(base, &format!("{status}: {}", String::from_utf8_lossy(&bytes)))),
    }
}

fn strange(base: &str, what: &str) -> anyhow::Error {
    anyhow::anyhow!("{base} is no status page of minicol that can be tapped: {}", text::shortened(what, 200))
}

/// A value of a query.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}
