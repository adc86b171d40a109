//! One program for all targets: `FUZZ_TARGET` names the one that is run, `FUZZ_SEEDS` a folder that its seeds are written to instead.
#![no_main]

use std::{env, fs, path::PathBuf, process::exit, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use minicol_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    minicol_fuzz::target(&name).unwrap_or_else(|| {
        eprintln!("FUZZ_TARGET names none of {:?}", TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
        exit(2)
    })
});

/// Writes the seeds and the words of the target, and ends.
fn write_seeds() {
    let Some(folder) = env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).expect("a folder");
    for (number, seed) in (TARGET.seeds)().into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("a file");
    }
    let quoted = |word: &&str| word.bytes().fold(String::new(), |text, byte| text + &format!("\\x{byte:02x}"));
    let words: Vec<_> = TARGET.words.iter().map(|word| format!("\"{}\"\n", quoted(word))).collect();
    fs::write(folder.with_extension("dict"), words.concat()).expect("a file");
    exit(0);
}

fuzz_target!(init: write_seeds(), |input: &[u8]| (TARGET.run)(input));
