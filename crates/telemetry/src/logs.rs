//! The program's logs: structured fields on a constant message, to standard error. [`init`] installs them once for the process; [`subscriber`]
//! is the same without a global, for tests.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use minicol_plugin::{Clock, hidden, text, trace::SpanIds};
use tracing::{Dispatch, Event, Metadata, Subscriber, field::Field, subscriber::SetGlobalDefaultError};
use tracing_subscriber::{
    Layer, Registry,
    field::{MakeExt, RecordFields},
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Format, Json, Writer, debug_fn},
        time::FormatTime,
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    reload::{self, Handle},
};

use crate::{LogEncoding, LogLevel, LogsConfig};

/// What else decides how logs look, beside the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Standard error is a terminal, and the user did not forbid colour.
    pub colour: bool,
    /// `RUST_LOG`: where it is set, its directives stand in place of the configured level.
    pub directives: Option<String>,
}

/// Logs that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// `RUST_LOG` holds something else than directives.
    #[error("RUST_LOG is no list of directives (such as `debug` or `info,minicol_mcp=debug`): {0}")]
    Directives(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody has set up logs before.
    #[error("logs are set up already")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Crates of others that say little to our users; at level `error` they say no more than we do.
const QUIET: [&str; 10] =
    ["h2", "hyper", "hyper_util", "opentelemetry", "opentelemetry_sdk", "rmcp", "rustls", "tonic", "tower", "axum"];
/// How much of one field is written.
const FIELD_CHARS: usize = 2_000;

/// The level of the logs, which can be set while the program runs.
#[derive(Clone, Debug)]
pub struct Level(Setting);

#[derive(Clone, Debug)]
enum Setting {
    /// By the configuration.
    Configured(Handle<Targets, Registry>),
    /// By `RUST_LOG`, which wants so much at most.
    Directives(LevelFilter),
}

impl Level {
    /// How much `RUST_LOG` wants, where it is set.
    fn wants(&self) -> LevelFilter {
        if let Setting::Directives(most) = self.0 { most } else { LevelFilter::OFF }
    }

    /// Writes what is at least so severe from now on, unless `RUST_LOG` stands in its place; false where that could not be done.
    pub fn set(&self, level: LogLevel) -> bool {
        let Setting::Configured(handle) = &self.0 else { return true };
        directives(level).parse::<Targets>().is_ok_and(|filter| handle.reload(filter).is_ok())
    }
}

/// Sets logs up for the process, once. Call it as early as the configuration is known.
pub fn init(config: &LogsConfig, clock: Arc<dyn Clock>) -> Result<Level, LogsError> {
    let (dispatch, level) = with_level(config, &Surroundings::of_process(), clock, io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch)?;
    let most = tracing::level_filters::STATIC_MAX_LEVEL;
    if level.wants() > most {
        tracing::warn!(%most, "RUST_LOG asks for more than this program was built with");
    }
    Ok(level)
}

/// The same for whoever wants it elsewhere: into `writer`, for one thread or one test.
pub fn subscriber<W>(
    config: &LogsConfig,
    surroundings: &Surroundings,
    clock: Arc<dyn Clock>,
    writer: W,
) -> Result<Dispatch, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    with_level(config, surroundings, clock, writer).map(|(dispatch, _)| dispatch)
}

/// The same with what sets its level.
fn with_level<W>(
    config: &LogsConfig,
    surroundings: &Surroundings,
    clock: Arc<dyn Clock>,
    writer: W,
) -> Result<(Dispatch, Level), LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let asked = surroundings.directives.as_deref().filter(|directives| !directives.trim().is_empty());
    let filter = match asked {
        Some(directives) => directives.parse::<Targets>()?,
        None => directives(config.level).parse()?,
    };
    let wanted = filter.iter().map(|(_, level)| level).chain(filter.default_level()).max();
    let (filter, handle) = reload::Layer::new(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(Veiled(writer)).with_timer(Time(clock));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match config.encoding {
        LogEncoding::Console => {
            let fields = debug_fn(write_field).delimited(" ");
            Box::new(layer.fmt_fields(WithIds(fields)).with_ansi(surroundings.colour).with_target(false))
        }
        LogEncoding::Json => Box::new(
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).map_event_format(WithIds),
        ),
    };
    let level = match asked {
        None => Setting::Configured(handle),
        Some(_) => Setting::Directives(wanted.unwrap_or(LevelFilter::OFF)),
    };
    let level = Level(level);
    Ok((Dispatch::new(Registry::default().with(layer.with_filter(filter))), level))
}

impl Surroundings {
    /// Of this process: its standard error, `NO_COLOR`, `RUST_LOG`.
    pub fn of_process() -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { colour: io::stderr().is_terminal() && !forbidden && !dumb, directives: std::env::var("RUST_LOG").ok() }
    }
}

impl LogLevel {
    const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

fn directives(level: LogLevel) -> String {
    let quiet = if level == LogLevel::Error { LogLevel::Error } else { LogLevel::Warn };
    QUIET.iter().fold(level.name().to_owned(), |all, name| format!("{all},{name}={}", quiet.name()))
}

/// Writes lines without the credentials in them, whoever logs.
struct Veiled<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Veiled<W> {
    type Writer = Veiled<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Veiled(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        Veiled(self.0.make_writer_for(meta))
    }
}

impl<W: Write> Write for Veiled<W> {
    /// A line comes whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(hidden::without(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A field for a person. Whatever could move the cursor, forge a line or turn the text around is escaped: values come from servers, too.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let shown = text::shortened(&format!("{value:?}"), FIELD_CHARS);
    match field.name() {
        "message" => write!(writer, "{shown}"),
        name if name.starts_with("log.") => Ok(()),
        name => write!(writer, "{}={shown}", name.strip_prefix("r#").unwrap_or(name)),
    }
}

/// The same with `trace_id` and `span_id` behind it, where a span of the program's own traces is current. A line is written where it is made, so
/// the current span is the one that it belongs to.
struct WithIds<F>(F);

impl<'w, F: for<'a> FormatFields<'a>> FormatFields<'w> for WithIds<F> {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        match SpanIds::current() {
            Some(SpanIds { trace, span }) => write!(writer, " trace_id={trace} span_id={span}"),
            None => Ok(()),
        }
    }
}

impl<S, N, T> FormatEvent<S, N> for WithIds<Format<Json, T>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(SpanIds { trace, span }) = SpanIds::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // It is one object, and its last member is never missing.
        let open = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(writer, r#"{open},"trace_id":"{trace}","span_id":"{span}"}}"#)
    }
}

/// The wall clock of the program's environment, as RFC 3339 in UTC to the millisecond.
struct Time(Arc<dyn Clock>);

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let nanos = i128::from(self.0.wall().as_nanos());
        let at = Timestamp::from_nanosecond(nanos).map_err(|_| fmt::Error)?;
        write!(writer, "{}", DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&at))
    }
}
