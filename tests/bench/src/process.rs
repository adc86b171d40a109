//! Other processes: what they use, and their ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};

/// A process that is killed when this is dropped.
pub(crate) struct Process(Child);

/// One that answers lines by lines.
pub(crate) struct Talker {
    _process: Process,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("{command:?} does not start"))?))
    }

    /// CPU time, user and system, that its living threads have used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            // "on the CPU, waiting for it, how often", the first two in nanoseconds (the kernel's sched-stats.rst).
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        ensure!(nanos > 0, "this kernel does not tell the CPU time of threads (/proc/PID/task/TID/schedstat)");
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in KiB: all of it, and the part that is no file's.
    pub(crate) fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim().trim_end_matches("kB").trim().parse::<u64>().with_context(|| format!("no {key}"))
        };
        Ok((of("VmRSS:")?, of("RssAnon:")?))
    }

    /// Ends it as an operator does, and waits until it is gone.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.0.id().to_string()).status()?;
        ensure!(self.0.wait()?.success(), "it ended with an error");
        Ok(())
    }

    /// True while it runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Talker {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let process = Process(child);
        let (to, from) = (to.context("piped")?, BufReader::new(from.context("piped")?));
        Ok(Self { _process: process, to, from })
    }

    pub(crate) fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.from.read_line(&mut line)? > 0, "the server ended");
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        writeln!(self.to, "{line}")?;
        self.hear()
    }
}
