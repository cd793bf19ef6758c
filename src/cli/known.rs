//! Which folders were backed up into which archive on this computer, by this user.
//!
//! A snapshot says which folder it is of, but an archive may come from somebody else's hands, and what it says must not
//! choose where a restore writes. So `create` notes here what it was told to back up, beside the user's own data, and only
//! what stands here is restored to unasked. Without the note, a restore asks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::archive::Archive;
use crate::format::Snapshot;

use super::app::App;
use super::places::{self, bytes_of};

/// The folder of the notes.
pub const NOTED: &str = "sources";

/// What is noted of one archive.
pub struct Known {
    file: Option<PathBuf>,
    sources: BTreeSet<Vec<u8>>,
}

impl Known {
    /// Reads it. What cannot be read knows nothing.
    pub fn of(app: &App, archive: &Archive) -> Self {
        let file = app.notes().map(|folder| folder.join(NOTED).join(archive.header().archive.to_hex()));
        let bytes = file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let sources = names.map(<[u8]>::to_vec).collect();
        Self { file, sources }
    }

    /// Notes what was backed up. Where that is not possible, a later restore asks.
    pub fn add(&mut self, sources: &[PathBuf]) {
        let before = self.sources.len();
        // As a snapshot has them.
        let whole = sources.iter().filter_map(|source| crate::op::source_path(source).ok());
        self.sources.extend(whole.map(|path| bytes_of(path.as_os_str()).into_owned()));
        let Some(file) = self.file.as_ref().filter(|_| self.sources.len() > before) else { return };
        let Some(folder) = file.parent() else { return };
        let mut bytes = Vec::new();
        self.sources.iter().for_each(|source| bytes.extend(source.iter().copied().chain([0])));
        // Renamed into place, so that a killed run leaves either what was known before or all of it.
        let temp = folder.join(format!(".{}.tmp", std::process::id()));
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&temp, bytes))
            .and_then(|()| std::fs::rename(&temp, file));
        if written.is_err() {
            let _ = std::fs::remove_file(temp);
        }
    }

    /// Whether a folder was backed up by this user on this computer.
    pub fn has(&self, app: &App, snapshot: &Snapshot, path: &[u8]) -> bool {
        let ours = snapshot.host == app.host() && snapshot.user == places::user_name();
        ours && is_plain(path) && self.sources.contains(path)
    }
}

/// Whether a path is whole and says what it means: from the top of the file system, and never back up.
pub fn is_plain(path: &[u8]) -> bool {
    let whole = Path::new(&places::path_of(path.to_vec())).is_absolute();
    let names = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/');
    let is_name = |name: &[u8]| !matches!(name, b"." | b"..") && !name.contains(&0);
    whole && names.into_iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_anywhere_else_is_not_plain() {
        for bad in [&b""[..], b"etc", b"../../etc", b"/home/../etc", b"/home/anna/..", b"/home/./x", b"/a\0b"] {
            assert!(!is_plain(bad), "{}", bad.escape_ascii());
        }
        for good in [&b"/home/anna/Pictures"[..], b"/", b"/a..b/.hidden/..."] {
            assert!(is_plain(good), "{}", good.escape_ascii());
        }
    }

    #[test]
    fn what_was_backed_up_is_known_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("deep/below/id");
        let mut known = Known { file: Some(file.clone()), sources: BTreeSet::new() };
        known.add(&["/home/anna/Pictures/".into(), "/home/anna/a\nb".into()]);
        let bytes = std::fs::read(file).expect("bytes");
        assert_eq!(bytes, b"/home/anna/Pictures\0/home/anna/a\nb\0");
    }
}
