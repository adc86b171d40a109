//! A first pipeline file: from options, and from what a person answers.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use minicol_config::{Environment, Request};
use minicol_host::Plan;

use super::{print, quoted};
use crate::{
    cli::{First, Protocol},
    components::REGISTRY,
    tell,
};

const ENDPOINT: &str = "http://localhost:8678/mcp";

/// What the file says.
#[derive(Debug, PartialEq)]
struct Answers {
    endpoint: String,
    protocol: Protocol,
    backend: String,
}

/// Writes the file. Where a file is there already, nothing is written unless that was asked for.
pub(crate) fn init(wanted: &First) -> anyhow::Result<ExitCode> {
    let to_stdout = wanted.output == Path::new("-");
    if !to_stdout && !wanted.force && wanted.output.exists() {
        return Err(there_already(&wanted.output));
    }
    let asks = io::stdin().is_terminal();
    let answers = answers(wanted, asks, &mut io::stdin().lock(), &mut io::stderr())?;
    let text = pipeline(wanted, &answers);
    // What it writes must hold: the same check that `validate` makes.
    let request =
        Request { configs: vec![format!("yaml:{text}")], environment: Environment::default(), ..Request::default() };
    Plan::load(request, REGISTRY).inspect_err(|_| {
        tell("nothing is written: the pipeline would not start; the places below are in what it would be\n");
    })?;
    if to_stdout {
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&wanted.output, wanted.force, &text)?;
    let file = wanted.output.display();
    tell(&format!(
        "wrote {file}. Next:\n  minicol doctor --config {file}   is everything reachable?\n  minicol run --config {file}\n"
    ));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn write(file: &Path, force: bool, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    // Also a file that came meanwhile is not overwritten.
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut open = options.open(file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => there_already(file),
        _ => anyhow::Error::from(error).context(format!("{} cannot be written", file.display())),
    })?;
    open.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", file.display()))
}

fn there_already(file: &Path) -> anyhow::Error {
    let file = file.display();
    anyhow::anyhow!("{file} is there already: name another file with --output, or write over it with --force")
}

/// What the options say, else what a person says, else what is usual.
fn answers(wanted: &First, asks: bool, heard: &mut impl BufRead, said: &mut impl Write) -> anyhow::Result<Answers> {
    let mut ask = |question: &str, usual: &str| -> anyhow::Result<String> {
        if !asks {
            return Ok(usual.to_owned());
        }
        write!(said, "{question} [{usual}]: ")?;
        said.flush()?;
        let mut line = String::new();
        if heard.read_line(&mut line)? == 0 {
            bail!("no answer: nothing is written");
        }
        let answer = line.trim();
        Ok(if answer.is_empty() { usual.to_owned() } else { answer.to_owned() })
    };
    let endpoint = match &wanted.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => ask("Where is the Session-Buddy?", ENDPOINT)?,
    };
    let protocol = match wanted.protocol {
        Some(protocol) => protocol,
        None => match ask("How do metrics travel to the backend, grpc or http?", "grpc")?.as_str() {
            "grpc" => Protocol::Grpc,
            "http" => Protocol::Http,
            _ => bail!("the protocol is grpc or http: nothing is written"),
        },
    };
    let backend = match &wanted.backend {
        Some(backend) => backend.clone(),
        None => ask("Where is the backend?", protocol.usual_backend())?,
    };
    Ok(Answers { endpoint, protocol, backend })
}

impl Protocol {
    fn usual_backend(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::Http => "http://localhost:4318",
        }
    }

    fn exporter(self) -> &'static str {
        match self {
            Self::Grpc => "otlp",
            Self::Http => "otlphttp",
        }
    }
}

fn pipeline(wanted: &First, answers: &Answers) -> String {
    let exporter = answers.protocol.exporter();
    let token = match &wanted.bearer_token_file {
        Some(file) => {
            format!("    bearer_token_file: {} # read again when it changes\n", quoted(&file.to_string_lossy()))
        }
        None => "    # bearer_token_file: /run/secrets/token # where the server wants a token\n".to_owned(),
    };
    format!(
        "# yaml-language-server: $schema=minicol.schema.json
# Polls a Session-Buddy and delivers its metrics over OTLP. Made by `minicol init`.
#   minicol doctor --config FILE     is everything reachable?
#   minicol poll --config FILE       ask once, show the metrics, deliver nothing
#   minicol run --config FILE        run it
# Completion in an editor: `minicol schema > minicol.schema.json` beside this file, where its first line looks for it.

receivers:
  session_buddy:
    endpoint: {endpoint}
    interval_seconds: {interval}
{token}    # Which tools are polled; without it, all that the mapping below knows.
    # metrics_to_collect: [workflow_metrics, session_analytics, metrics_summary, liveness]

processors:
  mapping:
    presets: [session_buddy] # makes metrics of the answers; `rules` adds your own

exporters:
  {exporter}:
    endpoint: {backend}
    # headers: {{x-api-key: \"${{env:BACKEND_KEY}}\"}} # taken from the environment

extensions:
  health_check: # http://localhost:13133
  status_page: # http://localhost:55679; `minicol status`, `top` and `tap` ask it

service:
  extensions: [health_check, status_page]
  pipelines:
    metrics:
      receivers: [session_buddy]
      processors: [mapping]
      exporters: [{exporter}]
",
        endpoint = quoted(&answers.endpoint),
        interval = wanted.interval,
        backend = quoted(&answers.backend),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> First {
        First {
            endpoint: None,
            backend: None,
            protocol: None,
            bearer_token_file: None,
            interval: 30.0,
            output: "minicol.yaml".into(),
            force: false,
        }
    }

    #[test]
    fn a_person_is_asked_for_what_no_option_says() {
        let mut said = Vec::new();
        let given = First { endpoint: Some("http://buddy/mcp".to_owned()), ..first() };
        let answers = answers(&given, true, &mut "http\n\n".as_bytes(), &mut said).unwrap();
        let backend = "http://localhost:4318".to_owned();
        assert_eq!(answers, Answers { endpoint: "http://buddy/mcp".to_owned(), protocol: Protocol::Http, backend });
        let said = String::from_utf8(said).unwrap();
        assert_eq!(
            said,
            "How do metrics travel to the backend, grpc or http? [grpc]: Where is the backend? [http://localhost:4318]: "
        );
    }

    #[test]
    fn nobody_is_asked_without_a_terminal_and_an_end_is_no_answer() {
        let usual = answers(&first(), false, &mut "".as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!((usual.endpoint.as_str(), usual.backend.as_str()), (ENDPOINT, "http://localhost:4317"));
        assert!(answers(&first(), true, &mut "".as_bytes(), &mut Vec::new()).is_err());
        assert!(answers(&first(), true, &mut "\nsoap\n".as_bytes(), &mut Vec::new()).is_err());
    }
}
