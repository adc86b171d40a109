//! What must hold at the end of every simulation.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicol_delivery::DeliveryCounts;
use minicol_plugin::Event;
use minicol_tests::{Point, Received, Value, breaches, repeated};

use crate::{
    scenario::{ExporterPlan, Run, Scenario},
    world::{IntakeStory, RunStory, Story},
};

/// Everything that does not hold, in words.
pub(crate) fn judge(scenario: &Scenario, story: &Story) -> Vec<String> {
    let mut wrong = Vec::new();
    for (nth, (run, told)) in scenario.runs.iter().zip(&story.runs).enumerate() {
        wrong.extend(the_end(scenario, run, told).into_iter().map(|what| format!("run {nth}: {what}")));
    }
    for (nth, exporter) in scenario.exporters.iter().enumerate() {
        let received = &story.received[nth];
        let points: Vec<Point> = received.iter().flat_map(|one| one.points.iter().cloned()).collect();
        let mut found = breaches(&points);
        found.extend(sent_is_stored(exporter, story, &points));
        found.extend(repetitions(scenario, exporter, received, story.struck[nth]));
        found.extend(nothing_is_invented(scenario, story, &points));
        found.extend(cycles(scenario, &points));
        wrong.extend(found.into_iter().map(|what| format!("{}: {what}", exporter.id)));
    }
    if let (Some(plan), Some(intake)) = (&scenario.intake, &story.intake) {
        wrong.extend(what_was_acknowledged_arrives(scenario, &plan.exporter, intake));
    }
    if story.after_the_end > 0 {
        wrong.push(format!("{} requests came after minicol had ended", story.after_the_end));
    }
    if story.tasks_left > 0 {
        wrong.push(format!("{} tasks are left", story.tasks_left));
    }
    wrong
}

/// How one life ended: in time, without errors, with books that balance and losses that are named.
fn the_end(scenario: &Scenario, run: &Run, told: &RunStory) -> Vec<String> {
    let mut wrong: Vec<String> = told.unbalanced.clone();
    let Some(report) = &told.report else { return wrong };
    let took = report.took.max(told.took);
    if took > run.shutdown + GRACE {
        wrong.push(format!("the shutdown took {took:?} of {:?}", run.shutdown));
    }
    wrong.extend(report.errors.iter().chain(&report.broken).map(|what| format!("not well at the end: {what}")));
    wrong.extend(report.books.check_at_end().err().map(|unbalanced| unbalanced.to_string()));
    if scenario.calm && report.books.lost() > 0 {
        wrong.push(format!("something was lost although nothing went wrong: {:?}", report.books));
    }
    for exporter in &report.exporters {
        let (id, counts) = (exporter.id.to_string(), &exporter.drain.counts);
        let mut breach = |is: bool, what: &str| wrong.extend(is.then(|| format!("{id}: {what}: {counts:?}")));
        let named = named(&told.events, &id);
        let all_told = told.events.len() < KEPT_EVENTS;
        let lost = counts.lost() + counts.refused.values().sum::<u64>();
        breach(all_told && named != lost, &format!("{lost} are gone, but {named} of them were named"));
    }
    wrong
}

/// Over all lives: what a sender was told to be taken arrives, nothing arrives that was not sent, and comes again only where its sender could not know.
fn what_was_acknowledged_arrives(scenario: &Scenario, exporter: &ExporterPlan, intake: &IntakeStory) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut breach = |is: bool, what: String| wrong.extend(is.then_some(what));
    let mut arrived: BTreeMap<&str, u64> = BTreeMap::new();
    for item in intake.received.iter().flat_map(|one| &one.items) {
        *arrived.entry(item).or_default() += 1;
    }
    let sent: BTreeSet<&str> = intake.told.iter().flat_map(|one| &one.items).map(String::as_str).collect();
    let invented = arrived.keys().filter(|item| !sent.contains(*item)).count();
    breach(invented > 0, format!("{invented} items arrived that nobody sent"));
    let acknowledged = intake.told.iter().filter(|one| one.taken).flat_map(|one| &one.items);
    let missing: Vec<_> = acknowledged.filter(|item| !arrived.contains_key(item.as_str())).collect();
    breach(!missing.is_empty(), format!("{} items were acknowledged and never arrived: {missing:?}", missing.len()));
    breach(intake.left_on_disk > 0, format!("{} records are left on disk", intake.left_on_disk));

    // A request is known by its first item.
    let mut requests: BTreeMap<&str, u64> = BTreeMap::new();
    for first in intake.received.iter().filter_map(|one| one.items.first()) {
        *requests.entry(first).or_default() += 1;
    }
    let twice: u64 = requests.values().map(|times| times - 1).sum();
    let ambiguous = intake.received.iter().filter(|one| one.ambiguous).count() as u64;
    let outages = exporter.deaths.len() + exporter.network.outages.len();
    // Each life leaves at most what was in delivery, for each of the two signals; so does a backend that goes.
    let ends = (outages + scenario.runs.len()) as u64 * 2;
    let excuses = if scenario.calm { 0 } else { ambiguous + exporter.consumers * (intake.struck + ends) };
    breach(twice > excuses, format!("{twice} requests of senders came again, with {excuses} reasons"));

    // Where nothing is wrong any more, everything is taken: no refusal sticks.
    let settled = intake.mended_at + SETTLED;
    // Between two lives nobody is there to take anything.
    let always = scenario.calm && scenario.runs.len() == 1;
    let never = scenario.calm && !always;
    let refused = intake.told.iter().filter(|one| !one.taken && !never && (always || one.at > settled)).count();
    breach(refused > 0, format!("{refused} requests of senders were refused although nothing was wrong any more"));
    wrong
}

