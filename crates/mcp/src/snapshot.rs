use std::{collections::BTreeMap, sync::Arc};

use minicol_pdata::Timestamp;
use serde::{Serialize, Serializer};

/// What is known of a target at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetSnapshot {
    /// Whether a session is held.
    pub session: bool,
    /// The protocol version agreed on, where a session was ever made.
    pub protocol_version: Option<String>,
    /// Name and version of the server, escaped and shortened, where a session was ever made.
    pub server: Option<String>,
    /// What the server offers, sorted; `None` while no list is known.
    pub offered: Option<Arc<[Arc<str>]>>,
    /// Tools wanted in the last cycle that the server does not offer.
    pub missing: Vec<Arc<str>>,
    /// The circuit breaker of each tool wanted in the last cycle that is not known as missing.
    pub breakers: BTreeMap<Arc<str>, BreakerSnapshot>,
}

/// One tool's circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerSnapshot {
    /// Its state.
    pub state: BreakerState,
    /// Failures in a row.
    pub failures: u32,
    /// Until when no call goes out, in seconds since the epoch; the first cycle from then on probes. `None` where it is closed.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub open_until: Option<Timestamp>,
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BreakerState {
    /// Calls go out.
    Closed,
    /// None goes out until the cooldown has passed.
    Open,
    /// The one call after the cooldown is out.
    Probing,
}

impl BreakerState {
    /// As the gauge `circuit_breaker_state` tells it: 0 closed, 1 open or probing.
    pub const fn as_gauge(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open | Self::Probing => 1,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option)] // serde's signature
fn seconds<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Timestamp::as_seconds).serialize(serializer)
}
