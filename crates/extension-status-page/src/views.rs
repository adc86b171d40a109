//! The model as HTML. Everything that comes from outside is escaped by the templates.

use std::{borrow::Cow, collections::BTreeMap};

use askama::Template;
use jiff::{SignedDuration, Timestamp, Unit};
use minicol_plugin::{Action, ComponentKind, Reasons, Reload, ReloadStatus, Setting};
use serde_json::json;

use crate::{
    api::{Arrow, Card, Happened, Mood, Node, Pipeline, Program},
    model::{self, Model},
};

/// One part of the page that changes by itself: its id, and its HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) id: String,
    pub(crate) html: String,
}

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    mood: Mood,
    acts: bool,
    banner: String,
    pipelines: Vec<Drawn>,
    targets: Vec<String>,
    extensions: Vec<String>,
    events: String,
    settings: String,
    series: Option<String>,
    reload: String,
}

/// A pipeline as a chain: legs into the first processor, processors, legs out of the last one; without a processor, each receiver with its
/// legs.
struct Drawn {
    name: String,
    inputs: Vec<Leg>,
    chain: Vec<Leg>,
    outputs: Vec<Leg>,
    direct: Vec<(String, Vec<Leg>)>,
}

/// A node, and the arrows beside it.
struct Leg {
    node: String,
    arrows: Vec<String>,
}

#[derive(Template)]
#[template(path = "banner.html")]
struct BannerView<'a> {
    program: &'a Program,
}

#[derive(Template)]
#[template(path = "node.html")]
struct NodeView<'a> {
    node: &'a Node,
    buttons: Vec<Button>,
}

/// Asks once, then sends `body` to `url`.
#[derive(Template)]
#[template(path = "button.html")]
struct Button {
    id: String,
    url: &'static str,
    body: String,
    asks: String,
    label: Cow<'static, str>,
    subject: Option<String>,
    /// What is written on it where it stands beside its subject; the whole is its name.
    short: Option<String>,
}

impl Button {
    fn full(&self) -> String {
        [Some(&*self.label), self.subject.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// How the last reload went, and where the next one is asked for.
#[derive(Template)]
#[template(path = "reload.html")]
struct ReloadView<'a> {
    last: Option<&'a Reload>,
    button: Option<Button>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsView<'a> {
    settings: &'a [Setting],
}

/// A node that is drawn already, where another arrow leads to it.
#[derive(Template)]
#[template(path = "again.html")]
struct AgainView<'a> {
    node: &'a Node,
}

#[derive(Template)]
#[template(path = "arrow.html")]
struct ArrowView<'a> {
    arrow: &'a Arrow,
}

#[derive(Template)]
#[template(path = "target.html")]
struct CardView<'a> {
    card: &'a Card,
    /// What can be asked of a tool, in its row.
    rows: BTreeMap<String, Vec<Button>>,
    buttons: Vec<Button>,
    points: String,
    longest: f64,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsView<'a> {
    events: &'a [Happened],
}

/// The whole page as text.
pub(crate) fn page(
    model: &Model,
    settings: &[Setting],
    series: Option<String>,
    acts: bool,
) -> Result<String, askama::Error> {
    let page = Page {
        mood: model.program.mood,
        acts,
        banner: BannerView { program: &model.program }.render()?,
        pipelines: model.pipelines.iter().map(drawn).collect::<Result<_, _>>()?,
        targets: model.targets.iter().map(card).collect::<Result<_, _>>()?,
        extensions: model.extensions.iter().map(node).collect::<Result<_, _>>()?,
        events: EventsView { events: &model.events }.render()?,
        settings: self::settings(settings)?,
        series,
        reload: reload(&model.program.reload, acts)?,
    };
    page.render()
}

/// The running configuration. It is fetched when it has changed and somebody looks at it.
pub(crate) fn settings(settings: &[Setting]) -> Result<String, askama::Error> {
    SettingsView { settings }.render()
}

