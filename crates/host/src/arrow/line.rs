use std::{fmt, sync::Arc};

use minicol_pdata::{Batch, Signal};
use minicol_plugin::{Clock, ComponentId, ComponentKind, Next, Rejected, Tap};

use super::{Arrow, Edge, End};
use crate::events::Events;

/// One arrow, for benchmarks: as it is, and as it would be if there were no taps.
pub struct Line(Arrow);

impl Line {
    /// An arrow that carries `signal` to what `next` leads to.
    pub fn new(signal: Signal, next: Next, id: ComponentId, clock: Arc<dyn Clock>) -> Self {
        let to = End { kind: ComponentKind::Exporter, id, next, stores: false };
        Self(Arrow::new(Edge::new("p", "here", &to, signal, Events::new(clock)), &to))
    }

    /// Somebody looks at what passes from now on.
    pub fn tap(&self) -> Tap {
        self.0.edge.tap()
    }

    /// Carries a batch as every arrow does.
    ///
    /// # Errors
    /// The far end does not take it.
    pub async fn carry(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.carry(batch).await
    }

    /// The floor: the same without a look at whether anybody looks.
    ///
    /// # Errors
    /// The far end does not take it.
    pub async fn carry_without_taps(&self, batch: Batch) -> Result<(), Rejected> {
        self.0.edge.gate.pass(batch.items() as u64, self.0.to.consume(batch), |_| ()).await
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.0.edge).finish()
    }
}
