//! The directory: who may use it, and what lies in it.

#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;
use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use minicol_plugin::text;
use redb::StorageBackend;
use serde::{Deserialize, Serialize};

use crate::store::{Fault, file_backend};

/// What lies between the storage and its disk; a test puts one there that is full, sick or forgetful.
pub(crate) trait Disk: Send + Sync {
    /// What redb writes to.
    fn open(&self, file: File) -> Result<Box<dyn StorageBackend>, Fault> {
        file_backend(file)
    }

    /// Forces to the disk which files a directory has.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        sync_directory(directory)
    }

    /// How many bytes the files of a directory have; it looks at each of them.
    fn size_of(&self, directory: &Path) -> io::Result<u64> {
        Ok(fs::read_dir(directory)?.filter_map(|one| Some(one.ok()?.metadata().ok()?.len())).sum())
    }
}

/// The disk as the operating system has it.
pub(crate) struct System;

impl Disk for System {}

/// A directory that is ours as long as this lives.
pub(crate) struct Place {
    directory: PathBuf,
    disk: Arc<dyn Disk>,
    /// The directory's entries are on the disk, too: without them a file that was forced there may be gone after a power loss.
    entries_synced: AtomicBool,
    /// How much is in quarantine, in bytes, once that was looked up.
    quarantined: Option<u64>,
    /// Files came into quarantine that a power loss may take away.
    quarantine_unsynced: bool,
    /// The operating system lets go of the lock when the process ends, however it ends.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(
        "cannot create the directory {0}: {1}; create it, make it writable for this user, or set `directory` to another one"
    )]
    Create(PathBuf, io::Error),
    #[error("cannot use {0}: {1}; it must be writable for this user, or set `directory` to another one")]
    Use(PathBuf, io::Error),
    #[error("the directory {0} is in use by {1}: stop that program, or set `directory` to another one")]
    Held(PathBuf, String),
}

/// What the lock's file says about its holder.
#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
}

const LOCK: &str = "lock";
const STORE: &str = "store.redb";
const QUARANTINE: &str = "quarantine";
const BROKEN: &str = ".broken-";
/// How many stores that could not be opened are kept.
pub(crate) const KEEP_BROKEN: usize = 3;
/// How much is kept of records that could not be read, in bytes.
const KEEP_QUARANTINED: u64 = 64 * 1024 * 1024;
/// How many files are told of that were open to others.
#[cfg(unix)]
const TELL_OPEN: usize = 10;
/// How many records of one queue and id are kept: ids begin anew where a store was moved aside before it was open.
const KEEP_OF_ONE_ID: u32 = 100;

