//! From one life to the next.

use std::{
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    time::Duration,
};

use minicol_plugin::{config::GoDuration, storage::Held, testing::Harness};

use super::{Disk, Life, all, config, own_folder, payload, push};
use crate::{
    CompactionConfig, FileStorageConfig, Fsync,
    place::{Place, System},
};

#[tokio::test]
async fn what_was_stored_is_there_in_the_next_life_oldest_first_and_ids_go_on() {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    let (queue, other) = (life.queue("otlp/metrics"), life.queue("otlp/logs"));
    for number in 0..50 {
        push(&queue, payload(number, 3_000)).await.unwrap();
        push(&other, payload(1_000 + number, 10)).await.unwrap();
    }
    for id in 0..10 {
        queue.remove(id).await.unwrap();
    }
    other.replace(7, payload(7, 200), 3).await.unwrap();
    queue.replace(7, payload(7, 200), 3).await.unwrap();
    life.end().await;

    let life = Life::begin(config(folder.path())).await;
    let (queue, other) = (life.queue("otlp/metrics"), life.queue("otlp/logs"));
    assert_eq!(queue.holds(), Held { records: 40, items: 40, bytes: 120_000 });
    let found = all(&queue).await;
    assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), (10..50).collect::<Vec<_>>());
    for record in found {
        assert_eq!(record.payload, Ok(payload(record.id, 3_000)));
        queue.remove(record.id).await.unwrap();
    }
    assert_eq!((queue.holds(), other.holds()), (Held::default(), Held { records: 50, items: 52, bytes: 690 }));
    assert_eq!(all(&other).await[7].payload, Ok(payload(7, 200)), "what is left of it is in its place");
    life.end().await;

    let life = Life::begin(config(folder.path())).await;
    let queue = life.queue("otlp/metrics");
    let id = Arc::new(Mutex::new(None));
    let told = Arc::clone(&id);
    queue.push(payload(1, 5), 1, Box::new(move |id| *told.lock().unwrap() = Some(id))).await.unwrap();
    assert_eq!(*id.lock().unwrap(), Some(50), "an id is used once");
    life.end().await;
}

#[tokio::test]
async fn what_one_user_of_a_queue_leaves_is_told_to_the_next_one_in_the_same_life() {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    let first = life.queue("q");
    for number in 0..3 {
        push(&first, payload(number, 100)).await.unwrap();
    }
    first.remove(0).await.unwrap();
    let next = life.queue("q");
    push(&next, payload(3, 100)).await.unwrap();
    assert_eq!((first.left(), next.left().map(|left| left.records)), (Some(Held::default()), Some(2)));
    assert_eq!(next.holds().records, 3);
    life.end().await;
}

#[tokio::test]
async fn what_was_told_to_be_stored_survives_a_kill_at_any_moment() {
    let (folder, copies) = (own_folder(), own_folder());
    let life = Life::begin(config(folder.path())).await;
    let queue = life.queue("q");
    let mut stored = Vec::new();
    let mut gone = 0;
    for number in 0..40_u64 {
        push(&queue, payload(number, 500 + usize::try_from(number).unwrap() * 900)).await.unwrap();
        stored.push(number);
        if number % 3 == 0 {
            queue.remove(gone).await.unwrap();
            gone += 1;
        }
        // What a killed process leaves: everything that it wrote, nothing closed.
        let copy = copies.path().join(number.to_string());
        std::fs::DirBuilder::new().mode(0o700).create(&copy).unwrap();
        std::fs::copy(folder.path().join("store.redb"), copy.join("store.redb")).unwrap();
        let next = Life::begin(config(&copy)).await;
        let found = all(&next.queue("q")).await;
        let expected: Vec<u64> = (gone..=number).collect();
        assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|record| record.payload.as_ref().unwrap()[..8] == record.id.to_le_bytes()));
        assert!(next.harness.notices().is_empty(), "{:?}", next.harness.notices());
        next.end().await;
    }
    life.end().await;
}

