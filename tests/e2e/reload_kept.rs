//! Promise: what docs/reload.md says is kept, and is not, where a target's endpoint or a storage changes, or the exporter of a queue on disk goes and comes back.

use std::{fmt::Write, fs, path::PathBuf, time::Duration};

use minicol_tests::{
    OtlpSink, Program, RecordedBuddy, books_at_rest, breaches,
    durability::{Backend, Mood, Sender, batch},
    free_port, http_get, repeated, wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{File, pipeline_with};

async fn status(health: u16) -> Value {
    let (_, body) = http_get(&format!("127.0.0.1:{health}"), "/status").await.expect("the health page answers");
    serde_json::from_str(&body).expect("JSON")
}

async fn reload(program: &Program) {
    let before = program.stderr().matches("the configuration is reloaded").count();
    program.signal("HUP").await;
    wait_until("the reload", || program.stderr().matches("the configuration is reloaded").count() > before).await;
}

#[tokio::test]
async fn a_target_with_another_endpoint_is_another_server_and_the_session_with_the_old_one_is_ended() {
    let (old, new) = (RecordedBuddy::start().await, RecordedBuddy::start().await);
    let (sink, health) = (OtlpSink::start().await, free_port());
    let text = |target: &str| {
        let extensions = format!(
            "extensions: {{health_check: {{endpoint: \"127.0.0.1:{health}\"}}}}\nservice:\n  extensions: [health_check]"
        );
        let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
        pipeline_with(target, &exporter, "metrics: {level: none}").replace("service:", &extensions)
    };
    let file = File::new(&text(&old.endpoint));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    let port = |buddy: &RecordedBuddy| buddy.endpoint.rsplit(':').next().unwrap().trim_end_matches("/mcp").to_owned();
    let up = |buddy: &RecordedBuddy| {
        let port = port(buddy);
        let ups = sink.points_of("session_buddy.up").into_iter();
        ups.filter(|point| point.resource.get("server.port") == Some(&port)).count()
    };
    wait_until("points of the old one", || up(&old) >= 2).await;
    assert_eq!((old.ended(), new.seen().len()), (0, 0));

    fs::write(file.path(), text(&new.endpoint)).unwrap();
    reload(&program).await;
    let told = status(health).await;
    assert_eq!(told["reload"]["last"]["replaced"], serde_json::json!(["receiver session_buddy"]), "{told}");
    wait_until("points of the new one", || up(&new) >= 2).await;
    wait_until("the old session's end", || old.ended() == 1).await;
    let (asked, of_old) = (old.seen().len(), up(&old));
    wait_until("more of the new one", || up(&new) >= 4).await;
    assert_eq!((old.seen().len(), up(&old)), (asked, of_old), "the old one is left alone");
    assert_eq!(new.seen().iter().filter(|asked| *asked == "initialize").count(), 1, "a session with the new one");
    books_at_rest(&format!("127.0.0.1:{health}"), Duration::from_secs(60)).await;
    assert_eq!((program.stop().await.code, new.ended()), (0, 1));
    let points = sink.points();
    assert_eq!((breaches(&points), repeated(&points)), (Vec::<String>::new(), 0));
    let instances: std::collections::BTreeSet<_> =
        points.iter().filter_map(|point| point.resource.get("service.instance.id")).collect();
    assert_eq!(instances.len(), 2, "the series of the one are not those of the other");
}

#[tokio::test]
async fn a_target_that_fails_is_told_as_before_after_its_options_changed_since_when_and_why() {
    let (target, health) = (free_port(), free_port());
    let text = |options: &str| {
        format!(
            "receivers: {{session_buddy: {{endpoint: \"http://127.0.0.1:{target}/mcp\", interval_seconds: 600, {options}}}}}
processors: {{mapping: {{presets: [session_buddy]}}}}
exporters: {{debug: {{verbosity: basic}}}}
extensions: {{health_check: {{endpoint: \"127.0.0.1:{health}\"}}}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [session_buddy], processors: [mapping], exporters: [debug]}}}}
"
        )
    };
    let of_poller = async || {
        let told = status(health).await;
        let all = told["components"].as_array().unwrap_or_else(|| panic!("{told}")).clone();
        let one = all.into_iter().find(|one| one["id"] == "session_buddy").unwrap();
        (one["status"].clone(), one["since"].clone(), one["message"].as_str().unwrap().to_owned())
    };
    let file = File::new(&text("max_retries: 0"));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("that it is down", || program.stderr().contains("keeps trying")).await;
    let before = of_poller().await;
    assert!(before.0 == "RecoverableError" && before.2.contains("Connection refused"), "{before:?}");
    fs::write(file.path(), text("max_retries: 1")).unwrap();
    reload(&program).await;
    assert_eq!(of_poller().await, before);
    let again = format!("http://127.0.0.1:{target}/elsewhere");
    fs::write(file.path(), text("max_retries: 1").replace(&format!("http://127.0.0.1:{target}/mcp"), &again)).unwrap();
    reload(&program).await;
    let other = of_poller().await;
    assert_eq!((&other.0, &*other.2), (&Value::from("OK"), ""), "of another server nothing is known yet");
    assert_eq!(program.stop().await.code, 0);
}

/// A relay whose file a test changes.
struct Relay {
    folder: TempDir,
    backend: Backend,
    port: u16,
    health: u16,
    page: u16,
}

const STORED: &str = "otlphttp/0/metrics";

impl Relay {
    async fn new() -> Self {
        let backend = Backend::start(Mood::Refuses, 1).await;
        let folder = tempfile::tempdir().unwrap();
        Self { folder, backend, port: free_port(), health: free_port(), page: free_port() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A storage with these options, and exporters: of those that store, the numbers.
    fn write(&self, storage: &str, stored: &[u32]) {
        let mut ids = vec!["debug".to_owned()];
        let mut exporters = "debug: {verbosity: basic}".to_owned();
        for number in stored {
            let retry = "{initial_interval: 20ms, max_interval: 100ms, max_elapsed_time: 0s}";
            let _ = write!(
                exporters,
                ", otlphttp/{number}: {{endpoint: \"{}\", compression: none, retry_on_failure: {retry}, sending_queue: {{storage: file_storage}}}}",
                self.backend.url
            );
            ids.push(format!("otlphttp/{number}"));
        }
        let Self { port, health, page, .. } = self;
        let text = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{port}\"}}}}}}}}
exporters: {{{exporters}}}
extensions:
  health_check: {{endpoint: \"127.0.0.1:{health}\"}}
  file_storage: {{{storage}}}
service:
  extensions: [health_check, file_storage]
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {page}}}}}}}}}]}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [{}]}}}}
",
            ids.join(", ")
        );
        fs::write(self.at("relay.yaml"), text).unwrap();
    }

    fn directory(&self, name: &str) -> String {
        format!("directory: \"{}\"", self.at(name).display())
    }

    async fn start(&self) -> Program {
        let file = self.at("relay.yaml");
        let program = Program::start(&["run", "--config", file.to_str().unwrap(), "--shutdown-timeout", "2s"], &[]);
        wait_until("it runs", || program.stderr().contains("everything has started")).await;
        program
    }

    /// What `/status` says of the storage.
    async fn storage(&self) -> Value {
        let told = status(self.health).await;
        let all = told["components"].as_array().unwrap_or_else(|| panic!("{told}"));
        let of = all.iter().find(|one| one["id"] == "file_storage").unwrap_or_else(|| panic!("{told}"));
        of["details"].clone()
    }

    async fn unclaimed(&self) -> u64 {
        let (_, metrics) = http_get(&format!("127.0.0.1:{}", self.page), "/metrics").await.unwrap();
        let line = metrics.lines().find(|line| line.starts_with("minicol_storage_unclaimed_items{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_a_storage_wait_for_the_next_start_and_what_is_stored_stays_where_it_is() {
    let relay = Relay::new().await;
    relay.write(&relay.directory("old"), &[0]);
    let program = relay.start().await;
    let sender = Sender::new(relay.port);
    assert!(sender.send(batch(1, 10)).await);
    let said = "extension `file_storage` has changed, and queues are kept in it: that takes effect when minicol is started again";
    for (nth, options) in
        [relay.directory("new"), format!("{}, fsync: interval", relay.directory("old"))].iter().enumerate()
    {
        relay.write(options, &[0]);
        reload(&program).await;
        assert_eq!(program.stderr().matches(said).count(), nth + 1, "{options}: {}", program.stderr());
        let told = status(relay.health).await;
        let last = &told["reload"]["last"];
        assert_eq!((&last["outcome"], &last["warnings"]), (&"unchanged".into(), &serde_json::json!([said])), "{told}");
        assert!(sender.send(batch(2 + nth as u64, 10)).await);
    }
    let shown = relay.storage().await;
    assert_eq!(shown["directory"], relay.at("old").display().to_string(), "{shown}");
    assert_eq!((&shown["queues"][STORED]["records"], &shown["queues"][STORED]["in_use"]), (&3.into(), &true.into()));
    assert!(!relay.at("new").exists(), "nothing is made of what does not hold yet");
    relay.backend.set(Mood::Takes);
    wait_until("all of it", || relay.backend.arrived().len() == 3).await;
    books_at_rest(&format!("127.0.0.1:{}", relay.health), Duration::from_secs(60)).await;
    assert_eq!(program.stop().await.code, 0);

    relay.write(&relay.directory("new"), &[0]);
    let program = relay.start().await;
    assert_eq!(relay.storage().await["directory"], relay.at("new").display().to_string());
    assert_eq!((program.stop().await.code, relay.at("new").join("store.redb").exists()), (0, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_removed_exporter_leaves_in_a_storage_is_told_at_once_and_the_next_one_of_its_name_takes_it_up() {
    let relay = Relay::new().await;
    let storage = relay.directory("stored");
    relay.write(&storage, &[0, 1]);
    let program = relay.start().await;
    let sender = Sender::new(relay.port);
    for number in 1..=3 {
        assert!(sender.send(batch(number, 10)).await);
    }
    assert_eq!(relay.unclaimed().await, 0);
    relay.write(&storage, &[1]);
    reload(&program).await;
    let said = "30 items are stored in queue `otlphttp/0/metrics`, but no exporter of that id keeps its queue here";
    wait_until("what is left behind", || program.stderr().contains(said)).await;
    let queues = relay.storage().await["queues"].clone();
    assert_eq!((&queues[STORED]["in_use"], &queues["otlphttp/1/metrics"]["in_use"]), (&false.into(), &true.into()));
    assert_eq!(relay.unclaimed().await, 30);

    relay.write(&storage, &[0, 1]);
    relay.backend.set(Mood::Takes);
    reload(&program).await;
    let said = "an exporter keeps queue `otlphttp/0/metrics` again";
    wait_until("that it is taken up", || program.stderr().contains(said)).await;
    wait_until("all of it, by both", || (1..=3).all(|number| relay.backend.arrived().get(&number) == Some(&2))).await;
    books_at_rest(&format!("127.0.0.1:{}", relay.health), Duration::from_secs(60)).await;
    assert_eq!((relay.unclaimed().await, &relay.storage().await["queues"][STORED]["in_use"]), (0, &true.into()));
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.stderr.matches("no exporter of that id").count(), 1, "not at the end: {}", output.stderr);
}
