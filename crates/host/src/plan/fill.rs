//! What the environment gives where the configuration of an exporter, or of the program's own telemetry, is silent.

use minicol_config::{Environment, Loaded, Node, Path, Problem};
use minicol_pdata::Signal;
use minicol_plugin::{ComponentId, Entry, EnvironmentDefault, Exporter};
use minicol_telemetry::{OtlpPush, OtlpPushProtocol};

use crate::{Registry, own};

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
        let reached = |one: &EnvironmentDefault| one.signal.is_none_or(|signal| signals.contains(&signal));
        fill(loaded, &at, (entry.environment_defaults)().into_iter().filter(reached), environment);
    }
}

/// Fills in every way out of the program's own telemetry: what one signal has of the exporter that it goes through.
pub(super) fn own_telemetry(loaded: &mut Loaded, registry: Registry, environment: &Environment) {
    let telemetry = Path::keys(["service", "telemetry"]);
    for (list, kind, signal) in own::LISTS {
        let items = loaded.root.find(&telemetry.join_all(&Path::keys(list))).and_then(Node::as_sequence);
        for index in 0..items.map_or(0, <[Node]>::len) {
            let at = telemetry.join_all(&own::place(list, index, kind));
            let writable = loaded.root.find(&at).is_some_and(|node| node.is_null() || node.as_mapping().is_some());
            if !writable {
                continue;
            }
            let protocol = OtlpPush::protocol_defaults(signal);
            let variables: Vec<String> = protocol.iter().map(|one| one.variable.clone()).collect();
            fill(loaded, &at, protocol.into_iter(), environment);
            let Some(entry) = speaker(&loaded.root, &at, registry) else { continue };
            let all = (entry.environment_defaults)().into_iter();
            let own = all.filter(|one| one.signal.is_none_or(|of| of == signal) && !variables.contains(&one.variable));
            fill(loaded, &at, own.map(|one| of_one_signal(one, signal)), environment);
        }
    }
}

/// The exporter that speaks the protocol that is written or was filled in there. `None` where that is none: decoding tells.
fn speaker(root: &Node, at: &Path, registry: Registry) -> Option<&'static Entry<dyn Exporter>> {
    let written = root.find(&at.join("protocol")).filter(|node| !node.is_null());
    let protocol = match written.map(|node| node.as_text()) {
        None => OtlpPushProtocol::default(),
        Some(text) => serde_json::from_value(text?.into()).ok()?,
    };
    registry.speaks(protocol.into())
}

/// Where only one signal passes, what an exporter has for that signal alone takes the place of what it has for all.
fn of_one_signal(mut default: EnvironmentDefault, signal: Signal) -> EnvironmentDefault {
    match default.key.as_slice() {
        ["timeouts", of] if *of == signal.name() => default.key = vec!["timeout"],
        [of, rest @ ..] if *of == signal.name() => default.key = rest.to_vec(),
        _ => {}
    }
    // Its own endpoint is what is written there.
    default.shown_to = if default.shown_to.is_empty() { Vec::new() } else { vec![vec![vec!["endpoint"]]] };
    default
}

/// Of two variables for one key the first that is set is taken.
fn fill(loaded: &mut Loaded, at: &Path, defaults: impl Iterator<Item = EnvironmentDefault>, environment: &Environment) {
    let Some(written) = loaded.root.find(at).cloned() else { return };
    let mut given: Vec<Vec<&'static str>> = Vec::new();
    for default in defaults {
        if given.contains(&default.key) || is_written(&written, &default) {
            continue;
        }
        let path = default.key.iter().fold(at.clone(), |path, key| path.join(*key));
        let before = loaded.overrides.len();
        loaded.fill_in(environment, &default.variable, &path, |text| (default.read)(text).map_err(Problem::from));
        if loaded.overrides.len() > before {
            warn_of_strangers(loaded, at, &default, &path, &written);
            given.push(default.key);
        }
    }
}

/// Warns where what a variable gives is shown to an endpoint that does not come from the environment.
fn warn_of_strangers(loaded: &mut Loaded, at: &Path, default: &EnvironmentDefault, path: &Path, written: &Node) {
    let body = loaded.root.find(at);
    let first =
        |way: &Vec<Vec<&'static str>>| way.iter().find(|keys| body.is_some_and(|body| is_there(body, keys))).cloned();
    let Some(endpoint) = default.shown_to.iter().filter_map(first).find(|keys| is_there(written, keys)) else { return };
    let (variable, endpoint) = (&default.variable, at.join_all(&Path::keys(endpoint)));
    let problem = Problem::warning(format!(
        "{variable} gives {path}, which is sent to an endpoint that is written in the configuration ({endpoint}): is it meant for that one?"
    ));
    let help =
        format!("where it is not, write `{}` there: what is written goes before the variable", default.key.join("."));
    loaded.problems.push(problem.with_help(help).in_path(path));
}

/// Whether the file says what the variable would give. One without a key gives nothing: there is only something to say of it.
fn is_written(body: &Node, default: &EnvironmentDefault) -> bool {
    let there = |keys: &Vec<&'static str>| is_there(body, keys);
    (!default.key.is_empty() && there(&default.key)) || default.unless.iter().any(there)
}

fn is_there(body: &Node, keys: &[&'static str]) -> bool {
    let found = body.find(&Path::keys(keys.iter().copied()));
    found.is_some_and(|node| !node.is_null())
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
