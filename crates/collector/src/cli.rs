//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use minicol_config::{Environment, Request};
use minicol_plugin::config::GoDuration;

/// A mini OpenTelemetry collector: polls Session-Buddy servers over MCP and delivers metrics over OTLP.
#[derive(Debug, Parser)]
#[command(name = "minicol", version, max_term_width = 120, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  minicol run --config pipelines/demo.yaml
      See it work: polls a simulated Session-Buddy and prints what it would export.
  minicol poll --config pipelines/session-buddy.yaml
      Ask a real Session-Buddy once, and look at the metrics. Nothing is exported.
  minicol validate --config pipelines/session-buddy.yaml
      Check a pipeline file. Silent where it holds.
  minicol simulate --profile release
      A simulated Session-Buddy alone, that answers as the released one does.
  minicol init --endpoint http://localhost:8678/mcp --backend http://localhost:4317
      Write a first pipeline file.
  minicol run --config base.yaml --config site.yaml --set exporters.otlp.endpoint=backend:4317
      Later files and --set win.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the pipelines until a signal (SIGINT, SIGTERM) ends them; a second signal ends the program at once. SIGHUP reloads the configuration
    #[command(
        after_help = "Examples:\n  minicol run --config pipelines/session-buddy.yaml\n  minicol run --config pipelines/session-buddy.yaml --watch"
    )]
    Run {
        #[command(flatten)]
        sources: Sources,
        /// How long the whole shutdown may take, such as 10s or 1m
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
        shutdown_timeout: Duration,
        /// Reload the configuration whenever one of its files changes
        #[arg(long)]
        watch: bool,
    },
    /// Check the configuration and build the graph without starting it; silent where it holds
    #[command(after_help = "Example: minicol validate --config pipelines/session-buddy.yaml")]
    Validate {
        #[command(flatten)]
        sources: Sources,
    },
    /// Print what is compiled in, as YAML
    Components,
    /// Look whether every target and backend is reachable, and say what to do where one is not
    #[command(
        after_help = "Example: minicol doctor --config pipelines/session-buddy.yaml\n\ndocs/doctor.md tells what each line means."
    )]
    Doctor {
        #[command(flatten)]
        sources: Sources,
        /// How long each component may take, such as 10s
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
        timeout: Duration,
        /// For a person or for a program
        #[arg(long, value_enum, default_value_t = Output::Table)]
        format: Output,
    },
    /// Show how a minicol that runs is, as its status page tells it
    #[command(
        after_help = "Example: minicol status --endpoint http://collector:55679\n\nExits with 0 where nothing is wrong (what an operator paused is not), with 1 where something is, with 2 where there is no answer."
    )]
    Status {
        #[command(flatten)]
        page: PageAt,
        /// For a person or for a program
        #[arg(long, value_enum, default_value_t = Output::Table)]
        format: Output,
    },
    /// Watch a minicol that runs, live in the terminal: q quits
    #[command(
        after_help = "Example: minicol top --endpoint http://collector:55679\n\nKeys: q quits; up, down, page up, page down scroll."
    )]
    Top {
        #[command(flatten)]
        page: PageAt,
    },
    /// Write a first pipeline file, with comments: asks on a terminal for what no option says
    #[command(
        after_help = "Examples:\n  minicol init\n  minicol init --endpoint http://buddy:8678/mcp --backend http://collector:4318 --protocol http --output site.yaml"
    )]
    Init(First),
    /// Look at what passes an arrow of a running minicol, live: sampled, secrets redacted. Without an arrow, list them
    #[command(
        after_help = "Examples:\n  minicol tap\n  minicol tap 'session_buddy->mapping'\n  minicol tap 'mapping->otlp' --format json --count 1\n\ndocs/tap.md tells what is shown."
    )]
    Tap(Tapping),
    /// Print the JSON Schema of a pipeline file, for editors and checks
    #[command(
        after_help = "Example: minicol schema > minicol.schema.json\n\ndocs/editor.md tells how an editor takes it."
    )]
    Schema {
        /// Of a test file, as `minicol test` takes it
        #[arg(long)]
        test: bool,
    },
    /// Run tests of pipelines offline: what goes in, and which metrics are to come out. Exit code 1: a test fails; 2: a file is wrong
    #[command(
        after_help = "Examples:\n  minicol test tests/pipelines\n  minicol test workflows.test.yaml --update\n\ndocs/test-a-pipeline.md tells what stands in a test file."
    )]
    Test(Tests),
    /// Poll a target and write its answers into a test file, with the metrics that come of them; secrets are left out
    #[command(
        after_help = "Example: minicol record --config pipelines/session-buddy.yaml --output session-buddy.test.yaml --cycles 3"
    )]
    Record(Recording),
    /// Print the completions of a shell
    #[command(after_help = "Example: minicol completions bash > ~/.local/share/bash-completion/completions/minicol")]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page of the program, or of one command
    #[command(after_help = "Example: minicol man > minicol.1; minicol man run > minicol-run.1")]
    Man {
        /// Only this command
        command: Option<String>,
    },
    /// Poll each target exactly once and show the metrics; nothing is exported
    #[command(
        after_help = "Examples:\n  minicol poll --config pipelines/session-buddy.yaml\n  minicol poll --config pipelines/session-buddy.yaml --output json session_buddy"
    )]
    Poll {
        #[command(flatten)]
        sources: Sources,
        /// For a person or for a program
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
        /// Only this receiver, by its id
        receiver: Option<String>,
    },
    /// Print the merged configuration with all defaults; secrets are redacted
    #[command(after_help = "Example: minicol print-config --config pipelines/session-buddy.yaml --format json")]
    PrintConfig {
        #[command(flatten)]
        sources: Sources,
        /// The format
        #[arg(long, value_enum, default_value_t = Format::Yaml)]
        format: Format,
    },
    /// Run a simulated Session-Buddy alone, for another poller or for a person with an MCP inspector, until a signal
    #[command(
        after_help = "Examples:\n  minicol simulate\n  minicol simulate --profile release --port 8678\n  minicol simulate --faults 'yaml:{latency: 200ms, tools: {get_workflow_metrics: {kind: cut, rate: 0.3}}}'"
    )]
    Simulate(Simulation),
    /// Print the pipeline file that does what the poller in a Mahavishnu settings file did
    #[command(
        after_help = "Example: minicol import-mahavishnu settings/mahavishnu.yaml > session-buddy.yaml\n\ndocs/from-mahavishnu.md tells what changes in the numbers."
    )]
    ImportMahavishnu {
        /// The settings file, YAML or JSON; `-` is standard input
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
}

