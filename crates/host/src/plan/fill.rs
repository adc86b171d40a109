//! What the environment gives where an exporter's configuration is silent.

use minicol_config::{Environment, Loaded, Node, Path, Problem};
use minicol_pdata::Signal;
use minicol_plugin::{ComponentId, Entry, EnvironmentDefault, Exporter, config};

/// Fills in every exporter of a known type.
pub(super) fn exporters(loaded: &mut Loaded, entries: &'static [Entry<dyn Exporter>], environment: &Environment) {
    let section = Path::keys(["exporters"]);
    let Some(mapping) = loaded.root.find(&section).and_then(Node::as_mapping) else { return };
    let ids: Vec<String> = mapping.keys().map(str::to_owned).collect();
    for key in ids {
        let Ok(id) = key.parse::<ComponentId>() else { continue };
        let Some(entry) = entries.iter().find(|entry| entry.is_called(id.component_type())) else { continue };
        let at = section.join(&key);
        let Some(written) = loaded.root.find(&at).cloned() else { continue };
        // What is no mapping is an error that decoding tells.
        if written.as_mapping().is_none() && !written.is_null() {
            continue;
        }
        let signals = signals_of(&loaded.root, &id);
        let mut given: Vec<Vec<&'static str>> = Vec::new();
        for default in (entry.environment_defaults)() {
            let reached = default.signal.is_none_or(|signal| signals.contains(&signal));
            if !reached || given.contains(&default.key) || is_written(&written, &default) {
                continue;
            }
            let path = default.key.iter().fold(at.clone(), |path, key| path.join(*key));
            let before = loaded.overrides.len();
            loaded.fill_in(environment, &default.variable, &path, |text| (default.read)(text).map_err(problem));
            if loaded.overrides.len() > before {
                given.push(default.key);
            }
        }
    }
}

/// Whether the file says what the variable would give.
fn is_written(body: &Node, default: &EnvironmentDefault) -> bool {
    let there = |keys: &Vec<&'static str>| {
        let found = body.find(&Path::keys(keys.iter().copied()));
        found.is_some_and(|node| !node.is_null())
    };
    there(&default.key) || default.unless.iter().any(there)
}

/// What reaches an exporter, by the pipelines that name it.
fn signals_of(root: &Node, id: &ComponentId) -> Vec<Signal> {
    let pipelines = root.find(&Path::keys(["service", "pipelines"])).and_then(Node::as_mapping);
    let names = |pipeline: &Node| {
        let list = pipeline.get("exporters").and_then(Node::as_sequence).unwrap_or_default();
        list.iter().filter_map(Node::as_text).any(|text| text.parse::<ComponentId>().as_ref() == Ok(id))
    };
    let signal = |key: &str| {
        let name = key.split('/').next().unwrap_or_default().trim();
        Signal::ALL.into_iter().find(|signal| signal.name() == name)
    };
    let used = pipelines.into_iter().flat_map(minicol_config::Mapping::iter).filter(|(_, entry)| names(entry.value()));
    used.filter_map(|(key, _)| signal(key)).collect()
}

fn problem(found: config::Problem) -> Problem {
    let problem = if found.warning { Problem::warning(found.message) } else { Problem::error(found.message) };
    match found.help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}
