//! The program under test, as a process, and what can be seen of it from outside.

use std::{collections::BTreeMap, fmt, fs, path::Path, time::Duration};

use anyhow::{Context, bail};
use minicol_tests::{Output, Program, free_port, http_get};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::judge::Sample;

pub(crate) struct Minicol {
    program: Program,
    page: String,
    file: String,
    /// As long as it warms up: what a later life holds says nothing of one before it.
    warms_up_until: Instant,
    _folder: TempDir,
}

/// The books of every exporter, from the program's own metrics.
#[derive(Debug, Default)]
pub(crate) struct Books(pub(crate) BTreeMap<String, Account>);

/// What became of the data points of one exporter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// Offered by its arrows, and taken.
    pub(crate) accepted: u64,
    /// An earlier life had stored them.
    pub(crate) restored: u64,
    pub(crate) sent: u64,
    /// Tried and lost, or dropped.
    pub(crate) failed: u64,
    pub(crate) queued: u64,
    /// Never taken on.
    pub(crate) refused: u64,
}

impl Minicol {
    pub(crate) async fn start(configuration: impl FnOnce(&Path) -> String, warm_up: Duration) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let configuration = configuration(folder.path());
        let path = folder.path().join("soak.yaml");
        let page = format!("127.0.0.1:{}", free_port());
        let (host, port) = page.split_once(':').context("an address")?;
        let telemetry = format!(
            "  telemetry:\n    logs: {{level: warn}}\n    metrics:\n      level: detailed\n      readers: [{{pull: {{exporter: {{prometheus: {{host: \"{host}\", port: {port}}}}}}}}}]\n"
        );
        fs::write(&path, format!("{configuration}{telemetry}"))?;
        let file = path.to_str().context("a path in UTF-8")?.to_owned();
        let program = Program::start(&["run", "--config", &file], &[]);
        let minicol = Self { program, page, file, warms_up_until: Instant::now() + warm_up, _folder: folder };
        minicol.has_started().await?;
        Ok(minicol)
    }

    async fn has_started(&self) -> anyhow::Result<()> {
        for _ in 0..1_200 {
            if http_get(&self.page, "/metrics").await.is_some() {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("it does not start:\n{}", self.program.stderr())
    }

    /// Whether it still warms up.
    pub(crate) fn may_be_killed(&self) -> bool {
        Instant::now() < self.warms_up_until
    }

    /// SIGKILL; the next life has what the one before stored.
    pub(crate) async fn kill_and_start_again(&mut self) -> anyhow::Result<()> {
        self.program.kill().await;
        self.program = Program::start(&["run", "--config", &self.file], &[]);
        self.has_started().await
    }

    /// What it holds now; `None` while it is frozen.
    pub(crate) async fn sample(&self, at: Duration) -> anyhow::Result<Option<Sample>> {
        let Ok(metrics) = timeout(Duration::from_secs(1), self.metrics()).await else { return Ok(None) };
        let metrics = metrics?;
        let proc = format!("/proc/{}", self.program.pid());
        let status = fs::read_to_string(format!("{proc}/status"))?;
        let number = |key: &str| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
        };
        Ok(Some(Sample {
            at,
            rss_kib: number("VmRSS:").context("VmRSS")?,
            threads: number("Threads:").context("Threads")?,
            descriptors: fs::read_dir(format!("{proc}/fd"))?.count() as u64,
            tasks: total(&metrics, "minicol_process_tasks", ""),
            queued: total(&metrics, "otelcol_exporter_queue_size", ""),
        }))
    }

    /// SIGSTOP.
    pub(crate) async fn freeze(&self) {
        self.program.signal("STOP").await;
    }

    /// SIGCONT.
    pub(crate) async fn thaw(&self) {
        self.program.signal("CONT").await;
    }

    /// The books once nothing is queued.
    pub(crate) async fn quiet(&self, within: Duration) -> anyhow::Result<Books> {
        let until = Instant::now() + within;
        loop {
            let books = self.books().await?;
            if books.0.values().all(|one| one.queued == 0 && one.is_balanced()) {
                return Ok(books);
            }
            if Instant::now() > until {
                return Ok(books);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn stop(self) -> Output {
        self.program.stop().await
    }

    async fn books(&self) -> anyhow::Result<Books> {
        let metrics = self.metrics().await?;
        let mut books = Books::default();
        for exporter in ["otlp", "otlphttp"] {
            let of = |name: &str| total(&metrics, name, &format!("exporter=\"{exporter}\""));
            let account = Account {
                accepted: total(&metrics, "minicol_edge_accepted_items", &format!("to=\"{exporter}\"")),
                restored: total(&metrics, "minicol_books_restored_items", &format!("component=\"{exporter}\"")),
                sent: of("otelcol_exporter_sent_metric_points"),
                failed: of("otelcol_exporter_send_failed_metric_points"),
                queued: of("otelcol_exporter_queue_size"),
                refused: of("otelcol_exporter_enqueue_failed_metric_points"),
            };
            books.0.insert(exporter.to_owned(), account);
        }
        Ok(books)
    }

    async fn metrics(&self) -> anyhow::Result<String> {
        let (status, page) = http_get(&self.page, "/metrics").await.with_context(|| {
            format!("the page does not answer; the last it said:\n{}", crate::tail(&self.program.stderr()))
        })?;
        if status != 200 {
            bail!("the page answers {status}");
        }
        Ok(page)
    }
}

/// The sum of every series of `name` whose labels hold `label`.
fn total(page: &str, name: &str, label: &str) -> u64 {
    let series = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts
    let total = values.sum::<f64>() as u64;
    total
}

impl Account {
    fn is_balanced(&self) -> bool {
        self.accepted + self.restored == self.sent + self.failed
    }
}

impl Books {
    /// What does not balance.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let lines = self.0.iter().filter(|(_, one)| one.queued > 0 || !one.is_balanced() || one.accepted == 0);
        lines.map(|(exporter, one)| format!("the books of {exporter} do not balance: {one:?}")).collect()
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (exporter, Account { accepted, restored, sent, failed, queued, refused }) in &self.0 {
            writeln!(
                f,
                "{exporter}: {accepted} in + {restored} restored = {sent} sent + {failed} lost + {queued} queued; {refused} refused"
            )?;
        }
        Ok(())
    }
}
