//! Promise: whatever somebody does to the file, the program starts, nothing wrong is handed out, and what can be read goes on.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Barrier, atomic::Ordering::SeqCst},
};

use bytes::Bytes;
use minicol_plugin::storage::{Held, StorageError};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Disk, Gate, Life, all, config, disk::write, full::until_taken, own_folder, payload, push, text};

/// A store with 60 records of many sizes, as a process leaves it that ends well, or is killed.
async fn store(directory: &Path, killed: bool) {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    let queue = life.queue("q");
    for number in 0..80 {
        push(&queue, content(number)).await.unwrap();
    }
    for id in 0..20 {
        queue.remove(id).await.unwrap();
    }
    if killed {
        fs::copy(folder.path().join("store.redb"), directory.join("store.redb")).unwrap();
        life.end().await;
    } else {
        life.end().await;
        fs::copy(folder.path().join("store.redb"), directory.join("store.redb")).unwrap();
    }
}

fn length(number: u64) -> usize {
    let number = usize::try_from(number).unwrap();
    [40, 900, 5_000, 30_000][number % 4] + number
}

/// Half of them can be made smaller.
fn content(number: u64) -> Bytes {
    if number % 8 < 4 { payload(number, length(number)) } else { text(number, length(number)) }
}

/// A store's file in which there is something else.
fn no_store(directory: &Path) {
    write(&directory.join("store.redb"), b"this is no store");
}

#[derive(Debug, Default)]
struct Found {
    whole: BTreeSet<u64>,
    quarantined: BTreeSet<u64>,
    aside: bool,
}

