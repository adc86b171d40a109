//! From the path of a test file to tests that can run, or everything that is wrong.

use std::path::Path as FilePath;

use minicol_config::{Environment, Node, Path, Problem, Problems, Request, decode, nearest};
use minicol_host::{Plan, Registry};
use minicol_pdata::Signal;
use serde_json::Value;

use crate::file::{Case, Step, TestFile};

/// A test file that holds, with the configuration that it names.
pub struct Loaded {
    /// As the user named it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// What it says.
    pub file: TestFile,
    /// The configuration.
    pub plan: Plan,
    pub(crate) root: Node,
}

/// The JSON Schema of a test file.
pub fn schema() -> Value {
    minicol_host::schema_of::<TestFile>("minicol test file")
}

/// Reads a test file and the configuration that it names.
///
/// # Errors
/// Everything that is wrong with either, each at its place.
pub fn load(path: &FilePath, registry: Registry) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::error(format!("`{name}` cannot be read: {error}"))
            .with_help("name a test file; `minicol record` writes one")
    })?;
    let loaded = minicol_config::load(&request(vec![format!("file:{name}")]))?;
    read(name, text, &loaded.root, &loaded.problems, path.parent(), registry)
}

/// The same of a text that stands in no file; what it names is looked for in `folder`.
///
/// # Errors
/// Everything that is wrong, each at its place.
pub fn load_text(text: &str, folder: &FilePath, registry: Registry) -> Result<Loaded, Problems> {
    let loaded = minicol_config::load(&request(vec![format!("yaml:{text}")]))?;
    read("<test>".to_owned(), text.to_owned(), &loaded.root, &loaded.problems, Some(folder), registry)
}

fn request(configs: Vec<String>) -> Request {
    Request { configs, ..Request::default() }
}

