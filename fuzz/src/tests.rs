//! Each target over what it begins with, over what was found before, and over new inputs.
//!
//! `FUZZ_INPUTS` is how many new ones each target gets (100 unless told), `FUZZ_SEED` where they come from.

use std::{env, fs, path::PathBuf};

use crate::{TARGETS, mutate::Mutator, target};

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn regressions(name: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions")).join(name);
    fs::read_dir(folder).map(|files| files.map(|file| file.unwrap().path()).collect()).unwrap_or_default()
}

/// Says which input it was, where a target panics.
struct Told<'a>(&'a str, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = env::temp_dir().join(format!("minicol-fuzz-{}", self.0));
            let _ = fs::write(&file, self.1);
            eprintln!("the target {} does not hold for the input in {}", self.0, file.display());
        }
    }
}

fn run(name: &str) {
    let target = target(name).unwrap();
    let one = |input: &[u8]| {
        let _told = Told(name, input);
        (target.run)(input);
    };
    let seeds = (target.seeds)();
    assert!(seeds.len() >= 3, "{name} has too few seeds");
    for seed in &seeds {
        one(seed);
    }
    for file in regressions(name) {
        one(&fs::read(file).unwrap());
    }
    let mut mutator = Mutator::new(number("FUZZ_SEED", 1), &seeds, target.words);
    (0..number("FUZZ_INPUTS", 100)).for_each(|_| one(&mutator.input()));
}

macro_rules! tests {
    ($($name:ident),*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

tests!(
    mcp_http,
    mcp_sse,
    mcp_json_rpc,
    mcp_tool_result,
    mapping,
    jsonpath,
    prometheus,
    config,
    substitution,
    otlp_proto,
    otlp_json,
    otlp_receiver,
    queue_record,
    queue_store
);

#[test]
fn every_target_is_run() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    for folder in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || target(&name).is_some(), "{name} is no target");
    }
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let seeds = vec![b"{\"a\": [1, 2, 3]}".to_vec(), b"x".repeat(1000)];
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed, &seeds, &["word"]);
        (0..200).map(|_| mutator.input()).collect::<Vec<_>>()
    };
    assert_eq!(inputs(7), inputs(7));
    assert_ne!(inputs(7), inputs(8));
    let new = inputs(7).into_iter().filter(|input| !seeds.contains(input)).count();
    assert!(new > 150, "only {new} of 200 inputs are new");
}
