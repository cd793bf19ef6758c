//! Inodes: which number stands for what, for as long as the kernel remembers it.
//!
//! A number is made from the names on the way to a thing, so it is the same whenever the thing is looked up again, also
//! after the kernel has forgotten it. Two things that would have the same number are told apart by a second hash.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::listing::Dir;
use crate::id::FileHash;
use crate::view::Meta;

/// What tells a thing from all others: the inode number that it wants, and a check on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ident {
    pub(super) ino: u64,
    pub(super) check: u64,
}

/// The inode of the top, as the kernel knows it.
pub(super) const TOP: Ident = Ident { ino: 1, check: 0 };

impl Ident {
    /// The thing of this name in a directory.
    pub(super) fn child(self, name: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"name").update(&self.ino.to_le_bytes()).update(&self.check.to_le_bytes()).update(name);
        Self::of(&hasher)
    }

    /// A file of a snapshot that had several names: where it lay, and with what content.
    pub(super) fn of_linked(snapshot: u32, meta: &Meta, hash: &FileHash, size: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"link").update(&snapshot.to_le_bytes()).update(&meta.device.to_le_bytes());
        hasher.update(&meta.inode.to_le_bytes()).update(hash.as_bytes()).update(&size.to_le_bytes());
        Self::of(&hasher)
    }

    fn of(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [[0; 8]; 2];
        hasher.finalize_xof().fill(bytes.as_flattened_mut());
        let [ino, check] = bytes.map(u64::from_le_bytes);
        // 0 is nothing and 1 the top.
        Self { ino: ino.max(2), check }
    }
}

/// What an inode stands for.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The inode of the directory that it was found in.
    pub(super) parent: u64,
    /// Its position there.
    pub(super) at: u32,
    /// What it is made from, if it is a directory.
    pub(super) dir: Option<Box<Dir>>,
    check: u64,
    /// How often the kernel was told of it.
    lookups: u64,
    /// How many inodes here were found in it.
    children: u32,
}

impl Node {
    pub(super) fn ident(&self, ino: u64) -> Ident {
        Ident { ino, check: self.check }
    }
}

/// The inodes that the kernel remembers, and those on the way to them.
pub(super) struct Nodes {
    by_ino: HashMap<u64, Node>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        let dir = Some(Box::new(Dir::Top));
        // The kernel never forgets the top.
        let top = Node { parent: TOP.ino, at: 0, dir, check: TOP.check, lookups: 1, children: 1 };
        Self { by_ino: HashMap::from([(TOP.ino, top)]) }
    }

    pub(super) fn get(&self, ino: u64) -> Option<&Node> {
        self.by_ino.get(&ino)
    }

    /// Remembers that the kernel is told of a thing, and returns the inode that stands for it.
    pub(super) fn remember(&mut self, ident: Ident, parent: u64, at: u32, dir: Option<&Dir>) -> u64 {
        let mut ino = ident.ino;
        loop {
            match self.by_ino.entry(ino) {
                Slot::Occupied(mut known) if known.get().check == ident.check => {
                    known.get_mut().lookups += 1;
                    return ino;
                }
                Slot::Occupied(_) => ino = ino.wrapping_add(1).max(2),
                Slot::Vacant(free) => {
                    let dir = dir.map(|dir| Box::new(dir.clone()));
                    free.insert(Node { parent, at, dir, check: ident.check, lookups: 1, children: 0 });
                    break;
                }
            }
        }
        if let Some(parent) = self.by_ino.get_mut(&parent) {
            parent.children += 1;
        }
        ino
    }

    /// The kernel has forgotten so many of the times that it was told of an inode.
    pub(super) fn forget(&mut self, ino: u64, times: u64) {
        if ino == TOP.ino {
            return;
        }
        if let Some(node) = self.by_ino.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(times);
        }
        let mut ino = ino;
        while let Some(node) = self.by_ino.get(&ino).filter(|node| node.lookups == 0 && node.children == 0) {
            let parent = node.parent;
            self.by_ino.remove(&ino);
            if let Some(above) = self.by_ino.get_mut(&parent) {
                above.children = above.children.saturating_sub(1);
            }
            ino = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_the_same_and_is_forgotten_with_what_hangs_on_it() {
        let mut nodes = Nodes::new();
        let (dir, file) = (TOP.child(b"dir"), TOP.child(b"dir").child(b"file"));
        let above = nodes.remember(dir, TOP.ino, 0, Some(&Dir::Latest));
        let below = nodes.remember(file, above, 7, None);
        assert_eq!((above, below), (dir.ino, file.ino));
        assert_eq!(nodes.remember(file, above, 7, None), below);
        nodes.forget(above, 1);
        assert!(nodes.get(above).is_some(), "its file is still known");
        nodes.forget(below, 1);
        assert_eq!(nodes.get(below).map(|node| (node.parent, node.at)), Some((above, 7)));
        nodes.forget(below, 1);
        assert_eq!(nodes.by_ino.len(), 1);
        assert_eq!(nodes.remember(dir, TOP.ino, 0, Some(&Dir::Latest)), above);
        nodes.forget(TOP.ino, 100);
        assert!(nodes.get(TOP.ino).is_some());
    }

    #[test]
    fn two_things_that_want_one_number_get_two() {
        let mut nodes = Nodes::new();
        let first = nodes.remember(Ident { ino: 9, check: 1 }, TOP.ino, 0, None);
        let second = nodes.remember(Ident { ino: 9, check: 2 }, TOP.ino, 1, None);
        assert_eq!((first, second), (9, 10));
        assert_eq!(nodes.remember(Ident { ino: 9, check: 2 }, TOP.ino, 1, None), 10);
        assert_eq!(nodes.remember(Ident { ino: u64::MAX, check: 1 }, TOP.ino, 2, None), u64::MAX);
        assert_eq!(nodes.remember(Ident { ino: u64::MAX, check: 2 }, TOP.ino, 3, None), 2);
    }
}
