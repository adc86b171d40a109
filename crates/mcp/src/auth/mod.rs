//! The `Authorization` header where it is not the same for ever: a token from a file, or one that an authorization server gives.

mod assertion;
mod bearer_file;
mod challenge;
mod discovery;
mod header_files;
mod oauth2;
mod token;

use std::fmt;

use async_trait::async_trait;
use http::HeaderValue;

pub use assertion::KeyError;
pub use bearer_file::BearerFile;
pub use challenge::Challenge;
pub use oauth2::{ClientCredential, OAuth2, OAuth2Settings};

pub(crate) use header_files::HeaderFiles;

use crate::Cause;

/// Gives the `Authorization` header of each request.
#[async_trait]
pub trait Authorize: fmt::Debug + Send + Sync {
    /// Whom it stands for, without secrets: a session that was made for one is not used for another.
    fn identity(&self) -> String;

    /// What to send now; `None` where that is not known before the server has refused a request.
    async fn header(&self) -> Result<Option<HeaderValue>, Cause>;

    /// The server answered 401 to a request that carried `refused`: what to send instead, once, where there is something else.
    async fn renew(&self, refused: Option<&HeaderValue>, challenge: &Challenge) -> Result<Option<HeaderValue>, Cause>;
}

/// `Bearer` and the token, as a secret.
fn bearer(token: &str) -> Option<HeaderValue> {
    if token.is_empty() || token.contains(char::is_whitespace) {
        return None;
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
