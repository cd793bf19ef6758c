//! Which of the files that are gone is which of those that came: by who they are, then by the folder that they were in,
//! then by what is in them.
//!
//! Only files with the same content are ever paired, each once, and as many as there can be. Evidence of identity comes
//! first, so that of an album and its copy the one that was renamed has moved, and the other one is gone.

use std::collections::HashMap;
use std::hash::Hash;

use super::compare::{Moved, Place, last_name};
use crate::format::Meta;

/// Folders of so many origins and arrivals with one content are weighed against each other, as a product.
const WEIGHED: usize = 4096;

/// Folders that have another path now, as their file system tells: the new path, and the old one.
pub(super) struct Folders<'p>(HashMap<&'p [u8], &'p [u8]>);

impl<'p> Folders<'p> {
    /// Of the folders that are gone and those that came, those that are the same.
    pub(super) fn same(gone: &'p [Place], come: &'p [Place]) -> Self {
        let mut by_number: HashMap<(u64, u64), Vec<&Place>> = HashMap::new();
        for place in gone {
            by_number.entry(number(&place.entry.meta)).or_default().push(place);
        }
        let old = |place: &Place| {
            let known = by_number.get(&number(&place.entry.meta))?;
            known.iter().find(|other| is_same(&other.entry.meta, &place.entry.meta)).map(|other| other.path.as_slice())
        };
        Self(come.iter().filter_map(|place| Some((place.path.as_slice(), old(place)?))).collect())
    }
}

/// Pairs origins with arrivals of the same content. What is left over comes back.
pub(super) fn pair_up<N: Eq + Hash>(
    origins: Vec<Place>,
    arrivals: Vec<Place>,
    folders: &Folders<'_>,
    content: impl Fn(&Place) -> Option<N>,
) -> (Vec<Moved>, Vec<Place>, Vec<Place>) {
    let mut pairing = Pairing::of(origins, content);
    let arrivals = pairing.pass(arrivals, Pairing::same_file);
    let arrivals = pairing.pass(arrivals, |pairing, to| pairing.same_folder(to, folders));
    pairing.weigh(&arrivals);
    let arrivals = pairing.pass(arrivals, |pairing, to| pairing.same_content(to, true));
    let arrivals = pairing.pass(arrivals, |pairing, to| pairing.same_content(to, false));
    (pairing.moved, pairing.origins.into_iter().flatten().collect(), arrivals)
}

struct Pairing<N, C> {
    origins: Vec<Option<Place>>,
    content: C,
    moved: Vec<Moved>,
    by_number: HashMap<(u64, u64), Vec<usize>>,
    by_path: HashMap<Vec<u8>, usize>,
    /// The first in path order stand at the end.
    by_content: HashMap<N, Vec<usize>>,
    /// How much speaks for a folder having become another one.
    weights: HashMap<(Vec<u8>, Vec<u8>), u64>,
}

impl<N: Eq + Hash, C: Fn(&Place) -> Option<N>> Pairing<N, C> {
    fn of(origins: Vec<Place>, content: C) -> Self {
        let mut by_number: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        let mut by_content: HashMap<N, Vec<usize>> = HashMap::new();
        let mut by_path = HashMap::new();
        for (at, place) in origins.iter().enumerate().rev() {
            if let Some(content) = content(place) {
                by_content.entry(content).or_default().push(at);
                by_number.entry(number(&place.entry.meta)).or_default().push(at);
                by_path.insert(place.path.clone(), at);
            }
        }
        let origins = origins.into_iter().map(Some).collect();
        Self { origins, content, moved: Vec::new(), by_number, by_path, by_content, weights: HashMap::new() }
    }

    /// Takes the origin that `find` tells for each arrival; those without one come back.
    fn pass(&mut self, arrivals: Vec<Place>, find: impl Fn(&mut Self, &Place) -> Option<usize>) -> Vec<Place> {
        let mut left = Vec::new();
        for to in arrivals {
            match find(self, &to).and_then(|at| self.origins.get_mut(at)?.take()) {
                Some(from) => self.moved.push(Moved { from, to }),
                None => left.push(to),
            }
        }
        left
    }

