//! minicol's configuration machinery: sources are read, references replaced, one laid over the other, and the result is a tree, [`Node`], that
//! still knows the file, line and column of each of its parts; out of it each component decodes its own configuration, and whatever is wrong
//! is told at the place where the user wrote it, all of it at once. Start from [`load`], then [`decode`] (or [`decode_with`], where the type is
//! known to a function only), and in the end [`Problems::render`].
//!
//! ```
//! use minicol_config::{Path, Problems, Request, Style, decode, load};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Debug {
//!     verbosity: String,
//! }
//!
//! let request = Request { configs: vec!["yaml:exporters: {debug: {verbosty: basic}}".to_owned()], ..Request::default() };
//! let loaded = load(&request)?;
//! let mut problems = loaded.problems;
//! let path = Path::keys(["exporters", "debug"]);
//! assert!(decode::<Debug>(&loaded.root, &path, &mut problems).is_none());
//! let text = problems.render(Style::PLAIN);
//! assert!(text.starts_with("error: <yaml:>:1:21: unknown key `verbosty`"));
//! # Ok::<(), Problems>(())
//! ```

mod de;
mod decode;
mod environment;
mod excerpt;
mod fill;
mod load;
mod mark;
mod merge;
mod nearest;
mod node;
mod overrides;
mod path;
mod problem;
mod render;
mod scalar;
mod secret;
mod source;
mod substitute;
mod text;
mod yaml;

pub use self::de::{Body, Fault};
pub use self::decode::{Part, decode, decode_checked, decode_part, decode_with};
pub use self::environment::Environment;
pub use self::load::{Loaded, Request, load};
pub use self::mark::{Mark, SourceText};
pub use self::nearest::nearest;
pub use self::node::{Entry, Mapping, Node};
pub use self::overrides::{AppliedOverride, EnvOverride, KeyTree};
pub use self::path::{Path, Segment};
pub use self::problem::{Problem, Problems, Severity};
pub use self::render::Style;
pub use self::secret::is_secret_name;

/// The example of the README, kept true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