/// What `tap` looks at.
#[derive(Debug, Args)]
pub(crate) struct Tapping {
    /// Which arrow, `FROM->TO` or `PIPELINE:FROM->TO`. Default: list them
    #[arg(value_name = "EDGE")]
    pub(crate) edge: Option<String>,
    /// Where the extension `status_page` listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:55679")]
    pub(crate) endpoint: String,
    /// How many batches a second are shown at most, up to 20
    #[arg(long, value_name = "NUMBER", default_value_t = 2.0)]
    pub(crate) rate: f64,
    /// For a person, or OTLP/JSON (observations: their documents), a line each
    #[arg(long, value_enum, default_value_t = TapFormat::Text)]
    pub(crate) format: TapFormat,
    /// Everything that is in it, in the format text
    #[arg(long)]
    pub(crate) detailed: bool,
    /// End after so many batches
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TapFormat {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// What `test` runs.
#[derive(Debug, Args)]
pub(crate) struct Tests {
    /// Test files, and folders: of these every `*.test.yaml`
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<std::path::PathBuf>,
    /// Only tests whose name has this in it
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Write what comes into the file where it is not what is expected
    #[arg(long, conflicts_with = "print")]
    pub(crate) update: bool,
    /// Print what comes, as it would be expected
    #[arg(long)]
    pub(crate) print: bool,
}

/// What `record` writes.
#[derive(Debug, Args)]
pub(crate) struct Recording {
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// Which receiver, by its id. Default: the only one that polls
    pub(crate) receiver: Option<String>,
    /// The file to write; `-` is standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: std::path::PathBuf,
    /// How many cycles, at the receiver's interval
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) cycles: u32,
    /// The time between two cycles, such as 5s [default: the receiver's]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) interval: Option<Duration>,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which minicol is looked at.
#[derive(Clone, Debug, Args)]
pub(crate) struct PageAt {
    /// Where its extension `status_page` listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:55679")]
    pub(crate) endpoint: String,
}

/// What `init` writes.
#[derive(Debug, Args)]
pub(crate) struct First {
    /// Where the Session-Buddy is [default: asked for on a terminal, else `http://localhost:8678/mcp`]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Where the metrics go [default: asked for on a terminal, else this machine at the protocol's usual port]
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
    /// How OTLP travels there [default: asked for on a terminal, else grpc]
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,
    /// A file that holds a bearer token for the Session-Buddy
    #[arg(long, value_name = "FILE")]
    pub(crate) bearer_token_file: Option<std::path::PathBuf>,
    /// Seconds from poll to poll
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub(crate) interval: f64,
    /// The file to write; `-` is standard output
    #[arg(long, short, value_name = "FILE", default_value = "minicol.yaml")]
    pub(crate) output: std::path::PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP over gRPC, usually port 4317
    Grpc,
    /// OTLP over HTTP, usually port 4318
    Http,
}

/// What `simulate` runs.
#[derive(Debug, Args)]
pub(crate) struct Simulation {
    /// Which Session-Buddy it is
    #[arg(long, value_enum, default_value_t = Profile::Contract)]
    pub(crate) profile: Profile,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8679)]
    pub(crate) port: u16,
    /// What goes wrong, and when: the `faults` of the simulator, as a path, `file:PATH`, `env:NAME` or `yaml:TEXT`; can be repeated, later ones win
    #[arg(long, value_name = "URI")]
    pub(crate) faults: Vec<String>,
    /// Where all chance comes from: the same seed moves and fails the same way
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Simulated seconds per second, 0 to 3600; 0 stops the model
    #[arg(long, default_value_t = 60.0)]
    pub(crate) speed: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Keeps the documented contract of four tools
    Contract,
    /// Answers as the released server 0.23.0
    Release,
}

