//! Whether a component could work as it is configured: what `minicol doctor` asks.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use minicol_pdata::Signal;
use serde::Serialize;

use crate::Scope;

/// A look at one component. It goes by the code that the component works with, so that proxies, TLS and credentials are the same. What is found
/// is told step by step: where it is cut, the steps before are known. Clones are the same look.
#[derive(Clone)]
pub struct Checkup {
    scope: Scope,
    signals: Arc<[Signal]>,
    checks: Arc<Mutex<Vec<Check>>>,
}

/// A look that a component takes at itself.
pub type Diagnosis = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What one step brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, in a word or two: `MCP handshake`.
    pub step: Cow<'static, str>,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found; of a failure why, and what to do. Never a secret.
    pub detail: String,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works.
    Passed,
    /// It does not.
    Failed,
    /// There was nothing to look at, or an earlier step failed.
    Skipped,
}

impl Checkup {
    /// Of the component that `scope` belongs to. `signals` reach it, where it is an exporter.
    pub fn new(scope: Scope, signals: impl Into<Arc<[Signal]>>) -> Self {
        Self { scope, signals: signals.into(), checks: Arc::default() }
    }

    /// The component's window to the outside.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// For an exporter: what reaches it.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// A step works.
    pub fn passed(&self, step: impl Into<Cow<'static, str>>, detail: impl Into<String>) {
        self.tell(step.into(), Verdict::Passed, detail.into());
    }

    /// A step does not work: why, and what to do.
    pub fn failed(&self, step: impl Into<Cow<'static, str>>, detail: impl Into<String>) {
        self.tell(step.into(), Verdict::Failed, detail.into());
    }

    /// A step was not looked at.
    pub fn skipped(&self, step: impl Into<Cow<'static, str>>, detail: impl Into<String>) {
        self.tell(step.into(), Verdict::Skipped, detail.into());
    }

    /// What was told so far.
    pub fn checks(&self) -> Vec<Check> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, step: Cow<'static, str>, verdict: Verdict, detail: String) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(Check { step, verdict, detail });
    }
}

impl fmt::Debug for Checkup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkup").field("scope", &self.scope).field("checks", &self.checks()).finish_non_exhaustive()
    }
}
