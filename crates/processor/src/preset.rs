//! Rules that come with the program, in the same language as a user's.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::config::RuleConfig;

/// What a configuration may name.
pub(crate) const NAMES: &[&str] = &["session_buddy"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    rules: Vec<RuleConfig>,
}

/// The rules of a preset; `None` where there is none of that name.
pub(crate) fn rules(name: &str) -> Option<&'static [RuleConfig]> {
    // A preset that does not parse is empty: the test below holds that none is.
    static SESSION_BUDDY: LazyLock<Vec<RuleConfig>> =
        LazyLock::new(|| parse(SOURCE).map_or_else(|_| Vec::new(), |preset| preset.rules));
    const SOURCE: &str = include_str!("../presets/session_buddy.yaml");
    (name == "session_buddy").then(|| SESSION_BUDDY.as_slice())
}

fn parse(source: &str) -> Result<Preset, String> {
    minicol_plugin::config::parse("preset", source)
}

#[cfg(test)]
mod tests {
    use minicol_plugin::config::{ComponentConfig, Problems};

    use super::*;
    use crate::config::MappingConfig;

    #[test]
    fn every_preset_parses_and_has_no_problem() {
        for name in NAMES {
            assert!(rules(name).is_some_and(|rules| !rules.is_empty()), "{name}");
            let mut problems = Problems::default();
            let config = MappingConfig { presets: vec![(*name).to_owned()], ..MappingConfig::default() };
            config.validate(&mut problems);
            assert_eq!(problems.into_vec(), [], "{name}");
        }
        parse(include_str!("../presets/session_buddy.yaml")).map(|_| ()).unwrap();
        assert!(rules("session_bud").is_none());
    }
}
