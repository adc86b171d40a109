//! Promise: what was taken is on disk and arrives, whatever ends the program; a second program is kept away; what is left at the end is said.

use std::time::Duration;

use minicol_tests::{
    Program,
    durability::{Backend, Beside, KillReport, Kills, Mood, Queue, Relay, Sender, batch, kill},
    wait_until,
};

/// The long form: `cargo run --release -p minicol-tests --bin durability -- kill --kills 200 --seed 1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_arrives_though_the_program_is_killed_at_random_moments() {
    println!("{}", killed(10, Beside::Nothing).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_arrives_whatever_stands_beside_the_stored_exporter() {
    println!("{}", killed(5, Beside::Debug).await);
    println!("{}", killed(5, Beside::Stored).await);
}

async fn killed(kills: u32, beside: Beside) -> KillReport {
    let report = kill(Kills { kills, seed: 7, senders: 4, consumers: 2, beside }).await;
    assert!(report.holds(), "{beside:?}\n{report}\n{:?}", report.lost);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_before_the_end_is_kept_told_and_sent_first_by_the_next_start() {
    let backend = Backend::start(Mood::Refuses, 1).await;
    let relay = Relay::new(&backend.url, Queue::Stored, "num_consumers: 1");
    let (program, sender) = relay.started().await;
    for number in 1..=20 {
        assert!(sender.send(batch(number, 10)).await);
    }
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("lost_while_stopping=0 kept_in_storage=201"), "{}", output.stderr);
    assert!(output.stderr.contains("201 metric points are kept in storage"), "{}", output.stderr);

    backend.set(Mood::Takes);
    let program = relay.start();
    wait_until("everything to arrive", || backend.arrived().len() == 21).await;
    assert!(backend.arrived().values().all(|times| *times == 1), "nothing was in flight: nothing comes twice");
    let output = program.stop().await;
    assert!(output.stderr.contains("kept_in_storage=0") && output.stderr.contains("restored=201"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_program_on_the_directory_does_not_start_and_names_the_holder() {
    let backend = Backend::start(Mood::Takes, 1).await;
    let relay = Relay::new(&backend.url, Queue::Stored, "");
    let (program, sender) = relay.started().await;
    let second = relay.start().ended(Duration::from_secs(60)).await;
    assert_eq!(second.code, 1, "{}", second.stderr);
    let holder = format!("is in use by process {} on host", program.pid());
    assert!(second.stderr.contains(&holder), "{}", second.stderr);
    assert!(sender.send(batch(1, 1)).await, "the first goes on");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_no_store_does_not_keep_the_program_from_starting() {
    let backend = Backend::start(Mood::Takes, 1).await;
    let relay = Relay::new(&backend.url, Queue::Stored, "");
    std::fs::create_dir(relay.store()).unwrap();
    std::fs::write(relay.store().join("store.redb"), "this is no store").unwrap();
    let (program, sender) = relay.started().await;
    assert!(sender.send(batch(1, 1)).await);
    wait_until("it to arrive", || backend.arrived().contains_key(&1)).await;
    let output = program.stop().await;
    assert_eq!((output.code, relay.aside()), (0, 1), "{}", output.stderr);
    assert!(
        output.stderr.contains("store_moved_aside") && output.stderr.contains("store.redb.broken-1"),
        "{}",
        output.stderr
    );
}

#[tokio::test]
async fn the_example_is_valid_and_validation_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("stored");
    let variables = [("MINICOL_STORAGE", stored.to_str().unwrap())];
    let output = Program::run(&["validate", "--config", "pipelines/otlp-relay-persistent.yaml"], &variables).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!stored.exists());
    let port = minicol_tests::free_port();
    let http = format!("receivers.otlp.protocols.http.endpoint=127.0.0.1:{port}");
    let sets = [
        "receivers.otlp.protocols.grpc.endpoint=127.0.0.1:0",
        &http,
        "extensions.health_check.endpoint=127.0.0.1:0",
        "extensions.status_page.endpoint=127.0.0.1:0",
        "exporters.otlphttp.compression=none",
        "service.telemetry.metrics.level=none",
    ];
    let backend = Backend::start(Mood::Takes, 1).await;
    let mut arguments = vec!["run", "--config", "pipelines/otlp-relay-persistent.yaml"];
    arguments.extend(sets.into_iter().flat_map(|set| ["--set", set]));
    let program = Program::start(&arguments, &[variables[0], ("BACKEND", &backend.url)]);
    wait_until("everything to start", || program.stderr().contains("everything has started")).await;
    assert!(Sender::new(port).send(batch(1, 1)).await);
    wait_until("it to arrive", || backend.arrived().contains_key(&1)).await;
    assert!(stored.join("store.redb").exists());
    assert_eq!(program.stop().await.code, 0);
}

/// A store whose pages do not hold, but whose list of queues can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_held_that_is_damaged_at_a_start_is_in_the_books_and_in_the_log() {
    let backend = Backend::start(Mood::Refuses, 1).await;
    let relay = Relay::new(&backend.url, Queue::Stored, "num_consumers: 1");
    let (program, sender) = relay.started().await;
    for number in 1..=4 {
        assert!(sender.send(batch(number, 10)).await);
    }
    let output = program.stop().await;
    assert!(output.stderr.contains("kept_in_storage=41"), "{}", output.stderr);
    let path = relay.store().join("store.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let format = [&b"format"[..], &2_u64.to_le_bytes()].concat();
    let places: Vec<usize> = (0..bytes.len() - format.len()).filter(|at| bytes[*at..].starts_with(&format)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();

    backend.set(Mood::Takes);
    let (program, sender) = relay.started().await;
    assert!(sender.send(batch(9, 1)).await);
    wait_until("it to arrive", || backend.arrived().contains_key(&9)).await;
    let lost = "the 41 items that it held are lost (41 of queue `otlphttp/0/metrics`)";
    wait_until("what is lost", || program.stderr().contains(lost)).await;
    wait_until("its exporter to say so", || program.stderr().contains("storage_damaged")).await;
    let output = program.stop().await;
    assert_eq!((output.code, relay.aside()), (0, 1), "{}", output.stderr);
    assert!(output.stderr.contains("restored=41"), "{}", output.stderr);
    assert!((1..=4).all(|number| !backend.arrived().contains_key(&number)));
}

/// The file is overwritten while the program has it open, and the backend takes nothing: nobody reads what waits before the end. A write that fails
/// makes the program look at the file again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_held_that_is_overwritten_while_items_wait_is_booked_as_lost_and_what_came_after_is_kept() {
    let backend = Backend::start(Mood::Refuses, 1).await;
    let relay = Relay::new(&backend.url, Queue::Stored, "num_consumers: 1");
    let (program, sender) = relay.started_with_small_files(4 * 1024).await;
    let mut taken = 1;
    for number in 1..=4 {
        assert!(sender.send(batch(number, 10)).await);
        taken += 10;
    }
    std::fs::write(relay.store().join("store.redb"), "this is no store").unwrap();
    for number in 5.. {
        if !sender.send(batch(number, 1_000)).await {
            break;
        }
        taken += 1_000;
        assert!(number < 1_000, "the file may be as large as it likes");
    }
    wait_until("an empty one to take its place", || program.stderr().contains("store_moved_aside")).await;
    wait_until_sent(&sender, batch(2_000, 7)).await;
    let output = program.stop().await;
    assert_eq!((output.code, relay.aside()), (0, 1), "{}", output.stderr);
    let lost = format!("{taken} metric points lost, reason storage_damaged");
    assert!(output.stderr.contains(&lost), "{lost}: {}", output.stderr);
    assert!(output.stderr.contains("7 metric points are kept in storage"), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("lost_while_stopping={taken} kept_in_storage=7")), "{}", output.stderr);

    backend.set(Mood::Takes);
    let program = relay.start();
    wait_until("it to arrive", || backend.arrived().contains_key(&2_000)).await;
    let output = program.stop().await;
    assert!(output.stderr.contains("restored=7"), "{}", output.stderr);
    assert_eq!(backend.arrived().len(), 1, "the others were lost");
}

async fn wait_until_sent(sender: &Sender, body: bytes::Bytes) {
    for _ in 0..200 {
        if sender.send(body.clone()).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not taken");
}
