//! What a client of a connection has been given and does not take. A client that answers pings and takes no data (HTTP/2) leaves its socket free: only its
//! answers tell that it is deaf.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Of one connection: how many things wait for its client, and since when it has taken nothing.
#[derive(Debug, Default)]
pub(super) struct Owed {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Of the last byte that was taken, or of the first thing that waits.
    since: Option<Instant>,
}

/// One thing that waits for the client.
#[derive(Debug)]
struct Waiting(Arc<Owed>);

/// An answer whose client is watched.
pub(super) struct Watched<B> {
    answer: B,
    owed: Arc<Owed>,
    /// Whether it is the client that has to go on: it shall take what there is before more is asked for.
    turn: Arc<Mutex<Option<Waiting>>>,
}

/// A part of an answer, until it has been written.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Bytes,
    waiting: Waiting,
}

/// Who wakes the task of an answer: there is something to take again.
struct Woken {
    task: Waker,
    owed: Weak<Owed>,
    turn: Weak<Mutex<Option<Waiting>>>,
}

impl Owed {
    /// Waits until the client has left something lying for so long, and has taken nothing meanwhile.
    pub(super) async fn left_lying(&self, longest: Duration) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let Some(since) = self.since() else {
                changed.await;
                continue;
            };
            if since.elapsed() >= longest {
                return;
            }
            sleep_until(since + longest).await;
        }
    }

    fn since(&self) -> Option<Instant> {
        let state = self.state();
        state.since.filter(|_| state.waiting > 0)
    }

    /// The client took something.
    fn taken(&self) {
        self.state().since = Some(Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn new(owed: &Arc<Owed>) -> Self {
        let mut state = owed.state();
        state.waiting += 1;
        if state.waiting == 1 {
            state.since = Some(Instant::now());
            owed.changed.notify_one();
        }
        drop(state);
        Self(Arc::clone(owed))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl<B> Watched<B> {
    pub(super) fn new(answer: B, owed: &Arc<Owed>) -> Self {
        let turn = Arc::new(Mutex::new(Some(Waiting::new(owed))));
        Self { answer, owed: Arc::clone(owed), turn }
    }

    fn set_turn(&self, turn: Option<Waiting>) {
        let before = std::mem::replace(&mut *self.turn.lock().unwrap_or_else(PoisonError::into_inner), turn);
        drop(before);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Part;
    type Error = B::Error;

    /// Asked for only where the client takes more.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Part>, B::Error>>> {
        self.owed.taken();
        let (owed, turn) = (Arc::downgrade(&self.owed), Arc::downgrade(&self.turn));
        let waker = Waker::from(Arc::new(Woken { task: cx.waker().clone(), owed, turn }));
        self.set_turn(None);
        let polled = Pin::new(&mut self.answer).poll_frame(&mut Context::from_waker(&waker));
        if let Poll::Ready(Some(Ok(_))) = polled {
            self.set_turn(Some(Waiting::new(&self.owed)));
        }
        let part = |bytes| Part { bytes, waiting: Waiting::new(&self.owed) };
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if count > 0 {
            self.waiting.0.taken();
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let (Some(owed), Some(turn)) = (self.owed.upgrade(), self.turn.upgrade()) {
            let waiting = Waiting::new(&owed);
            turn.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(waiting);
        }
        self.task.wake_by_ref();
    }
}
