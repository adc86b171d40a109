//! Promise: a reload makes another configuration what runs without losing or doubling anything, leaves alone what did not change, and where the
//! new configuration does not hold or cannot start, everything goes on as it was.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use minicol_config::{Problems, Request};
use minicol_host::{ConfigSource, Plan, Reloader, Running};
use minicol_plugin::{ComponentKind, ReloadOutcome, Status};

use crate::{
    components::REGISTRY,
    support::{GOOD, TEN_SECONDS, edge, notices, pass, start, status, story},
};

/// What stands in the file.
#[derive(Clone, Default)]
struct File(Arc<Mutex<String>>);

impl ConfigSource for File {
    fn load(&self) -> Result<Plan, Problems> {
        let text = self.0.lock().unwrap().clone();
        Plan::load(Request { configs: vec![format!("yaml:{text}")], ..Request::default() }, REGISTRY)
    }
}

impl File {
    fn write(&self, text: &str) {
        text.clone_into(&mut self.0.lock().unwrap());
    }
}

pub(crate) struct World {
    pub(crate) running: Running,
    file: File,
    reloader: Reloader,
}

impl World {
    pub(crate) async fn start(yaml: &str) -> Self {
        let mut running = start(yaml).await;
        let file = File::default();
        file.write(yaml);
        let reloader = running.reload_from(file.clone());
        Self { running, file, reloader }
    }

    async fn reload(&self, yaml: &str) -> minicol_plugin::Reload {
        self.file.write(yaml);
        self.reloader.reload().await
    }

    /// Reloads what must hold.
    pub(crate) async fn becomes(&self, yaml: &str) -> minicol_plugin::ReloadChanges {
        let reload = self.reload(yaml).await;
        assert!(reload.outcome.is_success(), "{reload:?}");
        reload.changes
    }

    /// What happened since it was asked last.
    fn since(&self, before: usize) -> Vec<String> {
        story(self.running.events())[before..].to_vec()
    }

    fn told(&self) -> usize {
        self.running.events().recent().len()
    }