/// Reads everything, then stores and reads once more, in two lives.
async fn lives_with(directory: &Path) -> Found {
    let mut found = Found::default();
    for _ in 0..2 {
        let life = Life::begin(config(directory)).await;
        let queue = life.queue("q");
        let (mut after, mut stored) = (None, false);
        loop {
            match queue.read(after, 100_000).await {
                Ok(records) if records.is_empty() && stored => break,
                Ok(records) if records.is_empty() => {
                    // It may fail while a damaged store is replaced, but not for long.
                    for _ in 0..40 {
                        if push(&queue, payload(1_000, 100)).await.is_ok() {
                            stored = true;
                            break;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                    assert!(stored, "it does not recover");
                }
                Ok(records) => {
                    for record in records {
                        after = Some(record.id);
                        match record.payload {
                            Ok(bytes) if bytes == payload(1_000, 100) => {}
                            Ok(bytes) => {
                                assert_eq!(bytes, content(record.id), "something else was handed out");
                                found.whole.insert(record.id);
                            }
                            Err(_) => drop(found.quarantined.insert(record.id)),
                        }
                        let _ = queue.remove(record.id).await;
                    }
                }
                Err(StorageError::Reset(_)) => {}
                Err(StorageError::Unavailable(_)) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                Err(other) => panic!("{other}"),
            }
        }
        let held = queue.holds();
        assert!(held.records > 0 || held == Held::default(), "{held:?}: what nothing holds is held");
        found.aside |= life.harness.notices().contains(&"store_moved_aside");
        life.end().await;
    }
    found
}

/// A store in which every record is damaged is gone through in small steps: each puts a few aside, and what it did stays done.
#[tokio::test]
async fn very_many_bad_records_are_put_aside_a_few_at_a_time() {
    let (folder, disk, all) = (own_folder(), Disk::new(), 200);
    let life = Life::begin(config(folder.path())).await;
    let queue = life.queue("q");
    for number in 0..all {
        push(&queue, payload(number, 200)).await.unwrap();
    }
    life.end().await;
    let path = folder.path().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    for number in 0..all {
        let wanted = payload(number, 200);
        let at = bytes.windows(200).position(|there| there == wanted).expect("it lies there as it is");
        bytes[at] ^= 1;
    }
    write(&path, &bytes);

    let (mut after, mut reads) = (None, 0);
    for _ in 0..2 {
        // Each life begins where the one before ended.
        let life = Life::on(config(folder.path()), &disk).await;
        let queue = life.queue("q");
        let left = all - reads * 32;
        assert_eq!(queue.holds().records, left);
        let (syncs, looks) = (disk.directory_syncs.load(SeqCst), disk.looks.load(SeqCst));
        for _ in 0..2 {
            let records = queue.read(after, 1 << 20).await.unwrap();
            assert_eq!(records.len(), 32, "one look finds no more");
            assert!(records.iter().all(|record| record.payload.is_err()));
            after = records.last().map(|record| record.id);
            reads += 1;
        }
        // A round has ended where another call is answered.
        push(&queue, payload(1_000, 10)).await.unwrap();
        queue.remove(all + reads / 2 - 1).await.unwrap();
        let (syncs, looks) = (disk.directory_syncs.load(SeqCst) - syncs, disk.looks.load(SeqCst) - looks);
        assert!(syncs <= 4, "64 records forced the directory to the disk {syncs} times");
        assert_eq!(looks, 1, "what is in quarantine is looked up once");
        life.end().await;
    }
    assert_eq!(fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 128);
}

#[tokio::test]
async fn flipped_bytes_cost_what_they_hit_and_nothing_else() {
    let (whole, killed) = (own_folder(), own_folder());
    store(whole.path(), false).await;
    store(killed.path(), true).await;
    let runs: u64 = std::env::var("MINICOL_FLIPS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(12);
    let (mut records, mut quarantined, mut aside) = (0, 0, 0);
    for seed in 0..runs {
        let mut random = StdRng::seed_from_u64(seed);
        let from = if seed % 2 == 0 { whole.path() } else { killed.path() };
        let mut bytes = fs::read(from.join("store.redb")).unwrap();
        for _ in 0..1 << random.random_range(0..8) {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        let folder = own_folder();
        fs::write(folder.path().join("store.redb"), bytes).unwrap();
        let found = lives_with(folder.path()).await;
        if !found.aside {
            let kept = fs::read_dir(folder.path().join("quarantine")).map_or(0, Iterator::count);
            assert_eq!(kept, found.quarantined.len(), "seed {seed}: each bad record is in a file");
        }
        records += found.whole.len();
        quarantined += found.quarantined.len();
        aside += usize::from(found.aside);
    }
    println!(
        "{runs} damaged stores of 60 records: {records} records whole, {quarantined} quarantined, {aside} stores moved aside"
    );
    assert!(records > 0 && (quarantined > 0 || aside > 0), "the damage did not show");
}

#[tokio::test]
async fn a_file_that_is_cut_short_empty_or_something_else_does_not_keep_the_program_from_starting() {
    let whole = own_folder();
    store(whole.path(), true).await;
    let bytes = fs::read(whole.path().join("store.redb")).unwrap();
    for (what, content) in [
        ("half", bytes[..bytes.len() / 2].to_vec()),
        ("a page", bytes[..4096].to_vec()),
        ("some bytes", bytes[..100].to_vec()),
        ("nothing", Vec::new()),
        ("zeros", vec![0; 100_000]),
        ("text", b"this is no store\n".repeat(10_000)),
        ("a longer one", [&bytes[..], &[7; 5_000]].concat()),
    ] {
        let folder = own_folder();
        fs::write(folder.path().join("store.redb"), content).unwrap();
        let found = lives_with(folder.path()).await;
        let aside = folder.path().join("store.redb.broken-1").exists();
        assert_eq!(found.aside, aside, "{what}: {found:?}");
        assert!(aside || what == "nothing" || found.whole.len() == 60, "{what}: {found:?}");
    }
}

#[tokio::test]
async fn of_stores_that_could_not_be_opened_a_few_are_kept() {
    let folder = own_folder();
    for number in 0..6 {
        no_store(folder.path());
        let life = Life::begin(config(folder.path())).await;
        push(&life.queue("q"), payload(1, 10)).await.unwrap();
        assert_eq!(life.harness.notices(), ["store_moved_aside"]);
        let told = format!("{:?}", life.harness.events());
        assert!(told.contains("an unknown number of items") && told.contains("check the disk"), "{told}");
        assert_eq!(told.contains("was deleted"), number >= 3, "{told}");
        life.end().await;
    }
    let names = || fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut broken: Vec<String> = names().filter(|name| name.contains("broken")).collect();
    broken.sort();
    assert_eq!(broken, ["store.redb.broken-4", "store.redb.broken-5", "store.redb.broken-6"]);
}

#[tokio::test]
async fn nobody_who_starts_waits_for_the_check_of_a_damaged_store() {
    let folder = own_folder();
    no_store(folder.path());
    let disk = Disk::with_gate(Gate::SecondOpening(Arc::new(Barrier::new(2))));
    let life = Life::on(config(folder.path()), &disk).await;
    let queue = life.queue("q");
    assert_eq!((queue.left(), life.harness.notices().len()), (None, 0), "it is ready, and checks");
    disk.pass();
    push(&queue, payload(1, 10)).await.unwrap();
    assert_eq!((queue.left(), queue.holds().records), (Some(Held::default()), 1));
    assert_eq!(life.harness.notices(), ["store_moved_aside"]);
    life.end().await;
}

#[tokio::test]
async fn nobody_who_starts_waits_for_compaction() {
    let folder = own_folder();
    let life = Life::begin(config(folder.path())).await;
    for number in 0..100 {
        push(&life.queue("q"), payload(number, 100_000)).await.unwrap();
    }
    for id in 0..99 {
        life.queue("q").remove(id).await.unwrap();
    }
    life.end().await;
    let disk = Disk::with_gate(Gate::Shrinking(Arc::new(Barrier::new(2))));
    let mut settings = config(folder.path());
    settings.compaction.on_start = true;
    let life = Life::on(settings, &disk).await;
    let queue = life.queue("q");
    assert_eq!((queue.left().unwrap().records, life.harness.notices().len()), (1, 0), "it is ready, and compacts");
    disk.pass();
    assert_eq!(all(&queue).await[0].payload, Ok(payload(99, 100_000)));
    assert_eq!(life.harness.notices(), ["store_compacted"]);
    life.end().await;
}

#[tokio::test]
async fn a_damaged_index_does_not_spoil_what_the_queue_is_said_to_hold() {
    const INDEX: redb::TableDefinition<'_, (u64, u64), (u64, u64, u64)> = redb::TableDefinition::new("index");
    const RECORDS: redb::TableDefinition<'_, (u64, u64), &[u8]> = redb::TableDefinition::new("records");
    for (wrong, unreadable_too) in
        [((1 << 40, 1 << 40, 1 << 40), false), ((0, 0, 0), false), ((1 << 40, 7, 7), true), ((0, 0, 0), true)]
    {
        let folder = own_folder();
        let life = Life::begin(config(folder.path())).await;
        for number in 0..5 {
            life.queue("q").push(payload(number, 1_000), 300, Box::new(|_| ())).await.unwrap();
        }
        life.end().await;
        {
            let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
            let writing = database.begin_write().unwrap();
            let key = (crate::record::queue_key("q"), 1);
            writing.open_table(INDEX).unwrap().insert(key, wrong).unwrap();
            if unreadable_too {
                writing.open_table(RECORDS).unwrap().insert(key, &b"no record"[..]).unwrap();
            }
            writing.commit().unwrap();
        }
        let life = Life::begin(config(folder.path())).await;
        let queue = life.queue("q");
        assert_eq!(queue.left(), Some(Held { records: 5, items: 1_500, bytes: 5_000 }));
        if !unreadable_too {
            assert_eq!(all(&queue).await[1].items, 300);
        }
        queue.remove(1).await.unwrap();
        if !unreadable_too {
            assert_eq!(queue.holds(), Held { records: 4, items: 1_200, bytes: 4_000 });
        }
        for id in [0, 2, 3, 4] {
            queue.remove(id).await.unwrap();
        }
        assert_eq!(queue.holds(), Held::default());
        push(&queue, payload(5, 1_000)).await.unwrap();
        assert_eq!(queue.holds(), Held { records: 1, items: 1, bytes: 1_000 });
        let used = life.harness.details().unwrap()["used_bytes"].as_u64().unwrap();
        assert!((1_000..2_000).contains(&used), "{used}");
        life.end().await;
    }
}

#[tokio::test]
async fn a_store_of_a_later_version_is_left_alone() {
    let folder = own_folder();
    Life::begin(config(folder.path())).await.end().await;
    {
        let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
        let writing = database.begin_write().unwrap();
        let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
        writing.open_table(meta).unwrap().insert("format", 3).unwrap();
        writing.commit().unwrap();
    }
    let why = Life::try_begin(config(folder.path()), None, super::Harness::default()).await.err().unwrap();
    assert!(why.contains("format 3") && why.contains("version that wrote it"), "{why}");
    assert!(!folder.path().join("store.redb.broken-1").exists());
}

#[tokio::test]
async fn a_flipped_bit_in_the_format_keeps_no_program_from_starting_and_no_record_is_overwritten() {
    let whole = own_folder();
    store(whole.path(), true).await;
    let bytes = fs::read(whole.path().join("store.redb")).unwrap();
    let key = b"format";
    let places: Vec<usize> = (0..bytes.len() - key.len() - 8)
        .filter(|at| bytes[*at..].starts_with(key) && bytes[at + key.len()..][..8] == 2_u64.to_le_bytes())
        .collect();
    assert!(!places.is_empty());
    for beside in [0, key.len()] {
        let mut damaged = bytes.clone();
        for at in &places {
            damaged[at + beside] ^= 4;
        }
        let folder = own_folder();
        fs::write(folder.path().join("store.redb"), damaged).unwrap();
        let found = lives_with(folder.path()).await;
        assert!(found.aside || found.whole.len() == 60, "{found:?}");
    }
}

/// A store that cannot be opened, but says what its queues held: 60 records of `q`, and one of 30 items of `other`.
async fn damaged_and_countable(directory: &Path, one_row_too: bool) {
    store(directory, false).await;
    let life = Life::begin(config(directory)).await;
    life.queue("other").push(payload(1, 100), 30, Box::new(|_| ())).await.unwrap();
    life.end().await;
    let database = redb::Database::open(directory.join("store.redb")).unwrap();
    let writing = database.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    writing.open_table(meta).unwrap().remove("format").unwrap();
    if one_row_too {
        let queues: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("queues");
        writing.open_table(queues).unwrap().insert("other", &b"no row"[..]).unwrap();
    }
    writing.commit().unwrap();
}

#[tokio::test]
async fn what_a_store_held_that_is_found_damaged_at_a_start_is_counted_and_told_to_the_users_of_its_queues() {
    for asks_first in [true, false] {
        let folder = own_folder();
        damaged_and_countable(folder.path(), false).await;
        let disk = Disk::with_gate(Gate::SecondOpening(Arc::new(Barrier::new(2))));
        let life = Life::on(config(folder.path()), &disk).await;
        let early = asks_first.then(|| life.queue("q"));
        assert_eq!(early.as_ref().and_then(|queue| queue.left()), None);
        disk.pass();
        while life.harness.notices().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let told = format!("{:?}", life.harness.events());
        assert!(told.contains("the 90 items that it held are lost (30 of queue `other`, 60 of queue `q`)"), "{told}");
        let queue = early.unwrap_or_else(|| life.queue("q"));
        push(&queue, payload(1, 100)).await.unwrap();
        let left = queue.left().unwrap();
        assert_eq!((left.records, left.items), (60, 60), "it is told what there was, asked first: {asks_first}");
        assert_eq!(queue.holds().records, 1);
        let why = queue.read(None, 1_000).await.unwrap_err();
        assert!(matches!(&why, StorageError::Reset(why) if why.contains("of queue `q`")), "{why:?}");
        assert_eq!(all(&queue).await.len(), 1, "once; then it goes on");
        assert_eq!(life.queue("q").left().unwrap().records, 1, "the next user gets what is there");
        let details = life.harness.details().unwrap();
        assert_eq!((&details["stores_moved_aside"], &details["items_moved_aside"]), (&1.into(), &90.into()));
        life.end().await;
    }
}

#[tokio::test]
async fn where_it_cannot_be_told_what_a_damaged_store_held_that_is_said() {
    let folder = own_folder();
    damaged_and_countable(folder.path(), true).await;
    let bytes = fs::read(folder.path().join("store.redb")).unwrap();
    let life = Life::begin(config(folder.path())).await;
    push(&life.queue("other"), payload(1, 10)).await.unwrap();
    let told = format!("{:?}", life.harness.events());
    assert!(told.contains("an unknown number of items is lost that it held, at least 60 (60 of queue `q`)"), "{told}");
    assert_eq!(life.queue("other").left().unwrap().records, 1);
    life.end().await;
    let kept = fs::read(folder.path().join("store.redb.broken-1")).unwrap();
    assert_eq!(kept.len(), bytes.len());

    let folder = own_folder();
    no_store(folder.path());
    let life = Life::begin(config(folder.path())).await;
    push(&life.queue("q"), payload(1, 10)).await.unwrap();
    let told = format!("{:?}", life.harness.events());
    assert!(told.contains("an unknown number of items"), "{told}");
    assert_eq!(life.harness.details().unwrap()["items_moved_aside"], 0);
    life.end().await;
}

#[tokio::test]
async fn a_file_that_is_overwritten_at_work_is_moved_aside_and_who_asks_next_is_told_also_where_nobody_used_the_queue()
{
    let folder = own_folder();
    let disk = Disk::new();
    let life = Life::on(config(folder.path()), &disk).await;
    let (used, left) = (life.queue("used"), life.queue("left"));
    for number in 0..5 {
        push(&used, payload(number, 1_000)).await.unwrap();
        push(&left, payload(number, 1_000)).await.unwrap();
    }
    left.release();
    no_store(folder.path());
    // What is in memory would hide it; after a fault the file is opened anew.
    disk.sick.store(true, SeqCst);
    push(&used, payload(5, 1_000)).await.unwrap_err();
    disk.sick.store(false, SeqCst);
    until_taken(&used, 6).await;
    assert!(life.harness.notices().contains(&"store_moved_aside"), "{:?}", life.harness.notices());
    assert!(matches!(used.read(Some(4), 1_000).await, Err(StorageError::Reset(_))));
    assert_eq!(used.replace(2, payload(0, 10), 1).await, Ok(false), "there is no such record any more");
    let next = life.queue("left");
    assert_eq!((next.left().unwrap().records, next.holds().records), (5, 0), "what was left is taken on, and lost");
    assert!(matches!(next.read(None, 1_000).await, Err(StorageError::Reset(_))));
    life.end().await;
}
