//! The program under test, as users run it.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use minicol_plugin::Books;
use minicol_tests::http_get;

/// minicol at work on a file of its own. Dropped, it is killed.
pub(crate) struct Minicol {
    child: Child,
    file: PathBuf,
    status: String,
}

impl Minicol {
    /// Runs the pipeline file `yaml`, whose health page is at `status`.
    pub(crate) async fn start(name: &str, yaml: &str, status: &str) -> Self {
        let file = std::env::temp_dir().join(format!("minicol-memory-{name}-{}.yaml", std::process::id()));
        std::fs::write(&file, yaml).expect("the file can be written");
        let child = Command::new(binary())
            .args(["run", "--config", file.to_str().expect("a path"), "--shutdown-timeout", "60s"])
            .stdout(Stdio::null())
            .spawn()
            .expect("minicol starts");
        let program = Self { child, file, status: status.to_owned() };
        for _ in 0..200 {
            if http_get(status, "/").await.is_some_and(|(code, _)| code == 200) {
                return program;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("minicol does not start:\n{yaml}");
    }

    /// What it takes of the memory, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    }

    /// The books, checked.
    pub(crate) async fn books(&self) -> Books {
        let (_, body) = http_get(&self.status, "/status").await.expect("it answers");
        let books: Books = serde_json::from_str(&body).expect("books");
        books.check().expect("the books balance");
        books
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "minicol ended with {status}");
    }
}

impl Drop for Minicol {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MINICOL") {
        return path.into();
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let built = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["build", "--quiet", "--release", "--package", "minicol-collector", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the program does not build");
    let said = String::from_utf8_lossy(&built.stdout).into_owned();
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from));
    programs.next().expect("cargo names the program")
}
