//! What a server offers.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use http::HeaderName;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::{
    Cause,
    param_heads::{self, Annotation, Annotations},
};

/// How many pages of `tools/list` are asked for, and how many tools are remembered. What lies beyond counts as not offered.
const MAX_PAGES: usize = 50;
const MAX_TOOLS: usize = 10_000;
/// How many bytes of names, those of arguments included, are remembered: ten times what 10,000 ordinary tools have.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// A longer cursor, which would have to be sent back, ends the list.
const MAX_CURSOR: usize = 4096;
/// A tool with more arguments than this is taken to accept any.
const MAX_ARGUMENTS: usize = 64;
/// Longer names are no names.
const MAX_NAME: usize = 256;

/// The list of a server's tools, as far as a poller needs it.
#[derive(Debug)]
pub(crate) struct Catalog {
    tools: BTreeMap<Arc<str>, Tool>,
    offered: Arc<[Arc<str>]>,
    /// The session it was listed on.
    pub(crate) session: u64,
    /// When it was asked for.
    pub(crate) listed_at: Instant,
}

/// What a tool's input schema says of its arguments.
#[derive(Debug)]
struct Tool {
    accepts: Accepts,
    annotations: Annotations,
}

/// Which arguments a tool's input schema declares.
#[derive(Debug, PartialEq)]
enum Accepts {
    /// The schema says that it takes any.
    Any,
    Only(HashSet<String>),
}

impl Tool {
    fn of(schema: Option<&Value>) -> Self {
        Self { accepts: accepts(schema), annotations: Annotation::all(schema) }
    }

    fn bytes(&self) -> usize {
        let annotations = self.annotations.iter().flatten().map(Annotation::bytes).sum::<usize>();
        annotations + if let Accepts::Only(names) = &self.accepts { names.iter().map(String::len).sum() } else { 0 }
    }
}

/// Gathers the pages of a list.
#[derive(Default)]
pub(crate) struct Listing {
    tools: BTreeMap<Arc<str>, Tool>,
    cursors: HashSet<String>,
    bytes: usize,
}

impl Listing {
    /// Takes one page, and gives the cursor of the next one, where there is one to ask for. A cursor that comes again ends the list.
    pub(crate) fn page(&mut self, page: &Value) -> Result<Option<String>, Cause> {
        let tools = page.get("tools").and_then(Value::as_array);
        let tools = tools.ok_or_else(|| Cause::Malformed("the answer to tools/list holds no list".to_owned()))?;
        for told in tools.iter().take(MAX_TOOLS - self.tools.len()) {
            if let Some(name) = told.get("name").and_then(Value::as_str)
                && name.len() <= MAX_NAME
            {
                let tool = Tool::of(told.get("inputSchema"));
                self.bytes += name.len() + tool.bytes();
                if self.bytes > MAX_BYTES {
                    return Ok(None);
                }
                self.tools.insert(name.into(), tool);
            }
        }
        let next =
            page.get("nextCursor").and_then(Value::as_str).filter(|cursor| (1..=MAX_CURSOR).contains(&cursor.len()));
        let full = self.tools.len() >= MAX_TOOLS || self.cursors.len() + 1 >= MAX_PAGES;
        Ok(next.filter(|next| !full && self.cursors.insert((*next).to_owned())).map(str::to_owned))
    }

    pub(crate) fn finish(self, session: u64, listed_at: Instant) -> Catalog {
        let offered = self.tools.keys().cloned().collect();
        Catalog { tools: self.tools, offered, session, listed_at }
    }
}

