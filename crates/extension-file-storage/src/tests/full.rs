//! Limits, a full disk and a sick one: refused while it lasts, and nothing that was stored is lost.

use std::{path::Path, process::Command, sync::atomic::Ordering::SeqCst, time::Duration};

use minicol_plugin::{
    Level, Status,
    storage::{Held, StorageError},
};

use super::{Disk, Life, all, config, own_folder, payload, push, text};
use crate::{FileStorageConfig, config::MIB};

#[tokio::test]
async fn at_max_size_it_refuses_until_something_is_gone_and_the_file_keeps_to_it() {
    let folder = own_folder();
    let life = Life::begin(FileStorageConfig { max_size_mib: 4, ..config(folder.path()) }).await;
    let queue = life.queue("q");
    let mut stored = 0;
    let why = loop {
        match push(&queue, payload(stored, 100_000)).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&why, StorageError::Full(why) if why.contains("max_size_mib (4)")), "{why}");
    assert_eq!(stored, 32, "100,000 bytes take 128 KiB");
    let on_disk = life.harness.details().unwrap()["disk_bytes"].as_u64().unwrap();
    assert!(on_disk < 4 * MIB + MIB / 2, "{on_disk}");
    queue.remove(0).await.unwrap();
    push(&queue, payload(stored, 100_000)).await.unwrap();
    let never = push(&queue, payload(9, 5_000_000)).await;
    assert!(matches!(&never, Err(StorageError::TooLarge(_))), "{never:?}");
    assert_eq!(all(&queue).await.len(), 32);
    assert_eq!(life.harness.notices(), ["storage_full"], "told once, not for each batch");
    life.end().await;
}

#[tokio::test]
async fn what_is_said_again_and_again_takes_little_room() {
    let folder = own_folder();
    let life = Life::begin(FileStorageConfig { max_size_mib: 4, ..config(folder.path()) }).await;
    let queue = life.queue("q");
    for number in 0..200 {
        push(&queue, text(number, 100_000)).await.unwrap();
    }
    let (held, found) = (queue.holds(), all(&queue).await);
    assert_eq!((held.records, held.bytes), (200, 20_000_000), "what was handed in counts, not what it takes");
    assert!(found.iter().all(|record| record.payload == Ok(text(record.id, 100_000)) && record.bytes == 100_000));
    life.end().await;
}

#[tokio::test]
async fn on_a_full_disk_it_refuses_and_recovers_by_itself() {
    let folder = own_folder();
    let disk = Disk::new();
    let life = Life::on(config(folder.path()), &disk).await;
    let queue = life.queue("q");
    for number in 0..20 {
        push(&queue, payload(number, 50_000)).await.unwrap();
    }
    // The file's next bytes find no room.
    disk.size.store(1_400_000, SeqCst);
    let mut number = 20;
    let why = loop {
        match push(&queue, payload(number, 50_000)).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&why, StorageError::Full(_)), "{why}");
    assert_eq!(life.harness.events().iter().filter(|event| told(event, Status::RecoverableError)).count(), 1);
    // What is there can be read and forgotten meanwhile.
    assert_eq!(all(&queue).await.len() as u64, number);
    for id in 0..5 {
        removed(&queue, id).await;
    }
    disk.size.store(u64::MAX, SeqCst);
    until_taken(&queue, number).await;
    let found = all(&queue).await;
    let ids: Vec<u64> = found.iter().map(|record| record.id).collect();
    assert_eq!(ids, (5..=number).collect::<Vec<_>>());
    assert!(found.iter().all(|record| record.payload == Ok(payload(record.id, 50_000))));
    assert!(
        life.harness.events().iter().any(|event| told(event, Status::Ok) && format!("{event:?}").contains("again"))
    );
    life.end().await;
}

#[tokio::test]
async fn a_disk_that_fails_is_tried_again_and_what_was_stored_is_there() {
    let folder = own_folder();
    let disk = Disk::new();
    let life = Life::on(config(folder.path()), &disk).await;
    let queue = life.queue("q");
    push(&queue, payload(0, 1_000)).await.unwrap();
    disk.sick.store(true, SeqCst);
    let why = push(&queue, payload(1, 1_000)).await.unwrap_err();
    assert!(matches!(&why, StorageError::Unavailable(why) if why.contains("a cable is loose")), "{why}");
    assert!(push(&queue, payload(1, 1_000)).await.is_err());
    disk.sick.store(false, SeqCst);
    until_taken(&queue, 1).await;
    let found: Vec<_> = all(&queue).await.into_iter().map(|record| record.payload).collect();
    assert_eq!(found, [Ok(payload(0, 1_000)), Ok(payload(1, 1_000))], "what was refused is not there");
    assert!(!life.harness.notices().contains(&"store_moved_aside"));
    life.end().await;
}

