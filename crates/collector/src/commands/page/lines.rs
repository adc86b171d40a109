//! A program as lines of text: printed once, or drawn again and again.

use std::{collections::BTreeMap, time::Duration};

use minicol_plugin::text::foreign;

use super::seen::{Mood, Node, Pipeline, Seen, Target};

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
    let program = &seen.program;
    page.heading(program.mood, &format!("{} {}", program.mood.sign(), program.summary));
    if let Some(since) = program.up_since {
        page.plain(&format!("  minicol runs for {}", page.span(since)));
    }
    seen.pipelines.iter().for_each(|pipeline| page.pipeline(pipeline));
    if !seen.targets.is_empty() {
        page.plain("");
        page.heading(Mood::Idle, "targets");
    }
    seen.targets.iter().for_each(|target| page.target(target));
    page.all
}

struct Lines {
    now: f64,
    width: usize,
    all: Vec<Line>,
}

impl Lines {
    fn pipeline(&mut self, pipeline: &Pipeline) {
        self.plain("");
        self.heading(Mood::Idle, &format!("pipeline {}", foreign(&pipeline.name)));
        let width = pipeline.nodes.iter().map(|node| node.kind.len() + node.id.chars().count() + 1).max().unwrap_or(0);
        for node in &pipeline.nodes {
            self.node(node, width.min(40));
            for arrow in pipeline.arrows.iter().filter(|arrow| node.kind != "exporter" && arrow.from == node.id) {
                let mut text =
                    format!("    {} {}/s → {}", foreign(&arrow.signal), rate(arrow.rate), foreign(&arrow.to));
                let (waiting, lost) = (arrow.waiting, arrow.lost);
                text.extend((waiting > 0).then(|| format!(", {waiting} waiting")));
                text.extend((lost > 0).then(|| format!(", {lost} lost")));
                self.put(if lost > 0 { Mood::Bad } else { Mood::Idle }, &text);
            }
        }
    }

    fn node(&mut self, node: &Node, width: usize) {
        let name = format!("{} {}", foreign(&node.kind), foreign(&node.id));
        let since = node.since.map(|since| format!(" for {}", self.span(since))).unwrap_or_default();
        let mut text = format!("  {} {name:<width$}  {}{since}", node.mood.sign(), foreign(&node.status));
        text.extend((node.queued > 0).then(|| format!(", {} queued", node.queued)));
        self.put(node.mood, &text);
        let told = [("refused", &node.refused), ("failed", &node.failed), ("dropped", &node.dropped)];
        for (what, counts) in told.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            self.put(Mood::Bad, &format!("    {what} {}", reasons(counts)));
        }
        if node.mood != Mood::Good && !node.message.is_empty() {
            self.put(node.mood, &format!("    {}", foreign(&node.message)));
        }
    }

    fn target(&mut self, target: &Target) {
        let state = match target.up {
            _ if target.paused => "paused",
            Some(true) => "up",
            Some(false) => "down",
            None => "not tried yet",
        };
        let since = target.up_changed.filter(|_| !target.paused);
        let since = since.map(|since| format!(" for {}", self.span(since))).unwrap_or_default();
        let (sign, id, endpoint) = (target.mood.sign(), foreign(&target.id), foreign(&target.endpoint));
        self.put(target.mood, &format!("  {sign} {id}  {state}{since}  {endpoint}"));
        let Target { poll_cycles, errors, missed_ticks, .. } = target;
        let mut text = format!("    {poll_cycles} polls, {errors} errors, {missed_ticks} missed");
        text.extend(target.last_poll_time.map(|at| format!("; the last {} ago", self.span(at))));
        text.extend(target.last_poll_seconds.map(|seconds| format!(", took {}", took(seconds))));
        self.plain(&text);
        if target.mood != Mood::Good
            && let Some(error) = &target.last_error
        {
            self.put(target.mood, &format!("    {} ago: {}", self.span(error.at), foreign(&error.message)));
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
            text.extend(tool.last_answer.map(|at| format!(" {} ago", self.span(at))));
            text.extend(tool.last_seconds.map(|seconds| format!(", took {}", took(seconds))));
            let breaker = target.breakers.get(name).filter(|breaker| breaker.state != "closed");
            text.extend(breaker.map(|breaker| format!(", breaker {}", foreign(&breaker.state))));
            self.put(mood, &text);
        }
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
        // Below a second, and of a clock that runs behind, nothing is told.
        let passed = Duration::try_from_secs_f64((self.now - since).max(0.0)).unwrap_or_default();
        let whole = passed.as_secs();
        match (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60) {
            (0, 0, 0, seconds) => format!("{seconds} s"),
            (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
            (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
            (days, hours, ..) => format!("{days} d {hours} h"),
        }
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.2}"))
}

fn took(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = counts.iter().map(|(reason, items)| format!("{items} ({})", foreign(reason))).collect();
    each.join(", ")
}