/// Every part that may change while somebody looks.
pub(crate) fn fragments(model: &Model, acts: bool) -> Result<Vec<Fragment>, askama::Error> {
    let mut all = vec![
        Fragment { id: "banner".to_owned(), html: BannerView { program: &model.program }.render()? },
        Fragment { id: "happened".to_owned(), html: EventsView { events: &model.events }.render()? },
        Fragment { id: "reload".to_owned(), html: reload(&model.program.reload, acts)? },
    ];
    for pipeline in &model.pipelines {
        for one in &pipeline.nodes {
            all.push(Fragment { id: one.anchor.clone(), html: node(one)? });
        }
        for one in &pipeline.arrows {
            all.push(Fragment { id: one.anchor.clone(), html: arrow(one)? });
        }
    }
    for one in &model.extensions {
        all.push(Fragment { id: one.anchor.clone(), html: node(one)? });
    }
    for one in &model.targets {
        all.push(Fragment { id: one.anchor.clone(), html: card(one)? });
    }
    Ok(all)
}

fn drawn(pipeline: &Pipeline) -> Result<Drawn, askama::Error> {
    let of_kind = |kind| pipeline.nodes.iter().filter(move |node| node.kind == kind);
    let processors: Vec<_> = of_kind(ComponentKind::Processor).collect();
    let between = |from: Option<&str>, to: Option<&str>| {
        let arrows = pipeline.arrows.iter();
        let wanted =
            arrows.filter(|arrow| from.is_none_or(|from| arrow.from == from) && to.is_none_or(|to| arrow.to == to));
        wanted.map(arrow).collect::<Result<Vec<_>, _>>()
    };
    let leg = |one: &Node, arrows| Ok::<_, askama::Error>(Leg { node: node(one)?, arrows });
    let mut all = Drawn {
        name: pipeline.name.clone(),
        inputs: Vec::new(),
        chain: Vec::new(),
        outputs: Vec::new(),
        direct: Vec::new(),
    };
    match (processors.first(), processors.last()) {
        (Some(first), Some(last)) => {
            for receiver in of_kind(ComponentKind::Receiver) {
                all.inputs.push(leg(receiver, between(Some(&receiver.id), Some(&first.id))?)?);
            }
            for (index, processor) in processors.iter().enumerate() {
                let next = processors.get(index + 1);
                let arrows = next.map(|next| between(Some(&processor.id), Some(&next.id))).transpose()?;
                all.chain.push(leg(processor, arrows.unwrap_or_default())?);
            }
            for exporter in of_kind(ComponentKind::Exporter) {
                all.outputs.push(leg(exporter, between(Some(&last.id), Some(&exporter.id))?)?);
            }
        }
        _ => {
            for (nth, receiver) in of_kind(ComponentKind::Receiver).enumerate() {
                let mut legs = Vec::new();
                for exporter in of_kind(ComponentKind::Exporter) {
                    let arrows = between(Some(&receiver.id), Some(&exporter.id))?;
                    let node = if nth == 0 { node(exporter)? } else { AgainView { node: exporter }.render()? };
                    legs.push(Leg { node, arrows });
                }
                all.direct.push((node(receiver)?, legs));
            }
        }
    }
    Ok(all)
}

fn node(node: &Node) -> Result<String, askama::Error> {
    let buttons = buttons(&node.anchor, node.kind, &node.id, &node.actions);
    NodeView { node, buttons }.render()
}

fn reload(status: &ReloadStatus, acts: bool) -> Result<String, askama::Error> {
    let button = acts.then(|| Button {
        id: "act-reload".to_owned(),
        url: "api/v1/reload",
        body: "{}".to_owned(),
        asks: "Read the configuration again and make it what runs? Where it does not hold, what runs goes on."
            .to_owned(),
        label: "Reload".into(),
        subject: None,
        short: None,
    });
    ReloadView { last: status.last.as_ref(), button }.render()
}

