use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};

use super::{ClientTls, ServerTls, TlsError};

/// TLS of a client whose files are read again when they change, for the next connection.
#[derive(Debug)]
pub struct ClientTlsFiles {
    config: Reread<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

/// TLS of a server whose files are read again when they change, for the next connection.
#[derive(Debug)]
pub struct ServerTlsFiles(Reread<ServerConfig>);

/// What is made of files, made anew when one of them changes.
struct Reread<T> {
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<Arc<T>, TlsError> + Send + Sync>,
    current: Mutex<(Vec<Stamp>, Arc<T>)>,
}

/// When a file was changed last, and how long it was; `None` where that cannot be told.
type Stamp = Option<(Option<Duration>, u64)>;

impl ClientTlsFiles {
    /// Reads the files for the first time. Offers `alpn`.
    pub fn new(tls: ClientTls, alpn: &'static [&'static [u8]]) -> Result<Self, TlsError> {
        let server_name = tls.server_name()?;
        let files = [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten().cloned().collect();
        Ok(Self { config: Reread::new(files, move || tls.client_config(alpn))?, server_name })
    }

    /// What holds now.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.now()
    }

    /// The name that the server's certificate must have, where it is not the host of the address.
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

impl ServerTlsFiles {
    /// Reads the files for the first time. Offers `alpn`.
    pub fn new(tls: ServerTls, alpn: &'static [&'static [u8]]) -> Result<Self, TlsError> {
        let files = [&tls.cert_file, &tls.key_file].into_iter().chain(&tls.client_ca_file).cloned().collect();
        Ok(Self(Reread::new(files, move || tls.server_config(alpn))?))
    }

    /// What holds now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.now()
    }
}

impl<T> Reread<T> {
    fn new(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<Arc<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let current = Mutex::new((stamp(&files), read()?));
        Ok(Self { files, read: Box::new(read), current })
    }

    /// Files that cannot be used leave what they held before: while they are written they are half there.
    fn now(&self) -> Arc<T> {
        let stamp = stamp(&self.files);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != stamp {
            match (self.read)() {
                Ok(new) => current.1 = new,
                Err(error) => tracing::warn!(%error, "changed tls files cannot be used; those before stay in use"),
            }
            current.0 = stamp;
        }
        Arc::clone(&current.1)
    }
}

fn stamp(files: &[PathBuf]) -> Vec<Stamp> {
    let of = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        let changed = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some((changed, file.len()))
    };
    files.iter().map(of).collect()
}

/// Without keys.
impl<T> fmt::Debug for Reread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread").field("files", &self.files).finish_non_exhaustive()
    }
}
