//! Changes to a checkout that are made all together, or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// What will be, or was, changed.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    created: Vec<(PathBuf, String)>,
    edited: Vec<(PathBuf, String)>,
    before: Vec<(PathBuf, String)>,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), created: Vec::new(), edited: Vec::new(), before: Vec::new() }
    }

    /// Every file of a folder: its path within the folder, and its text.
    pub(super) fn read_folder(&self, folder: &str) -> anyhow::Result<Vec<(String, String)>> {
        let top = self.root.join(folder);
        let (mut left, mut found) = (vec![top.clone()], Vec::new());
        while let Some(folder) = left.pop() {
            let entries = fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_none_or(|extension| extension != "new") {
                    let within = path.strip_prefix(&top)?.to_string_lossy().replace('\\', "/");
                    found.push((within, read(&path)?));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// A file that something else may change in the course.
    pub(super) fn remember(&mut self, path: &str) -> anyhow::Result<String> {
        let path = self.root.join(path);
        let text = read(&path)?;
        self.before.push((path, text.clone()));
        Ok(text)
    }

    pub(super) fn create(&mut self, path: impl AsRef<Path>, text: String) {
        self.created.push((self.root.join(path), text));
    }

    pub(super) fn edit(&mut self, path: &str, how: impl FnOnce(&str) -> Option<String>) -> anyhow::Result<()> {
        let text = self.remember(path)?;
        let text = how(&text).with_context(|| format!("{path} does not look as expected: nothing was made"))?;
        self.edited.push((self.root.join(path), text));
        Ok(())
    }

    /// Makes the changes. Where one fails, those before it are undone.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let written = self.created.iter().chain(&self.edited).try_for_each(|(path, text)| {
            let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
            made.with_context(|| format!("{} cannot be written", path.display()))
        });
        if written.is_err() {
            self.undo()?;
        }
        written
    }

    /// Makes everything as it was.
    pub fn undo(&self) -> anyhow::Result<()> {
        let missing_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        for (path, _) in &self.created {
            missing_is_fine(fs::remove_file(path)).with_context(|| format!("{} cannot be removed", path.display()))?;
            // The folders above it that are empty now. Others refuse, and shall.
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        for (path, text) in &self.before {
            fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
