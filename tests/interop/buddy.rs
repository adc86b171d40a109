//! The real server, and a client of our own making: nothing of minicol's stands between the server and what is expected.

use std::process::Stdio;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::process::Command;

/// The real server, running.
pub(crate) struct Buddy {
    pid: u32,
    port: u16,
}

/// What became of the start.
pub(crate) enum Started {
    Serves(Buddy),
    NoPython,
}

impl Buddy {
    /// Installs, seeds (where `sessions` is not 0) and starts it.
    pub(crate) async fn start(port: u16, sessions: u32) -> anyhow::Result<Started> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let output = Command::new(format!("{root}/tests/interop/session-buddy.sh"))
            .args([format!("{root}/target/session-buddy"), port.to_string(), sessions.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await?;
        match output.status.code() {
            Some(0) => {}
            Some(77) => return Ok(Started::NoPython),
            _ => bail!("the real Session-Buddy did not start"),
        }
        let line = String::from_utf8(output.stdout)?;
        let pid = line.split_whitespace().nth(1).context("a pid")?.parse()?;
        Ok(Started::Serves(Self { pid, port }))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// SIGSTOP: it takes connections and answers nothing.
    pub(crate) fn freeze(&self) {
        signal(self.pid, "STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        signal(self.pid, "CONT");
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) async fn kill(self) {
        signal(self.pid, "KILL");
        while self.post(None, &json!({})).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Calls a tool in a session of its own; the structured content.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> anyhow::Result<Value> {
        let client = json!({"name": "interop", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        let opened =
            self.post(None, &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await?;
        let session = opened.0.context("a session id")?;
        self.post(Some(&session), &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        let params = json!({"name": tool, "arguments": arguments});
        let (_, body) = self
            .post(Some(&session), &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}))
            .await?;
        let data = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().context("an event")?;
        let message: Value = serde_json::from_str(data)?;
        if message["result"]["isError"] == true || message["result"]["structuredContent"].is_null() {
            bail!("{tool} answered {message}");
        }
        Ok(message["result"]["structuredContent"].clone())
    }

    async fn post(&self, session: Option<&str>, body: &Value) -> anyhow::Result<(Option<String>, String)> {
        #[allow(clippy::disallowed_methods)] // a test's own client over real sockets
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = axum::http::Request::post("/mcp")
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let response = sender.send_request(request.body(Full::<bytes::Bytes>::from(body.to_string()))?).await?;
        let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = response.into_body().collect().await?.to_bytes();
        Ok((session, String::from_utf8(body.to_vec())?))
    }
}

impl Drop for Buddy {
    fn drop(&mut self) {
        signal(self.pid, "KILL");
    }
}

fn signal(pid: u32, name: &str) {
    // It may be gone already.
    let _ =
        std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}