impl Catalog {
    pub(crate) fn offers(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// The names of all tools, sorted.
    pub(crate) fn offered(&self) -> &Arc<[Arc<str>]> {
        &self.offered
    }

    /// Divides `arguments` into those that `tool` declares and the names of the others.
    pub(crate) fn split(&self, tool: &str, arguments: &Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
        let Some(Tool { accepts: Accepts::Only(declared), .. }) = self.tools.get(tool) else {
            return (arguments.clone(), Vec::new());
        };
        let mut kept = Map::new();
        let mut others = Vec::new();
        for (name, value) in arguments {
            if declared.contains(name) {
                kept.insert(name.clone(), value.clone());
            } else {
                others.push(name.clone());
            }
        }
        (kept, others)
    }

    /// The headers that a call of `tool` with `arguments` has beside every call's, where the protocol has such headers.
    pub(crate) fn heads(&self, tool: &str, arguments: &Map<String, Value>) -> Result<Vec<(HeaderName, String)>, Cause> {
        self.tools.get(tool).map_or(Ok(Vec::new()), |tool| param_heads::heads(&tool.annotations, arguments))
    }
}

/// The name that a configured name stands for: as written where the server offers that or it begins with `get_`, else with `get_` before it.
pub(crate) fn resolve(configured: &Arc<str>, catalog: Option<&Catalog>) -> Arc<str> {
    if configured.starts_with("get_") || catalog.is_some_and(|catalog| catalog.offers(configured)) {
        Arc::clone(configured)
    } else {
        format!("get_{configured}").into()
    }
}

fn accepts(schema: Option<&Value>) -> Accepts {
    let declared = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    // `additionalProperties` that is true, or a schema, declares every other name too; false and nothing declare none.
    let open = match schema.and_then(|schema| schema.get("additionalProperties")) {
        Some(Value::Bool(open)) => *open,
        Some(Value::Object(_)) => true,
        _ => false,
    };
    match declared {
        _ if open => Accepts::Any,
        Some(declared) if declared.len() > MAX_ARGUMENTS => Accepts::Any,
        Some(declared) => Accepts::Only(declared.keys().cloned().collect()),
        None => Accepts::Only(HashSet::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(tools: &Value) -> Catalog {
        let mut listing = Listing::default();
        listing.page(&json!({"tools": tools})).unwrap();
        listing.finish(1, Instant::now())
    }

    #[test]
    fn a_name_gets_its_prefix_unless_the_server_offers_it_as_written() {
        let catalog = catalog(&json!([{"name": "ping"}, {"name": "get_liveness"}]));
        for (configured, expected) in
            [("ping", "ping"), ("liveness", "get_liveness"), ("get_x", "get_x"), ("other", "get_other")]
        {
            assert_eq!(&*resolve(&configured.into(), Some(&catalog)), expected);
        }
        assert_eq!(&*resolve(&"ping".into(), None), "get_ping");
    }

    #[test]
    fn only_declared_arguments_are_kept() {
        let catalog = catalog(&json!([
            {"name": "closed", "inputSchema": {"properties": {"limit": {}}, "additionalProperties": false}},
            {"name": "silent", "inputSchema": {"properties": {"limit": {}}}},
            {"name": "open", "inputSchema": {"properties": {}, "additionalProperties": true}},
            {"name": "bare"},
        ]));
        let arguments = json!({"limit": 5, "sort_by": "x"}).as_object().cloned().unwrap();
        for tool in ["closed", "silent"] {
            let (kept, others) = catalog.split(tool, &arguments);
            assert_eq!((Value::Object(kept), others), (json!({"limit": 5}), vec!["sort_by".to_owned()]));
        }
        assert_eq!(catalog.split("open", &arguments), (arguments.clone(), vec![]));
        assert_eq!(catalog.split("bare", &arguments).1, ["limit", "sort_by"]);
    }

    #[test]
    fn a_list_ends_where_it_ends_and_where_its_cursors_turn_in_circles() {
        let mut listing = Listing::default();
        let page = |name: &str, next: &str| json!({"tools": [{"name": name}, {"name": 7}], "nextCursor": next});
        assert_eq!(listing.page(&page("a", "2")), Ok(Some("2".to_owned())));
        assert_eq!(listing.page(&page("b", "3")), Ok(Some("3".to_owned())));
        assert_eq!(listing.page(&page("c", "2")), Ok(None));
        assert_eq!(listing.finish(1, Instant::now()).offered().len(), 3);
        assert!(matches!(Listing::default().page(&json!({})), Err(Cause::Malformed(_))));
    }

    #[test]
    fn a_list_without_end_is_cut() {
        let mut listing = Listing::default();
        let mut pages = 0;
        while pages < 1000 {
            pages += 1;
            if listing.page(&json!({"tools": [], "nextCursor": pages.to_string()})).unwrap().is_none() {
                break;
            }
        }
        assert_eq!(pages, MAX_PAGES);
    }

    #[test]
    fn a_list_of_long_names_is_cut_at_what_is_remembered_and_a_long_cursor_ends_it() {
        let argument = "x".repeat(MAX_BYTES / 3);
        let page = |n: usize| json!({"tools": [{"name": n.to_string(), "inputSchema": {"properties": {&argument: {}}}}], "nextCursor": n.to_string()});
        let mut listing = Listing::default();
        assert_eq!(
            (1..=4).map(|n| listing.page(&page(n)).unwrap().is_some()).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(listing.finish(1, Instant::now()).offered().len(), 2);
        let cursor = json!({"tools": [], "nextCursor": "x".repeat(MAX_CURSOR + 1)});
        assert_eq!(Listing::default().page(&cursor), Ok(None));
    }
}
