//! What is in the archive and no longer in its source, as a tree of the paths at which it last was.
//!
//! All of them lie in one sorted list, and a folder is the stretch of it whose paths begin alike. What a file is (its
//! permissions, its chunks) is read from the last snapshot that has it, when its folder is listed.

use std::collections::{BTreeMap, HashMap};

use super::tops::{Names, Origin};
use crate::error::{Error, Result};
use crate::id::{ChunkId, SnapshotId};
use crate::view::{Entry, EntryKind, Lost, Snapshot, Time, Window, join};

/// All deleted files.
#[derive(Default)]
pub(super) struct Deleted {
    /// Ascending by path.
    files: Vec<File>,
    /// Where they were: sources in snapshots.
    places: Vec<Place>,
}

struct File {
    /// The path as it is shown.
    path: Box<[u8]>,
    /// How much of it is the name of the source.
    top: u16,
    /// The last snapshot that has it, by its position among the places.
    place: u32,
}

/// A source in a snapshot.
struct Place {
    tree: ChunkId,
    /// The name of the source there.
    name: Vec<u8>,
    time: Time,
}

/// The name of a file where it was, and the one that it is shown by.
type Wanted = (Vec<u8>, Vec<u8>);

/// What is in a folder of deleted files.
pub(super) enum Found {
    /// A folder, the path of it as it is shown, and when something of it was still there.
    Folder(Vec<u8>, Vec<u8>, Time),
    /// A file or link.
    File(Vec<u8>, Box<Entry>),
}

impl Deleted {
    /// Puts together what was lost of each source that has a name.
    pub(super) fn new(
        lost: Vec<Lost>,
        names: &HashMap<Origin, Vec<u8>>,
        snapshots: &HashMap<SnapshotId, Snapshot>,
    ) -> Self {
        let mut all = Self::default();
        for Lost { host, source, names: known_as, files } in lost {
            let origin = (host, source);
            let Some(top) = names.get(&origin) else { continue };
            let mut known: HashMap<SnapshotId, Option<u32>> = HashMap::new();
            for (below, last) in files {
                let place =
                    *known.entry(last).or_insert_with(|| all.place(known_as.get(&last)?, snapshots.get(&last)?));
                let Some(place) = place else { continue };
                let path = if below.is_empty() { top.clone() } else { join(top, &below) };
                all.files.push(File { path: path.into(), top: top.len() as u16, place });
            }
        }
        all.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        all
    }

    fn place(&mut self, name: &[u8], snapshot: &Snapshot) -> Option<u32> {
        self.places.push(Place { tree: snapshot.tree, name: name.to_vec(), time: snapshot.time });
        u32::try_from(self.places.len() - 1).ok()
    }

    /// What is in the folder with this path, ascending by name; and, if something of it cannot be read and is left out,
    /// why.
    pub(super) fn list(&self, window: &Window, folder: &[u8]) -> (Vec<Found>, Option<Error>) {
        let begin = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let mut names = Names::default();
        let mut found: BTreeMap<Vec<u8>, Found> = BTreeMap::new();
        // Which names are wanted from which directory of which place.
        let mut wanted: BTreeMap<(u32, Vec<u8>), Vec<Wanted>> = BTreeMap::new();
        let mut at = self.files.partition_point(|file| *file.path < *begin);
        while let Some(file) = self.files.get(at).filter(|file| file.path.starts_with(&begin)) {
            let rest = &file.path[begin.len()..];
            match rest.iter().position(|byte| *byte == b'/') {
                Some(end) => {
                    let name = rest[..end].to_vec();
                    let path = file.path[..begin.len() + end].to_vec();
                    // The first path behind everything that begins with "path/".
                    let after = [&path[..], b"0"].concat();
                    let time = self.places[file.place as usize].time;
                    at += self.files[at..].partition_point(|file| *file.path < *after);
                    names.give(std::slice::from_ref(&name));
                    found.insert(name.clone(), Found::Folder(name, path, time));
                }
                None => {
                    let (above, name) = self.inside(file);
                    wanted.entry((file.place, above)).or_default().push((name, rest.to_vec()));
                    at += 1;
                }
            }
        }
        let mut trouble = None;
        for ((place, above), files) in wanted {
            let entries = match directory(window, &self.places[place as usize].tree, &above) {
                Ok(entries) => entries,
                Err(error) => {
                    trouble = Some(error);
                    continue;
                }
            };
            for (name, shown) in files {
                let Ok(at) = entries.binary_search_by(|entry| entry.name.cmp(&name)) else { continue };
                // A folder of the same name was there at another time.
                let shown = names.give(&[shown.clone(), [&shown[..], b" (file)"].concat()]);
                found.insert(shown.clone(), Found::File(shown, Box::new(entries[at].clone())));
            }
        }
        (found.into_values().collect(), trouble)
    }

    /// The directory in its snapshot where a file was, and its name there.
    fn inside(&self, file: &File) -> (Vec<u8>, Vec<u8>) {
        let source = &self.places[file.place as usize].name;
        match file.path.get(usize::from(file.top) + 1..) {
            None | Some([]) => (Vec::new(), source.clone()),
            Some(below) => match below.iter().rposition(|byte| *byte == b'/') {
                Some(end) => (join(source, &below[..end]), below[end + 1..].to_vec()),
                None => (source.clone(), below.to_vec()),
            },
        }
    }
}

/// What is in the directory with this path below a tree.
fn directory(window: &Window, top: &ChunkId, path: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = window.list(top)?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let found = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok();
        match found.map(|at| &entries[at].kind) {
            Some(EntryKind::Dir { tree, .. }) => entries = window.list(&tree.clone())?,
            _ => return Ok(Vec::new()),
        }
    }
    Ok(entries)
}