/// By then what was wrong is forgotten: the limiter has looked, and what is full has drained.
const SETTLED: Duration = Duration::from_secs(8);

/// What a component gets after the deadline to drop what it does.
const GRACE: Duration = Duration::from_millis(500);
/// So many events the host keeps.
const KEPT_EVENTS: usize = 200;

/// How many items the notices of an exporter name as lost or refused.
fn named(events: &[Event], exporter: &str) -> u64 {
    let notices = events.iter().filter_map(|event| match event {
        Event::Notice(notice) if notice.component.to_string() == exporter => Some(notice),
        _ => None,
    });
    let losses = notices.filter(|one| ["items_lost", "items_refused", "items_lost_more"].contains(&one.name));
    losses.filter_map(|one| one.message.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// What the books call sent is at the backend, and nothing is there that was not offered.
fn sent_is_stored(exporter: &ExporterPlan, story: &Story, points: &[Point]) -> Vec<String> {
    let mut books = DeliveryCounts::default();
    for run in &story.runs {
        // Where a shutdown was broken off, nobody told the last counts.
        let Some(report) = &run.report else { return Vec::new() };
        let of = |one: &&minicol_host::ExporterReport| one.id.to_string() == exporter.id;
        books.add(&report.exporters.iter().find(of).expect("a report").drain.counts);
    }
    let (stored, distinct) = (points.len() as u64, (points.len() - repeated(points)) as u64);
    let mut wrong = Vec::new();
    if stored < books.sent {
        wrong.push(format!("{} were sent, but {stored} are stored", books.sent));
    }
    // Without a queue a batch is taken on once it has arrived: one that timed out was refused and may be there all the same.
    let offered = books.accepted + books.refused.values().sum::<u64>();
    if distinct > offered {
        wrong.push(format!("{offered} were offered, but {distinct} are stored"));
    }
    wrong
}

/// A request comes twice only where its sender could not know that it was taken.
fn repetitions(scenario: &Scenario, exporter: &ExporterPlan, received: &[Received], struck: u64) -> Vec<String> {
    if scenario.relay {
        // What comes twice at the hop comes twice here.
        return Vec::new();
    }
    // Of a request that was taken in part the last point is left.
    let mut lasts: Vec<&Point> = received.iter().filter_map(|one| one.points.last()).collect();
    let all = lasts.len();
    let mut twice = 0;
    while let Some(last) = lasts.pop() {
        twice += usize::from(lasts.contains(&last));
    }
    let ambiguous = received.iter().filter(|one| one.ambiguous).count() as u64;
    let outages = exporter.deaths.len() + exporter.network.outages.len();
    let excuses = ambiguous + exporter.consumers * (struck + outages as u64);
    let excuses = excuses
        + exporter.consumers * scenario.runs.iter().filter(|run| run.cancelled.is_some() || run.crashes).count() as u64;
    if twice as u64 > excuses {
        return vec![format!("{twice} of {all} requests came again, with {excuses} reasons")];
    }
    Vec::new()
}

/// Every value was told by its target, in the cycle of its stamp.
fn nothing_is_invented(scenario: &Scenario, story: &Story, points: &[Point]) -> Vec<String> {
    let slack = if scenario.steps.is_empty() { Duration::from_millis(2) } else { Duration::from_secs(5) };
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
    let (before, after) = (nanos(scenario.interval + slack), nanos(slack));
    let mut wrong = Vec::new();
    for point in points {
        let Some(value) = number(&point.value) else { continue };
        let target = point.resource.get("server.address").and_then(|host| host.strip_prefix("buddy"));
        let Some(buddy) = target.and_then(|nth| story.buddies.get(nth.parse::<usize>().ok()?)) else {
            wrong.push(format!("of no target: {point:?}"));
            continue;
        };
        let told = buddy.told(
            &point.name,
            value,
            point.time.saturating_sub(before),
            point.time + after,
            story.start.as_nanos(),
        );
        if !told {
            wrong.push(format!("never told by its target: {point:?}"));
        }
    }
    wrong
}

/// No cycle begins before the one before it has ended; where nothing goes wrong, none is missing and every target is up.
fn cycles(scenario: &Scenario, points: &[Point]) -> Vec<String> {
    let mut polls: BTreeMap<_, Vec<(u64, u64)>> = BTreeMap::new();
    let (mut ups, mut downs) = (0, 0);
    for point in points {
        let value = number(&point.value);
        match (point.name.as_str(), value) {
            ("session_buddy.poll.duration", Some(seconds)) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let took = (seconds * 1e9) as u64;
                polls.entry(&point.resource["server.address"]).or_default().push((point.time, took));
            }
            ("session_buddy.up", Some(up)) if up > 0.5 => ups += 1,
            ("session_buddy.up", _) => downs += 1,
            _ => {}
        }
    }
    let mut wrong = Vec::new();
    for (target, mut polls) in polls {
        polls.sort_unstable();
        polls.dedup();
        for pair in polls.windows(2) {
            let ((ended, _), (end, took)) = (pair[0], pair[1]);
            if scenario.steps.is_empty() && end - took.min(end) + 2_000_000 < ended {
                wrong.push(format!(
                    "cycles of {target} overlap: one ended at {ended}, the next took {took} until {end}"
                ));
            }
        }
    }
    let expected: u128 = scenario.runs.iter().map(|run| run.lasting.as_millis() / scenario.interval.as_millis()).sum();
    let expected = usize::try_from(expected).unwrap() * scenario.targets.len();
    if scenario.calm && (downs > 0 || ups < expected) {
        wrong.push(format!("{expected} cycles were due and nothing went wrong, but {ups} were up and {downs} down"));
    }
    wrong
}

fn number(value: &Value) -> Option<f64> {
    match value {
        #[allow(clippy::cast_precision_loss)]
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        _ => None,
    }
}
