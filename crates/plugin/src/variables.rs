use minicol_pdata::Signal;
use serde_json::Value;

use crate::config::Problem;

/// An environment variable that gives what the configuration does not write, as a standard has it. What is written goes before it; of two
/// variables for one key the first that is set is taken.
#[derive(Clone, Debug)]
pub struct EnvironmentDefault {
    /// Its name. Set to nothing, it counts as not set.
    pub variable: String,
    /// For an exporter: it is looked at only where this signal reaches the exporter.
    pub signal: Option<Signal>,
    /// What it gives: a key of the component, or one that the host takes off it (`timeout`).
    pub key: Vec<&'static str>,
    /// Keys of which none may be written beside `key`: the same thing, said in another way.
    pub unless: Vec<Vec<&'static str>>,
    /// Makes a value of its text; `Ok(None)` where it gives nothing. The path of a problem is not used: it is told at the variable.
    pub read: fn(&str) -> Result<Option<Value>, Problem>,
}
