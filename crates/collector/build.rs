//! What is shipped (`--profile dist`) is linked for size, where the linker is the one that Rust brings along.

// It talks to cargo by printing, and is no part of the program.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let shipped = variable("OUT_DIR").split(['/', '\\']).any(|part| part == "dist");
    let target = variable("TARGET");
    if !shipped || target != "x86_64-unknown-linux-gnu" || env::var_os("RUSTC_LINKER").is_some() {
        return;
    }
    // Functions that are the same code are there once.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    // What runs from the start to a poll stands side by side: a page that is touched brings its neighbours into memory.
    let order = concat!(env!("CARGO_MANIFEST_DIR"), "/link/order.ld");
    println!("cargo::rerun-if-changed={order}");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{order}");
    if packs_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library of this machine, and so of those that the program is likely to be used on, reads relocations that are packed: 0.8 MB less.
fn packs_relocations() -> bool {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = told.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    version.is_some_and(|(major, minor)| {
        let numbers = (major.parse::<u32>(), minor.parse::<u32>());
        matches!(numbers, (Ok(major), Ok(minor)) if (major, minor) >= (2, 36))
    })
}
