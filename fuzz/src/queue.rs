//! Queues on disk: the bytes of a record, and a store to which anything happens, beside a model of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use bytes::Bytes;
use minicol_extension_file_storage::testing::{Driven, read_record, read_row, write_record};
use minicol_plugin::{ComponentKind, storage::StorageError, testing::Harness};
use tokio::runtime::Runtime;

/// A place in the first ten bytes (queue and id), then what is taken for the record there. Then these bytes as a payload: whatever is changed of
/// their record shows.
pub(crate) fn record(input: &[u8]) {
    let Some((place, rest)) = input.split_at_checked(10) else { return };
    let (queue, id) = (["otlp/metrics", "otlp/logs"][usize::from(place[0] % 2)], u64::from(place[1]));
    if let Ok((items, payload)) = read_record(rest, queue, id) {
        assert_eq!(write_record(queue, id, items, &payload), rest, "it is read as it was written");
    }
    let _ = read_row(rest);
    let items = u64::from(place[2]);
    let mut written = write_record(queue, id, items, rest);
    assert_eq!(read_record(&written, queue, id), Ok((items, Bytes::copy_from_slice(rest))));
    assert!(read_record(&written, queue, id + 1).is_err(), "it lies in another one's place");
    let at = usize::from(u16::from_le_bytes([place[3], place[4]])) % written.len();
    written[at] ^= 1 << (place[5] % 8);
    assert!(read_record(&written, queue, id).is_err(), "a flipped bit shows");
    written[at] ^= 1 << (place[5] % 8);
    written.truncate(usize::from(u16::from_le_bytes([place[6], place[7]])) % written.len());
    assert!(read_record(&written, queue, id).is_err(), "it is cut short");
}

const QUEUES: [&str; 2] = ["otlp/metrics", "otlp/logs"];

/// By queue and id: items and payload.
type Records = BTreeMap<(usize, u64), (u64, Bytes)>;

/// A store, and what must be in it.
struct World<'a> {
    /// Its clock is the one of the store.
    runtime: &'a Runtime,
    harness: Harness,
    folder: tempfile::TempDir,
    store: Option<Driven>,
    lives: usize,
    records: Records,
    /// Bytes of the file were changed: what is in the model may be gone, but nothing else may be there.
    damaged: bool,
    pushed: u64,
}

/// Each byte says what is done next, the ones behind it with what.
pub(crate) fn store(input: &[u8]) {
    let runtime = crate::runtime();
    let _on_its_clock = runtime.enter();
    let mut world = World::new(&runtime);
    // Each costs some writes to a file.
    let mut bytes = input.iter().copied().take(200);
    while let Some(what) = bytes.next() {
        world.step(what, &mut || bytes.next().unwrap_or_default());
    }
    world.look();
    world.end();
    world.begin();
    world.look();
    world.must_work();
    world.end();
}

