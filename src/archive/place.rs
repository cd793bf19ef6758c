//! Which index belongs to an archive: that of the place where it lies, and of what lies there.
//!
//! An archive's id does not tell it from its copies, and what is known of one copy says nothing of another: it may have other
//! packs, be damaged, or never have been verified. So each place has an index of its own, in a folder named after the identity of the
//! archive's top folder ([`Store::identity`]); within it is written which files the copies of the header were, so that a place
//! that was filled anew, from another copy, begins with nothing. One copy of the header may change, as a repair makes it anew.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::format::names;
use crate::id::ArchiveId;
use crate::store::Store;

/// So many places have an index on this computer; those that were not written to for longest make room for others.
const MOST: usize = 16;

/// What tells programs that back up that a folder is a cache, and the name of the file that says so.
pub const CACHE_TAG: &str = "CACHEDIR.TAG";
const CACHE_TAG_TEXT: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
    # snapkeep made this folder and can make it again. Programs that back up may leave it out:\n\
    # https://bford.info/cachedir/\n";

/// What tells a place from every other.
pub(super) struct Place {
    /// The folder in the cache that is this place's own.
    folder: PathBuf,
    /// What the copies of the header are.
    pub(super) headers: Headers,
}

/// For each copy of the header what tells it from every other file, or zeros.
pub type Headers = [[u8; 32]; 2];

impl Place {
    pub(super) fn of(store: &dyn Store, cache: &Path, archive: &ArchiveId) -> Self {
        let top = store.identity("").unwrap_or_else(|| store.place().into_bytes());
        let name = &blake3::hash(&top).to_hex()[..16];
        let header = |name| store.identity(name).map_or([0; 32], |found| *blake3::hash(&found).as_bytes());
        Self { folder: cache.join(archive.to_hex()).join(name), headers: names::HEADERS.map(header) }
    }

    /// The file of this place's index.
    pub(super) fn index(&self) -> PathBuf {
        self.folder.join("index.redb")
    }

    /// Makes the folder of this archive's indexes, and says in it that it is a cache, for other programs and for our own
    /// backups. Without the tag it is no less of use.
    pub(super) fn tag(&self) {
        let Some(above) = self.folder.parent() else { return };
        let made = std::fs::create_dir_all(above);
        let tag = std::fs::File::options().write(true).create_new(true).open(above.join(CACHE_TAG));
        if let (Ok(()), Ok(mut tag)) = (made, tag) {
            let _ = std::io::Write::write_all(&mut tag, CACHE_TAG_TEXT);
        }
    }

    /// Makes room for one more, if there are many of this archive. Best effort: they can all be made again.
    pub(super) fn make_room(&self) {
        let Some(places) = self.folder.parent().and_then(|above| std::fs::read_dir(above).ok()) else { return };
        let used = |folder: &Path| {
            let written = std::fs::metadata(folder.join("index.redb")).and_then(|meta| meta.modified());
            written.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let mut folders = Vec::new();
        for path in places.flatten().map(|item| item.path()) {
            if path.is_dir() {
                folders.push((used(&path), path));
            } else if path.file_name().is_some_and(|name| name == "index.redb") {
                let _ = std::fs::remove_file(path); // of a version that had one for all copies
            }
        }
        folders.sort();
        let many = folders.len().saturating_sub(MOST - 1);
        for (_, folder) in folders.into_iter().take(many) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Local, Memory};

    #[test]
    fn places_differ_and_the_oldest_make_room() {
        let dir = tempfile::tempdir().expect("a folder");
        let (cache, id) = (dir.path().join("cache"), ArchiveId::from_bytes([1; 16]));
        let index = |number: usize| {
            let path = dir.path().join(number.to_string());
            std::fs::create_dir(&path).expect("a folder");
            let place = Place::of(&Local::new(path), &cache, &id);
            place.make_room();
            std::fs::create_dir_all(&place.folder).expect("a folder");
            std::fs::write(place.index(), "").expect("a file");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + number as u64);
            let file = std::fs::File::options().write(true).open(place.index()).expect("it opens");
            file.set_modified(time).expect("a time");
            place.index()
        };
        let made: Vec<PathBuf> = (0..MOST + 4).map(index).collect();
        let there: Vec<bool> = made.iter().map(|path| path.exists()).collect();
        assert_eq!(there, (0..MOST + 4).map(|number| number >= 4).collect::<Vec<_>>());
        let memory = Place::of(&Memory::new(), &cache, &id);
        assert_eq!(memory.headers, [[0; 32]; 2]);
    }
}
