//! The program itself, built as this benchmark was.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::time::Instant;

use crate::process::Process;

/// Builds `minicol` in the profile that this program was built in; gives its path.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => "release",
    };
    eprintln!("building minicol ({profile})");
    let built = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["build", "--quiet", "--package", "minicol-collector", "--profile", profile])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()?;
    ensure!(built.success(), "minicol does not build");
    Ok(folder.join("minicol"))
}

pub(crate) fn start(program: &Path, config: &Path) -> anyhow::Result<Process> {
    Process::start(Command::new(program).args(["run", "--config"]).arg(config))
}

/// A port of the loopback that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// How long it takes from the start of the process until its health page says that everything runs.
pub(crate) fn time_to_healthy(program: &Path, config: &Path, health_port: u16) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut process = start(program, config)?;
    while !is_healthy(health_port) {
        ensure!(process.runs() && began.elapsed() < Duration::from_secs(60), "minicol did not start");
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(began.elapsed())
}

pub(crate) fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
