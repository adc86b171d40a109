//! Reads a request's body within its bounds: its own, and that of all requests together.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use minicol_plugin::{HeldMemory, SharedMemory, net::Gathered, text};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::{Kind, Refusal};

/// The memory that all requests may take together, in KiB.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    all: usize,
    /// What all components hold: a limit of memory may leave less than the budget.
    memory: Arc<SharedMemory>,
}

/// What one request holds of it; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
    memory: HeldMemory,
}

const KIB: usize = 1024;

impl Budget {
    pub(crate) fn of_mib(mib: u32, memory: Arc<SharedMemory>) -> Self {
        let all = mib as usize * KIB;
        Self { free: Arc::new(Semaphore::new(all)), all, memory }
    }

    pub(crate) fn hold(&self) -> Held {
        Held { budget: self.clone(), permit: None, bytes: 0, memory: self.memory.holder() }
    }
}

impl Held {
    /// Takes what a message takes that is about to be decoded: much more than its bytes where its parts are all but empty.
    pub(crate) fn grow_by_weight(&mut self, weight: usize) -> Result<(), Refusal> {
        if (self.bytes + weight).div_ceil(KIB) > self.budget.all {
            let why = "decoded, the request is larger than all requests together may be: send smaller ones";
            return Err(Refusal::new(Kind::TooLarge, why));
        }
        self.grow(weight)
    }

    /// Takes more, or says that there is no more now.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.bytes.div_ceil(KIB);
        self.bytes += bytes;
        let more = u32::try_from(self.bytes.div_ceil(KIB) - before).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.budget.free).try_acquire_many_owned(more);
        let full = || Refusal::new(Kind::Exhausted, "too much is being worked on at once: come again later");
        let taken = taken.map_err(|_| full())?;
        if !self.memory.grow(bytes as u64) {
            return Err(full());
        }
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        Ok(())
    }
}

/// Reads a body as it arrives: a message of `limit` bytes, with `more` bytes around it.
pub(crate) async fn read(mut body: Incoming, limit: usize, more: usize, held: &mut Held) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > (limit + more) as u64 {
        return Err(too_large(limit));
    }
    let mut gathered = Gathered::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(Kind::Invalid, format!("the request broke off: {}", text::foreign(&error.to_string())))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if gathered.len() + data.len() > limit + more {
            return Err(too_large(limit));
        }
        held.grow(data.len())?;
        gathered.push(data);
    }
    Ok(gathered.into_bytes())
}

pub(crate) fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        Kind::TooLarge,
        format!("the request is larger than the {limit} bytes that are taken here: send smaller ones"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = budget(1);
        let mut first = budget.hold();
        first.grow(1).unwrap();
        first.grow(KIB - 1).unwrap();
        first.grow(1023 * KIB).unwrap();
        assert_eq!(budget.hold().grow(1).unwrap_err().kind(), Kind::Exhausted);
        drop(first);
        budget.hold().grow(KIB * KIB).unwrap();
    }

    #[test]
    fn a_limit_of_memory_leaves_requests_what_is_not_in_flight() {
        let memory = Arc::new(SharedMemory::default());
        let budget = Budget::of_mib(1, Arc::clone(&memory));
        let _limit = memory.limit(1000);
        let mut in_flight = memory.holder();
        assert!(in_flight.grow(900));
        let mut request = budget.hold();
        request.grow(100).unwrap();
        assert_eq!(request.grow(1).unwrap_err().kind(), Kind::Exhausted);
        drop(in_flight);
        request.grow(1).unwrap();
        drop(request);
        assert_eq!(memory.held(), 0);
    }

    fn budget(mib: u32) -> Budget {
        Budget::of_mib(mib, Arc::default())
    }
}
