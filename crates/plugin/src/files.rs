//! Small files that a configuration names: tokens, keys, certificates. Whatever stands at the path, reading it ends soon and takes little memory: a
//! pipe or a device is refused before it is opened, for it may never end.

use std::{
    fs::{self, File, FileType},
    io::{self, Read},
    path::Path,
};

use crate::hidden;

/// No token, secret, key or header is longer, in bytes.
pub const MAX_SECRET: u64 = 64 * 1024;
/// No PEM file of certificates is longer, in bytes. What systems bring along has a quarter of a MiB.
pub const MAX_PEM: u64 = 4 * 1024 * 1024;

/// What stands in the file at `path`, which must be a regular one (or a link to one) of at most `max` bytes.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    check(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    check(file.metadata()?.file_type())?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(invalid(&format!("it is longer than {} KiB", max / 1024)));
    }
    Ok(bytes)
}

/// The same as text without the white space around it, for a token or another secret: at most [`MAX_SECRET`]. From now on it is [hidden].
pub async fn read_secret(path: &Path) -> io::Result<String> {
    let (path, place) = (path.to_owned(), path.display().to_string());
    let bytes = tokio::task::spawn_blocking(move || read(&path, MAX_SECRET)).await.map_err(io::Error::other)??;
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is no text in UTF-8"))?;
    let secret = text.trim();
    hidden::learn(&place, secret);
    Ok(secret.to_owned())
}

fn check(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"))
    } else {
        Err(invalid("it is a pipe, a socket or a device, where a regular file is wanted"))
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    fn refused(path: &Path) -> String {
        read(path, MAX_SECRET).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_no_small_file_is_refused_at_once_and_fills_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // 10 GiB that take no room on the disk.
        File::create(at("huge")).unwrap().set_len(10 << 30).unwrap();
        assert_eq!(refused(&at("huge")), "it is longer than 64 KiB");
        // Nobody will ever write into it.
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for endless in [at("pipe"), "/dev/zero".into(), "/dev/tty".into()] {
            if endless.exists() {
                assert!(refused(&endless).starts_with("it is a pipe, a socket or a device"), "{}", endless.display());
            }
        }
        assert_eq!(refused(folder.path()), "it is a directory");
        assert!(refused(&at("nothing")).contains("No such file"));
    }

    #[tokio::test]
    async fn a_small_file_is_read_also_over_a_link_and_up_to_the_last_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        fs::write(&file, " token\r\n").unwrap();
        assert_eq!(read_secret(&link).await.unwrap(), "token");
        fs::write(&file, "x".repeat(64 * 1024)).unwrap();
        assert_eq!(read_secret(&link).await.unwrap().len(), 64 * 1024);
        fs::write(&file, b"\xff").unwrap();
        assert_eq!(read_secret(&link).await.unwrap_err().to_string(), "it is no text in UTF-8");
    }
}
