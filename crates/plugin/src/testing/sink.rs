use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use minicol_pdata::Batch;
use tokio::sync::{Notify, watch};

use super::lock;
use crate::{Consumer, Next, Rejected};

/// A consumer that keeps what it is given: the fake of what comes next. Clones are the same one.
#[derive(Clone)]
pub struct Sink {
    batches: Arc<Mutex<Vec<Batch>>>,
    refuse: Arc<Mutex<Option<Rejected>>>,
    arrived: Arc<Notify>,
    held: Arc<watch::Sender<bool>>,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            batches: Arc::default(),
            refuse: Arc::default(),
            arrived: Arc::default(),
            held: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Sink {
    /// Takes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// An arrow to it.
    pub fn next(&self) -> Next {
        Next::new(self.clone())
    }

    /// What it was given, oldest first.
    pub fn batches(&self) -> Vec<Batch> {
        lock(&self.batches).clone()
    }

    /// Takes what it was given away.
    pub fn take(&self) -> Vec<Batch> {
        std::mem::take(&mut *lock(&self.batches))
    }

    /// From now on everything is refused so; `None` takes again.
    pub fn refuse(&self, with: Option<Rejected>) {
        *lock(&self.refuse) = with;
    }

    /// From now on nothing is answered, as where a queue is full and blocks; `false` answers again, also what waits.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until it holds `count` batches.
    pub async fn wait_for(&self, count: usize) {
        loop {
            let arrived = self.arrived.notified();
            if lock(&self.batches).len() >= count {
                return;
            }
            arrived.await;
        }
    }
}

#[async_trait]
impl Consumer for Sink {
    async fn consume(&self, batch: Batch) -> Result<(), Rejected> {
        // An error is a sender that is gone, and this holds one.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        if let Some(rejected) = lock(&self.refuse).clone() {
            return Err(rejected);
        }
        lock(&self.batches).push(batch);
        self.arrived.notify_waiters();
        Ok(())
    }
}
