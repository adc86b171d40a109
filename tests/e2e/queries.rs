//! Whether a query in Prometheus' language can ever find something: it parses, every metric in it exists and has the labels that it names, only what counts is
//! asked for a rate, and both sides of an operation have labels that can match.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::{
    label::Matchers,
    parser::{self, BinModifier, Expr, LabelModifier, VectorMatchCardinality, VectorSelector},
};

/// Series by their names.
pub(crate) type Known = BTreeMap<String, Series>;

/// What is known of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) labels: BTreeSet<String>,
    /// Whether it only grows: a counter, or a part of a histogram.
    pub(crate) counts: bool,
}

/// What a query yields: the labels of its series, or `None` where it is a number.
type Labels = Option<BTreeSet<String>>;

/// Looks at a query; the labels of what it yields.
pub(crate) fn check(query: &str, known: &Known) -> Result<BTreeSet<String>, String> {
    // What Grafana puts in.
    let query = query.replace("$__rate_interval", "5m").replace("$__range", "6h");
    let parsed = parser::parse(&query)?;
    let mut look = Look { known, wrong: Vec::new() };
    let labels = look.at(&parsed).unwrap_or_default();
    if look.wrong.is_empty() { Ok(labels) } else { Err(look.wrong.join("; ")) }
}

/// Labels as a set.
pub(crate) fn labels<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

struct Look<'a> {
    known: &'a Known,
    wrong: Vec<String>,
}

impl Look<'_> {
    fn at(&mut self, expression: &Expr) -> Labels {
        match expression {
            Expr::VectorSelector(selector) => Some(self.selected(selector)),
            Expr::MatrixSelector(matrix) => Some(self.selected(&matrix.vs)),
            Expr::Subquery(inner) => self.at(&inner.expr),
            Expr::Paren(inner) => self.at(&inner.expr),
            Expr::Unary(inner) => self.at(&inner.expr),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
            Expr::Aggregate(aggregate) => {
                let inner = self.at(&aggregate.expr).unwrap_or_default();
                let keeps = matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk");
                Some(match &aggregate.modifier {
                    None if keeps => inner,
                    None => BTreeSet::new(),
                    Some(LabelModifier::Include(by)) => {
                        self.all_in(&by.labels, &inner, "by");
                        by.labels.iter().cloned().collect()
                    }
                    Some(LabelModifier::Exclude(without)) => {
                        self.all_in(&without.labels, &inner, "without");
                        inner.into_iter().filter(|label| !without.labels.contains(label)).collect()
                    }
                })
            }
            Expr::Call(call) => {
                let name = call.func.name;
                let of: Vec<Labels> = call.args.args.iter().map(|argument| self.at(argument)).collect();
                if matches!(name, "rate" | "increase" | "irate") {
                    self.counts(&call.args.args[0], name);
                }
                let mut labels: BTreeSet<String> = of.iter().flatten().flatten().cloned().collect();
                match name {
                    "time" | "scalar" => return None,
                    "vector" | "absent" => labels.clear(),
                    "histogram_quantile" if !labels.remove("le") => {
                        self.wrong.push("histogram_quantile needs the label le".to_owned());
                    }
                    _ => {}
                }
                Some(labels)
            }
            Expr::Binary(binary) => {
                let (left, right) = (self.at(&binary.lhs), self.at(&binary.rhs));
                match (left, right) {
                    (Some(left), Some(right)) => {
                        Some(self.joined(left, &right, &binary.op.to_string(), binary.modifier.as_ref()))
                    }
                    (one, other) => one.or(other),
                }
            }
        }
    }

    fn selected(&mut self, selector: &VectorSelector) -> BTreeSet<String> {
        let Some(name) = &selector.name else {
            self.wrong.push("a selector names no metric".to_owned());
            return BTreeSet::new();
        };
        let Some(series) = self.known.get(name) else {
            self.wrong.push(format!("there is no series {name}"));
            return BTreeSet::new();
        };
        let mut labels = series.labels.clone();
        labels.extend(["job".to_owned(), "instance".to_owned()]);
        let Matchers { matchers, or_matchers } = &selector.matchers;
        let named: Vec<String> =
            matchers.iter().chain(or_matchers.iter().flatten()).map(|matcher| matcher.name.clone()).collect();
        self.all_in(&named, &labels, name);
        labels
    }

    fn joined(
        &mut self,
        left: BTreeSet<String>,
        right: &BTreeSet<String>,
        operator: &str,
        modifier: Option<&BinModifier>,
    ) -> BTreeSet<String> {
        let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
        match matching {
            Some(LabelModifier::Include(on)) => {
                self.all_in(&on.labels, &left, "on");
                self.all_in(&on.labels, right, "on");
            }
            None if operator != "or" && left != *right => {
                self.wrong.push(format!("{left:?} {operator} {right:?} never match: say on which labels"));
            }
            _ => {}
        }
        match modifier.map(|modifier| &modifier.card) {
            Some(VectorMatchCardinality::ManyToOne(more)) => {
                self.all_in(&more.labels, right, "group_left");
                left.into_iter().chain(more.labels.iter().cloned()).collect()
            }
            _ if operator == "or" => left.union(right).cloned().collect(),
            _ => left,
        }
    }

    fn all_in(&mut self, wanted: &[String], labels: &BTreeSet<String>, of: &str) {
        for label in wanted.iter().filter(|label| !labels.contains(*label)) {
            self.wrong.push(format!("{of}: there is no label {label} in {labels:?}"));
        }
    }

    fn counts(&mut self, argument: &Expr, function: &str) {
        if let Expr::MatrixSelector(matrix) = argument
            && let Some(name) = &matrix.vs.name
            && self.known.get(name).is_some_and(|series| !series.counts)
        {
            self.wrong.push(format!("{function} of {name}, which is no counter"));
        }
    }
}

#[test]
fn a_query_that_can_find_nothing_is_told() {
    let series = |names: &[&str], counts| Series { labels: labels(names.iter().copied()), counts };
    let known = Known::from([
        ("up".to_owned(), series(&[], false)),
        ("calls".to_owned(), series(&["tool"], true)),
        ("d_bucket".to_owned(), series(&["le", "tool"], true)),
        ("target_info".to_owned(), series(&["host"], false)),
    ]);
    for (query, yields) in [
        ("up{job=~\"$job\"} == 0", "instance job"),
        ("sum by (tool) (rate(calls[$__rate_interval]))", "tool"),
        ("histogram_quantile(0.9, sum by (le, tool) (rate(d_bucket[5m])))", "tool"),
        ("up * on (job, instance) group_left (host) target_info", "host instance job"),
        ("sum(calls) or vector(0)", ""),
        ("topk(3, calls)", "instance job tool"),
        ("time() - 3", ""),
    ] {
        let found = check(query, &known).map(|labels| labels.into_iter().collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref(), Ok(yields), "{query}");
    }
    for (query, wrong) in [
        ("sum by (tool (calls)", "unclosed left parenthesis"),
        ("call", "there is no series call"),
        ("calls{tol=\"a\"}", "there is no label tol"),
        ("sum by (host) (calls)", "there is no label host"),
        ("rate(up[5m])", "rate of up, which is no counter"),
        ("calls / up", "never match"),
        ("up * on (job) group_left (name) target_info", "there is no label name"),
        ("histogram_quantile(0.9, sum by (tool) (rate(d_bucket[5m])))", "needs the label le"),
        ("{job=\"x\"}", "names no metric"),
    ] {
        let told = check(query, &known).unwrap_err();
        assert!(told.contains(wrong), "{query}: {told}");
    }
}
