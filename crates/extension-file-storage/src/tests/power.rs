//! Promise: with `fsync: always` what was told to be stored is there after the power was gone, whenever that was, and whatever the disk had of the rest.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use minicol_plugin::config::GoDuration;

use super::{
    Disk, Life, all, config,
    disk::{Held, write},
    own_folder, payload, push,
};
use crate::{FileStorageConfig, Fsync, place::Place};

/// When the power went: what was told by then, what was gone for good, what may be gone, and the file.
struct Loss {
    told: u64,
    gone: u64,
    going: u64,
    file: Vec<u8>,
}

#[tokio::test]
async fn what_was_told_to_be_stored_survives_a_power_loss_at_any_moment() {
    let folder = own_folder();
    let [told, gone, going] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
    let losses = Arc::new(Mutex::new(Vec::new()));
    let watcher = {
        let (told, gone, going, losses) = (told.clone(), gone.clone(), going.clone(), Arc::clone(&losses));
        move |step: u64, held: &Held| {
            // After the store is made: until then there is nothing to lose.
            if told.load(SeqCst) > 0 && step.is_multiple_of(7) {
                let [told, gone, going] = [&told, &gone, &going].map(|count| count.load(SeqCst));
                losses.lock().unwrap().push(Loss { told, gone, going, file: held.after_power_loss(step) });
            }
        }
    };
    let disk = Disk::watched_by(watcher);
    let life = Life::on(config(folder.path()), &disk).await;
    let queue = life.queue("q");
    for number in 0..40_u64 {
        let length = 500 + usize::try_from(number).unwrap() * 900;
        push(&queue, payload(number, length)).await.unwrap();
        told.store(number + 1, SeqCst);
        if number % 3 == 2 {
            going.fetch_add(1, SeqCst);
            queue.remove(gone.load(SeqCst)).await.unwrap();
            gone.fetch_add(1, SeqCst);
        }
    }
    life.end().await;
    let losses = std::mem::take(&mut *losses.lock().unwrap());
    let moments = losses.len();
    for Loss { told, gone, going, file } in losses {
        let after = own_folder();
        write(&after.path().join("store.redb"), &file);
        let life = Life::begin(config(after.path())).await;
        let found = all(&life.queue("q")).await;
        let ids: Vec<u64> = found.iter().map(|record| record.id).collect();
        assert!(!ids.is_empty(), "nothing is there, where {told} were told");
        assert!((gone..=going).contains(&ids[0]), "{ids:?}, where {gone} to {going} were gone");
        assert!(
            ids.last().is_some_and(|last| (told..=told + 1).contains(&(last + 1))),
            "{ids:?}, where {told} were told"
        );
        assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{ids:?}");
        for record in found {
            let length = 500 + usize::try_from(record.id).unwrap() * 900;
            assert_eq!(record.payload, Ok(payload(record.id, length)));
        }
        assert_eq!(life.harness.notices(), [""; 0]);
        life.end().await;
    }
    assert!(moments > 50, "{moments}");
}

#[tokio::test]
async fn with_fsync_interval_a_power_loss_costs_what_was_taken_since_and_that_shows() {
    let folder = own_folder();
    let settings = FileStorageConfig {
        fsync: Fsync::Interval,
        fsync_interval: GoDuration::from_secs(3600),
        ..config(folder.path())
    };
    let disk = Disk::new();
    let life = Life::on(settings, &disk).await;
    let queue = life.queue("q");
    for number in 0..20 {
        push(&queue, payload(number, 1_000)).await.unwrap();
    }
    assert_eq!(queue.holds().records, 20);
    let after = own_folder();
    write(&after.path().join("store.redb"), &disk.after_power_loss(folder.path(), 0).unwrap());
    let next = Life::begin(config(after.path())).await;
    assert_eq!(next.queue("q").holds().records, 0, "this disk does not forget");
    next.end().await;
    life.end().await;
}

#[tokio::test]
async fn the_names_of_directories_and_files_survive_a_power_loss_too() {
    use std::os::unix::fs::MetadataExt;
    let folder = own_folder();
    let (above, directory) = (folder.path().join("a"), folder.path().join("a/b"));
    let disk = Disk::new();
    let names =
        |at: &std::path::Path| disk.names(at).into_keys().map(|name| name.into_string().unwrap()).collect::<Vec<_>>();
    let life = Life::on(config(&directory), &disk).await;
    push(&life.queue("q"), payload(0, 1_000)).await.unwrap();
    assert_eq!((names(folder.path()), names(&above)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(names(&directory), ["lock", "store.redb"]);
    assert!(disk.after_power_loss(&directory, 0).is_some());
    life.queue("q").quarantine(0, "a test").await.unwrap();
    assert_eq!(names(&directory.join("quarantine")), ["q-0.record"]);
    assert_eq!(names(&directory), ["lock", "quarantine", "store.redb"]);
    life.end().await;

    let place = Place::take(&directory, Arc::new(disk.clone())).unwrap();
    place.sync_entries().unwrap();
    place.move_store_aside().unwrap();
    drop(place.open_store().unwrap());
    place.sync_entries().unwrap();
    for name in ["store.redb", "store.redb.broken-1"] {
        let inode = std::fs::metadata(directory.join(name)).unwrap().ino();
        assert_eq!(disk.names(&directory).get(std::ffi::OsStr::new(name)), Some(&inode), "{name}");
    }
}
