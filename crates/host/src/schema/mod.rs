//! The JSON Schema (2020-12) of a whole pipeline file: made of the types that decode it, so that it knows what they know.

mod body;
mod service;
mod written;

use minicol_plugin::{ComponentKind, Entry, Product};
use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{RestrictFormats, Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use self::written::AsWritten;
use crate::Registry;

/// Makes the parts, and keeps what they share.
struct Writer {
    generator: SchemaGenerator,
    definitions: Map<String, Value>,
}

/// The JSON Schema of a document of another kind that is written and read as a pipeline file is.
pub fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    RestrictFormats::default().transform(&mut schema);
    transform_subschemas(&mut AsWritten, &mut schema);
    schema.to_value()
}

impl Registry {
    /// The JSON Schema of a pipeline file that names what is compiled in. Keywords that begin with `x-` are for those who make documents of it.
    pub fn schema(&self) -> Value {
        let mut writer = Writer { generator: SchemaSettings::draft2020_12().into_generator(), definitions: Map::new() };
        let properties = json!({
            "receivers": writer.section(self.receivers, body::of_receiver),
            "processors": writer.section(self.processors, body::of_any),
            "exporters": writer.section(self.exporters, body::of_exporter),
            "extensions": writer.section(self.extensions, body::of_any),
            "connectors": {
                "description": "There are no connectors: let one pipeline name the components of both.",
                "type": "object",
                "maxProperties": 0,
            },
            "service": service::service(self, &mut writer),
        });
        let Writer { mut generator, mut definitions } = writer;
        definitions.extend(generator.take_definitions(true));
        let mut schema = schemars::json_schema!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "minicol pipeline file",
            "description": "Which components there are, how each is set, and which pipelines chain them.",
            "type": "object",
            "properties": properties,
            "required": ["service"],
            "additionalProperties": false,
            "$defs": definitions,
        });
        // Widths of numbers are bounds already.
        RestrictFormats::default().transform(&mut schema);
        // The file itself is no value that a reference could stand for.
        transform_subschemas(&mut AsWritten, &mut schema);
        schema.to_value()
    }
}

impl Writer {
    /// One of the sections that hold components by id.
    fn section<P: Product + ?Sized>(
        &mut self,
        entries: &[Entry<P>],
        body: fn(&mut SchemaGenerator, &Entry<P>) -> Schema,
    ) -> Value {
        let (mut patterns, mut plain) = (Map::new(), Map::new());
        for entry in entries {
            let name = format!("{}.{}", P::KIND, entry.component_type);
            let schema = body(&mut self.generator, entry);
            let reference = json!({ "$ref": format!("#/$defs/{name}") });
            self.definitions.insert(name, schema.to_value());
            // Editors complete the keys that are spelt out.
            plain.insert(entry.component_type.to_owned(), reference.clone());
            patterns.insert(id_pattern(std::iter::once(entry)), reference);
        }
        json!({
            "description": section_description(P::KIND),
            "type": "object",
            "properties": plain,
            "patternProperties": patterns,
            "additionalProperties": false,
        })
    }
}

fn section_description(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Receiver => "What brings telemetry in, by its id: `type` or `type/name`.",
        ComponentKind::Processor => {
            "What works on telemetry between receivers and exporters, by its id: `type` or `type/name`. Each pipeline that names one has its own."
        }
        ComponentKind::Exporter => "What sends telemetry out, by its id: `type` or `type/name`.",
        ComponentKind::Extension => {
            "What serves the program itself, by its id: `type` or `type/name`. Only those that `service.extensions` lists start."
        }
    }
}

/// What the ids of components of these types look like.
fn id_pattern<'a, P: ?Sized + 'a>(entries: impl Iterator<Item = &'a Entry<P>>) -> String {
    let types: Vec<&str> =
        entries.flat_map(|entry| std::iter::once(entry.component_type).chain(entry.aliases.iter().copied())).collect();
    match types.as_slice() {
        [only] => format!("^{only}(/.+)?$"),
        several => format!("^({})(/.+)?$", several.join("|")),
    }
}
