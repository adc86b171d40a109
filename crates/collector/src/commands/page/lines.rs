//! A program as lines of text: printed once, or drawn again and again.

use std::time::Duration;

use minicol_extension_status_page::api::{Arrow, Breaker, Card, Mood, Node, Pipeline, Program};
use minicol_plugin::{ComponentKind, Reasons, text::foreign};

use super::Seen;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) mood: Mood,
    /// A heading.
    pub(super) heads: bool,
    pub(super) text: String,
}

/// Everything, in lines of at most `width` characters.
pub(super) fn of(seen: &Seen, width: usize) -> Vec<Line> {
    let mut page = Lines { now: seen.program.now, width: width.max(8), all: Vec::new() };
    page.program(&seen.program);
    seen.pipelines.iter().for_each(|pipeline| page.pipeline(pipeline));
    if !seen.targets.is_empty() {
        page.plain("");
        page.heading(Mood::Idle, "targets");
    }
    seen.targets.iter().for_each(|card| page.target(card));
    page.all
}

struct Lines {
    now: f64,
    width: usize,
    all: Vec<Line>,
}

impl Lines {
    /// What is wrong, each once and by name; then what is quiet.
    fn program(&mut self, program: &Program) {
        self.heading(program.mood, &format!("{} {}", program.mood.sign(), foreign(&program.summary)));
        for trouble in &program.troubles {
            let (sign, kind, id) = (trouble.mood.sign(), trouble.kind, foreign(&trouble.id));
            let mut text = format!("  {sign} {kind} {id}");
            text.extend(trouble.since.map(|since| format!(" for {}", self.span(since))));
            text.extend((!trouble.message.is_empty()).then(|| format!(": {}", foreign(&trouble.message))));
            self.put(trouble.mood, &text);
        }
        if let Some(last) = program.reload.last.as_ref().filter(|last| !last.outcome.is_success()) {
            let ago = self.span(last.at.as_seconds());
            self.put(
                Mood::Bad,
                &format!("  ✗ the last reload was {}, {ago} ago: what ran before goes on", last.outcome),
            );
            last.errors.iter().for_each(|error| self.put(Mood::Bad, &format!("    {}", foreign(error))));
        }
        let runs = program.up_since.map(|since| format!("minicol runs for {}", self.span(since)));
        let when = program.last_lost.map(|at| format!(", the last {} ago", self.span(at))).unwrap_or_default();
        let lost = match program.lost {
            0 => "nothing lost since the start".to_owned(),
            number => format!("{} lost since the start{when}", items(number)),
        };
        let runs = runs.unwrap_or_else(|| "minicol starts".to_owned());
        self.plain(&format!("  {runs}; {lost}"));
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        self.plain("");
        self.heading(Mood::Idle, &format!("pipeline {}", foreign(&pipeline.name)));
        let width = |node: &Node| node.kind.name().len() + node.id.chars().count() + 1;
        let width = pipeline.nodes.iter().map(width).max().unwrap_or(0);
        for node in &pipeline.nodes {
            self.node(node, width.min(40));
            let exports = node.kind == ComponentKind::Exporter;
            for arrow in pipeline.arrows.iter().filter(|arrow| !exports && arrow.from == node.id) {
                self.arrow(arrow);
            }
        }
    }

    fn arrow(&mut self, arrow: &Arrow) {
        let Arrow { waiting, lost, .. } = *arrow;
        let mut text = format!("    {} {} → {}", arrow.signal, rate(arrow.rate), foreign(&arrow.to));
        text.extend((waiting > 0).then(|| format!(", {waiting} waiting")));
        text.extend((lost > 0).then(|| format!("; {lost} lost since the start")));
        self.plain(&text);
        // Most of what is lost here was refused here: that is told once.
        let refused = if arrow.refused_lately > arrow.lost_lately { arrow.refused_lately } else { 0 };
        self.lately(refused, arrow.lost_lately);
    }