#[tokio::test]
async fn what_was_refused_when_a_sync_failed_is_not_there_though_the_disk_had_it() {
    let mut ghosts = 0;
    for healthy in 0..4 {
        let folder = own_folder();
        let disk = Disk::new();
        let life = Life::on(config(folder.path()), &disk).await;
        let (queue, fresh) = (life.queue("q"), life.queue("fresh"));
        for number in 0..3 {
            push(&queue, payload(number, 1_000)).await.unwrap();
        }
        disk.sick_from.store(disk.syncs.load(SeqCst) + healthy, SeqCst);
        let mut told = 3;
        while push(&queue, payload(100 + told, 1_000)).await.is_ok() {
            told += 1;
        }
        assert!(push(&fresh, payload(1, 1_000)).await.is_err());
        // What a process that is killed now leaves to the next one.
        let copy = own_folder();
        std::fs::copy(folder.path().join("store.redb"), copy.path().join("store.redb")).unwrap();
        let next = Life::begin(config(copy.path())).await;
        ghosts += next.queue("q").holds().records - told;
        next.end().await;

        disk.sick_from.store(u64::MAX, SeqCst);
        until_taken(&queue, 1).await;
        let ids: Vec<u64> = all(&queue).await.into_iter().map(|record| record.id).collect();
        assert_eq!(ids.len() as u64, told + 1, "{healthy}: {ids:?}");
        assert_eq!(ids[..usize::try_from(told).unwrap()], (0..told).collect::<Vec<_>>(), "{healthy}");
        assert_eq!((queue.holds().records, queue.holds().bytes), (told + 1, (told + 1) * 1_000), "{healthy}");
        assert_eq!((all(&fresh).await.len(), fresh.holds().records), (0, 0), "{healthy}");
        life.end().await;
    }
    assert!(ghosts > 0, "the disk never had what it refused");
}

#[tokio::test]
async fn a_disk_that_is_full_or_fails_at_the_start_keeps_nobody_from_starting_and_what_was_left_is_told_once_it_works()
{
    for full in [true, false] {
        let ail = |disk: &Disk, ails: bool| {
            disk.size.store(if full && ails { 0 } else { u64::MAX }, SeqCst);
            disk.unreadable.store(!full && ails, SeqCst);
        };
        let folder = own_folder();
        let mut left = 0;
        for life in 0..2 {
            // On a full disk an existing store is opened, and a new one cannot be made.
            if full {
                let _ = std::fs::remove_file(folder.path().join("store.redb"));
                left = 0;
            }
            let disk = Disk::new();
            ail(&disk, true);
            let life_of_it = Life::on(config(folder.path()), &disk).await;
            let queue = life_of_it.queue("q");
            for _ in 0..2 {
                let why = push(&queue, payload(1, 1_000)).await.unwrap_err();
                assert_eq!(matches!(&why, StorageError::Full(_)), full, "{why}");
            }
            assert_eq!((queue.left(), queue.holds()), (None, Held::default()));
            let events = || life_of_it.harness.events();
            assert!(events().iter().any(|event| told(event, Status::RecoverableError)), "{:?}", events());
            ail(&disk, false);
            until_taken(&queue, 1).await;
            assert_eq!((queue.left().unwrap().records, queue.holds().records), (left, left + 1), "life {life}");
            assert_eq!(all(&queue).await.len() as u64, left + 1);
            assert!(events().iter().any(|event| told(event, Status::Ok)), "{:?}", events());
            assert_eq!(life_of_it.harness.notices(), [""; 0]);
            left += 1;
            life_of_it.end().await;
        }
    }
}

/// A file system of 48 MiB, where this may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Option<Self> {
        let folder = own_folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

#[tokio::test]
async fn on_a_small_file_system_that_fills_up_nothing_is_lost() {
    let Some(small) = Small::new() else {
        eprintln!("not tested: this user may not mount a tmpfs");
        return;
    };
    let life = Life::begin(config(small.path())).await;
    let queue = life.queue("q");
    let mut number = 0;
    let why = loop {
        match push(&queue, payload(number, 200_000)).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&why, StorageError::Full(why) if why.contains("disk")), "{why}");
    assert!(number > 80, "{number} records of 256 KiB in 32 MiB");
    // Somebody else takes the rest, to the last byte.
    let other = small.path().join("other");
    let _ = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", other.display())).arg("bs=64k").output();
    assert!(matches!(push(&queue, payload(number, 200_000)).await, Err(StorageError::Full(_))));
    for id in 0..10 {
        removed(&queue, id).await;
    }
    // The next life starts on the full disk, too.
    life.end().await;
    let life = Life::begin(config(small.path())).await;
    let queue = life.queue("q");
    let found = all(&queue).await;
    assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), (10..number).collect::<Vec<_>>());
    std::fs::remove_file(other).unwrap();
    until_taken(&queue, number).await;
    assert_eq!(all(&queue).await.last().unwrap().payload, Ok(payload(number, 200_000)));
    assert!(!life.harness.notices().contains(&"store_moved_aside"));
    life.end().await;
}

/// Forgets a record, however often that has to be tried.
async fn removed(queue: &std::sync::Arc<dyn minicol_plugin::storage::StoredQueue>, id: u64) {
    for _ in 0..100 {
        if queue.remove(id).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("record {id} stays");
}

pub(super) async fn until_taken(queue: &std::sync::Arc<dyn minicol_plugin::storage::StoredQueue>, number: u64) {
    let length = if number == 1 {
        1_000
    } else if number < 40 {
        50_000
    } else {
        200_000
    };
    for _ in 0..100 {
        if push(queue, payload(number, length)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not recover");
}

fn told(event: &minicol_plugin::Event, status: Status) -> bool {
    matches!(event, minicol_plugin::Event::Status(change) if change.status == status && change.level >= Level::Info)
}
