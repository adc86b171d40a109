use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use minicol_plugin::Clock;
use tokio::sync::Mutex;

use super::bearer_file::{FRESH, read_secret};
use crate::Cause;

/// Headers whose values stand in files, read again when they may have changed: at most once a second, and when the server refuses a request.
pub(crate) struct HeaderFiles {
    files: BTreeMap<String, (HeaderName, PathBuf)>,
    clock: Arc<dyn Clock>,
    read: Mutex<Option<(Duration, HeaderMap)>>,
}

impl HeaderFiles {
    /// `None` where there are none.
    pub(crate) fn new(files: &[(HeaderName, PathBuf)], clock: &Arc<dyn Clock>) -> Option<Self> {
        let files: BTreeMap<_, _> = files.iter().map(|file| (file.0.to_string(), file.clone())).collect();
        (!files.is_empty()).then(|| Self { files, clock: Arc::clone(clock), read: Mutex::default() })
    }

    /// What to send now.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, Cause> {
        let mut read = self.read.lock().await;
        if let Some((at, headers)) = &*read
            && self.clock.monotonic().saturating_sub(*at) < FRESH
        {
            return Ok(headers.clone());
        }
        self.read_into(&mut read).await
    }

    /// What to send instead of `refused`, where the files say something else by now.
    pub(crate) async fn renew(&self, refused: &HeaderMap) -> Result<Option<HeaderMap>, Cause> {
        let headers = self.read_into(&mut *self.read.lock().await).await?;
        Ok((headers != *refused).then_some(headers))
    }

    async fn read_into(&self, read: &mut Option<(Duration, HeaderMap)>) -> Result<HeaderMap, Cause> {
        let mut headers = HeaderMap::new();
        for (name, path) in self.files.values() {
            let text = read_secret("header_files", path).await?;
            let value = HeaderValue::from_str(&text).ok().filter(|value| !value.is_empty());
            let mut value = value.ok_or_else(|| {
                Cause::NoToken(format!(
                    "header_files {} holds nothing that can stand in the header `{name}`",
                    path.display()
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        *read = Some((self.clock.monotonic(), headers.clone()));
        Ok(headers)
    }
}
