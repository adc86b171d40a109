//! Who hears the signals that end the program, and ends it where it does not end by itself. That has a thread and a runtime of its own: whatever
//! keeps the workers of the program busy, a signal is heard when it comes, and the deadline counts from there.

use std::{future::pending, io, process::exit, sync::mpsc::sync_channel, thread, time::Duration};

use tokio::{
    runtime,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::error;

use super::signals::Signals;

/// The signals that end the program, as they come.
pub(super) struct Ending {
    told: mpsc::Receiver<Told>,
    /// When it goes, the program has ended.
    begins: mpsc::Sender<Instant>,
}

/// One signal.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) signal: &'static str,
    /// When it came.
    pub(super) at: Instant,
}

/// How long the program may take beyond its deadline, for its last words.
const GRACE: Duration = Duration::from_secs(1);
/// How long the last line may take: whoever reads the log may have stopped reading.
const LAST_LINE: Duration = Duration::from_millis(500);
/// A longer shutdown is taken for this, as the host does.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Ending {
    /// Listens from now on. Once the first signal has come, the program ends after `within`, and a little, at the latest.
    pub(super) fn listen(within: Duration) -> io::Result<Self> {
        let within = within.min(LONGEST);
        let own = runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _own = own.enter();
            Signals::listen()?
        };
        let (tell, told) = mpsc::channel(8);
        let (begins, begun) = mpsc::channel(1);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Some(asked) = own.block_on(watched(async || signals.next().await, tell, begun, within)) {
                end_at_once(asked, within);
            }
        })?;
        Ok(Self { told, begins })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Told {
        match self.told.recv().await {
            Some(told) => told,
            None => pending().await,
        }
    }

    /// The end begins without a signal.
    pub(super) fn begins(&self) -> Instant {
        let now = Instant::now();
        let _ = self.begins.try_send(now);
        now
    }
}

/// Hands signals on until the program has ended, or should have: then, since when.
async fn watched(
    mut next: impl AsyncFnMut() -> &'static str,
    tell: mpsc::Sender<Told>,
    mut begun: mpsc::Receiver<Instant>,
    within: Duration,
) -> Option<Instant> {
    let mut asked = None;
    loop {
        let overdue = async {
            match asked {
                Some(asked) => sleep_until(asked + within + GRACE).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            at = begun.recv() => asked = Some(asked.unwrap_or(at?)),
            () = overdue => return asked,
            signal = next() => {
                let at = Instant::now();
                asked.get_or_insert(at);
                // Where nobody takes them, one more tells nothing new.
                let _ = tell.try_send(Told { signal, at });
            }
        }
    }
}

/// Ends the process, with one line if that can be written.
fn end_at_once(asked: Instant, within: Duration) -> ! {
    let (done, is_done) = sync_channel(1);
    thread::spawn(move || {
        error!(
            within_seconds = within.as_secs_f64(),
            took_seconds = asked.elapsed().as_secs_f64(),
            "ended by force after the deadline: what was in flight, or queued in memory, is lost and not in any total"
        );
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(LAST_LINE);
    exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(3);

    /// One signal after ten seconds, then none.
    fn one_signal() -> impl AsyncFnMut() -> &'static str {
        let mut came = false;
        async move || {
            if came {
                pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
            came = true;
            "SIGTERM"
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_end_in_time_is_ended_counted_from_the_signal() {
        let (tell, mut told) = mpsc::channel(1);
        let (_begins, begun) = mpsc::channel(1);
        let start = Instant::now();
        let asked = watched(one_signal(), tell, begun, WITHIN).await.expect("it is overdue");
        assert_eq!(asked - start, Duration::from_secs(10));
        assert_eq!(start.elapsed(), Duration::from_secs(10) + WITHIN + GRACE);
        let told = told.recv().await.unwrap();
        assert_eq!((told.signal, told.at), ("SIGTERM", asked));
    }

    #[tokio::test(start_paused = true)]
    async fn who_ends_in_time_is_not_ended() {
        let (tell, mut told) = mpsc::channel(1);
        let (begins, begun) = mpsc::channel(1);
        let ends = async move {
            told.recv().await.unwrap();
            tokio::time::sleep(WITHIN).await;
            drop(begins);
        };
        let (overdue, ()) = tokio::join!(watched(one_signal(), tell, begun, WITHIN), ends);
        assert_eq!(overdue, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_without_a_signal_has_the_same_deadline() {
        let (tell, told) = mpsc::channel(1);
        let (begins, begun) = mpsc::channel(1);
        let ending = Ending { told, begins };
        let asked = ending.begins();
        assert_eq!(watched(async || pending().await, tell, begun, WITHIN).await, Some(asked));
        assert_eq!(asked.elapsed(), WITHIN + GRACE);
    }
}
