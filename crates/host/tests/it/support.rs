//! Plans and programs for tests.

use std::time::Duration;

use minicol_config::{Problems, Request};
use minicol_host::{Events, Host, Plan, Program, Running};
use minicol_plugin::{ComponentKind, EdgeSnapshot, Event, Status, StatusChange, testing::Harness};

use crate::components::REGISTRY;

pub(crate) const PROGRAM: Program = Program { name: "minicol", version: "0" };
pub(crate) const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A pipeline that works, as every test starts from.
pub(crate) const GOOD: &str = "
receivers: {ticker: }
processors: {to_metrics: }
exporters: {sink: }
service:
  pipelines:
    metrics: {receivers: [ticker], processors: [to_metrics], exporters: [sink]}
";

pub(crate) fn load(yaml: &str) -> Result<Plan, Problems> {
    load_with(yaml, &[], &[])
}

pub(crate) fn load_with(yaml: &str, variables: &[(&str, &str)], sets: &[&str]) -> Result<Plan, Problems> {
    let request = Request {
        configs: vec![format!("yaml:{yaml}")],
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        environment: variables.to_vec().into(),
        ..Request::default()
    };
    Plan::load(request, REGISTRY)
}

/// A plan that must hold.
pub(crate) fn plan(yaml: &str) -> Plan {
    load(yaml).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Every problem of a configuration that must not hold: place, path, message, help.
pub(crate) fn wrong(yaml: &str) -> Vec<String> {
    let Err(problems) = load(yaml) else { panic!("this must not hold: {yaml}") };
    problems.errors().map(one_line).collect()
}

pub(crate) fn one_line(problem: &minicol_config::Problem) -> String {
    let place = problem.mark.as_ref().map(|mark| format!("{}:{}", mark.line(), mark.column())).unwrap_or_default();
    let help = problem.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
    format!("{place} [{}] {}{help}", problem.path, problem.message)
}

pub(crate) fn host() -> Host {
    Host::new(PROGRAM, Harness::default().environment())
}

pub(crate) async fn start(yaml: &str) -> Running {
    host().start(&plan(yaml)).await.unwrap_or_else(|error| panic!("{error}"))
}

/// What happened, one word per event: `+ticker` starts and so on as statuses, `ticker begins` as notices.
pub(crate) fn story(events: &Events) -> Vec<String> {
    events.recent().iter().map(told).collect()
}

/// The same without the statuses.
pub(crate) fn notices(events: &Events) -> Vec<String> {
    events.recent().iter().filter(|event| matches!(event, Event::Notice(_))).map(told).collect()
}

fn told(event: &Event) -> String {
    match event {
        Event::Status(change) if change.message.is_empty() => format!("{} {}", change.component, change.status),
        Event::Status(change) => format!("{} {}: {}", change.component, change.status, change.message),
        Event::Notice(notice) if notice.message.is_empty() => format!("{} {}", notice.component, notice.name),
        Event::Notice(notice) => format!("{} {}: {}", notice.component, notice.name, notice.message),
        Event::Program(notice) => format!("{}: {}", notice.name, notice.message),
    }
}

pub(crate) fn status(running: &Running, kind: ComponentKind, id: &str) -> (Status, String) {
    of(&running.events().statuses(), kind, id)
}

pub(crate) fn of(statuses: &[StatusChange], kind: ComponentKind, id: &str) -> (Status, String) {
    let found = statuses.iter().find(|one| one.kind == kind && one.component.to_string() == id);
    let Some(found) = found else { panic!("no {kind} {id}") };
    (found.status, found.message.clone())
}

pub(crate) fn edge(running: &Running, from: &str, to: &str) -> EdgeSnapshot {
    let mut edges = running.books().edges.into_iter();
    edges.find(|edge| edge.from == from && edge.to == to).unwrap_or_else(|| panic!("no arrow from {from} to {to}"))
}

/// Lets simulated time pass.
pub(crate) async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}