    fn has_content_of(&self, at: usize, to: &Place) -> bool {
        let from = self.origins.get(at).and_then(Option::as_ref).and_then(|from| (self.content)(from));
        from.is_some() && from == (self.content)(to)
    }

    /// The origin that is this very file.
    fn same_file(&mut self, to: &Place) -> Option<usize> {
        let candidates = self.by_number.get(&number(&to.entry.meta))?;
        let is = |at: &&usize| {
            let from = self.origins.get(**at).and_then(Option::as_ref);
            from.is_some_and(|from| is_same(&from.entry.meta, &to.entry.meta)) && self.has_content_of(**at, to)
        };
        candidates.iter().rev().find(is).copied()
    }

    /// The origin of the same name in the folder that this arrival's folder was.
    fn same_folder(&self, to: &Place, folders: &Folders<'_>) -> Option<usize> {
        let old = folders.0.get(above(&to.path))?;
        let path =
            if old.is_empty() { last_name(&to.path).to_vec() } else { [old, &b"/"[..], last_name(&to.path)].concat() };
        self.by_path.get(&path).copied().filter(|at| self.has_content_of(*at, to))
    }

    /// Finds out what speaks for folders having become others: files with the same name and content, the more so if their
    /// times are the same as well.
    fn weigh(&mut self, arrivals: &[Place]) {
        let mut come: HashMap<N, Vec<&Place>> = HashMap::new();
        for to in arrivals {
            if let Some(content) = (self.content)(to) {
                come.entry(content).or_default().push(to);
            }
        }
        for (content, come) in come {
            let Some(candidates) = self.by_content.get(&content) else { continue };
            if candidates.len() * come.len() > WEIGHED {
                continue;
            }
            for to in come {
                for from in candidates.iter().filter_map(|at| self.origins[*at].as_ref()) {
                    if last_name(&from.path) == last_name(&to.path) {
                        let weight = 1 + u64::from(from.entry.meta.mtime == to.entry.meta.mtime);
                        let folders = (above(&from.path).to_vec(), above(&to.path).to_vec());
                        *self.weights.entry(folders).or_default() += weight;
                    }
                }
            }
        }
    }

    /// An origin with the same content; with the same last name, the one for whose folder most speaks.
    fn same_content(&mut self, to: &Place, same_name: bool) -> Option<usize> {
        let candidates = self.by_content.get_mut(&(self.content)(to)?)?;
        candidates.retain(|at| self.origins[*at].is_some());
        if !same_name {
            return candidates.last().copied();
        }
        let named =
            |at: &&usize| self.origins[**at].as_ref().is_some_and(|from| last_name(&from.path) == last_name(&to.path));
        let weight = |at: usize| {
            let from = self.origins[at].as_ref().map(|from| above(&from.path).to_vec()).unwrap_or_default();
            self.weights.get(&(from, above(&to.path).to_vec())).copied().unwrap_or(0)
        };
        if candidates.len() > WEIGHED {
            return candidates.iter().rev().find(named).copied();
        }
        candidates.iter().filter(named).copied().max_by_key(|at| weight(*at))
    }
}

/// Where its file system keeps it.
fn number(meta: &Meta) -> (u64, u64) {
    (meta.device, meta.inode)
}

/// Whether two records are of one and the same file or folder, as far as its file system tells.
fn is_same(one: &Meta, other: &Meta) -> bool {
    let born = match (one.born, other.born) {
        (Some(one), Some(other)) => one == other,
        _ => one.mtime == other.mtime,
    };
    one.inode != 0 && number(one) == number(other) && born
}