    pub(crate) async fn ends_balanced(self) {
        let report = self.running.shutdown(TEN_SECONDS).await;
        assert!(report.errors.is_empty(), "{report:?}");
        report.books.check_at_end().unwrap();
        assert_eq!(report.books.lost(), 0, "{:?}", report.books);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_configuration_changes_nothing() {
    let world = World::start(GOOD).await;
    pass(2.5).await;
    let told = world.told();
    let reload = world.reload(&format!("# a comment\n{}", GOOD.replace("ticker: }", "'ticker': ~}"))).await;
    assert_eq!((reload.outcome, reload.changes.kept), (ReloadOutcome::Unchanged, 3));
    assert!(world.since(told).is_empty(), "{:?}", world.since(told));
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_restarts() {
    let world = World::start(GOOD).await;
    pass(0.5).await;
    let told = world.told();
    let changes = world.becomes(&GOOD.replace("sink: }", "sink: {endpoint: elsewhere}}")).await;
    assert_eq!((changes.kept, changes.replaced), (2, vec!["exporter sink".to_owned()]));
    pass(0.1).await;
    assert_eq!(
        world.since(told),
        ["sink Starting", "sink OK", "config_reloaded: replaced: exporter sink; 2 kept", "sink closes"]
    );
    pass(3.0).await;
    assert_eq!(world.running.books().accounts.iter().filter(|one| one.kind == ComponentKind::Exporter).count(), 1);
    assert_eq!(edge(&world.running, "to_metrics", "sink").accepted, 4);
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn how_a_component_stood_since_when_and_why_stays_until_the_next_instance_tells_if_that_one_knows_the_far_end() {
    let ticker = |options: &str| GOOD.replace("ticker: }", &format!("ticker: {{interval: 10s, {options}}}}}"));
    let stands = |world: &World| {
        let all = world.running.events().statuses();
        let of = all.into_iter().rfind(|one| one.kind == ComponentKind::Receiver).unwrap();
        (of.status, of.since, of.message)
    };
    for fails in ["trouble", "pause"] {
        let world = World::start(&ticker(&format!("fails: {fails}"))).await;
        pass(12.0).await;
        let (before, told) = (stands(&world), world.told());
        world.becomes(&ticker("tags: [remembers]")).await;
        pass(9.0).await;
        let told: Vec<_> = world.since(told).into_iter().filter(|one| one.starts_with("ticker")).collect();
        assert_eq!((stands(&world), told), (before, vec!["ticker begins".to_owned(), "ticker ends".to_owned()]));
        world.becomes(&ticker("tags: [another]")).await;
        assert_eq!(stands(&world).0, Status::Ok, "it knows nothing of before");
        world.ends_balanced().await;
    }
    // One that ended is not what runs now.
    for fails in ["run", "panic", "end"] {
        let world = World::start(&ticker(&format!("fails: {fails}"))).await;
        pass(12.0).await;
        world.becomes(&ticker("tags: [remembers]")).await;
        assert_eq!((stands(&world).0, stands(&world).2), (Status::Ok, String::new()));
        world.running.shutdown(TEN_SECONDS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_goes_out_through_the_new_exporter() {
    let dead = GOOD.replace(
        "sink: }",
        "sink: {fails: later, retry_on_failure: {initial_interval: 1h, max_interval: 1h, max_elapsed_time: 0s}}}",
    );
    let world = World::start(&dead).await;
    pass(5.5).await;
    let before = world.running.books();
    world.becomes(GOOD).await;
    pass(0.1).await;
    let after = world.running.books();
    let out = |books: &minicol_plugin::Books| {
        let sink = books.accounts.iter().find(|one| one.kind == ComponentKind::Exporter).unwrap();
        (sink.taken, sink.out, sink.queued)
    };
    assert_eq!((out(&before), out(&after)), ((6, 0, 6), (6, 6, 0)));
    assert_eq!(status(&world.running, ComponentKind::Exporter, "sink").0, Status::Ok);
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_kept_elsewhere_takes_over_and_the_old_one_drains() {
    let slow =
        "exporters: {sink: {takes: 1s, sending_queue: {queue_size: 3, num_consumers: 1, block_on_overflow: true}}}";
    let yaml = GOOD.replace("exporters: {sink: }", slow).replace("ticker: }", "ticker: {interval: 100ms}}");
    let world = World::start(&yaml).await;
    pass(3.05).await;
    world
        .becomes(&yaml.replace("takes: 1s", "takes: 10ms").replace("num_consumers", "sizer: items, num_consumers"))
        .await;
    pass(10.0).await;
    world.running.books().check().unwrap();
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_processor_holds_is_passed_on_before_the_next_one_takes_anything() {
    let holding = GOOD
        .replace("{to_metrics: }", "{to_metrics: , keeper: {holds: true}}")
        .replace("[to_metrics]", "[keeper, to_metrics]");
    let world = World::start(&holding).await;
    pass(3.5).await;
    assert_eq!(edge(&world.running, "keeper", "to_metrics").offered, 0);
    let changes = world.becomes(&holding.replace("holds: true", "holds: false")).await;
    assert_eq!(changes.replaced, ["processor keeper in metrics"]);
    pass(1.0).await;
    assert_eq!(edge(&world.running, "keeper", "to_metrics").accepted, 5);
    assert!(notices(world.running.events()).contains(&"keeper flushes: after 4".to_owned()));
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn pipelines_come_and_go_and_the_books_stay_in_the_totals() {
    let world = World::start(GOOD).await;
    pass(2.5).await;
    let more = GOOD
        .replace("receivers: {ticker: }", "receivers: {ticker: , ticker/2: {interval: 500ms}}")
        .replace("exporters: {sink: }", "exporters: {sink: , sink/2: }")
        .replace("  pipelines:", "  pipelines:\n    metrics/2: {receivers: [ticker/2, ticker], processors: [to_metrics], exporters: [sink/2, sink]}");
    let changes = world.becomes(&more).await;
    assert_eq!(changes.added, ["exporter sink/2", "processor to_metrics in metrics/2", "receiver ticker/2"]);
    pass(3.2).await;
    world.running.books().check().unwrap();
    let page = world.running.telemetry().page();
    assert!(page.contains("sink/2") && page.contains("ticker/2"));
    let changes = world.becomes(GOOD).await;
    assert_eq!(changes.removed, ["exporter sink/2", "processor to_metrics in metrics/2", "receiver ticker/2"]);
    pass(1.0).await;
    let books = world.running.books();
    assert!(books.accounts.iter().any(|one| one.component.to_string() == "sink/2" && one.out > 0), "{books:?}");
    let page = world.running.telemetry().page();
    assert!(!page.contains("sink/2") && !page.contains("ticker/2") && !page.contains("metrics/2"), "{page}");
    let shown: Vec<String> = world.running.snapshot().components.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(shown, ["sink", "to_metrics", "ticker"]);
    world.becomes(&more).await;
    pass(1.0).await;
    assert!(world.running.telemetry().page().contains("sink/2"));
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_or_start_leaves_everything_as_it_was() {
    let world = World::start(GOOD).await;
    pass(0.5).await;
    let told = world.told();
    let reload = world.reload(&GOOD.replace("ticker: }", "ticker: {intervall: 2s}}")).await;
    assert_eq!(reload.outcome, ReloadOutcome::Invalid);
    assert!(reload.errors[0].starts_with("<yaml:>:2:22: unknown key `intervall`"), "{reload:?}");
    for (what, why) in
        [("build", "could not be built: cannot be built: no disk"), ("start", "could not start: the port is taken")]
    {
        let reload = world
            .reload(
                &GOOD
                    .replace("ticker: }", &format!("ticker: , ticker/2: {{fails: {what}}}}}"))
                    .replace("[ticker]", "[ticker, ticker/2]"),
            )
            .await;
        assert_eq!(reload.outcome, ReloadOutcome::Failed);
        assert_eq!(reload.errors, [format!("<yaml:>:2:23: receiver `ticker/2` {why}")]);
    }
    let page = world.running.telemetry().page();
    for line in [
        "minicol_config_last_reload_successful 0",
        "minicol_config_reload_total{outcome=\"invalid\"} 1",
        "minicol_config_reload_total{outcome=\"failed\"} 2",
        "minicol_config_reload_total{outcome=\"success\"} 0",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    assert!(page.contains("minicol_config_last_reload_success_timestamp_seconds 1767225600\n"), "{page}");
    let said = world.since(told);
    assert_eq!(said.len(), 3, "nothing but the reloads, each with its place: {said:?}");
    let expected = [
        "2:22: unknown key `intervall`",
        "2:23: receiver `ticker/2` could not be built",
        "2:23: receiver `ticker/2` could not start",
    ];
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(&format!("config_reload_failed: <yaml:>:{expected}")), "{said}");
    }
    let last = world.running.snapshot().reload.last.unwrap();
    assert_eq!(last.outcome, ReloadOutcome::Failed);
    pass(2.0).await;
    assert_eq!(edge(&world.running, "to_metrics", "sink").accepted, 3);
    world.becomes(&GOOD.replace("ticker: }", "ticker: {interval: 2s}}")).await;
    assert!(world.running.telemetry().page().contains("minicol_config_last_reload_successful 1"));
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn of_very_many_errors_the_first_are_kept_to_be_shown() {
    let world = World::start(GOOD).await;
    let wrong: Vec<String> = (0..50).map(|nth| format!("unknown_{nth}: 1")).collect();
    let reload = world.reload(&GOOD.replace("ticker: }", &format!("ticker: {{{}}}}}", wrong.join(", ")))).await;
    assert_eq!((reload.outcome, reload.errors.len()), (ReloadOutcome::Invalid, 20));
    assert!(reload.errors[19].contains("unknown_19"), "{reload:?}");
    assert_eq!(world.running.snapshot().reload.last.unwrap().errors.len(), 20);
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_under_one_name_has_one_entry_in_the_books() {
    let world = World::start(GOOD).await;
    let more = GOOD.replace("{sink: }", "{sink: , sink/2: }").replace("[sink]", "[sink, sink/2]");
    for _ in 0..20 {
        world.becomes(&more).await;
        pass(1.0).await;
        world.becomes(GOOD).await;
    }
    let books = world.running.books();
    let of_it: Vec<u64> =
        books.accounts.iter().filter(|one| one.component.to_string() == "sink/2").map(|one| one.out).collect();
    assert!(of_it.len() == 1 && of_it[0] >= 20, "{books:?}");
    assert_eq!(books.edges.iter().filter(|edge| edge.to == "sink/2").count(), 1, "{books:?}");
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn reloads_that_are_asked_for_during_one_are_one() {
    let world = World::start(GOOD).await;
    let lingers = GOOD.replace("ticker: }", "ticker: {lingers: 5s}}");
    world.becomes(&lingers).await;
    // What is replaced takes its time to end; the next reload waits for that.
    world.becomes(GOOD).await;
    world.file.write(&lingers);
    let all = futures::future::join_all((0..10).map(|_| world.reloader.reload())).await;
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    assert_eq!(world.running.snapshot().reload.outcomes[&ReloadOutcome::Success], 3);
    world.ends_balanced().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_its_deadline_whatever_a_reload_is_at() {
    // It waits for what never gets ready.
    let world = World::start(GOOD).await;
    world.file.write(
        &GOOD
            .replace("ticker: }", "ticker: , ticker/2: {never_ready: true}}")
            .replace("[ticker]", "[ticker, ticker/2]"),
    );
    let reloader = world.reloader.clone();
    let reload = tokio::spawn(async move { reloader.reload().await });
    pass(1.0).await;
    let reloader = world.reloader.clone();
    let report = world.running.shutdown(TEN_SECONDS).await;
    assert!(report.took < Duration::from_secs(3) && report.is_clean(), "{report:?}");
    assert_eq!(reload.await.unwrap().outcome, ReloadOutcome::Ignored);
    assert_eq!(reloader.reload().await.outcome, ReloadOutcome::Ignored);

    // It ends what is deaf.
    let deaf = GOOD.replace("ticker: }", "ticker: {deaf: true}}");
    let world = World::start(&deaf).await;
    world.becomes(GOOD).await;
    pass(1.0).await;
    let report = world.running.shutdown(TEN_SECONDS).await;
    assert!(report.took < Duration::from_secs(4), "{report:?}");
    report.books.check_at_end().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_extension_can_ask_for_a_reload_that_replaces_it() {
    let asks =
        "extensions: {page: {asks: true}}".to_owned() + &GOOD.replace("service:", "service:\n  extensions: [page]");
    let world = World::start(&asks).await;
    pass(0.5).await;
    world.file.write(&asks.replace("asks: true", "asks: false"));
    pass(1.0).await;
    let told = notices(world.running.events());
    assert!(told.contains(&"page was answered: success".to_owned()), "{told:?}");
    assert_eq!(status(&world.running, ComponentKind::Extension, "page").0, Status::Ok);
    world.ends_balanced().await;
}
