use std::{fmt, str::FromStr};

use minicol_config::{Body, Fault, Node, Path, decode_with};
use minicol_pdata::Signal;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Checkup, ComponentError, Diagnosis, EnvironmentDefault, Exporter, Extension, Processor, Receiver, Scope,
    config::{ComponentConfig, Problem, Problems},
};

/// The kinds of components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// Brings telemetry in.
    Receiver,
    /// Works on it.
    Processor,
    /// Sends it out.
    Exporter,
    /// Serves the program itself.
    Extension,
}

/// `type` or `type/name`, as a pipeline file names a component.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId {
    kind: String,
    name: Option<String>,
}

/// Text that is no component id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing, or nothing before the slash.
    #[error("the id `{0}` has no type: write `type` or `type/name`")]
    NoType(String),
    /// Nothing after the slash.
    #[error("the id `{0}` has an empty name: write `type` or `type/name`")]
    NoName(String),
    /// A character that no id holds.
    #[error("the type in `{0}` may hold letters, digits and `_` only, and begin with a letter")]
    BadType(String),
}

/// One way through a component: what it takes and what it emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// What it takes; a receiver takes nothing.
    pub takes: Option<Signal>,
    /// What it emits; an exporter emits nothing.
    pub emits: Option<Signal>,
}

/// How far a component can be relied on, in the collector's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// Anything may change.
    Development,
    /// The configuration may change.
    Alpha,
    /// The configuration changes with notice.
    Beta,
    /// It stays as it is.
    Stable,
}

/// Environment variables that override the configuration of the component with one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvironmentOverrides {
    /// What their names begin with.
    pub prefix: &'static str,
    /// The id of the component they override.
    pub id: &'static str,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtlpProtocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    HttpProtobuf,
}

/// The trait object that a kind of component is built as. Sealed by its implementations here.
pub trait Product: Send + 'static {
    /// Which kind it is.
    const KIND: ComponentKind;
}

impl Product for dyn Receiver {
    const KIND: ComponentKind = ComponentKind::Receiver;
}
impl Product for dyn Processor {
    const KIND: ComponentKind = ComponentKind::Processor;
}
impl Product for dyn Exporter {
    const KIND: ComponentKind = ComponentKind::Exporter;
}
impl Product for dyn Extension {
    const KIND: ComponentKind = ComponentKind::Extension;
}

/// What a component declares about itself. One type, one `const` line in the collector's list: `Entry::of::<MyFactory>()`.
pub trait Factory: 'static {
    /// `dyn Receiver`, `dyn Processor`, `dyn Exporter` or `dyn Extension`.
    type Product: Product + ?Sized;
    /// Its configuration.
    type Config: ComponentConfig;
    /// Its type, as a pipeline file names it: `session_buddy`.
    const TYPE: &'static str;
    /// Other names that users know it by.
    const ALIASES: &'static [&'static str] = &[];
    /// One line for `minicol components`.
    const DESCRIPTION: &'static str;
    /// How far it can be relied on.
    const STABILITY: Stability;
    /// The version of its crate: `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// Every way through it. Empty for an extension.
    const FLOWS: &'static [Flow];
    /// A configuration that works, as the YAML of its body; a test parses it.
    const EXAMPLE: &'static str;
    /// For an exporter: whether the host puts a queue and retries before it unless told otherwise.
    const QUEUED: bool = true;
    /// Environment variables that override its configuration.
    const ENVIRONMENT: Option<EnvironmentOverrides> = None;
    /// For a receiver: what its telemetry travels over, as the attribute `transport` of the program's own metrics names it.
    const TRANSPORT: Option<&'static str> = None;
    /// For an extension: whether `minicol poll` starts it too, because receivers poll what it serves (a simulator).
    const SERVES_POLL: bool = false;
    /// For an extension: whether an exporter's queue can be kept in what it stores ([`Extension::storage`]).
    const OFFERS_STORAGE: bool = false;
    /// For an exporter: the OTLP protocol that it speaks. The program's own telemetry is pushed through the exporter that speaks the wanted
    /// one, built from `endpoint`, `tls`, `headers`, `header_files` and `allow_insecure_auth`, as far as they are written.
    const OTLP_PROTOCOL: Option<OtlpProtocol> = None;

    /// Environment variables that give what its configuration does not write.
    fn environment_defaults() -> Vec<EnvironmentDefault> {
        Vec::new()
    }

    /// Builds one instance. Nothing is bound, connected or started yet.
    fn build(config: Self::Config, scope: &Scope) -> Result<Box<Self::Product>, ComponentError>;

    /// Looks whether it could work, for `minicol doctor`, by the code that it works with: connects, and delivers or fetches nothing. The host tells of
    /// each connection by itself (the name resolves, something takes the connection). `None` where nothing outside of the process is needed.
    fn diagnose(_config: Self::Config, _checkup: Checkup) -> Option<Diagnosis> {
        None
    }
}

