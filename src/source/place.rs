//! Where a directory stands in the walk: a chain from the file system's root down to it.
//!
//! Directories share the chain of those above them, so that a walk holds no full paths; one is put together only where
//! something has to be told to a person.

use super::sys;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory, by way of those above it.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub parent: Option<Arc<Place>>,
    pub name: Box<[u8]>,
    /// The name in one form of Unicode, where that is another than its own.
    pub normal: Option<Box<[u8]>>,
    /// The same in lower case, where a rule asks for it.
    pub lower: Box<[u8]>,
    /// For each pattern, whether it matches here or above; kept only where a pattern may take back another one's match.
    pub hits: Vec<bool>,
    pub dev: u64,
    pub ino: u64,
    /// Steps below the walk's root; 0 for that and for all above it.
    pub depth: usize,
}

impl Place {
    /// The path to here, or to `name` in here, starting with the walk's root as it was named.
    pub(super) fn path(&self, root: &Path, name: Option<&[u8]>) -> PathBuf {
        let mut path = root.to_owned();
        path.extend(self.below_root().into_iter().map(sys::os));
        path.extend(name.map(sys::os));
        path
    }

    /// The name as patterns see it.
    pub(super) fn matched(&self) -> &[u8] {
        self.normal.as_deref().unwrap_or(&self.name)
    }

    /// The names that lead here from the walk's root.
    pub(super) fn below_root(&self) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> = self.upwards().take(self.depth).map(|place| &*place.name).collect();
        names.reverse();
        names
    }

    /// Whether this very directory is among those above it, which only a broken or malicious file system shows.
    pub(super) fn is_loop(&self) -> bool {
        self.ino != 0 && self.upwards().skip(1).any(|above| above.ino == self.ino && above.dev == self.dev)
    }

    fn upwards(&self) -> impl Iterator<Item = &Place> {
        std::iter::successors(Some(self), |place| place.parent.as_deref())
    }
}

/// Lets go of a long chain step by step: the compiler's way would need a stack as deep as the tree.
impl Drop for Place {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut above) = next.and_then(Arc::into_inner) {
            next = above.parent.take();
        }
    }
}
