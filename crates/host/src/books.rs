//! The books, in the program's own metrics and in its last words.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use minicol_delivery::DeliveryConsumer;
use minicol_pdata::Signal;
use minicol_plugin::{Account, Books, ComponentId, ComponentKind, Converted, EdgeSnapshot, Reasons, sort, sum};
use opentelemetry::{KeyValue, metrics::Meter};
use tracing::{info, warn};

use crate::view::View;

/// The books of one exporter: an account per signal.
pub(crate) fn of_exporter(
    id: ComponentId,
    delivery: DeliveryConsumer,
) -> impl Fn() -> Vec<Account> + Send + Sync + 'static {
    move || {
        let account = |signal: Signal| {
            let counts = delivery.counts_of(signal);
            Account {
                kind: ComponentKind::Exporter,
                component: id.clone(),
                pipeline: None,
                signal,
                emits: None,
                offered: counts.accepted + sum(&counts.refused),
                taken: counts.accepted,
                out: counts.sent,
                converted: None,
                failed: counts.failed,
                dropped: counts.dropped,
                queued: counts.queued,
                restored: counts.restored,
                kept: counts.kept,
                refused: counts.refused,
                waiting: 0,
            }
        };
        delivery.signals().into_iter().map(account).collect()
    }
}

/// One number for each set of attributes.
type Rows = Vec<(u64, Vec<KeyValue>)>;
/// What an instrument reads in the books.
type Read = fn(&Books) -> Rows;

/// Puts the books into the program's own metrics, as they are whenever those are read.
pub(crate) fn measure(meter: &Meter, view: &Arc<View>) {
    let counters: [(&'static str, &'static str, Read); 13] = [
        // The first, as the SDK reads them in this order: see `Pages::read`.
        (FIRST, "Items that a component was to take", |b| accounts(b, |a| a.offered)),
        ("minicol_books_in_items", "Items that a component took", |b| accounts(b, |a| a.taken)),
        ("minicol_books_out_items", "Items that a component passed on", |b| accounts(b, |a| a.out)),
        ("minicol_books_converted_items", "Items that a component made another signal of", |b| {
            converted(b, |made| made.converted)
        }),
        ("minicol_books_unused_items", "Items that nobody asked a component to make anything of", |b| {
            converted(b, |made| made.unused)
        }),
        ("minicol_books_refused_items", "Items that a component did not take, by reason", |b| {
            reasons(b, |a| &a.refused)
        }),
        ("minicol_books_failed_items", "Items that a component tried to pass on and lost, by reason", |b| {
            reasons(b, |a| &a.failed)
        }),
        ("minicol_books_dropped_items", "Items that a component took and dropped, by reason", |b| {
            reasons(b, |a| &a.dropped)
        }),
        ("minicol_books_restored_items", "Items that an earlier life of the program had left in a storage", |b| {
            stored(b, |a| a.restored)
        }),
        ("minicol_edge_offered_items", "Items that were to pass an arrow between two components", |b| {
            edges(b, |e| e.offered)
        }),
        ("minicol_edge_accepted_items", "Items that passed an arrow between two components", |b| {
            edges(b, |e| e.accepted)
        }),
        ("minicol_edge_refused_items", "Items that the far end of an arrow did not take, by reason", |b| {
            b.edges.iter().flat_map(|edge| by_reason(&edge.refused, &edge_attributes(edge))).collect()
        }),
        ("minicol_edge_lost_items", "Items refused by the far end of an arrow and taken by another arrow's", |b| {
            edges(b, |e| e.lost)
        }),
    ];
    let gauges: [(&'static str, &'static str, Read); 4] = [
        ("minicol_books_queued_items", "Items that a component took and still has", |b| accounts(b, |a| a.queued)),
        ("minicol_books_kept_items", "Items that are left in a storage at the end", |b| stored(b, |a| a.kept)),
        ("minicol_books_waiting_items", "Items for which a component has not answered yet", |b| {
            accounts(b, |a| a.waiting)
        }),
        ("minicol_edge_waiting_items", "Items on their way over an arrow between two components", |b| {
            edges(b, |e| e.waiting)
        }),
    ];
    let pages = Arc::new(Pages { view: Arc::downgrade(view), last: Mutex::default() });
    for (name, description, read) in counters {
        let pages = Arc::clone(&pages);
        let counter = meter.u64_observable_counter(name).with_description(description).with_unit("{item}");
        counter
            .with_callback(move |observer| {
                pages.read(name, read).iter().for_each(|(items, attributes)| observer.observe(*items, attributes));
            })
            .build();
    }
    for (name, description, read) in gauges {
        let pages = Arc::clone(&pages);
        let gauge = meter.u64_observable_gauge(name).with_description(description).with_unit("{item}");
        gauge
            .with_callback(move |observer| {
                pages.read(name, read).iter().for_each(|(items, attributes)| observer.observe(*items, attributes));
            })
            .build();
    }
}

