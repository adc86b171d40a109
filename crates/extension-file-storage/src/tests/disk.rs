//! A disk with limits and faults, which counts, and forgets what was not forced to it when the power goes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use redb::StorageBackend;

use crate::store::{self, Fault};

#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// Bytes beyond this place of the file find no room.
    pub(super) size: Arc<AtomicU64>,
    pub(super) sick: Arc<AtomicBool>,
    pub(super) unreadable: Arc<AtomicBool>,
    /// Fails with the sync of this number, counted from the first, and ever after.
    pub(super) sick_from: Arc<AtomicU64>,
    pub(super) syncs: Arc<AtomicU64>,
    /// How often the entries of a directory were forced to the disk, and how often all files of one were looked at.
    pub(super) directory_syncs: Arc<AtomicU64>,
    pub(super) looks: Arc<AtomicU64>,
    gate: Option<Gate>,
    openings: Arc<AtomicU64>,
    passed: Arc<AtomicBool>,
    held: Arc<Mutex<Held>>,
    /// Asked before each write and each sync, with their number.
    watcher: Option<Watcher>,
}

/// Where the disk waits until the test lets it pass.
#[derive(Clone, Debug)]
pub(super) enum Gate {
    SecondOpening(Arc<Barrier>),
    /// The first time that the file becomes shorter.
    Shrinking(Arc<Barrier>),
}

#[derive(Clone)]
struct Watcher(Arc<Watch>);

type Watch = dyn Fn(u64, &Held) + Send + Sync;

/// What would be there if the power went now.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The store's file as it was when it was last forced to the disk.
    file: Vec<u8>,
    inode: u64,
    /// What was done to it since: some of that may be there as well.
    since: Vec<Step>,
    steps: u64,
    /// Which files each directory had when that was last forced to the disk, and their inodes.
    directories: BTreeMap<PathBuf, BTreeMap<OsString, u64>>,
}

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug)]
struct Watched {
    inner: Box<dyn StorageBackend>,
    disk: Disk,
}

/// What a disk writes in one go.
const SECTOR: usize = 512;

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            size: Arc::new(AtomicU64::new(u64::MAX)),
            sick: Arc::default(),
            unreadable: Arc::default(),
            sick_from: Arc::new(AtomicU64::new(u64::MAX)),
            syncs: Arc::default(),
            directory_syncs: Arc::default(),
            looks: Arc::default(),
            gate: None,
            openings: Arc::default(),
            passed: Arc::default(),
            held: Arc::default(),
            watcher: None,
        }
    }

    pub(super) fn with_gate(gate: Gate) -> Self {
        Self { gate: Some(gate), ..Self::new() }
    }

    pub(super) fn watched_by(watcher: impl Fn(u64, &Held) + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Watcher(Arc::new(watcher))), ..Self::new() }
    }

    /// Waits until the disk is at its gate, and lets it pass.
    pub(super) fn pass(&self) {
        if let Some(Gate::SecondOpening(gate) | Gate::Shrinking(gate)) = &self.gate {
            gate.wait();
        }
    }

    /// The store's file after a power loss now; `None` where there is none.
    pub(super) fn after_power_loss(&self, directory: &Path, seed: u64) -> Option<Vec<u8>> {
        let held = self.held.lock().unwrap();
        let named = held.names(directory)?.get(&OsString::from("store.redb")) == Some(&held.inode);
        named.then(|| held.after_power_loss(seed))
    }

    /// The files that are in a directory after a power loss, with their inodes.
    pub(super) fn names(&self, directory: &Path) -> BTreeMap<OsString, u64> {
        self.held.lock().unwrap().names(directory).cloned().unwrap_or_default()
    }

    fn step(&self, step: Option<Step>) {
        let mut held = self.held.lock().unwrap();
        held.steps += 1;
        if let Some(Watcher(watcher)) = &self.watcher {
            watcher(held.steps, &held);
        }
        if let Some(step) = step {
            held.since.push(step);
        } else {
            for step in std::mem::take(&mut held.since) {
                step.apply(&mut held.file, |_| true);
            }
        }
    }
}

impl Held {
    fn names(&self, directory: &Path) -> Option<&BTreeMap<OsString, u64>> {
        self.directories.get(directory)
    }

    /// The file with what was forced to the disk, and any sectors of what was written since.
    pub(super) fn after_power_loss(&self, seed: u64) -> Vec<u8> {
        let (mut random, mut file) = (StdRng::seed_from_u64(seed), self.file.clone());
        let often = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        for step in &self.since {
            step.apply(&mut file, |_| random.random_bool(often));
        }
        file
    }
}

impl Step {
    fn apply(&self, file: &mut Vec<u8>, mut arrives: impl FnMut(usize) -> bool) {
        match self {
            Self::Length(length) if arrives(0) => file.resize(usize::try_from(*length).unwrap(), 0),
            Self::Length(_) => {}
            Self::Write(offset, bytes) => {
                let mut at = usize::try_from(*offset).unwrap();
                for sector in bytes.chunks(SECTOR) {
                    if arrives(at) {
                        file.resize(file.len().max(at + sector.len()), 0);
                        file[at..at + sector.len()].copy_from_slice(sector);
                    }
                    at += sector.len();
                }
            }
        }
    }
}

impl crate::place::Disk for Disk {
    fn open(&self, file: File) -> Result<Box<dyn StorageBackend>, Fault> {
        if let Some(Gate::SecondOpening(gate)) = &self.gate
            && self.openings.fetch_add(1, SeqCst) == 1
        {
            gate.wait();
        }
        let inode = file.metadata().unwrap().ino();
        let mut held = self.held.lock().unwrap();
        if held.inode != inode {
            // What an earlier life left was forced to the disk.
            let mut before = Vec::new();
            io::Read::read_to_end(&mut file.try_clone().unwrap(), &mut before).unwrap();
            (held.file, held.inode) = (before, inode);
            held.since.clear();
        }
        drop(held);
        Ok(Box::new(Watched { inner: store::file_backend(file)?, disk: self.clone() }))
    }

    fn size_of(&self, directory: &Path) -> io::Result<u64> {
        self.looks.fetch_add(1, SeqCst);
        crate::place::System.size_of(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.directory_syncs.fetch_add(1, SeqCst);
        let entries = fs::read_dir(directory)?.map(|entry| entry.unwrap());
        let names = entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().ino())).collect();
        self.held.lock().unwrap().directories.insert(directory.to_owned(), names);
        Ok(())
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.disk.unreadable.load(SeqCst) {
            return Err(io::Error::other("a cable is loose"));
        }
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        if let Some(Gate::Shrinking(gate)) = &self.disk.gate
            && len < self.inner.len()?
            && !self.disk.passed.swap(true, SeqCst)
        {
            gate.wait();
        }
        self.disk.step(Some(Step::Length(len)));
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let sync = self.disk.syncs.fetch_add(1, SeqCst);
        if self.disk.sick.load(SeqCst) || sync >= self.disk.sick_from.load(SeqCst) {
            return Err(io::Error::other("a cable is loose"));
        }
        // Nothing but the disk of this test is to forget anything.
        self.disk.step(None);
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.disk.size.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.step(Some(Step::Write(offset, data.to_vec())));
        self.inner.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

/// Makes a file that only its owner can read.
pub(super) fn write(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    io::Write::write_all(&mut file, bytes).unwrap();
}
