use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use http::HeaderValue;
use minicol_plugin::Clock;
use tokio::{io::AsyncReadExt, sync::Mutex};

use super::{Authorize, Challenge, bearer};
use crate::Cause;

/// How long what was read is taken for granted.
const FRESH: Duration = Duration::from_secs(1);
/// No token, secret or key is longer.
const MAX_FILE: u64 = 64 * 1024;

/// A bearer token in a file, read again when it may have changed: at most once a second, and when the server refuses it.
pub struct BearerFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    read: Mutex<Option<(Duration, HeaderValue)>>,
}

impl BearerFile {
    /// The token in the file at `path`.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into(), clock, read: Mutex::default() }
    }

    async fn token(&self) -> Result<HeaderValue, Cause> {
        let text = read_secret("bearer_token_file", &self.path).await?;
        bearer(&text).ok_or_else(|| Cause::NoToken(format!("bearer_token_file {} holds no token", self.path.display())))
    }
}

#[async_trait]
impl Authorize for BearerFile {
    fn identity(&self) -> String {
        format!("bearer_token_file {}", self.path.display())
    }

    async fn header(&self) -> Result<Option<HeaderValue>, Cause> {
        let mut read = self.read.lock().await;
        let now = self.clock.monotonic();
        if let Some((at, token)) = &*read
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(Some(token.clone()));
        }
        let token = self.token().await?;
        *read = Some((now, token.clone()));
        Ok(Some(token))
    }

    async fn renew(&self, refused: Option<&HeaderValue>, _: &Challenge) -> Result<Option<HeaderValue>, Cause> {
        let token = self.token().await?;
        *self.read.lock().await = Some((self.clock.monotonic(), token.clone()));
        Ok((refused != Some(&token)).then_some(token))
    }
}

impl std::fmt::Debug for BearerFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerFile({})", self.path.display())
    }
}

/// A small file's text without the white space around it. `key` is what the user calls it.
pub(super) async fn read_secret(key: &str, path: &Path) -> Result<String, Cause> {
    let wrong = |why: &dyn std::fmt::Display| Cause::NoToken(format!("{key} {} cannot be read: {why}", path.display()));
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(|error| wrong(&error))?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).await.map_err(|error| wrong(&error))?;
    if text.len() as u64 > MAX_FILE {
        return Err(wrong(&"it is longer than 64 KiB"));
    }
    Ok(text.trim().to_owned())
}
