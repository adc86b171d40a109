//! Sees when the files of a configuration change.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval},
};

use crate::cli::Sources;

/// What is in each file, looked at again and again. What counts is what can be read under its name: so whichever way it changes (written in place, put
/// in its place by a rename, a symbolic link on the way that points elsewhere), and on whatever file system, it is seen.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    seen: Mutex<Vec<Content>>,
}

/// What a file holds, as far as it takes to see that it is another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(u64),
    Nothing(ErrorKind),
}

/// How often files are looked at. A change counts once two looks in a row have seen the same: who writes in pieces has finished by then.
const LOOK: Duration = Duration::from_millis(500);

impl Files {
    /// As they are now.
    pub(super) fn of(sources: &Sources) -> Self {
        Self::at(sources.clone().request().files())
    }

    fn at(paths: Vec<PathBuf>) -> Self {
        let seen = Mutex::new(look(&paths));
        Self { paths, seen }
    }

    /// Waits until a file has changed since this returned last, and has stopped changing; which one it was.
    pub(super) async fn changed(&self) -> String {
        let mut seen = self.seen.lock().await;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Vec<Content>> = None;
        loop {
            looks.tick().await;
            let paths = self.paths.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || look(&paths)).await else { continue };
            let rests = before.as_ref() == Some(&now);
            if rests && let Some(at) = now.iter().zip(&*seen).position(|(now, seen)| now != seen) {
                *seen = now;
                return self.paths[at].display().to_string();
            }
            before = Some(now);
        }
    }
}

fn look(paths: &[PathBuf]) -> Vec<Content> {
    paths.iter().map(|path| content(path)).collect()
}

fn content(path: &Path) -> Content {
    match std::fs::read(path) {
        Ok(bytes) => {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            Content::Text(hasher.finish())
        }
        Err(error) => Content::Nothing(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tokio::time::timeout;

    use super::*;

    async fn sees(files: &Files) -> bool {
        timeout(Duration::from_secs(5), files.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_however_it_is_made_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("..1")).unwrap();
        fs::create_dir(at("..2")).unwrap();
        fs::write(at("..1/linked.yaml"), "one").unwrap();
        fs::write(at("..2/linked.yaml"), "two").unwrap();
        // As Kubernetes does it: the file leads through a folder that is a link.
        symlink("..1", at("..data")).unwrap();
        symlink("..data/linked.yaml", at("linked.yaml")).unwrap();
        fs::write(at("plain.yaml"), "a").unwrap();
        let files = Files::at(vec![at("plain.yaml"), at("linked.yaml")]);
        assert!(!sees(&files).await);

        fs::write(at("plain.yaml"), "b").unwrap();
        assert!(files.changed().await.ends_with("plain.yaml"));
        assert!(!sees(&files).await);

        fs::write(at("plain.yaml~"), "c").unwrap();
        fs::rename(at("plain.yaml~"), at("plain.yaml")).unwrap();
        assert!(sees(&files).await && !sees(&files).await);

        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(files.changed().await.ends_with("linked.yaml"));

        fs::remove_file(at("plain.yaml")).unwrap();
        assert!(sees(&files).await && !sees(&files).await);
        // What is back as it was before it was looked at again is no change.
        fs::write(at("linked.yaml"), "x").unwrap();
        fs::write(at("linked.yaml"), "two").unwrap();
        assert!(!sees(&files).await);
    }
}