    /// Why a node is not well is told above.
    fn node(&mut self, node: &Node, width: usize) {
        let name = format!("{} {}", node.kind, foreign(&node.id));
        let since = node.since.map(|since| format!(" for {}", self.span(since))).unwrap_or_default();
        let mut text = format!("  {} {name:<width$}  {}{since}", node.mood.sign(), node.status);
        text.extend((node.queued > 0).then(|| format!(", {} queued", node.queued)));
        self.put(node.mood, &text);
        self.lately(node.refused_lately, node.lost_lately);
        let told = [("refused", &node.refused), ("failed", &node.failed), ("dropped", &node.dropped)];
        for (what, counts) in told.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            self.plain(&format!("    {what} since the start {}", reasons(counts)));
        }
    }

    fn lately(&mut self, refused: u64, lost: u64) {
        if lost > 0 {
            self.put(Mood::Bad, &format!("    ✗ {} lost within the last minute", items(lost)));
        }
        if refused > 0 {
            self.put(Mood::Warn, &format!("    ▲ {} refused within the last minute", items(refused)));
        }
    }

    fn target(&mut self, card: &Card) {
        let target = &card.target;
        let state = match target.up {
            _ if target.paused => "paused",
            Some(true) => "up",
            Some(false) => "down",
            None => "not tried yet",
        };
        let since = target.up_changed.filter(|_| !target.paused);
        let since = since.map(|since| format!(" for {}", self.span(since))).unwrap_or_default();
        let (sign, id, endpoint) = (card.mood.sign(), foreign(&card.id), foreign(&target.endpoint));
        self.put(card.mood, &format!("  {sign} {id}  {state}{since}  {endpoint}"));
        let (polls, errors) = (counted(target.poll_cycles, "poll"), counted(target.errors, "error"));
        let mut text = format!("    {polls}, {errors}, {} missed", target.missed_ticks);
        text.extend(target.last_poll_time.map(|at| format!("; the last {} ago", self.span(at))));
        text.extend(target.last_poll_seconds.map(|seconds| format!(", took {}", took(seconds))));
        self.plain(&text);
        if card.mood != Mood::Good
            && let Some(error) = &target.last_error
        {
            self.put(card.mood, &format!("    last error, {} ago: {}", self.span(error.at), foreign(&error.message)));
        }
        let width = target.tools.keys().map(|tool| tool.chars().count()).max().unwrap_or(0).min(40);
        for (name, tool) in &target.tools {
            let (mood, outcome) = match tool.outcome.as_str() {
                "answered" => (Mood::Good, "answered"),
                "not_offered" => (Mood::Idle, "not offered"),
                "breaker_open" => (Mood::Bad, "not asked"),
                other => (Mood::Bad, other),
            };
            let mut text = format!("    {} {:<width$}  {}", mood.sign(), foreign(name), foreign(outcome));
            text.extend(tool.last_answer.map(|at| match tool.outcome.as_str() {
                "answered" => format!(" {} ago", self.span(at)),
                _ => format!(", last answer {} ago", self.span(at)),
            }));
            text.extend(tool.last_seconds.map(|seconds| format!(", took {}", took(seconds))));
            text.extend(target.open_breaker(name).map(|breaker| self.breaker(breaker)));
            self.put(mood, &text);
            if let Some(error) = tool.last_error.as_ref().filter(|_| target.tells_more(tool)) {
                self.put(mood, &format!("      {}", foreign(&error.message)));
            }
        }
    }

    fn breaker(&self, breaker: &Breaker) -> String {
        let until = breaker.open_until.map(|until| match until - self.now {
            left if left > 0.0 => format!(", {} left", span(left.ceil())),
            _ => ", probe due".to_owned(),
        });
        let until = until.filter(|_| breaker.state == "open").unwrap_or_default();
        format!(", breaker {}{until}, {}", foreign(&breaker.state), counted(breaker.failures, "failure"))
    }

    fn heading(&mut self, mood: Mood, text: &str) {
        self.add(mood, true, text);
    }

    fn plain(&mut self, text: &str) {
        self.put(Mood::Idle, text);
    }

    fn put(&mut self, mood: Mood, text: &str) {
        self.add(mood, false, text);
    }

    /// What is too long goes on in the next lines, as deep as it began.
    fn add(&mut self, mood: Mood, heads: bool, text: &str) {
        let deep = text.chars().take_while(|c| *c == ' ').count().min(self.width / 2);
        let mut rest: Vec<char> = text.chars().collect();
        while rest.len() > self.width {
            let cut = (deep + 1..=self.width).rev().find(|at| rest[*at] == ' ').unwrap_or(self.width);
            let tail = rest.split_off(cut);
            self.all.push(Line { mood, heads, text: rest.into_iter().collect() });
            let tail = tail.into_iter().skip_while(|c| *c == ' ');
            rest = std::iter::repeat_n(' ', deep).chain(tail).collect();
        }
        self.all.push(Line { mood, heads, text: rest.into_iter().collect() });
    }

    fn span(&self, since: f64) -> String {
        span(self.now - since)
    }
}

/// Below a second, and of a clock that runs behind, nothing is told.
pub(super) fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs();
    match (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.2}/s"))
}

fn took(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

fn items(number: u64) -> String {
    counted(number, "item")
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn reasons(counts: &Reasons) -> String {
    let each: Vec<_> = counts.iter().map(|(reason, items)| format!("{items} ({})", foreign(reason))).collect();
    each.join(", ")
}