#[tokio::test]
async fn those_who_wait_at_the_same_time_share_an_fsync_and_ids_are_told_in_order() {
    let folder = own_folder();
    let disk = Disk::new();
    let life = Life::on(config(folder.path()), &disk).await;
    let queue = life.queue("q");
    let told = Arc::new(Mutex::new(Vec::new()));
    let before = disk.syncs.load(SeqCst);
    let senders: Vec<_> = (0..200)
        .map(|number| {
            let (queue, told) = (Arc::clone(&queue), Arc::clone(&told));
            tokio::spawn(async move {
                queue.push(payload(number, 2_000), 1, Box::new(move |id| told.lock().unwrap().push(id))).await
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
    let syncs = disk.syncs.load(SeqCst) - before;
    assert!(syncs > 0 && syncs < 100, "{syncs} for 200 records");
    assert_eq!(*told.lock().unwrap(), (0..200).collect::<Vec<_>>());
    life.end().await;
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_its_record_behind_and_it_is_told() {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    let queue = life.queue("q");
    let told = Arc::new(Mutex::new(None));
    let into = Arc::clone(&told);
    let mut sending = Box::pin(queue.push(payload(1, 9), 1, Box::new(move |id| *into.lock().unwrap() = Some(id))));
    assert!(futures_poll_once(&mut sending).await, "it waits");
    drop(sending);
    push(&queue, payload(2, 9)).await.unwrap();
    assert_eq!(*told.lock().unwrap(), Some(0));
    assert_eq!(all(&queue).await.len(), 2);
    life.end().await;
}

/// True where it is not done yet.
async fn futures_poll_once(future: &mut (impl Future + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_disturb_the_order() {
    let folder = own_folder();
    for life in 0..3 {
        let harness = Harness::default();
        harness.clock.step(-3600.0 * f64::from(life));
        let life = Life::try_begin(config(folder.path()), None, harness).await.unwrap();
        let queue = life.queue("q");
        for _ in 0..5 {
            let next = queue.holds().records;
            push(&queue, payload(next, 100)).await.unwrap();
            life.harness.clock.step(-86_400.0);
        }
        let found = all(&queue).await;
        assert!(found.iter().enumerate().all(|(at, record)| record.payload == Ok(payload(at as u64, 100))));
        life.end().await;
    }
}

#[tokio::test]
async fn a_second_user_of_the_directory_is_refused_and_told_who_holds_it() {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    let why = Life::try_begin(config(folder.path()), None, Harness::default()).await.err().unwrap();
    let holder = format!("is in use by process {} on host", std::process::id());
    assert!(why.contains(&holder) && why.contains(folder.path().to_str().unwrap()), "{why}");
    push(&life.queue("q"), payload(1, 10)).await.unwrap();
    life.end().await;
    Life::begin(config(folder.path())).await.end().await;
}

#[tokio::test]
async fn only_its_owner_can_look_into_it() {
    let folder = own_folder();
    let directory = folder.path().join("a/b");
    let life = Life::begin(config(&directory)).await;
    push(&life.queue("q"), payload(1, 10)).await.unwrap();
    life.queue("q").quarantine(0, "a test").await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("quarantine"))), (0o700, 0o700));
    for file in ["store.redb", "lock", "quarantine/q-0.record"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    life.end().await;
}

#[tokio::test]
async fn what_others_could_look_into_is_closed_and_told() {
    let folder = own_folder();
    let directory = folder.path().join("stored");
    let life = Life::begin(config(&directory)).await;
    push(&life.queue("q"), payload(1, 10)).await.unwrap();
    life.queue("q").quarantine(0, "a test").await.unwrap();
    life.end().await;
    let files = ["store.redb", "lock", "store.redb.broken-1", "quarantine", "quarantine/q-0.record"];
    std::fs::write(directory.join("store.redb.broken-1"), "what was a store").unwrap();
    std::fs::write(directory.join("somebody's"), "not ours").unwrap();
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in files {
        chmod(&directory.join(file), if file == "quarantine" { 0o755 } else { 0o644 });
    }
    chmod(&directory.join("somebody's"), 0o644);
    chmod(&directory, 0o755);
    let life = Life::begin(config(&directory)).await;
    for file in files {
        assert_eq!(mode(&directory.join(file)), if file == "quarantine" { 0o700 } else { 0o600 }, "{file}");
    }
    // A directory may have other users by right.
    assert_eq!((mode(&directory), mode(&directory.join("somebody's"))), (0o755, 0o644));
    assert_eq!(life.harness.notices(), ["storage_open_to_others"; 6]);
    let told = format!("{:?}", life.harness.events());
    assert!(told.contains("store.redb was open to other users (mode 0644)") && told.contains("`chmod 700 "), "{told}");
    life.end().await;
    chmod(&directory, 0o700);
    let life = Life::begin(config(&directory)).await;
    assert_eq!(life.harness.notices(), [""; 0]);
    life.end().await;
}

#[tokio::test]
async fn no_record_in_quarantine_takes_the_place_of_another() {
    let folder = own_folder();
    let kept = |name: &str| std::fs::read(folder.path().join("quarantine").join(name)).unwrap();
    for life in 0..2 {
        // Ids begin anew where the store was moved aside at a start.
        std::fs::write(folder.path().join("store.redb"), "this is no store").unwrap();
        let living = Life::begin(config(folder.path())).await;
        for (number, name) in [(0, "a/b"), (1, "a_b"), (2, "a%b")] {
            let queue = living.queue(name);
            push(&queue, payload(10 * life + number, 100)).await.unwrap();
            queue.quarantine(0, "a test").await.unwrap();
        }
        living.end().await;
    }
    for (number, name) in
        [(0, "a%2Fb-0"), (1, "a_b-0"), (2, "a%25b-0"), (10, "a%2Fb-0-2"), (11, "a_b-0-2"), (12, "a%25b-0-2")]
    {
        let record = kept(&format!("{name}.record"));
        assert!(record.ends_with(&payload(number, 100)), "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 6);
}

#[test]
fn of_one_queue_and_id_so_many_records_are_kept_in_quarantine() {
    let folder = own_folder();
    let mut place = Place::take(folder.path(), Arc::new(System)).unwrap();
    for number in 0..100_u8 {
        assert!(place.quarantine("q", 7, &[number]).unwrap().is_some());
    }
    assert_eq!(place.quarantine("q", 7, b"one more").unwrap(), None);
    assert!(place.quarantine("q", 8, b"another").unwrap().is_some());
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told_with_what_to_do() {
    let folder = own_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let why = Life::try_begin(config(&file.join("below")), None, Harness::default()).await.err().unwrap();
    assert!(why.contains("cannot create the directory") && why.contains("set `directory`"), "{why}");
}

#[tokio::test]
async fn nothing_is_made_before_it_runs() {
    let folder = own_folder();
    let directory = folder.path().join("not yet");
    let extension = crate::FileStorage::new(config(&directory));
    drop(minicol_plugin::Extension::storage(&extension).unwrap().queue("q"));
    assert!(!directory.exists());
}

#[tokio::test]
async fn with_fsync_interval_what_was_taken_is_on_disk_after_the_interval() {
    let folder = own_folder();
    let settings = FileStorageConfig {
        fsync: Fsync::Interval,
        fsync_interval: GoDuration::from_millis(200),
        ..config(folder.path())
    };
    let life = Life::begin(settings).await;
    let queue = life.queue("q");
    for number in 0..20 {
        push(&queue, payload(number, 1_000)).await.unwrap();
    }
    assert_eq!(queue.holds().records, 20);
    let on_disk = async || {
        let copy = own_folder();
        std::fs::copy(folder.path().join("store.redb"), copy.path().join("store.redb")).unwrap();
        let next = Life::begin(config(copy.path())).await;
        let found = next.queue("q").holds().records;
        next.end().await;
        found
    };
    let mut found = 0;
    for _ in 0..100 {
        found = on_disk().await;
        if found == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found, 20);
    push(&queue, payload(20, 1_000)).await.unwrap();
    life.end().await;
    assert_eq!(on_disk().await, 21, "the end is no crash");
}

#[tokio::test]
async fn room_is_given_back_when_nearly_everything_is_gone() {
    let folder = own_folder();
    let compaction = CompactionConfig {
        rebound_needed_threshold_mib: 8,
        rebound_trigger_threshold_mib: 1,
        check_interval: GoDuration::from_millis(20),
        ..CompactionConfig::default()
    };
    let life = Life::begin(FileStorageConfig { compaction, ..config(folder.path()) }).await;
    let queue = life.queue("q");
    for number in 0..200 {
        push(&queue, payload(number, 100_000)).await.unwrap();
    }
    let size = || life.harness.details().unwrap()["disk_bytes"].as_u64().unwrap();
    assert!(size() > 20_000_000, "{}", size());
    for id in 0..199 {
        queue.remove(id).await.unwrap();
    }
    for _ in 0..500 {
        if size() < 2_000_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(size() < 2_000_000, "{}", size());
    assert!(life.harness.notices().contains(&"store_compacted"));
    assert_eq!(all(&queue).await[0].payload, Ok(payload(199, 100_000)));
    life.end().await;
}
