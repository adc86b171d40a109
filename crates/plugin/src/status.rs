use std::fmt;

use minicol_pdata::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ComponentId, ComponentKind};

/// How a component is, in the collector's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Built, not yet ready.
    Starting,
    /// It does its work.
    #[serde(rename = "OK")]
    Ok,
    /// An operator told it to rest. It does nothing until it is told to go on, and nothing is wrong.
    Paused,
    /// Something it needs is down; it goes on trying.
    RecoverableError,
    /// It cannot do its work until the configuration or the far end is changed by a person.
    PermanentError,
    /// The program must end.
    FatalError,
    /// It was told to stop.
    Stopping,
    /// It has stopped.
    Stopped,
}

/// A component's status, since when, and why. The host sets both moments; it tells each event as it hears it, so that none stands before an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusChange {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub component: ComponentId,
    /// How it is now.
    pub status: Status,
    /// Since when, on the wall clock, in seconds since the epoch: a status that is told again with another message stands since it came.
    #[serde(serialize_with = "seconds")]
    pub since: Timestamp,
    /// When this was told, on the wall clock, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub at: Timestamp,
    /// How loud it is told; [`Status::level`] unless the component knows better.
    pub level: Level,
    /// Why, for a person; empty where there is nothing to say.
    pub message: String,
}

/// Something that happened and is worth telling once, but is no change of status.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub component: ComponentId,
    /// When it was told, on the wall clock, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub at: Timestamp,
    /// How loud.
    pub level: Level,
    /// What, short and stable: `tools_not_offered`, `breaker_opened`, `answer_cut`.
    pub name: &'static str,
    /// The same for a person. Text of a server in it is escaped and shortened already.
    pub message: String,
}

/// Something that happened to the program as a whole, such as a reload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgramNotice {
    /// When it was told, on the wall clock, in seconds since the epoch.
    #[serde(serialize_with = "seconds")]
    pub at: Timestamp,
    /// How loud.
    pub level: Level,
    /// What, short and stable: `config_reloaded`, `config_reload_failed`.
    pub name: &'static str,
    /// The same for a person.
    pub message: String,
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For who looks for it.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is not as the user wished.
    Warn,
    /// Something was lost or does not work.
    Error,
}

/// What the host's one stream carries. Logs, the health page and the status page read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A component's status changed.
    Status(StatusChange),
    /// Something else happened.
    Notice(Notice),
    /// Something happened to no single component.
    Program(ProgramNotice),
}

/// Where events go. It must not block.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);

    /// As [`Scope::carries_on`](crate::Scope::carries_on) says.
    fn carry_on(&self) {}
}

impl Status {
    /// How loud a change to this status is told, unless the component knows better.
    pub const fn level(self) -> Level {
        match self {
            Self::Starting | Self::Stopping => Level::Debug,
            Self::Ok | Self::Paused | Self::Stopped => Level::Info,
            Self::RecoverableError => Level::Warn,
            Self::PermanentError | Self::FatalError => Level::Error,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "Starting",
            Self::Ok => "OK",
            Self::Paused => "Paused",
            Self::RecoverableError => "RecoverableError",
            Self::PermanentError => "PermanentError",
            Self::FatalError => "FatalError",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
        })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) fn seconds<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.as_seconds())
}

pub(crate) fn of_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Timestamp::from_seconds(seconds).ok_or_else(|| serde::de::Error::custom(format!("{seconds} is no moment")))
}
