//! What a damaged store held, as far as that can still be read. The file itself is left as it is.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use minicol_plugin::{storage::Held, text};
use redb::StorageBackend;

use crate::store::{self, Fault};

/// What is known of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// What each queue held.
    pub(crate) queues: BTreeMap<Arc<str>, Held>,
    /// No queue is missing, and none held more.
    pub(crate) complete: bool,
}

/// Opening a damaged store repairs some of it: so much of that fits into memory.
const MAX_REPAIRS: usize = 32 * 1024 * 1024;
const PAGE: usize = 4096;
/// So many queues are named in a message.
const NAMED: usize = 10;

impl Counted {
    /// Reads what each queue is said to hold.
    pub(crate) fn of(disk: Box<dyn StorageBackend>) -> Self {
        let mut counted = Self::default();
        let read = Overlay::over(disk).and_then(|disk| store::count(Box::new(disk), &mut counted.queues));
        counted.complete = read.unwrap_or(false);
        counted.queues.retain(|_, held| held.records > 0);
        counted
    }

    pub(crate) fn items(&self) -> u64 {
        self.queues.values().map(|held| held.items).sum()
    }

    /// What is lost with it, in words.
    pub(crate) fn lost(&self) -> String {
        let items = self.items();
        let mut words = match (items, self.complete) {
            (0, true) => return "it held nothing".to_owned(),
            (0, false) => return "what it still held is lost, and that is an unknown number of items".to_owned(),
            (_, true) => format!("the {items} items that it held are lost"),
            (_, false) => format!("an unknown number of items is lost that it held, at least {items}"),
        };
        words.push_str(" (");
        for (at, (queue, held)) in self.queues.iter().take(NAMED).enumerate() {
            let _ =
                write!(words, "{}{} of queue `{}`", if at == 0 { "" } else { ", " }, held.items, text::foreign(queue));
        }
        words.push_str(if self.queues.len() > NAMED { ", ...)" } else { ")" });
        words
    }
}

/// Reads from below, and keeps to itself what is written.
struct Overlay {
    below: Box<dyn StorageBackend>,
    over: Mutex<Over>,
}

struct Over {
    /// Pages that were written, by number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    length: u64,
    /// Up to here what is below counts.
    below: u64,
}

impl Overlay {
    fn over(below: Box<dyn StorageBackend>) -> Result<Self, Fault> {
        let length = below.len().map_err(|error| store::io_fault(&error))?;
        Ok(Self { below, over: Mutex::new(Over { pages: BTreeMap::new(), length, below: length }) })
    }

    fn lock(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page as it is below; what is beyond its end is zero.
    fn page(&self, number: u64, end: u64) -> io::Result<Box<[u8; PAGE]>> {
        let (mut page, at) = (Box::new([0; PAGE]), number * PAGE as u64);
        let there = usize::try_from(end.saturating_sub(at)).unwrap_or(PAGE).min(PAGE);
        if there > 0 {
            self.below.read(at, &mut page[..there])?;
        }
        Ok(page)
    }
}

/// The pages of a range, with where in each it lies and where the page's part lies in the range.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset.checked_add(done as u64)?;
        let within = usize::try_from(at % PAGE as u64).ok()?;
        let size = (PAGE - within).min(length - done);
        let part = (at / PAGE as u64, within..within + size, done..done + size);
        done += size;
        (size > 0).then_some(part)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > over.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in parts(offset, out.len()) {
            match over.pages.get(&number) {
                Some(page) => out[part].copy_from_slice(&page[within]),
                None => out[part].copy_from_slice(&self.page(number, over.below)?[within]),
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.lock();
        (over.length, over.below) = (length, over.below.min(length));
        let (last, within) = (length / PAGE as u64, usize::try_from(length % PAGE as u64).unwrap_or(0));
        over.pages.retain(|number, _| *number <= last);
        if let Some(page) = over.pages.get_mut(&last) {
            page[within..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.lock();
        for (number, within, part) in parts(offset, data.len()) {
            let below = over.below;
            if !over.pages.contains_key(&number) {
                if over.pages.len() * PAGE >= MAX_REPAIRS {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                let page = self.page(number, below)?;
                over.pages.insert(number, page);
            }
            if let Some(page) = over.pages.get_mut(&number) {
                page[within].copy_from_slice(&data[part]);
            }
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn what_is_written_over_it_is_read_and_what_is_below_stays() {
        let below = InMemoryBackend::new();
        below.set_len(10_000).unwrap();
        below.write(4_000, &[1; 200]).unwrap();
        let overlay = Overlay::over(Box::new(below)).unwrap();
        let read = |at, length| {
            let mut out = vec![9; length];
            overlay.read(at, &mut out).map(|()| out)
        };
        assert_eq!(read(3_999, 4).unwrap(), [0, 1, 1, 1]);
        overlay.write(4_095, &[2, 2]).unwrap();
        assert_eq!(read(4_094, 4).unwrap(), [1, 2, 2, 1]);
        assert!(read(9_999, 2).is_err());
        overlay.set_len(4_096).unwrap();
        overlay.set_len(20_000).unwrap();
        assert_eq!(read(4_095, 3).unwrap(), [2, 0, 0], "what was cut off does not come back");
        assert_eq!(read(19_998, 2).unwrap(), [0, 0]);
        let mut out = [0; 4];
        overlay.below.read(4_094, &mut out).unwrap();
        assert_eq!((out, overlay.below.len().unwrap()), ([1; 4], 10_000), "the file is as it was");
    }

    #[test]
    fn repairs_take_no_more_memory_than_they_may() {
        let overlay = Overlay::over(Box::new(InMemoryBackend::new())).unwrap();
        overlay.set_len(2 * MAX_REPAIRS as u64).unwrap();
        overlay.write(0, &vec![1; MAX_REPAIRS]).unwrap();
        assert!(overlay.write(MAX_REPAIRS as u64, &[1]).is_err());
        overlay.write(0, &[1]).unwrap();
    }

    #[test]
    fn what_is_lost_is_said_as_far_as_it_is_known() {
        let held = |items| Held { records: 1, items, bytes: 1 };
        let queues = BTreeMap::from([("otlp/logs".into(), held(2)), ("otlp/metrics".into(), held(40))]);
        let some = Counted { queues, complete: true };
        let words = "the 42 items that it held are lost (2 of queue `otlp/logs`, 40 of queue `otlp/metrics`)";
        assert_eq!(some.lost(), words);
        let words = Counted { complete: false, ..some }.lost();
        assert!(words.starts_with("an unknown number of items is lost that it held, at least 42 ("), "{words}");
        assert!(Counted::default().lost().contains("an unknown number of items"));
        assert_eq!(Counted { complete: true, ..Counted::default() }.lost(), "it held nothing");
    }
}