/// A factory with its types erased: what the host works with.
#[derive(Debug)]
pub struct Entry<P: ?Sized> {
    /// Its type.
    pub component_type: &'static str,
    /// Other names that users know it by.
    pub aliases: &'static [&'static str],
    /// One line about it.
    pub description: &'static str,
    /// How far it can be relied on.
    pub stability: Stability,
    /// The version of its crate.
    pub version: &'static str,
    /// Every way through it.
    pub flows: &'static [Flow],
    /// A configuration that works.
    pub example: &'static str,
    /// For an exporter: whether it has a queue and retries unless told otherwise.
    pub queued: bool,
    /// Environment variables that override its configuration.
    pub environment: Option<EnvironmentOverrides>,
    /// For a receiver: what its telemetry travels over.
    pub transport: Option<&'static str>,
    /// For an extension: whether `minicol poll` starts it too.
    pub serves_poll: bool,
    /// For an extension: whether an exporter's queue can be kept in what it stores.
    pub offers_storage: bool,
    /// For an exporter: the OTLP protocol that it speaks.
    pub otlp_protocol: Option<OtlpProtocol>,
    /// Environment variables that give what its configuration does not write.
    pub environment_defaults: fn() -> Vec<EnvironmentDefault>,
    /// The JSON Schema of its configuration.
    pub schema: fn() -> Schema,
    /// The same as a part of a larger one, whose definitions it shares.
    pub schema_within: fn(&mut SchemaGenerator) -> Schema,
    /// Its configuration when nothing is written.
    pub default: fn() -> Box<dyn Buildable<P>>,
    /// Decodes its configuration.
    pub decode: Decode<P>,
}

/// Decodes a configuration, its type erased.
pub type Decode<P> = fn(Body<'_>) -> Result<Box<dyn Buildable<P>>, Fault>;

/// A decoded configuration that a component can be built from.
pub trait Buildable<P: ?Sized>: Send + Sync {
    /// Everything wrong with it that decoding could not see.
    fn problems(&self) -> Vec<Problem>;
    /// With all defaults, secrets redacted.
    fn to_json(&self) -> serde_json::Value;
    /// Builds one instance; may be called more than once (a processor has one per pipeline).
    fn build(&self, scope: &Scope) -> Result<Box<P>, ComponentError>;
    /// Looks whether it could work; `None` where there is nothing to look at.
    fn diagnose(&self, checkup: Checkup) -> Option<Diagnosis>;
}

struct Typed<F: Factory>(F::Config);

impl<F: Factory> Buildable<F::Product> for Typed<F> {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.0.validate(&mut problems);
        problems.into_vec()
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).unwrap_or(serde_json::Value::Null)
    }

    fn build(&self, scope: &Scope) -> Result<Box<F::Product>, ComponentError> {
        F::build(self.0.clone(), scope)
    }

    fn diagnose(&self, checkup: Checkup) -> Option<Diagnosis> {
        F::diagnose(self.0.clone(), checkup)
    }
}