impl Place {
    /// Makes the directory where it is missing, and takes it for this process.
    pub(crate) fn take(directory: &Path, disk: Arc<dyn Disk>) -> Result<Self, PlaceError> {
        let missing: Vec<&Path> = directory.ancestors().take_while(|one| !one.exists()).collect();
        create_private(directory)
            .and_then(|()| {
                missing.iter().filter_map(|one| one.parent()).try_for_each(|parent| disk.sync_directory(parent))
            })
            .map_err(|error| PlaceError::Create(directory.to_owned(), error))?;
        let path = directory.join(LOCK);
        let wrong = |error| PlaceError::Use(path.clone(), error);
        let mut lock = private_file(&path).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PlaceError::Held(directory.to_owned(), holder(&mut lock))),
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let told = serde_json::to_string(&Holder { pid: std::process::id(), host }).unwrap_or_default();
        // A disk without room for this line is no reason not to start: the lock holds without it.
        let _ =
            lock.set_len(0).and_then(|()| lock.seek(SeekFrom::Start(0))).and_then(|_| lock.write_all(told.as_bytes()));
        Ok(Self {
            directory: directory.to_owned(),
            disk,
            entries_synced: AtomicBool::new(false),
            quarantined: None,
            quarantine_unsynced: false,
            _lock: lock,
        })
    }

    /// Forces to the disk which files there are, where that may have changed.
    pub(crate) fn sync_entries(&self) -> io::Result<()> {
        if !self.entries_synced.load(Relaxed) {
            self.disk.sync_directory(&self.directory)?;
            self.entries_synced.store(true, Relaxed);
        }
        Ok(())
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes from others what an earlier owner of the files let them do. What was changed, or could not be, in words. The directory may be somebody
    /// else's, too: it is left as it is.
    #[cfg(unix)]
    pub(crate) fn close_to_others(&self) -> Vec<String> {
        let mode = |path: &Path| Some(fs::symlink_metadata(path).ok()?.permissions().mode() & 0o7777);
        let mut told = Vec::new();
        if let Some(open) = mode(&self.directory).filter(|mode| mode & 0o077 != 0) {
            let at = self.directory.display();
            told.push(format!(
                "the directory {at} is open to other users (mode {open:04o}): `chmod 700 {at}` closes it"
            ));
        }
        let quarantine = self.directory.join(QUARANTINE);
        let ours = self.numbered(&format!("{STORE}{BROKEN}")).into_iter().map(|(_, path)| path);
        let files = [LOCK, STORE].map(|name| self.directory.join(name)).into_iter().chain(ours);
        let records =
            fs::read_dir(&quarantine).into_iter().flatten().filter_map(|file| Some((file.ok()?.path(), 0o600)));
        for (path, wanted) in files.map(|path| (path, 0o600)).chain([(quarantine.clone(), 0o700)]).chain(records) {
            let Some(open) = mode(&path).filter(|mode| mode & 0o077 != 0) else { continue };
            let done = match fs::set_permissions(&path, fs::Permissions::from_mode(wanted)) {
                Ok(()) => "it no longer is".to_owned(),
                Err(error) => format!("that cannot be changed: {error}"),
            };
            if told.len() < TELL_OPEN {
                told.push(format!("{} was open to other users (mode {open:04o}); {done}", path.display()));
            }
        }
        told
    }

    #[cfg(not(unix))]
    pub(crate) fn close_to_others(&self) -> Vec<String> {
        Vec::new()
    }

    /// The store's file, made where there is none.
    pub(crate) fn open_store(&self) -> io::Result<File> {
        private_file(&self.directory.join(STORE))
    }

    /// What the store's file takes on disk, in bytes: less than its length where it has holes.
    pub(crate) fn on_disk(&self) -> u64 {
        fs::metadata(self.directory.join(STORE)).map_or(0, |file| on_disk(&file))
    }

    /// How many bytes the disk has left for us.
    pub(crate) fn available(&self) -> Option<u64> {
        fs4::available_space(&self.directory).ok()
    }

    /// Puts the store's file aside; where it is now, and which older ones were deleted, because only a few are kept.
    pub(crate) fn move_store_aside(&self) -> io::Result<(PathBuf, Vec<PathBuf>)> {
        let mut aside = self.numbered(&format!("{STORE}{BROKEN}"));
        let next = aside.last().map_or(1, |(number, _)| number + 1);
        let to = self.directory.join(format!("{STORE}{BROKEN}{next}"));
        fs::rename(self.directory.join(STORE), &to)?;
        self.entries_synced.store(false, Relaxed);
        aside.truncate((aside.len() + 1).saturating_sub(KEEP_BROKEN));
        let deleted = aside.into_iter().map(|(_, old)| old).filter(|old| fs::remove_file(old).is_ok());
        Ok((to, deleted.collect()))
    }

    /// Writes a record that cannot be read to a file of its own; where it is, or `None` where no more are kept. Follow it by
    /// [`Place::sync_quarantine`].
    pub(crate) fn quarantine(&mut self, queue: &str, id: u64, raw: &[u8]) -> io::Result<Option<PathBuf>> {
        let directory = self.directory.join(QUARANTINE);
        if !directory.exists() {
            create_private(&directory)?;
            self.entries_synced.store(false, Relaxed);
        }
        self.sync_entries()?;
        let kept = match self.quarantined {
            Some(kept) => kept,
            None => self.disk.size_of(&directory)?,
        };
        self.quarantined = Some(kept);
        let more = kept + raw.len() as u64;
        if more > KEEP_QUARANTINED {
            return Ok(None);
        }
        let name = file_name(queue);
        for number in 1..=KEEP_OF_ONE_ID {
            let again = if number == 1 { String::new() } else { format!("-{number}") };
            let path = directory.join(format!("{name}-{id}{again}.record"));
            match new_private_file(&path) {
                Ok(mut file) => {
                    (self.quarantined, self.quarantine_unsynced) = (Some(more), true);
                    file.write_all(raw)?;
                    file.sync_all()?;
                    return Ok(Some(path));
                }
                // Its removal failed, and it was found again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && holds(&path, raw) => {
                    return Ok(Some(path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Forces to the disk which files are in quarantine, where there are new ones.
    pub(crate) fn sync_quarantine(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.quarantine_unsynced) {
            self.disk.sync_directory(&self.directory.join(QUARANTINE))?;
        }
        Ok(())
    }

    /// The files whose name is `prefix` and a number, by the number.
    fn numbered(&self, prefix: &str) -> Vec<(u64, PathBuf)> {
        let files = fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
        let mut found: Vec<(u64, PathBuf)> = files
            .filter_map(|file| Some((file.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?, file.path())))
            .collect();
        found.sort();
        found
    }
}

/// Who holds the lock, as far as its file tells.
fn holder(lock: &mut File) -> String {
    let mut told = String::new();
    let read = lock.take(4096).read_to_string(&mut told);
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&told).ok()) {
        Some(Holder { pid, host }) => format!("process {pid} on host {}", text::foreign(&host)),
        None => "another process".to_owned(),
    }
}

/// Where there is no such thing, the file system does it by itself.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// For reading and writing by its owner only; made where it is missing.
fn private_file(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().create(true).truncate(false)).open(path)
}

/// The same where there is none.
fn new_private_file(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().create_new(true)).open(path)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.read(true).write(true)
}

/// A queue's name as part of a file's: no two are the same.
fn file_name(queue: &str) -> String {
    let mut name = String::new();
    for byte in queue.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

/// Whether these are a file's bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() == bytes.len() as u64)
        && fs::read(path).is_ok_and(|held| held == bytes)
}

#[cfg(unix)]
pub(crate) fn on_disk(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(file) * 512
}

#[cfg(not(unix))]
pub(crate) fn on_disk(file: &fs::Metadata) -> u64 {
    file.len()
}