fn read(
    name: String,
    text: String,
    root: &Node,
    found: &Problems,
    folder: Option<&FilePath>,
    registry: Registry,
) -> Result<Loaded, Problems> {
    // That something is redacted is what a recorded file is to say: what warns of it in a configuration is left out.
    let mut problems = Problems::new();
    found.errors().cloned().for_each(|problem| problems.push(problem));
    let decoded: Option<TestFile> = decode(root, &Path::root(), &mut problems);
    let Some(file) = decoded else { return Err(problems) };
    check(&file, root, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let plan = plan(&file, folder, registry)?;
    for (index, case) in file.tests.iter().enumerate() {
        fits(case, &plan, root, &Path::keys(["tests"]).join(index), &mut problems);
    }
    if problems.has_errors() { Err(problems) } else { Ok(Loaded { name, text, file, plan, root: root.clone() }) }
}

fn plan(file: &TestFile, folder: Option<&FilePath>, registry: Registry) -> Result<Plan, Problems> {
    let relative = |config: &String| {
        let (scheme, path) = config.split_once("file:").filter(|(before, _)| before.is_empty()).unwrap_or(("", config));
        let is_path = scheme.is_empty() && !["env:", "yaml:"].iter().any(|scheme| config.starts_with(scheme));
        match folder.filter(|_| is_path) {
            Some(folder) => format!("file:{}", folder.join(path).display()),
            None => config.clone(),
        }
    };
    let variables: Vec<(&str, &str)> = file.environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let request = Request {
        configs: file.config.iter().map(relative).collect(),
        sets: file.set.clone(),
        environment: Environment::from(variables),
        overrides: Vec::new(),
    };
    Plan::load(request, registry)
}

/// What decoding does not see.
fn check(file: &TestFile, root: &Node, problems: &mut Problems) {
    let mut error = |path: &Path, message: String, help: &str| {
        problems.push(Problem::error(message).at_value(root, path).with_help(help));
    };
    if file.config.is_empty() {
        error(&Path::keys(["config"]), "no pipeline file is named".to_owned(), "write `config: [pipeline.yaml]`");
    }
    if file.tests.is_empty() {
        error(
            &Path::keys(["tests"]),
            "there is no test".to_owned(),
            "write `tests:` and below it a list, each with `name` and `steps`",
        );
    }
    for (index, case) in file.tests.iter().enumerate() {
        let at = Path::keys(["tests"]).join(index);
        if case.name.trim().is_empty() {
            error(&at, "the test has no name".to_owned(), "write `name:` and what is promised");
        }
        if file.tests[..index].iter().any(|other| other.name == case.name) {
            error(&at.join("name"), format!("two tests are called `{}`", case.name), "give each a name of its own");
        }
        if case.steps.is_empty() {
            error(
                &at,
                "the test has no steps".to_owned(),
                "write `steps:` and below it a list, each with `at` and `answers` or `otlp`",
            );
        }
        // `expect:` without a body is one: `--update` fills it.
        let expects = |nth: usize| root.find(&at.join("steps").join(nth).join("expect")).is_some();
        if !case.steps.is_empty() && !(0..case.steps.len()).any(expects) {
            error(
                &at,
                "the test looks at nothing: no step has `expect`".to_owned(),
                "write `expect:` at a step, and `minicol test --update` fills it; `expect: []` where nothing may come",
            );
        }
        for (nth, step) in case.steps.iter().enumerate() {
            let here = at.join("steps").join(nth);
            if nth > 0 && step.at < case.steps[nth - 1].at {
                error(
                    &here.join("at"),
                    format!("{} lies before the step above", step.at),
                    "put the steps in the order of time",
                );
            }
            if step.otlp.is_some() && (polled(step) || step.resource.is_some()) {
                error(
                    &here.join("otlp"),
                    "`otlp` stands in the place of what a poll brings".to_owned(),
                    "make two steps of it",
                );
            }
            for (of, metric) in step.expect.iter().flatten().enumerate() {
                let path = here.join("expect").join(of);
                if metric.name.is_empty() {
                    error(&path, "the metric has no name".to_owned(), "write `name:`");
                }
                if metric.points.is_empty() {
                    error(
                        &path,
                        "the metric has no points".to_owned(),
                        "write `points:`; a metric that may not come is not written",
                    );
                }
                if let Some(kind) = metric.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
                    error(
                        &path.join("type"),
                        format!("`{kind}` is no type of metrics"),
                        &format!("valid: {}", KINDS.join(", ")),
                    );
                }
            }
        }
    }
}

const KINDS: [&str; 6] = ["gauge", "counter", "updowncounter", "histogram", "exponential_histogram", "summary"];

/// Whether a step is a cycle of a poller.
pub(crate) fn polled(step: &Step) -> bool {
    step.answers.is_some() || !step.failures.is_empty() || step.down.is_some()
}

/// The id of a test's pipeline.
pub(crate) fn pipeline(case: &Case, plan: &Plan) -> Option<String> {
    case.pipeline.clone().or_else(|| match plan.pipeline_ids()[..] {
        [only] => Some(only.to_owned()),
        _ => None,
    })
}

/// Whether the configuration has what a test names.
fn fits(case: &Case, plan: &Plan, root: &Node, at: &Path, problems: &mut Problems) {
    let ids = plan.pipeline_ids();
    let Some(pipeline) = pipeline(case, plan) else {
        let problem = Problem::error("the configuration has several pipelines").at_value(root, at);
        problems.push(problem.with_help(format!("write `pipeline:` and one of {}", ids.join(", "))));
        return;
    };
    match plan.delivers(&pipeline) {
        Some(Signal::Metrics) => {}
        Some(other) => {
            let told = format!("pipeline `{pipeline}` gives {other} to its exporters, and a test looks at metrics");
            let problem = Problem::error(told).at_value(root, &at.join("pipeline"));
            problems.push(problem.with_help("name a pipeline that ends in metrics"));
        }
        None => {
            let problem =
                Problem::error(format!("there is no pipeline `{pipeline}`")).at_value(root, &at.join("pipeline"));
            problems.push(problem.with_help(match nearest(&pipeline, ids.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are: {}", ids.join(", ")),
            }));
        }
    }
}
