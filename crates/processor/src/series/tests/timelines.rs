//! Runs the tables of `docs/timelines.md`: the first two columns are what happens, the others what a backend sees. After a change that
//! is meant, `UPDATE_TIMELINES=1 cargo test -p minicol-processor timelines` writes the other columns anew.

use std::{fmt::Write, path::Path, time::Duration};

use minicol_pdata::{Attributes, MetricKind, Number, Timestamp};

use super::{
    backend::{Backend, Point, Side, Value, points},
    world::{DELTA_COUNTER, DELTA_EXPONENTIAL, DELTA_HISTOGRAM, Says, World, instrument},
};
use crate::sample::{Instrument, Limits, Measured, ToldStart};

const HEADER: &str = "| when | the source answers | series | value | start | time | flags |";
const SECOND: u64 = 1_000_000_000;
/// Midnight of 2026-01-01, UTC.
const DAY: u64 = 1_767_225_600 * SECOND;
/// A table that shows a wall clock set back by so much that stamps do go back says so in its heading.
const STAMPS_GO_BACK: &str = "set back by more than 5 s";

/// The metrics of the page, by the tool that feeds them.
const METRICS: [(&str, &str); 13] = [
    ("total", "stats"),
    ("level", "stats"),
    ("balance", "stats"),
    ("average", "stats"),
    ("drift", "stats"),
    ("spread", "stats"),
    ("rise", "stats"),
    ("news", "stats"),
    ("recent", "stats"),
    ("finished", "items"),
    ("length", "items"),
    ("extent", "items"),
    ("ends", "items"),
];

fn instruments() -> Vec<Instrument> {
    let one = |(name, _): &(&str, &str)| match *name {
        "total" | "finished" => instrument(name, "{x}", MetricKind::COUNTER, &[]),
        "rise" | "ends" => instrument(name, "{x}", DELTA_COUNTER, &[]),
        "news" => instrument(name, "s", DELTA_HISTOGRAM, &[10.0, 20.0]),
        "recent" => instrument(name, "s", DELTA_EXPONENTIAL, &[]),
        "spread" | "extent" => instrument(name, "s", MetricKind::EXPONENTIAL_HISTOGRAM, &[]),
        "level" => instrument(name, "{x}", MetricKind::Gauge, &[]),
        "balance" => instrument(name, "{x}", MetricKind::UP_DOWN_COUNTER, &[]),
        "drift" => instrument(name, "s", MetricKind::HISTOGRAM, &[-10.0, 10.0]),
        _ => instrument(name, "s", MetricKind::HISTOGRAM, &[10.0, 20.0]),
    };
    METRICS.iter().map(one).collect()
}

fn world() -> World {
    let limits = Limits { max_series: 2, max_keys: 3, expiry: Duration::from_secs(90) };
    World::new(instruments(), limits, moment("11:59:59"))
}

#[test]
fn a_backend_sees_what_the_page_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/timelines.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let told = run(&page);
    if std::env::var_os("UPDATE_TIMELINES").is_some() {
        std::fs::write(&path, &told).unwrap();
        return;
    }
    for (number, (shown, told)) in page.lines().zip(told.lines()).enumerate() {
        assert_eq!(shown, told, "docs/timelines.md, line {}", number + 1);
    }
    assert_eq!(page.lines().count(), told.lines().count(), "points are missing at the page's end");
}

/// The page with the columns that minicol fills.
fn run(page: &str) -> String {
    let mut told = String::new();
    let mut heading = "";
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("## ") {
            heading = line;
        }
        told.push_str(line);
        told.push('\n');
        if line != HEADER {
            continue;
        }
        told.push_str(lines.next().unwrap());
        told.push('\n');
        let mut table = Table { world: world(), backend: Backend::default(), told: String::new() };
        while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
            table.row(row);
        }
        told.push_str(&table.told);
        if !heading.contains(STAMPS_GO_BACK) {
            table.backend.check().unwrap_or_else(|breach| panic!("{heading}: {breach}"));
        }
    }
    told
}

struct Table {
    world: World,
    backend: Backend,
    told: String,
}

impl Table {
    fn row(&mut self, row: &str) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [when, says] = cells[..2] else { panic!("a row has two columns: {row}") };
        if when.is_empty() {
            return; // a further point of the cycle above, told anew
        }
        let at = moment(when);
        if let Some(event) = says.strip_prefix('*').and_then(|says| says.strip_suffix('*')) {
            self.event(event, at);
            writeln!(self.told, "| {when} | {says} | | | | | |").unwrap();
            return;
        }
        let says_parsed = if says == "—" { Vec::new() } else { parse(says, at) };
        let now = says_parsed.iter().map(|one| one.at).max().unwrap_or(at);
        let (metrics, _) = self.world.cycle(now, says_parsed);
        let points = points(&metrics);
        self.backend.receive(&points);
        let mut first = format!("| {when} | {says} |");
        for point in &points {
            writeln!(self.told, "{first}{}", cells_of(point)).unwrap();
            "| | |".clone_into(&mut first);
        }
        if points.is_empty() {
            writeln!(self.told, "{first} | | | | |").unwrap();
        }
    }

    fn event(&mut self, event: &str, at: u64) {
        if event == "minicol restarts" {
            self.world.restart(at);
        } else if let Some(by) = event.strip_prefix("the wall clock is set back by ") {
            self.world.wall_offset -= i64::try_from(span(by)).unwrap();
        } else if let Some(by) = event.strip_prefix("the wall clock is set forward by ") {
            self.world.wall_offset += i64::try_from(span(by)).unwrap();
        } else {
            panic!("what is *{event}*?");
        }
    }
}

