//! Components from the YAML of their bodies, as the host would build them.

use super::Harness;
use crate::{
    Buildable, Entry, Product,
    config::{DecodeError, Problem, Segment},
};

/// Decodes the YAML of a component's body. Nothing written is all defaults, as in a pipeline file.
#[allow(clippy::expect_used)] // a test's own mistake
pub(super) fn decoded<P: Product + ?Sized>(entry: &Entry<P>, yaml: &str) -> Result<Box<dyn Buildable<P>>, DecodeError> {
    let body: serde_yaml::Value = serde_yaml::from_str(yaml).expect("a body in YAML");
    if body.is_null() {
        return Ok((entry.default)());
    }
    (entry.decode)(&mut <dyn erased_serde::Deserializer<'_>>::erase(body))
}

/// What is wrong with a configuration, a line each: `limits::max: must be between 1 and 10, but is 11`. The path is that within the component's body. Before a warning
/// stands `warning `.
///
/// # Panics
/// Where `yaml` is no YAML.
pub fn problems<P: Product + ?Sized>(entry: &Entry<P>, yaml: &str) -> Vec<String> {
    let line = |path: &[Segment], message: &str| {
        let step = |step: &Segment| match step {
            Segment::Key(key) => key.clone(),
            Segment::Index(index) => index.to_string(),
        };
        let path: Vec<_> = path.iter().map(step).collect();
        if path.is_empty() { message.to_owned() } else { format!("{}: {message}", path.join("::")) }
    };
    match decoded(entry, yaml) {
        Err(error) => vec![line(&error.path, &error.message)],
        Ok(config) => {
            let told = |problem: Problem| {
                let warning = if problem.warning { "warning " } else { "" };
                format!("{warning}{}", line(&problem.path, &problem.message))
            };
            config.problems().into_iter().map(told).collect()
        }
    }
}

/// A configuration as `minicol print-config` shows it: with all defaults, secrets covered.
///
/// # Panics
/// Where it cannot be read.
#[allow(clippy::expect_used)] // a test's own mistake
pub fn printed<P: Product + ?Sized>(entry: &Entry<P>, yaml: &str) -> serde_json::Value {
    decoded(entry, yaml).expect("a configuration").to_json()
}

impl Harness {
    /// A component from the YAML of its body. Its id is its type.
    ///
    /// # Panics
    /// Where the configuration does not hold, or nothing can be built of it.
    #[allow(clippy::expect_used)] // a test's own mistake
    pub fn build<P: Product + ?Sized>(&self, entry: &Entry<P>, yaml: &str) -> Box<P> {
        let mut problems = problems(entry, yaml);
        problems.retain(|one| !one.starts_with("warning "));
        assert!(problems.is_empty(), "the configuration of {} does not hold: {problems:#?}", entry.component_type);
        let config = decoded(entry, yaml).expect("a configuration");
        config.build(&self.scope(P::KIND, entry.component_type)).expect("it is built")
    }
}
