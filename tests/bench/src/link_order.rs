//! Which functions run from the start to a few polls, for the linker: side by side they take a third of the pages. What is written is a linker script that
//! knows them by name without the hashes that change with every build, so that it holds while the code stays much the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::Args;

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Where the build script of `minicol` finds it.
const SCRIPT: &str = "crates/collector/link/order.ld";

#[derive(Args)]
pub(crate) struct Options {
    /// The shipped program with its symbols, instead of one that is built first.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Where the script is written, instead of where the build looks for it.
    #[arg(long)]
    to: Option<PathBuf>,
}

impl Options {
    /// The program with its symbols.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        self.program.clone().map_or_else(build, Ok)
    }
}

/// One name for all that differ in hashes alone, and how much code it stands for.
#[derive(Default)]
struct Size {
    all: u64,
    ran: u64,
}

fn build() -> anyhow::Result<PathBuf> {
    eprintln!("building minicol (dist, with symbols)");
    let built = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["rustc", "--quiet", "--profile", "dist", "--package", "minicol-collector", "--bin", "minicol", "--"])
        .args(["-C", "strip=none"])
        .current_dir(WORKSPACE)
        .status()?;
    ensure!(built.success(), "minicol does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(WORKSPACE).join("target"), PathBuf::from);
    Ok(target.join("dist/minicol"))
}

/// Runs `program` so that what it runs is known, into `profile`.
pub(crate) fn profiled(program: &Path, config: &Path, profile: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--demangle=no", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(program).args(["run", "--config"]).arg(config);
    command
}

/// Writes the script of what ran.
pub(crate) fn write(options: &Options, program: &Path, profile: &Path) -> anyhow::Result<()> {
    let ran = functions(&fs::read_to_string(profile)?);
    let symbols = symbols(program)?;
    // Functions that are the same code have one place and several names: whichever the profile says, all of them ran.
    let places: BTreeSet<&str> =
        symbols.iter().filter(|symbol| ran.contains(&symbol.name)).map(|symbol| symbol.address.as_str()).collect();
    ensure!(places.len() > 1_000, "{} has no symbols: build it with -C strip=none", program.display());
    let mut sizes: BTreeMap<String, Size> = BTreeMap::new();
    for symbol in &symbols {
        let size = sizes.entry(pattern(&symbol.name)).or_default();
        size.all += symbol.size;
        size.ran += if places.contains(symbol.address.as_str()) { symbol.size } else { 0 };
    }
    // Also those of which little runs: a function that is left behind brings a whole neighbourhood with it.
    sizes.retain(|_, size| size.ran > 0);
    let sum = |of: fn(&Size) -> u64| sizes.values().map(of).sum::<u64>() / 1024;
    let (all, ran) = (sum(|size| size.all), sum(|size| size.ran));
    let mut text = format!(
        "/* Made by `cargo run --release -p minicol-bench -- link-order`: the functions that run from the start to a few polls, side by side.
   {} names, {all} KiB, of which {ran} KiB ran. A name that is not there any more does nothing. */
SECTIONS {{
  .text.order : {{
",
        sizes.len()
    );
    for pattern in sizes.keys() {
        // What the compiler takes for unlikely stands elsewhere.
        writeln!(text, "    *(.text.{pattern} .text.unlikely.{pattern})")?;
    }
    text.push_str("  }\n}\nINSERT BEFORE .text;\n");
    let to = options.to.clone().unwrap_or_else(|| Path::new(WORKSPACE).join(SCRIPT));
    fs::write(&to, text).with_context(|| format!("{} cannot be written", to.display()))?;
    println!("{}: {} names, {all} KiB, of which {ran} KiB ran", to.display(), sizes.len());
    Ok(())
}

struct Symbol {
    address: String,
    size: u64,
    name: String,
}

fn symbols(program: &Path) -> anyhow::Result<Vec<Symbol>> {
    let listed = Command::new("nm").args(["--print-size", "--defined-only"]).arg(program).output()?;
    ensure!(listed.status.success(), "nm: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout)?;
    let functions = listed.lines().filter_map(|line| {
        let [address, size, kind, name] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let size = u64::from_str_radix(size, 16).ok()?;
        "tTwW".contains(kind).then(|| Symbol { address: address.to_owned(), size, name: name.to_owned() })
    });
    Ok(functions.collect())
}

/// The functions in a profile of callgrind: `fn=(17) name`, and `fn=(17)` where it was named before.
fn functions(profile: &str) -> BTreeSet<String> {
    let (mut names, mut ran) = (BTreeMap::new(), BTreeSet::new());
    for line in profile.lines() {
        let Some((kind, rest)) = line.split_once("fn=") else { continue };
        let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
        if !name.is_empty() {
            // What was inlined or called itself has its callers behind a quote.
            names.insert(id.to_owned(), name.split('\'').next().unwrap_or(name).to_owned());
        }
        if kind.is_empty() {
            ran.insert(id.to_owned());
        }
    }
    ran.into_iter().filter_map(|id| names.get(&id).cloned()).collect()
}

/// A name without its hashes, as a pattern. Those of C have none.
fn pattern(name: &str) -> String {
    if name.starts_with("_ZN")
        && let Some((path, _)) = name.rsplit_once("17h")
    {
        return format!("{path}17h*");
    }
    if !name.starts_with("_R") {
        return name.to_owned();
    }
    // A crate stands as `Cs`, its hash, `_`, its name.
    let mut parts = name.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('_') {
            Some((hash, rest)) if (8..=13).contains(&hash.len()) && hash.chars().all(|c| c.is_ascii_alphanumeric()) => {
                pattern += "Cs*_";
                pattern += rest;
            }
            _ => {
                pattern += "Cs";
                pattern += part;
            }
        }
    }
    pattern
}