impl From<Profile> for minicol_extension_simulator::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Contract => Self::Contract,
            Profile::Release => Self::Release,
        }
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sources {
    /// A configuration: a path, `file:PATH`, `env:NAME` or `yaml:TEXT`; can be repeated, later ones win
    #[arg(long = "config", value_name = "URI")]
    configs: Vec<String>,
    /// Set one value, after every --config: `a.b.c=v` (or `a::b::c=v`); can be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For a person
    Table,
    /// For a program
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As a pipeline file is written
    Yaml,
    /// For a program
    Json,
}

impl Sources {
    /// The sources, as they were written.
    pub(crate) fn written(&self) -> (&[String], &[String]) {
        (&self.configs, &self.sets)
    }

    /// What to load.
    pub(crate) fn request(self) -> Request {
        Request {
            configs: self.configs,
            sets: self.sets,
            environment: Environment::of_process(),
            overrides: Vec::new(),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    GoDuration::parse(text).map(|duration| duration.0)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_shutdown_timeout_needs_a_unit() {
        assert!(Cli::try_parse_from(["minicol", "run", "--config", "x", "--shutdown-timeout", "1m30s"]).is_ok());
        let error = Cli::try_parse_from(["minicol", "run", "--config", "x", "--shutdown-timeout", "10"]).unwrap_err();
        assert!(error.to_string().contains("it has no unit"), "{error}");
    }
}
