//! What one transaction does, and who waits for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use minicol_plugin::storage::{OnStored, StorageError};

use crate::{
    config::MIB,
    place::Place,
    queue::Reply,
    record::Packed,
    store::{Change, takes},
};

/// Changes that are made together.
#[derive(Default)]
pub(crate) struct Group {
    changes: Vec<Change>,
    waiters: Vec<Waiter>,
    room: Option<Room>,
}

/// Who waits for the change at the same place.
pub(crate) enum Waiter {
    Push(OnStored, Reply<()>),
    Replace(Reply<bool>),
    /// For a record that is there, or none.
    Done(Option<Reply<()>>),
}

/// What may still be stored.
#[derive(Debug)]
pub(crate) struct Room {
    limit: u64,
    used: u64,
    /// Bytes that the disk has for us, those in the file that are not used among them.
    on_disk: u64,
    directory: String,
}

/// What is left of the disk, so that what was delivered can be forgotten.
pub(crate) const HEADROOM: u64 = 16 * MIB;

impl Group {
    pub(crate) fn push(&mut self, queue: Arc<str>, payload: Packed, items: u64, stored: OnStored, reply: Reply<()>) {
        self.changes.push(Change::Insert { queue, payload, items });
        self.waiters.push(Waiter::Push(stored, reply));
    }

    pub(crate) fn remove(&mut self, queue: Arc<str>, id: u64, reply: Reply<()>) {
        self.changes.push(Change::Remove { queue, id });
        self.waiters.push(Waiter::Done(Some(reply)));
    }

    pub(crate) fn replace(&mut self, queue: Arc<str>, id: u64, payload: Packed, items: u64, reply: Reply<bool>) {
        self.changes.push(Change::Replace { queue, id, payload, items });
        self.waiters.push(Waiter::Replace(reply));
    }

    pub(crate) fn remove_bad(&mut self, queue: Arc<str>, id: u64) {
        self.changes.push(Change::RemoveBad { queue, id });
        self.waiters.push(Waiter::Done(None));
    }

    /// What is left beside what this group stores; looked up once.
    pub(crate) fn room(&mut self, used: u64, limit: u64, place: &Place) -> &mut Room {
        self.room.get_or_insert_with(|| {
            let reusable = place.on_disk().saturating_sub(used);
            let on_disk =
                place.available().map_or(u64::MAX, |free| free.saturating_sub(HEADROOM).saturating_add(reusable));
            Room { limit, used, on_disk, directory: place.directory().display().to_string() }
        })
    }

    pub(crate) fn into_parts(self) -> (Vec<Change>, Vec<Waiter>) {
        (self.changes, self.waiters)
    }
}

impl Room {
    /// Takes the room of a payload of so many bytes.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), StorageError> {
        let (Self { limit, directory, .. }, size) = (&*self, takes(bytes));
        if size > *limit {
            let message = format!(
                "a batch that takes {bytes} bytes never fits the storage: raise max_size_mib ({})",
                limit / MIB
            );
            return Err(StorageError::TooLarge(message));
        }
        if self.used.saturating_add(size) > *limit {
            return Err(StorageError::Full(format!(
                "the storage in {directory} holds all that max_size_mib ({}) allows: the far end is down or too slow, or raise it",
                limit / MIB
            )));
        }
        if size > self.on_disk {
            return Err(StorageError::Full(format!(
                "the disk of {directory} is full: free some room; {} MiB are always left for what was delivered to be forgotten",
                HEADROOM / MIB
            )));
        }
        self.used += size;
        self.on_disk -= size;
        Ok(())
    }
}

impl Waiter {
    /// The change is made, and left the record of this id.
    pub(crate) fn done(self, left: Option<u64>) {
        match self {
            Self::Push(stored, reply) => {
                // What a queue does with it is its own affair: this thread goes on.
                let told = left.map(|id| catch_unwind(AssertUnwindSafe(|| stored(id))));
                let _ = reply.send(if told.is_some() { Ok(()) } else { Err(StorageError::Closed) });
            }
            Self::Replace(reply) => drop(reply.send(Ok(left.is_some()))),
            Self::Done(reply) => drop(reply.map(|reply| reply.send(Ok(())))),
        }
    }

    pub(crate) fn failed(self, error: &StorageError) {
        match self {
            Self::Push(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Replace(reply) => drop(reply.send(Err(error.clone()))),
            Self::Done(reply) => drop(reply.map(|reply| reply.send(Err(error.clone())))),
        }
    }
}
