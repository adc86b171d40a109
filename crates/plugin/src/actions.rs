//! What an operator may ask of a component while it runs.

use std::{borrow::Cow, future::Future, pin::Pin};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ComponentId, ComponentKind};

/// What can be asked of a component now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Which, short and stable: `pause`. The API calls it so.
    pub name: Cow<'static, str>,
    /// To what, where the component can do it to several things: a tool's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What a button says: `Pause`.
    pub label: Cow<'static, str>,
    /// What the operator is asked before it is done, with what will come of it.
    pub asks: String,
}

/// What a component can be asked to do, told by [`crate::Scope::offer`].
#[async_trait]
pub trait Actions: Send + Sync {
    /// What can be asked for now. It must not block.
    fn offered(&self) -> Vec<Action>;

    /// Does what was offered: `Ok` with what came of it, `Err` with why it could not be done, each for a person. It must end soon after
    /// [`crate::Scope::abandoned`].
    async fn perform(&self, name: &str, subject: Option<&str>) -> Result<String, String>;
}

/// An action that a component offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Which kind of component.
    pub kind: ComponentKind,
    /// Which component.
    pub id: ComponentId,
    /// What it offers.
    #[serde(flatten)]
    pub action: Action,
}

/// An action that was asked for and is on its way.
pub type Performing = Pin<Box<dyn Future<Output = Result<String, ActionError>> + Send>>;

/// An action that was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The component does not offer that now.
    #[error("it does not offer this now")]
    NotOffered,
    /// The component is still at the action before.
    #[error("it is still at what it was asked before: wait, then try again")]
    Busy,
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}
