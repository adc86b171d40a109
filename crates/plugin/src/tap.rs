//! Looking at what passes an arrow while it passes. An arrow at which nobody looks pays one relaxed load.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use minicol_pdata::{Batch, Signal};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, OwnedPermit};

/// Names an arrow as the books do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EdgeName {
    /// The pipeline it belongs to.
    pub pipeline: String,
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What it carries.
    pub signal: Signal,
}

impl EdgeName {
    /// As a person names it: `FROM->TO`.
    pub fn label(&self) -> String {
        format!("{}->{}", self.from, self.to)
    }

    /// Whether a person means it by `FROM->TO` or `PIPELINE:FROM->TO`; blanks around the arrow do not count.
    pub fn is_called(&self, text: &str) -> bool {
        let plain = text.split("->").map(str::trim).collect::<Vec<_>>().join("->");
        let label = self.label();
        plain.trim() == label || plain.trim() == format!("{}:{label}", self.pipeline)
    }
}

/// Shows what passes one arrow, from when it was opened until it is dropped or the arrow is gone. It never slows the arrow down: what its holder
/// does not take in time is missed, and counted.
pub struct Tap {
    seen: mpsc::Receiver<Seen>,
    missed: Arc<AtomicU64>,
    all: Arc<All>,
}

/// One batch that passed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it was. It shares its data with what passed.
    pub batch: Batch,
    /// Whether the far end took it; else why not. What is refused may be offered, and seen, again.
    pub outcome: Result<(), &'static str>,
}

/// What an arrow shows to whoever looks.
#[derive(Clone, Default)]
pub struct Taps(Arc<All>);

#[derive(Default)]
struct All {
    /// Somebody looks.
    open: AtomicBool,
    taps: Mutex<Vec<Looker>>,
}

struct Looker {
    to: mpsc::Sender<Seen>,
    missed: Arc<AtomicU64>,
}

/// A batch on its way that somebody will see.
#[derive(Debug)]
pub struct Watched {
    batch: Batch,
    places: Vec<OwnedPermit<Seen>>,
}

/// How many batches wait at most for the holder of a tap.
const ROOM: usize = 32;

impl Taps {
    /// Whether somebody looks. This is all that an arrow pays while nobody does.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed)
    }

    /// From now on what passes is shown to who holds this.
    pub fn open(&self) -> Tap {
        let (to, seen) = mpsc::channel(ROOM);
        let missed = Arc::new(AtomicU64::new(0));
        let mut taps = self.0.lock();
        taps.push(Looker { to, missed: Arc::clone(&missed) });
        self.0.open.store(true, Ordering::Relaxed);
        drop(taps);
        Tap { seen, missed, all: Arc::clone(&self.0) }
    }

    /// A batch is about to pass. `None` where nobody has room for it.
    pub fn watch(&self, batch: &Batch) -> Option<Watched> {
        let taps = self.0.lock();
        let mut places = Vec::with_capacity(taps.len());
        for looker in taps.iter() {
            match looker.to.clone().try_reserve_owned() {
                Ok(place) => places.push(place),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    looker.missed.fetch_add(batch.items() as u64, Ordering::Relaxed);
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        drop(taps);
        (!places.is_empty()).then(|| Watched { batch: batch.clone(), places })
    }

    /// The arrow is gone: whoever looks is told so once they have seen what passed before.
    pub fn close(&self) {
        let mut taps = self.0.lock();
        self.0.open.store(false, Ordering::Relaxed);
        let gone = std::mem::take(&mut *taps);
        drop(taps);
        drop(gone);
    }
}

impl Watched {
    /// It has passed, or was refused.
    pub fn passed(self, outcome: Result<(), &'static str>) {
        let Self { batch, places } = self;
        for place in places {
            place.send(Seen { batch: batch.clone(), outcome });
        }
    }
}

impl Tap {
    /// Waits for what passes next; `None` once the arrow is gone.
    pub async fn next(&mut self) -> Option<Seen> {
        self.seen.recv().await
    }

    /// How many items passed without being seen, since the last call: there was no room.
    pub fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut taps = self.all.lock();
        taps.retain(|looker| !Arc::ptr_eq(&looker.missed, &self.missed));
        self.all.open.store(!taps.is_empty(), Ordering::Relaxed);
    }
}