/// `stats(total 5, level{p=a} 3) liveness+0.5s(uptime 90 s)`
fn parse(says: &str, at: u64) -> Vec<Says> {
    says.split_inclusive(')')
        .map(|one| {
            let (tool, content) = one.trim().strip_suffix(')').and_then(|one| one.split_once('(')).expect(says);
            let (tool, late) = tool.split_once('+').unwrap_or((tool, "0 s"));
            let feeds = METRICS.iter().enumerate().filter(|(_, (_, by))| *by == tool).map(|(at, _)| at).collect();
            let mut one =
                Says { tool: tool.to_owned(), at: at + span(late), cut: false, values: Vec::new(), told: None, feeds };
            for word in content.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                match word.split_once(' ') {
                    None if word == "cut" => one.cut = true,
                    Some(("start", start)) => one.told = Some(ToldStart::At(Timestamp::from_nanos(moment(start)))),
                    Some(("uptime", uptime)) => one.told = Some(ToldStart::Uptime(Duration::from_nanos(span(uptime)))),
                    _ => one.values.push(value(word)),
                }
            }
            one
        })
        .collect()
}

/// `total 5`, `total{p=a} 5`, `length[k1] 12`, `length{p=a}[k1 ended 11:58:00] 12`
fn value(word: &str) -> (usize, Attributes, Measured) {
    let (series, number) = word.rsplit_once(' ').expect(word);
    let number = number.parse().map_or_else(|_| Number::Double(number.parse().expect(word)), Number::Int);
    let (series, item) = series.strip_suffix(']').and_then(|one| one.split_once('[')).unwrap_or((series, ""));
    let (name, attributes) = series.strip_suffix('}').and_then(|one| one.split_once('{')).unwrap_or((series, ""));
    let attributes = attributes.split_once('=').into_iter().collect();
    let (key, ended) = item.split_once(" ended ").unwrap_or((item, ""));
    let double = match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    };
    let value = match name {
        "total" | "rise" => Measured::Total(number),
        "level" => Measured::Level(number),
        "balance" => Measured::UpDown(number),
        "average" | "drift" | "spread" | "news" | "recent" => Measured::Change(double),
        _ => Measured::Item {
            key: key.into(),
            ended: (!ended.is_empty()).then(|| Timestamp::from_nanos(moment(ended))),
            value: number,
        },
    };
    (METRICS.iter().position(|(known, _)| *known == name).expect(word), attributes, value)
}

/// `12:00:30` or `12:00:30.500`
fn moment(text: &str) -> u64 {
    let parts: Vec<f64> = text.split(':').map(|part| part.parse().expect(text)).collect();
    let [hours, minutes, seconds] = parts[..] else { panic!("{text} is no time of day") };
    let millis = Duration::from_secs_f64(hours * 3600.0 + minutes * 60.0 + seconds).as_millis();
    DAY + u64::try_from(millis).unwrap() * 1_000_000
}

/// `3 s`, `0.5s`, `1 h`
fn span(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).expect(text));
    let seconds = match unit {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => panic!("{text} is no span of time"),
    };
    let span = Duration::from_secs_f64(number.trim().parse::<f64>().expect(text) * seconds);
    u64::try_from(span.as_nanos()).unwrap()
}

fn cells_of(point: &Point) -> String {
    let value = match &point.value {
        Value::None => String::new(),
        Value::Number(Number::Int(value)) => value.to_string(),
        Value::Number(Number::Double(value)) => value.to_string(),
        Value::Histogram { count, sum, min, max, buckets, .. } => {
            let number = |name, value: &Option<f64>| value.map_or(String::new(), |value| format!(" {name} {value}"));
            let (sum, min, max) = (number("sum", sum), number("min", min), number("max", max));
            format!("n {count}{sum}{min}{max} buckets {buckets:?}")
        }
        Value::Exponential { count, sum, range, scale, zero, sides } => {
            let sum = sum.map_or(String::new(), |sum| format!(" sum {sum}"));
            let range = range.map_or(String::new(), |(min, max)| format!(" min {min} max {max}"));
            let zero = if *zero == 0 { String::new() } else { format!(" zero {zero}") };
            let side = |name, (offset, counts): &Side| match counts.as_slice() {
                [] => String::new(),
                counts => format!(" {name} from {offset} {counts:?}"),
            };
            let (above, below) = (side("above", &sides[0]), side("below", &sides[1]));
            format!("n {count}{sum}{range} scale {scale}{zero}{above}{below}")
        }
    };
    let start = if point.start.is_unset() { String::new() } else { time_of_day(point.start) };
    let flags = if point.flagged { "NoRecordedValue" } else { "" };
    let cells = [point.series.as_str(), &value, &start, &time_of_day(point.time), flags];
    cells.iter().map(|cell| if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") }).collect()
}

fn time_of_day(moment: Timestamp) -> String {
    let nanos = moment.as_nanos() - DAY;
    let (seconds, rest) = (nanos / SECOND, nanos % SECOND);
    let fraction = match rest {
        0 => String::new(),
        rest if rest % 1_000_000 == 0 => format!(".{:03}", rest / 1_000_000),
        rest => format!(".{rest:09}"),
    };
    format!("{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