fn buttons(anchor: &str, kind: ComponentKind, id: &str, actions: &[Action]) -> Vec<Button> {
    let button = |action: &Action| Button {
        id: format!("act-{anchor}-{}", model::anchor(&[&action.name, action.subject.as_deref().unwrap_or_default()])),
        url: "api/v1/actions",
        body: json!({ "kind": kind, "id": id, "name": action.name, "subject": action.subject }).to_string(),
        asks: action.asks.clone(),
        label: action.label.clone(),
        subject: action.subject.clone(),
        short: None,
    };
    actions.iter().map(button).collect()
}

fn arrow(arrow: &Arrow) -> Result<String, askama::Error> {
    ArrowView { arrow }.render()
}

fn card(card: &Card) -> Result<String, askama::Error> {
    let longest = card.target.polls.iter().copied().fold(0.0, f64::max);
    let all = buttons(&card.anchor, ComponentKind::Receiver, &card.id, &card.actions);
    let (mut rows, mut buttons) = (BTreeMap::<String, Vec<Button>>::new(), Vec::new());
    for mut button in all {
        match button.subject.clone().filter(|subject| card.target.tools.contains_key(subject)) {
            Some(tool) => {
                // The row says the rest.
                button.short = button.label.split_whitespace().next().map(str::to_owned);
                rows.entry(tool).or_default().push(button);
            }
            None => buttons.push(button),
        }
    }
    CardView { card, rows, buttons, points: sparkline(&card.target.polls, longest), longest }.render()
}

/// The points of a line in a box of 120 by 24.
fn sparkline(values: &[f64], longest: f64) -> String {
    let step = 120.0 / (values.len().max(2) - 1) as f64;
    let height = |value: f64| if longest > 0.0 { 23.0 - 22.0 * value / longest } else { 23.0 };
    let points = values.iter().enumerate().map(|(at, value)| format!("{:.1},{:.1}", at as f64 * step, height(*value)));
    points.collect::<Vec<_>>().join(" ")
}

/// A number, behind as many references as a template puts before it.
trait Number {
    fn plain(&self) -> f64;
}

impl Number for f64 {
    fn plain(&self) -> f64 {
        *self
    }
}

impl<T: Number> Number for &T {
    fn plain(&self) -> f64 {
        (*self).plain()
    }
}

/// `12 items a second` in few signs.
fn rate(arrow: &Arrow) -> String {
    match arrow.rate {
        None => "–".to_owned(),
        Some(0.0) => "0/s".to_owned(),
        Some(rate) if rate < 0.01 => "<0.01/s".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.2}/s"),
        Some(rate) if rate < 10_000.0 => format!("{rate:.0}/s"),
        Some(rate) => format!("{:.1}k/s", rate / 1_000.0),
    }
}

/// A duration of a call.
fn took(seconds: impl Number) -> String {
    let seconds = seconds.plain();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1_000.0) } else { format!("{seconds:.1} s") }
}

/// A moment in UTC, as logs have it.
fn moment(seconds: impl Number) -> String {
    let since_epoch = SignedDuration::try_from_secs_f64(seconds.plain()).ok().map(|at| at.round(Unit::Millisecond));
    let at = since_epoch.and_then(|at| Timestamp::from_duration(at.ok()?).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// A moment to the second: one that is reckoned from now is not another each time.
fn second(seconds: impl Number) -> String {
    moment(seconds.plain().round())
}

/// All reasons together.
fn total(reasons: &Reasons) -> u64 {
    reasons.values().sum()
}

/// `3 (queue_full), 1 (timeout)`.
fn reasons(reasons: &Reasons) -> String {
    let each: Vec<_> = reasons.iter().map(|(reason, items)| format!("{items} ({reason})")).collect();
    each.join(", ")
}

/// A value of the configuration: text as it is, everything else as JSON.
fn value(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
