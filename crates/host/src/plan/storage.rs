//! Whether the extension that an exporter's queue names can keep it.

use minicol_config::{Node, Problem, Problems};
use minicol_pdata::Signal;
use minicol_plugin::ComponentId;

use super::{Pipeline, service::Sections};
use crate::Registry;

/// Tells every `sending_queue.storage` that cannot work, at its place.
pub(super) fn check(
    root: &Node,
    sections: &Sections<'_>,
    listed: &[ComponentId],
    pipelines: &[Option<Pipeline>],
    registry: Registry,
    problems: &mut Problems,
) {
    for (exporter, slot) in sections.exporters {
        let Some(named) = slot.beside().and_then(|delivery| delivery.storage()) else { continue };
        let at = slot.path.join("sending_queue").join("storage");
        let problem = extension(named, sections, listed, registry).or_else(|| observations(exporter, named, pipelines));
        problems.extend(problem.map(|problem| problem.at_value(root, &at)));
    }
}

/// What is wrong with the extension.
fn extension(named: &str, sections: &Sections<'_>, listed: &[ComponentId], registry: Registry) -> Option<Problem> {
    let id: ComponentId = match named.parse() {
        Ok(id) => id,
        Err(error) => return Some(Problem::error(format!("{error}"))),
    };
    let Some(slot) = sections.extensions.get(&id) else {
        let known: Vec<String> = sections.extensions.keys().map(ToString::to_string).collect();
        let help = match minicol_config::nearest(named, &known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add `{id}:` under `extensions:`, and list it in `service::extensions`"),
        };
        let message = format!("references extension \"{id}\" which is not configured");
        return Some(Problem::error(message).with_help(help));
    };
    // A type that is not known has been told.
    if !slot.entry?.offers_storage {
        let offering = registry.extensions.iter().filter(|entry| entry.offers_storage);
        let types: Vec<String> = offering.map(|entry| format!("`{}`", entry.component_type)).collect();
        let help = format!("extensions of these types are: {}", types.join(", "));
        return Some(
            Problem::error(format!("requested extension is not a storage extension: \"{id}\"")).with_help(help),
        );
    }
    if !listed.contains(&id) {
        let message = format!("no storage client extension found: \"{id}\" is not listed in `service::extensions`");
        return Some(
            Problem::error(message)
                .with_help(format!("add `{id}` to `service::extensions`: only what is listed there runs")),
        );
    }
    None
}

/// Observations exist in this process only: nothing of them can be stored.
fn observations(exporter: &ComponentId, named: &str, pipelines: &[Option<Pipeline>]) -> Option<Problem> {
    let mut of = pipelines.iter().flatten().filter(|one| one.exporters.contains(exporter));
    let pipeline = of.find(|one| one.carries.last() == Some(&Signal::Observations))?;
    let message = format!(
        "storage `{named}` keeps metrics, logs and traces, but pipeline `{}` gives exporter `{exporter}` observations",
        pipeline.id
    );
    Some(
        Problem::error(message)
            .with_help("remove `storage` there, or put a processor before it that makes metrics of them"),
    )
}
