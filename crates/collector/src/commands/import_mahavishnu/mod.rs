//! From the settings of Mahavishnu's own poller to a pipeline file that does the same.

mod picked;
mod settings;
mod write;

use std::{
    fs::File,
    io::{Read, stdin},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use minicol_config::{Environment, Request};
use minicol_host::Plan;
use minicol_plugin::text::foreign;
use serde_json::Value;

use super::print;
use crate::{components::REGISTRY, tell};
use settings::{BLOCK, OTLP_ENDPOINT, Settings};

/// The longest settings file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Prints the pipeline file; what did not pass over unchanged is told on standard error, too.
pub(crate) fn import_mahavishnu(file: &Path) -> anyhow::Result<ExitCode> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { foreign(&file.display().to_string()) };
    let root = parse(&read(file, &name)?).with_context(|| format!("{name} cannot be used as YAML or JSON"))?;
    let Some(block) = root.get(BLOCK) else {
        let near = root.as_object().and_then(|all| minicol_config::nearest(BLOCK, all.keys().map(String::as_str)));
        let near = near.map(|near| format!("; did `{}` mean it?", foreign(near))).unwrap_or_default();
        bail!("{name} has no block `{BLOCK}` at its top level{near}");
    };
    let settings = Settings::read(block, &root)?;
    let text = write::pipeline(&name, &settings);
    // What it prints must run: the same check that `validate` makes.
    let request =
        Request { configs: vec![format!("yaml:{text}")], environment: Environment::default(), ..Request::default() };
    Plan::load(request, REGISTRY).inspect_err(|_| {
        tell(&format!(
            "{name} makes a pipeline that would not start; the places below are in that pipeline:\n\n{text}\n"
        ));
    })?;
    print(&text)?;
    for note in settings.notes() {
        tell(&format!("note: {note}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path, name: &str) -> anyhow::Result<String> {
    let cannot = || format!("{name} cannot be read");
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if file == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(file).with_context(cannot)?) };
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{name} is larger than {MAX_BYTES} bytes: no settings file is");
    }
    String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
}

/// JSON by its own parser, because tabs between its tokens are none in YAML.
fn parse(text: &str) -> anyhow::Result<Value> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let mut first = documents.next().map(picked::root).transpose()?.unwrap_or_default();
    if documents.next().is_some() {
        bail!("it holds more than one YAML document (`---`): keep the one with `{BLOCK}`");
    }
    first.apply_merge()?;
    Ok(lenient(first))
}

/// It may hold what JSON cannot (keys that are no text, numbers that are none): they are left out.
fn lenient(value: serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Mapping(map) => map
            .into_iter()
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), lenient(value))))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        serde_yaml::Value::Sequence(list) => list.into_iter().map(lenient).collect::<Vec<_>>().into(),
        serde_yaml::Value::Tagged(tagged) => lenient(tagged.value),
        scalar => serde_json::to_value(scalar).unwrap_or_default(),
    }
}
