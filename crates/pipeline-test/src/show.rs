//! What failed, for a person.

use std::fmt::Write;

use minicol_config::{Mark, Path};

use crate::{
    compare::{Difference, Field},
    load::Loaded,
    run::CaseResult,
};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// No.
    Plain,
    /// ANSI colours.
    Ansi,
}

/// How many points that are not expected are told of one step.
const MOST: usize = 50;

impl Paint {
    /// A text in red, as what is missing.
    pub fn red(self, text: &str) -> String {
        self.within("31", text)
    }

    /// A text in green, as what is there.
    pub fn green(self, text: &str) -> String {
        self.within("32", text)
    }

    /// A text that stands out.
    pub fn bold(self, text: &str) -> String {
        self.within("1", text)
    }

    /// A text that does not.
    pub fn dim(self, text: &str) -> String {
        self.within("2", text)
    }

    fn within(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// Every difference of the test `index`: where it stands, which series, what was expected and what came.
pub fn failures(loaded: &Loaded, index: usize, result: &CaseResult, paint: Paint) -> String {
    let mut out = String::new();
    let case = &loaded.file.tests[index];
    let placed = |mark: Mark| format!("{}:{}:{}", loaded.name, mark.line(), mark.column());
    let place = |path: &Path| placed(loaded.root.mark_of_value(path));
    let at = Path::keys(["tests"]).join(index).join("steps");
    for (nth, (step, written)) in result.steps.iter().zip(&case.steps).enumerate() {
        let (here, when) = (at.join(nth), format!("at {}", written.at));
        // Writing to a String cannot fail, here and below.
        if let Some(why) = &step.refused {
            let _ = writeln!(out, "  {}: {when}: the pipeline refused it: {why}", place(&here));
        }
        for difference in step.differences.iter().take(MOST) {
            match difference {
                Difference::Different { path, series, fields } => {
                    let _ = writeln!(out, "  {}: {when}: {}", place(&here.join_all(path)), paint.bold(series));
                    for field in fields {
                        differs(&mut out, field, paint);
                    }
                }
                Difference::Missing { path, series, expected, instead } => {
                    let name = paint.bold(series);
                    let _ = writeln!(out, "  {}: {when}: {name} did not come", place(&here.join_all(path)));
                    let _ = writeln!(out, "      {}", paint.red(&format!("- expected  {expected}")));
                    for other in instead.iter().take(3) {
                        let _ = writeln!(out, "      {}", paint.dim(&format!("there is   {other}")));
                    }
                }
                Difference::Unexpected { series, got } => {
                    let name = paint.bold(series);
                    let _ = writeln!(
                        out,
                        "  {}: {when}: {name} came and is not expected",
                        placed(loaded.root.mark_of_key(&here.join("expect")))
                    );
                    let _ = writeln!(out, "      {}", paint.green(&format!("+ got       {got}")));
                }
            }
        }
        if step.differences.len() > MOST {
            let _ = writeln!(out, "  {when}: and {} more", step.differences.len() - MOST);
        }
    }
    for warning in &result.warnings {
        let _ = writeln!(out, "  {}", paint.dim(&format!("warning: {warning}")));
    }
    out
}

fn differs(out: &mut String, field: &Field, paint: Paint) {
    let Field { name, expected, got } = field;
    let _ = writeln!(out, "      {name}");
    let _ = writeln!(out, "      {}", paint.red(&format!("- expected  {expected}")));
    let _ = writeln!(out, "      {}", paint.green(&format!("+ got       {got}")));
}