const FIRST: &str = "minicol_books_offered_items";

/// The books as all instruments of one reading see them, so that they balance there, too.
struct Pages {
    view: Weak<View>,
    last: Mutex<Books>,
}

impl Pages {
    fn read(&self, name: &str, read: Read) -> Rows {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if name == FIRST {
            // Nothing changes any more where it is gone.
            if let Some(view) = self.view.upgrade() {
                *last = view.books();
            }
        }
        read(&last)
    }
}

fn accounts(books: &Books, items: fn(&Account) -> u64) -> Rows {
    books.accounts.iter().map(|account| (items(account), account_attributes(account))).collect()
}

/// Only where there are any: most components have no storage.
fn stored(books: &Books, items: fn(&Account) -> u64) -> Rows {
    let with = books.accounts.iter().filter(|account| items(account) > 0);
    with.map(|account| (items(account), account_attributes(account))).collect()
}

/// Only of components that make another signal.
fn converted(books: &Books, items: fn(&Converted) -> u64) -> Rows {
    let made = |account: &Account| Some((items(account.converted.as_ref()?), account_attributes(account)));
    books.accounts.iter().filter_map(made).collect()
}

fn reasons(books: &Books, items: fn(&Account) -> &Reasons) -> Rows {
    books.accounts.iter().flat_map(|account| by_reason(items(account), &account_attributes(account))).collect()
}

fn edges(books: &Books, items: fn(&EdgeSnapshot) -> u64) -> Rows {
    books.edges.iter().map(|edge| (items(edge), edge_attributes(edge))).collect()
}

fn by_reason(reasons: &Reasons, attributes: &[KeyValue]) -> Rows {
    let row = |(reason, items): (&String, &u64)| {
        let reason = KeyValue::new("reason", reason.clone());
        let mut attributes: Vec<_> = attributes.iter().cloned().chain([reason]).collect();
        sort(&mut attributes);
        (*items, attributes)
    };
    reasons.iter().map(row).collect()
}

fn account_attributes(account: &Account) -> Vec<KeyValue> {
    let pipeline = account.pipeline.as_ref().map(|pipeline| KeyValue::new("pipeline", pipeline.clone()));
    [
        KeyValue::new("component", account.component.to_string()),
        KeyValue::new("kind", account.kind.name()),
        KeyValue::new("otel.signal", account.signal.name()),
    ]
    .into_iter()
    .chain(pipeline)
    .collect()
}

fn edge_attributes(edge: &EdgeSnapshot) -> Vec<KeyValue> {
    vec![
        KeyValue::new("from", edge.from.clone()),
        KeyValue::new("pipeline", edge.pipeline.clone()),
        KeyValue::new("to", edge.to.clone()),
    ]
}

/// The totals of every component, one line each; then of every arrow on which items were lost because others took them. What is zero and has
/// reasons is left out.
pub(crate) fn tell(books: &Books) {
    for account in &books.accounts {
        let Account { kind, component, pipeline, signal, emits, offered, taken, out, queued, .. } = account;
        let (pipeline, emits) = (pipeline.as_deref(), emits.map(Signal::name));
        let (refused, failed, dropped) = (words(&account.refused), words(&account.failed), words(&account.dropped));
        let some = |items: u64| (items > 0).then_some(items);
        let (restored, kept) = (some(account.restored), some(account.kept));
        let (converted, unused) = account.converted.map(|made| (made.converted, made.unused)).unzip();
        info!(
            %kind, %component, pipeline, %signal, emits, offered, "in" = taken, restored, out, converted, unused, queued, kept, refused, failed, dropped,
            "totals"
        );
    }
    for edge in books.edges.iter().filter(|edge| edge.lost > 0) {
        let EdgeSnapshot { pipeline, from, to, signal, offered, accepted, lost, .. } = edge;
        let refused = words(&edge.refused);
        warn!(%pipeline, %from, %to, %signal, offered, accepted, refused, lost, "what others took was lost here");
    }
}

/// `12 (queue_full 10, shutdown 2)`.
fn words(reasons: &Reasons) -> Option<String> {
    let each: Vec<String> = reasons.iter().map(|(reason, items)| format!("{reason} {items}")).collect();
    (!each.is_empty()).then(|| format!("{} ({})", sum(reasons), each.join(", ")))
}
