//! Problems as text for a person, and for `grep`.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use crate::environment::Environment;
use crate::excerpt::Excerpt;
use crate::problem::{Problem, Severity};
use crate::secret::is_secret_path;
use crate::text::visible;

/// How problems are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub color: bool,
    /// Lines drawn with Unicode's box characters, else with ASCII.
    pub unicode: bool,
}

impl Style {
    /// ASCII without colour: for files, pipes and tests.
    pub const PLAIN: Self = Self { color: false, unicode: false };

    /// For a stream that is a terminal or is none, as the environment wants it (`NO_COLOR`, `TERM=dumb`).
    pub fn for_terminal(is_terminal: bool, environment: &Environment) -> Self {
        let dumb = environment.get("TERM") == Some("dumb");
        let graphic = is_terminal && !dumb;
        Self { color: graphic && environment.get("NO_COLOR").is_none_or(str::is_empty), unicode: graphic }
    }

    fn theme(self) -> GraphicalTheme {
        let characters = if self.unicode { ThemeCharacters::unicode() } else { ThemeCharacters::ascii() };
        let characters = ThemeCharacters {
            error: "error:".to_owned(),
            warning: "warning:".to_owned(),
            advice: "note:".to_owned(),
            ..characters
        };
        let styles = if self.color { ThemeStyles::ansi() } else { ThemeStyles::none() };
        GraphicalTheme { characters, styles }
    }
}

impl Problem {
    /// The problem as text. The first line reads `error: FILE:LINE:COLUMN: MESSAGE`; the line itself, the path and the cure follow.
    pub fn render(&self, style: Style) -> String {
        let handler = GraphicalReportHandler::new_themed(style.theme())
            .with_wrap_lines(false)
            .with_break_words(false)
            .with_width(usize::from(u16::MAX))
            .with_context_lines(0)
            .with_cause_chain()
            .without_syntax_highlighting()
            .with_links(false);
        let mut text = String::new();
        let report = Report::of(self);
        if handler.render_report(&mut text, &report).is_err() {
            // Drawing is a nicety; what is wrong has to be told.
            text = format!("{}: {report}\n", report.word());
        }
        // The handler leaves room for a margin that would only be in the way of `grep '^error'`.
        text.lines().flat_map(|line| [line.strip_prefix("  ").unwrap_or(line).trim_end(), "\n"]).collect()
    }
}

/// A problem as miette draws it.
#[derive(Debug)]
struct Report {
    severity: Severity,
    headline: String,
    help: Option<String>,
    shown: Option<Line>,
}

/// One line of a source, as if it were all of it, under its true number.
#[derive(Debug)]
struct Line {
    excerpt: Excerpt,
    path: Option<String>,
    number: usize,
    column: usize,
}

impl Report {
    fn of(problem: &Problem) -> Self {
        let place = problem.mark.as_ref().map(|mark| format!("{}: ", visible(&mark.to_string()))).unwrap_or_default();
        let path = (!problem.path.is_root()).then(|| visible(&problem.path.to_string()));
        let help = problem.help.as_deref().map(visible);
        let shown = problem.mark.as_ref().and_then(|mark| {
            let excerpt = Excerpt::of(mark, is_secret_path(&problem.path))?;
            Some(Line { excerpt, path: path.clone(), number: mark.line(), column: mark.column() })
        });
        Self {
            severity: problem.severity,
            headline: format!("{place}{}", visible(&problem.message)),
            // Where there is no line to write the path below, it goes first.
            help: match (path.filter(|_| shown.is_none()), help) {
                (Some(path), Some(help)) => Some(format!("{path}: {help}")),
                (path, help) => path.or(help),
            },
            shown,
        }
    }

    const fn word(&self) -> &'static str {
        match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.shown.as_ref().map(|line| line as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Line { excerpt: Excerpt { meant, .. }, path, .. } = self.shown.as_ref()?;
        let label =
            LabeledSpan::new_primary_with_span(path.clone(), SourceSpan::new(meant.start.into(), meant.len().max(1)));
        Some(Box::new(std::iter::once(label)))
    }
}

impl SourceCode for Line {
    fn read_span<'a>(
        &'a self,
        _: &SourceSpan,
        _: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = &self.excerpt.text;
        let all = SourceSpan::new(0.into(), text.len());
        Ok(Box::new(MietteSpanContents::new(text.as_bytes(), all, self.number - 1, self.column - 1, 1)))
    }
}
