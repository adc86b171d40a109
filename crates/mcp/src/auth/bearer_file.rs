use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use http::HeaderValue;
use minicol_plugin::{Clock, files};
use tokio::sync::Mutex;

use super::{Authorize, Challenge, bearer};
use crate::Cause;

/// How long what was read is taken for granted.
pub(super) const FRESH: Duration = Duration::from_secs(1);

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
    files::read_secret(path)
        .await
        .map_err(|why| Cause::NoToken(format!("{key} {} cannot be read: {why}", path.display())))
}
