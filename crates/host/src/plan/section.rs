//! `receivers`, `processors`, `exporters`, `extensions`: ids, types, and each component's own configuration.

use std::{
    cell::{Cell, OnceCell},
    collections::HashSet,
};

use indexmap::IndexMap;
use minicol_config::{Body, Mark, Node, Part, Path, Problem, Problems, decode, decode_checked};
use minicol_delivery::{DeliveryConfig, DeliverySettings};
use minicol_plugin::{Buildable, ComponentId, Entry, Exporter, Product, Receiver, config};
use serde::Deserialize;

use super::{Component, Enabled, Planned, valid};
use crate::registry::ENABLED;

/// What a section holds, whether it could be decoded or not.
pub(super) type Section<P, X> = IndexMap<ComponentId, Slot<P, X>>;

/// One id of a section.
pub(super) struct Slot<P: ?Sized + 'static, X> {
    /// Where it stands.
    pub(super) path: Path,
    /// Its factory, where the type is known.
    pub(super) entry: Option<&'static Entry<P>>,
    decoded: Option<(Box<dyn Buildable<P>>, X)>,
    written: Node,
    mark: Mark,
}

impl<P: ?Sized, X> Slot<P, X> {
    /// What the host itself took off it, where it could be decoded.
    pub(super) fn beside(&self) -> Option<&X> {
        self.decoded.as_ref().map(|(_, beside)| beside)
    }
}

/// Decodes one component.
type Decoding<'a, P, X> =
    &'a dyn Fn(&Node, &Path, &'static Entry<P>, &mut Problems) -> Option<(Box<dyn Buildable<P>>, X)>;

pub(super) fn receivers(
    root: &Node,
    entries: &'static [Entry<dyn Receiver>],
    problems: &mut Problems,
) -> Section<dyn Receiver, Enabled> {
    read(root, entries, problems, &|root, path, entry, problems| {
        let config = component(root, path, Part::Without(&[ENABLED]), entry, problems);
        let enabled = path.join(ENABLED);
        let written = root.find(&enabled).is_some_and(|node| !node.is_null());
        let enabled = if written { decode::<bool>(root, &enabled, problems) } else { Some(true) };
        Some((config?, Enabled(enabled?)))
    })
}

pub(super) fn exporters(
    root: &Node,
    entries: &'static [Entry<dyn Exporter>],
    problems: &mut Problems,
) -> Section<dyn Exporter, DeliveryConfig> {
    read(root, entries, problems, &|root, path, entry, problems| {
        let keys = DeliverySettings::KEYS;
        let config = component(root, path, Part::Without(&keys), entry, problems);
        let check = |settings: &DeliverySettings| {
            let mut found = config::Problems::default();
            settings.resolve(entry.queued).validate(&mut found);
            found.into_vec().into_iter().map(Problem::from).collect()
        };
        let decode = |body: Body<'_>| DeliverySettings::deserialize(body);
        let settings = decode_checked(root, path, Part::Only(&keys), problems, decode, check);
        Some((config?, settings?.resolve(entry.queued)))
    })
}

/// Components that the host takes nothing off.
pub(super) fn plain<P: Product + ?Sized>(
    root: &Node,
    entries: &'static [Entry<P>],
    problems: &mut Problems,
) -> Section<P, ()> {
    read(root, entries, problems, &|root, path, entry, problems| {
        component(root, path, Part::All, entry, problems).map(|config| (config, ()))
    })
}

/// What was decoded; all of it where there was no error.
pub(super) fn planned<P: ?Sized, X>(section: Section<P, X>) -> Planned<P, X> {
    let component = |(id, slot): (ComponentId, Slot<P, X>)| {
        let (config, beside) = slot.decoded?;
        Some((id, Component { entry: slot.entry?, config, beside, written: slot.written, mark: slot.mark }))
    };
    section.into_iter().filter_map(component).collect()
}

fn read<P: Product + ?Sized, X>(
    root: &Node,
    entries: &'static [Entry<P>],
    problems: &mut Problems,
    decode: Decoding<'_, P, X>,
) -> Section<P, X> {
    let at = Path::keys([P::KIND.section()]);
    let mut section = Section::new();
    let Some(node) = root.find(&at) else { return section };
    let keys: Vec<&str> = node.section(&at, problems).map(|(key, _)| key).collect();
    for key in keys {
        let path = at.join(key);
        let Some(id) = parsed(root, &path, key, problems) else { continue };
        let entry = entries.iter().find(|entry| entry.is_called(id.component_type()));
        if entry.is_none() {
            problems.push(unknown_type(&id, entries).at_key(root, &path));
        }
        let decoded = entry.and_then(|entry| decode(root, &path, entry, problems));
        if section.contains_key(&id) {
            let problem = Problem::error(format!("{} \"{id}\" is configured twice", P::KIND)).at_key(root, &path);
            problems.push(problem.with_help("spaces around the `/` do not tell two ids apart"));
            continue;
        }
        let mark = root.mark_of_key(&path);
        let written = root.find(&path).cloned().unwrap_or_else(|| Node::null(mark.clone()));
        section.insert(id, Slot { path, entry, decoded, written, mark });
    }
    section
}

