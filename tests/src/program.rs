use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::Instant,
};

/// What a run of the program left.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

/// The program, running.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// The path of the program: what the variable `MINICOL` names, else built from this checkout.
pub fn minicol() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("MINICOL") {
            return path.into();
        }
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut command = std::process::Command::new(cargo);
        // What the cargo that runs this says of this package: ring's build script would be run again for it, and all behind it compiled anew.
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
                command.env_remove(name);
            }
        }
        let built = command
            .args(["build", "--quiet", "--package", "minicol-collector", "--message-format", "json"])
            // What measures is built in release, and measures a release.
            .args((!cfg!(debug_assertions)).then_some("--release"))
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "the program does not build");
        String::from_utf8_lossy(&built.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
            .expect("cargo names the program")
    })
    .clone()
}

impl Program {
    /// Starts `minicol` with these arguments and variables, in the workspace's root.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_as(Command::new(minicol()), arguments, variables)
    }

    /// The same where no file can be larger than so many KiB: then a write fails, as on a disk that is full.
    pub fn start_with_small_files(kib: u32, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("bash");
        // What is ignored stays so in the program: else the signal would end it.
        shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"")]).arg(minicol());
        Self::start_as(shell, arguments, variables)
    }

    fn start_as(mut command: Command, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = command
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stdout = collect(child.stdout.take().expect("stdout is piped"));
        let stderr = collect(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout, stderr }
    }

    /// Runs `minicol` to its end.
    pub async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Self::start(arguments, variables).ended(Duration::from_secs(60)).await
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the program runs")
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it logged so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends a signal such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().await;
        assert!(status.expect("kill runs").success(), "no signal was sent");
    }

    /// Ends it by SIGKILL. Then nothing of it is left: its ports are free, and what it had locked.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the program can be killed");
    }

    /// Waits for its end.
    pub async fn ended(mut self, within: Duration) -> Output {
        let status = tokio::time::timeout(within, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("the program did not end in {within:?}; it said:\n{}", self.stderr());
        };
        // The pipes are read by tasks of their own, to their ends.
        wait_until("the pipes' ends", || Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1)
            .await;
        Output { code: status.expect("a status").code().unwrap_or(-1), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Asks it to stop by SIGTERM, and waits for its end. Whatever happened to it: the totals that it told balance.
    pub async fn stop(self) -> Output {
        self.signal("TERM").await;
        let output = self.ended(Duration::from_secs(30)).await;
        if output.stderr.contains("everything has stopped") {
            let wrong = crate::unbalanced_totals(&output.stderr);
            assert!(wrong.is_empty(), "the totals do not balance: {wrong:#?}\n{}", output.stderr);
        }
        output
    }
}

/// Waits until `done`, for at most 60 seconds.
pub async fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited 60 s in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// GETs `http://ADDRESS PATH`: status and body; `None` where nobody answers.
pub async fn http_get(address: &str, path: &str) -> Option<(u16, String)> {
    #[allow(clippy::disallowed_methods)] // a test's own client over real sockets
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request =
        axum::http::Request::get(path).header("host", address).body(Empty::<bytes::Bytes>::new()).expect("a request");
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

fn collect(from: impl AsyncRead + Unpin + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

/// A port of the loopback that is free now, and that no outgoing connection is given: a program that starts anew finds it free again.
pub fn free_port() -> u16 {
    /// Below the ports that systems hand out by themselves.
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let many = u32::from(PORTS.end - PORTS.start);
    // Test programs that run side by side begin at different places.
    let first = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % many);
    let mut ports = ports.take(many as usize).filter_map(|nth| Some(PORTS.start + u16::try_from(nth).ok()?));
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