fn above(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Content, Entry, EntryKind, Time};
    use crate::id::{ChunkId, FileHash};

    fn place(path: &str, kind: EntryKind, inode: u64, mtime: i64, born: Option<i64>) -> Place {
        let time = |secs| Time { secs, nanos: 0 };
        let meta = Meta { inode, mtime: time(mtime), born: born.map(time), links: 1, ..Meta::default() };
        let name = last_name(path.as_bytes()).to_vec();
        Place { path: path.into(), entry: Entry { name, kind, meta } }
    }

    fn file(path: &str, content: u8, inode: u64, mtime: i64, born: Option<i64>) -> Place {
        let hash = FileHash::from_bytes([content; 32]);
        let content = Content::Chunks(Vec::new());
        let kind = EntryKind::File { size: 1, hash, content, sparse: false, unsettled: false };
        place(path, kind, inode, mtime, born)
    }

    fn dir(path: &str, inode: u64) -> Place {
        let kind = EntryKind::Dir { tree: ChunkId::from_bytes([0; 32]), files: 0, bytes: 0 };
        place(path, kind, inode, 5, Some(5))
    }

    /// What moved, as `from to`.
    fn told(origins: Vec<Place>, arrivals: Vec<Place>, gone: &[Place], come: &[Place]) -> Vec<String> {
        let (moved, ..) = pair_up(origins, arrivals, &Folders::same(gone, come), |place| place.entry.content());
        let text = |place: &Place| String::from_utf8_lossy(&place.path).into_owned();
        let mut told: Vec<_> = moved.iter().map(|one| format!("{} {}", text(&one.from), text(&one.to))).collect();
        told.sort();
        told
    }

    #[test]
    fn the_very_same_file_comes_first() {
        let origins = || vec![file("a/x", 1, 10, 5, Some(1)), file("b/x", 1, 11, 5, Some(2))];
        assert_eq!(told(origins(), vec![file("c/x", 1, 11, 5, Some(2))], &[], &[]), ["b/x c/x"]);
        assert_eq!(told(origins(), vec![file("c/x", 1, 10, 5, Some(1))], &[], &[]), ["a/x c/x"]);
        // The number was given to another file since.
        assert_eq!(told(origins(), vec![file("c/x", 1, 11, 5, Some(3))], &[], &[]), ["a/x c/x"]);
        assert_eq!(told(origins(), vec![file("c/x", 2, 11, 5, Some(2))], &[], &[]), [""; 0]);
    }

    #[test]
    fn then_come_whole_folders() {
        // Files that were copied into place by a program that keeps the folder.
        let origins =
            || (1..4).flat_map(|n| [file(&format!("a/{n}"), n, 0, 5, None), file(&format!("b/{n}"), n, 0, 6, None)]);
        let arrivals = |mtime| (1..4).map(move |n| file(&format!("c/{n}"), n, 0, mtime, None)).collect::<Vec<_>>();
        let by_folder = told(origins().collect(), arrivals(9), &[dir("a", 1), dir("b", 2)], &[dir("c", 2)]);
        assert_eq!(by_folder, ["b/1 c/1", "b/2 c/2", "b/3 c/3"]);
        // Without a number the times tell a copy from what it was copied from.
        assert_eq!(told(origins().collect(), arrivals(6), &[], &[]), ["b/1 c/1", "b/2 c/2", "b/3 c/3"]);
        // A folder of which more came speaks for itself; one photo alone does not pull the others along.
        let mut more: Vec<Place> = origins().collect();
        more.push(file("b/4", 4, 0, 1, None));
        let mut come = arrivals(9);
        come.push(file("c/4", 4, 0, 9, None));
        assert_eq!(told(more, come, &[], &[]), ["b/1 c/1", "b/2 c/2", "b/3 c/3", "b/4 c/4"]);
    }

    #[test]
    fn and_in_the_end_as_many_as_there_can_be() {
        let origins = (0..100).map(|n| file(&format!("a/{n:03}"), 1, 0, 5, None)).collect::<Vec<_>>();
        let arrivals = (0..100).map(|n| file(&format!("b/x{n:03}"), 1, 0, 5, None)).collect::<Vec<_>>();
        assert_eq!(told(origins, arrivals, &[], &[]).len(), 100);
    }
}