/// The id that `text` is; what is wrong with it is told at the key at `path`.
fn parsed(root: &Node, path: &Path, text: &str, problems: &mut Problems) -> Option<ComponentId> {
    text.parse().map_err(|error| problems.push(Problem::error(format!("{error}")).at_key(root, path))).ok()
}

fn unknown_type<P: Product + ?Sized>(id: &ComponentId, entries: &[Entry<P>]) -> Problem {
    let mut known: Vec<&str> =
        entries.iter().flat_map(|entry| std::iter::once(&entry.component_type).chain(entry.aliases)).copied().collect();
    known.sort_unstable();
    let kind = id.component_type();
    let message = format!("unknown type: \"{kind}\" for id: \"{id}\" (valid values: [{}])", known.join(" "));
    let help = match minicol_config::nearest(kind, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("`minicol components` lists the {} that are compiled in", P::KIND.section()),
    };
    Problem::error(message).with_help(help)
}

fn component<P: Product + ?Sized>(
    root: &Node,
    path: &Path,
    part: Part<'_>,
    entry: &Entry<P>,
    problems: &mut Problems,
) -> Option<Box<dyn Buildable<P>>> {
    decode_checked(root, path, part, problems, entry.decode, |config| {
        config.problems().into_iter().map(Problem::from).collect()
    })
}

/// A list of ids.
fn ids(root: &Node, path: &Path, problems: &mut Problems) -> Option<Vec<(ComponentId, Path)>> {
    let node = root.find(path)?;
    if node.is_null() || node.is_invalid() {
        return node.is_null().then(Vec::new);
    }
    let texts = decode::<Vec<String>>(root, path, problems)?;
    let mut list: Vec<(ComponentId, Path)> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let at = path.join(index);
        match text.parse::<ComponentId>() {
            Ok(id) => list.push((id, at)),
            Err(error) => problems.push(Problem::error(error.to_string()).at_value(root, &at)),
        }
    }
    Some(list)
}

/// Looks for what was meant by a wrong reference, as long as that is cheap: a comparison costs the product of two lengths, and a file may have very
/// many of both. The first that are told with a hint show what is wrong.
pub(super) struct Hints(Cell<usize>);

/// How many names are compared for one configuration.
const COMPARISONS: usize = 4_000;

impl Default for Hints {
    fn default() -> Self {
        Self(Cell::new(COMPARISONS))
    }
}

impl Hints {
    fn nearest<'a>(&self, name: &str, known: &'a [String]) -> Option<&'a str> {
        self.0.set(self.0.get().checked_sub(known.len())?);
        minicol_config::nearest(name, known)
    }
}

/// The ids of a list that are configured in `section`; every other, and every repetition, is told.
pub(super) fn references<P: Product + ?Sized, X>(
    root: &Node,
    path: &Path,
    section: &Section<P, X>,
    hints: &Hints,
    problems: &mut Problems,
) -> Option<Vec<(ComponentId, Path)>> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let known = OnceCell::new();
    for (id, at) in ids(root, path, problems)? {
        if !seen.insert(id.clone()) {
            let message = format!("references {} \"{id}\" multiple times", P::KIND);
            problems.push(Problem::error(message).at_value(root, &at).with_help("name it once"));
            continue;
        }
        if !section.contains_key(&id) {
            let message = format!("references {} \"{id}\" which is not configured", P::KIND);
            let known = known.get_or_init(|| section.keys().map(ToString::to_string).collect::<Vec<_>>());
            let help = match hints.nearest(&id.to_string(), known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add `{id}:` under `{}:`", P::KIND.section()),
            };
            problems.push(Problem::error(message).at_value(root, &at).with_help(help));
        }
        found.push((id, at));
    }
    Some(found)
}

/// For help texts.
pub(super) fn valid_signals(name: &str) -> String {
    valid("signals", name, minicol_pdata::Signal::ALL.iter().map(|signal| signal.name()))
}