impl<P: Product + ?Sized> Entry<P> {
    /// The entry of a factory.
    pub const fn of<F: Factory<Product = P>>() -> Self {
        Self {
            component_type: F::TYPE,
            aliases: F::ALIASES,
            description: F::DESCRIPTION,
            stability: F::STABILITY,
            version: F::VERSION,
            flows: F::FLOWS,
            example: F::EXAMPLE,
            queued: F::QUEUED,
            environment: F::ENVIRONMENT,
            transport: F::TRANSPORT,
            serves_poll: F::SERVES_POLL,
            offers_storage: F::OFFERS_STORAGE,
            otlp_protocol: F::OTLP_PROTOCOL,
            environment_defaults: F::environment_defaults,
            schema: || schemars::schema_for!(F::Config),
            schema_within: <F::Config as JsonSchema>::json_schema,
            default: || Box::new(Typed::<F>(F::Config::default())),
            decode: |from| Ok(Box::new(Typed::<F>(F::Config::deserialize(from)?))),
        }
    }

    /// Decodes a configuration that stands in no pipeline file: `text` is its body, in YAML or JSON.
    ///
    /// # Errors
    /// All that is wrong with its shape; what [`Buildable::problems`] says comes after.
    pub fn decode_text(&self, text: &str) -> Result<Box<dyn Buildable<P>>, minicol_config::Problems> {
        let body = Node::from_yaml(self.component_type, text)?;
        let mut problems = minicol_config::Problems::new();
        decode_with(&body, &Path::root(), &mut problems, self.decode).ok_or(problems)
    }

    /// Which kind of component it is.
    pub const fn kind(&self) -> ComponentKind {
        P::KIND
    }

    /// True where a pipeline file calls it `component_type`.
    pub fn is_called(&self, component_type: &str) -> bool {
        self.component_type == component_type || self.aliases.contains(&component_type)
    }
}

impl ComponentId {
    /// `kind` or `kind/name`.
    pub fn component_type(&self) -> &str {
        &self.kind
    }

    /// What follows the slash.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl FromStr for ComponentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
            None => (text.trim(), None),
        };
        if kind.is_empty() {
            return Err(IdError::NoType(text.to_owned()));
        }
        let mut letters = kind.chars();
        if !letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            return Err(IdError::BadType(text.to_owned()));
        }
        if name == Some("") {
            return Err(IdError::NoName(text.to_owned()));
        }
        Ok(Self { kind: kind.to_owned(), name: name.map(str::to_owned) })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

impl Serialize for ComponentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComponentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl ComponentKind {
    /// `receiver`, `processor`, `exporter`, `extension`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Processor => "processor",
            Self::Exporter => "exporter",
            Self::Extension => "extension",
        }
    }

    /// The key of the configuration under which they are written: `receivers`.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Receiver => "receivers",
            Self::Processor => "processors",
            Self::Exporter => "exporters",
            Self::Extension => "extensions",
        }
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Flow {
    /// A receiver's: it emits `signal`.
    pub const fn from_receiver(signal: Signal) -> Self {
        Self { takes: None, emits: Some(signal) }
    }

    /// An exporter's: it takes `signal`.
    pub const fn into_exporter(signal: Signal) -> Self {
        Self { takes: Some(signal), emits: None }
    }

    /// A processor's.
    pub const fn through(takes: Signal, emits: Signal) -> Self {
        Self { takes: Some(takes), emits: Some(emits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_type_or_type_and_name() {
        for good in ["otlp", "otlp/2", "session_buddy/my laptop"] {
            assert_eq!(good.parse::<ComponentId>().map(|id| id.to_string()), Ok(good.to_owned()));
        }
        assert!(matches!("/x".parse::<ComponentId>(), Err(IdError::NoType(_))));
        assert!(matches!("x/".parse::<ComponentId>(), Err(IdError::NoName(_))));
        assert!(matches!("9x".parse::<ComponentId>(), Err(IdError::BadType(_))));
        assert!(matches!("a b".parse::<ComponentId>(), Err(IdError::BadType(_))));
    }
}