impl<'a> World<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        quiet();
        let folder = tempfile::tempdir().expect("a folder");
        let records = Records::new();
        let harness = Harness::default();
        let mut world = Self { runtime, harness, folder, store: None, lives: 0, records, damaged: false, pushed: 0 };
        world.begin();
        world
    }

    /// Long enough for a store that failed to be tried again.
    fn wait(&self) {
        self.runtime.block_on(tokio::time::advance(Duration::from_secs(2)));
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join(self.lives.to_string())
    }

    fn begin(&mut self) {
        let scope = self.harness.scope(ComponentKind::Extension, "file_storage");
        self.store = Some(Driven::open(&self.directory(), scope).expect("it starts, whatever is in the file"));
    }

    fn store(&mut self) -> &mut Driven {
        self.store.as_mut().expect("a life")
    }

    fn end(&mut self) {
        if let Some(store) = self.store.take() {
            store.close();
        }
    }

    fn step(&mut self, what: u8, next: &mut dyn FnMut() -> u8) {
        match what % 16 {
            0..6 => self.push(next),
            6..9 => {
                let (queue, id) = self.chosen(next());
                let outcome = self.store().remove(QUEUES[queue], id);
                self.done(outcome, |records| drop(records.remove(&(queue, id))));
            }
            9 => {
                let ((queue, id), payload, items) = (self.chosen(next()), payload(next(), next()), u64::from(next()));
                let outcome = self.store().replace(QUEUES[queue], id, payload.clone(), items);
                if let Ok(there) = outcome {
                    assert!(self.damaged || there == self.records.contains_key(&(queue, id)), "whether it was there");
                }
                self.done(outcome.map(drop), |records| {
                    records.entry((queue, id)).and_modify(|record| *record = (items, payload));
                });
            }
            10 => {
                let (queue, id) = self.chosen(next());
                let outcome = self.store().quarantine(QUEUES[queue], id);
                self.done(outcome, |records| drop(records.remove(&(queue, id))));
            }
            11 => self.look(),
            12 => self.store().compact(),
            13 => {
                self.end();
                self.begin();
            }
            14 => self.kill(None),
            _ => {
                let flips: Vec<_> = (0..=next() % 4).map(|_| ([next(), next(), next()], next())).collect();
                self.kill(Some(&flips));
            }
        }
        if self.damaged {
            self.wait();
        }
    }

    fn push(&mut self, next: &mut dyn FnMut() -> u8) {
        let (queue, payload, items) = (usize::from(next() % 2), payload(next(), next()), u64::from(next()));
        let last = self.records.keys().rev().find(|(of, _)| *of == queue).map(|(_, id)| *id);
        match self.store().push(QUEUES[queue], payload.clone(), items) {
            Ok(id) => {
                assert!(self.damaged || last.is_none_or(|last| id > last), "ids rise");
                self.pushed += 1;
                self.records.insert((queue, id), (items, payload));
            }
            Err(error) => assert!(self.damaged, "{error}"),
        }
    }

    /// One that is there, or the one behind all.
    fn chosen(&self, number: u8) -> (usize, u64) {
        let at = usize::from(number) % (self.records.len() + 1);
        self.records.keys().nth(at).copied().unwrap_or((usize::from(number % 2), self.pushed + 1))
    }

    fn done(&mut self, outcome: Result<(), StorageError>, change: impl FnOnce(&mut Records)) {
        match outcome {
            Ok(()) => change(&mut self.records),
            Err(error) => assert!(self.damaged, "{error}"),
        }
    }

    /// The next life has the file as it was in the middle of this one, with these bytes changed.
    fn kill(&mut self, flips: Option<&[([u8; 3], u8)]>) {
        let from = self.directory();
        self.lives += 1;
        let to = self.directory();
        fs::create_dir(&to).expect("a folder");
        let mut file = fs::read(from.join("store.redb")).expect("the store");
        for ([low, middle, high], bits) in flips.into_iter().flatten() {
            let at = u32::from_le_bytes([*low, *middle, *high, 0]) as usize % file.len().max(1);
            file.get_mut(at).into_iter().for_each(|byte| *byte ^= bits);
            self.damaged |= *bits != 0;
        }
        fs::write(to.join("store.redb"), file).expect("a copy");
        self.end();
        remove(&from);
        self.begin();
    }

    /// What can be read is what the model has.
    fn look(&mut self) {
        for (queue, name) in QUEUES.iter().enumerate() {
            let held = self.store().holds(name);
            let (mut after, mut found, mut asked) = (None, Records::new(), 0);
            while asked < 1_000 {
                asked += 1;
                match self.store().read(name, after, 20_000) {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => {
                        for record in records {
                            assert!(after.is_none_or(|after| record.id > after), "oldest first, each once");
                            after = Some(record.id);
                            match record.payload {
                                Ok(payload) => drop(found.insert((queue, record.id), (record.items, payload))),
                                Err(why) => assert!(self.damaged, "{why}"),
                            }
                        }
                    }
                    Err(error) => {
                        assert!(self.damaged, "{error}");
                        self.wait();
                        if matches!(error, StorageError::Reset(_)) {
                            after = None;
                        }
                    }
                }
            }
            assert!(asked < 1_000, "it does not recover");
            let of_queue = |records: &Records| -> Records {
                records.iter().filter(|((of, _), _)| *of == queue).map(|(key, value)| (*key, value.clone())).collect()
            };
            let known = of_queue(&self.records);
            if self.damaged {
                for (place, record) in &found {
                    assert_eq!(Some(record), known.get(place), "something else was handed out at {place:?}");
                }
                self.records.retain(|place, _| place.0 != queue || found.contains_key(place));
            } else {
                assert_eq!(found, known);
                let sums = known.values().fold((0, 0, 0), |(records, items, bytes), (more, payload)| {
                    (records + 1, items + more, bytes + payload.len() as u64)
                });
                assert_eq!((held.records, held.items, held.bytes), sums, "what it says that it holds");
            }
        }
    }

    /// Whatever happened before, it stores and hands out again.
    fn must_work(&mut self) {
        let payload = Bytes::from_static(b"afterwards");
        for _ in 0..20 {
            self.wait();
            let Ok(id) = self.store().push(QUEUES[0], payload.clone(), 1) else { continue };
            let before = id.checked_sub(1);
            let read = self.store().read(QUEUES[0], before, 1_000);
            if read.is_ok_and(|records| records.first().is_some_and(|one| one.payload.as_ref() == Ok(&payload))) {
                return;
            }
        }
        panic!("it does not recover");
    }
}

/// Some of it compresses, some does not; as short as nothing and as long as some pages.
fn payload(kind: u8, length: u8) -> Bytes {
    let length = usize::from(length) * [1, 1, 40, 160][usize::from(kind % 4)];
    let mut state = u32::from(kind) | 1;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if kind & 4 == 0 { (state >> 24).to_le_bytes()[0] } else { kind }
    };
    (0..length).map(byte).collect()
}

fn remove(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
}

/// On a damaged file redb may panic. The store catches that, but libFuzzer would take it for a finding before.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let within = panic.location().is_some_and(|at| at.file().contains("/redb-"));
            if !within {
                before(panic);
            }
        }));
    });
}