impl All {
    fn lock(&self) -> MutexGuard<'_, Vec<Looker>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, from, to, signal } = self;
        write!(f, "{from} -> {to} ({pipeline}, {signal})")
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use minicol_pdata::{Attributes, MetricDescriptor, MetricKind, MetricsBuilder, Number, NumberPoint, Timestamp};

    use super::*;

    fn batch() -> Batch {
        let (start, time) = (Timestamp::UNSET, Timestamp::from_nanos(1));
        let descriptor =
            MetricDescriptor { name: "m".into(), description: "".into(), unit: "".into(), kind: MetricKind::Gauge };
        let mut builder = MetricsBuilder::new();
        let point = NumberPoint { start, time, value: Some(Number::Int(1)) };
        builder.metric(&descriptor).number(&Attributes::new(), &point);
        builder.build().into()
    }

    fn pass(taps: &Taps, outcome: Result<(), &'static str>) {
        if taps.is_open()
            && let Some(watched) = taps.watch(&batch())
        {
            watched.passed(outcome);
        }
    }

    #[tokio::test]
    async fn who_looks_sees_what_passes_and_whether_it_was_taken() {
        let taps = Taps::default();
        pass(&taps, Ok(()));
        let (mut one, mut other) = (taps.open(), taps.open());
        pass(&taps, Ok(()));
        pass(&taps, Err("queue_full"));
        for tap in [&mut one, &mut other] {
            assert_eq!(tap.next().await.unwrap().outcome, Ok(()));
            assert_eq!(tap.next().await.unwrap().outcome, Err("queue_full"));
        }
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_counted_and_nobody_waits() {
        let taps = Taps::default();
        let mut tap = taps.open();
        for _ in 0..ROOM + 3 {
            pass(&taps, Ok(()));
        }
        assert_eq!((tap.take_missed(), tap.take_missed()), (3, 0));
        assert!(tap.next().await.is_some());
        pass(&taps, Ok(()));
        assert_eq!(tap.take_missed(), 0);
    }

    #[tokio::test]
    async fn an_arrow_is_free_again_when_the_last_one_looks_away_and_tells_when_it_is_gone() {
        let taps = Taps::default();
        let (one, mut other) = (taps.open(), taps.open());
        drop(one);
        assert!(taps.is_open());
        pass(&taps, Ok(()));
        taps.close();
        assert!(!taps.is_open());
        assert!(other.next().await.is_some(), "what passed before is seen");
        assert!(other.next().await.is_none());
        let again = taps.open();
        drop(other);
        assert!(taps.is_open(), "one that was told so does not close another");
        drop(again);
        assert!(!taps.is_open());
    }

    #[test]
    fn an_arrow_is_called_by_its_ends_with_or_without_its_pipeline() {
        let name = |pipeline: &str, from: &str, to: &str| EdgeName {
            pipeline: pipeline.into(),
            from: from.into(),
            to: to.into(),
            signal: Signal::Metrics,
        };
        let edge = name("metrics/a", "session_buddy/my laptop", "mapping");
        for called in [
            "session_buddy/my laptop->mapping",
            " session_buddy/my laptop -> mapping ",
            "metrics/a:session_buddy/my laptop->mapping",
        ] {
            assert!(edge.is_called(called), "{called}");
        }
        for other in ["mapping", "metrics:session_buddy/my laptop->mapping", "session_buddy->mapping", ""] {
            assert!(!edge.is_called(other), "{other}");
        }
    }

    #[test]
    fn what_is_watched_and_does_not_arrive_is_not_seen() {
        let taps = Taps::default();
        let mut tap = taps.open();
        drop(taps.watch(&batch()));
        assert!(tap.seen.try_recv().is_err());
    }
}
