//! Components from the YAML of their bodies, as the host would build them.

use minicol_config::Path;

use super::Harness;
use crate::{Entry, Product, config::Problem};

/// What is wrong with a configuration, a line each: `limits::max: must be between 1 and 10, but is 11`. The path is that within the component's body. Before a warning
/// stands `warning `.
///
/// # Panics
/// Where `yaml` is no YAML.
pub fn problems<P: Product + ?Sized>(entry: &Entry<P>, yaml: &str) -> Vec<String> {
    let line =
        |path: &Path, message: &str| if path.is_root() { message.to_owned() } else { format!("{path}: {message}") };
    match entry.decode_text(yaml) {
        Err(problems) => problems.iter().map(|problem| line(&problem.path, &problem.message)).collect(),
        Ok(config) => {
            let told = |problem: Problem| {
                let warning = if problem.warning { "warning " } else { "" };
                format!("{warning}{}", line(&problem.path.into_iter().collect(), &problem.message))
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
    entry.decode_text(yaml).expect("a configuration").to_json()
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
        let config = entry.decode_text(yaml).expect("a configuration");
        config.build(&self.scope(P::KIND, entry.component_type)).expect("it is built")
    }
}
