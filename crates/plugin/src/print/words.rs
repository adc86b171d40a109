//! How things are said.

use jiff::Timestamp as Moment;
use minicol_pdata::{Attributes, Timestamp};

use crate::text;

/// `1 metric`, `2 metrics`.
pub(super) fn count(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

/// `name=value name=value`, fit for a terminal.
pub(super) fn attributes(attributes: &Attributes) -> String {
    let pairs: Vec<_> = attributes
        .iter()
        .map(|(name, value)| format!("{}={}", text::plain(name), text::plain(&value.to_string())))
        .collect();
    pairs.join(" ")
}

/// As RFC 3339 in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    if at.is_unset() {
        return "unset".to_owned();
    }
    Moment::from_nanosecond(i128::from(at.as_nanos())).map_or_else(|_| format!("{at:?}"), |at| at.to_string())
}

/// Lines of cells under each other, each line after two blanks.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in lines {
        let padded: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(format!("  {}", padded.join("  ")).trim_end());
        out.push('\n');
    }
    out
}
