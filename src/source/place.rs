//! Where a directory stands in the walk: a chain from the file system's root down to it.
//!
//! Directories share the chain of those above them, so that a walk holds no full paths; one is put together only where
//! something has to be told to a person.

use super::sys;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So often a walk comes to the same name and number before it is believed to go round. Each round is walked, so nothing is
/// lost of a chain of folders that only looks like one.
const ROUNDS: usize = 32;
/// No directory is entered that lies deeper below the walk's root.
const BOTTOM: usize = 1 << 14;

/// A directory, by way of those above it.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub parent: Option<Arc<Place>>,
    pub name: Box<[u8]>,
    /// The name in lower case, where a rule asks for it.
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

    /// The names that lead here from the walk's root.
    pub(super) fn below_root(&self) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> = self.upwards().take(self.depth).map(|place| &*place.name).collect();
        names.reverse();
        names
    }

    /// Whether this lies in a loop, so that going on would never end.
    ///
    /// Linux makes no endless folders; a server or a program behind a file system may. A number that a directory above
    /// has as well proves nothing: pooled file systems give one to several directories. Only a walk that comes again and
    /// again to the same name with the same number is going round, and only a chain that no photo library has is cut off
    /// as bottomless.
    pub(super) fn is_loop(&self) -> bool {
        let same = |above: &&Place| above.ino == self.ino && above.dev == self.dev && above.name == self.name;
        self.depth > BOTTOM || (self.depth >= ROUNDS && self.upwards().skip(1).filter(same).nth(ROUNDS - 1).is_some())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of directories, each with this name and number.
    fn chain(each: impl Fn(usize) -> (u64, String), length: usize) -> Place {
        let mut place = Place::default();
        for depth in 1..=length {
            let (ino, name) = each(depth);
            let (name, lower, hits) = (name.into_bytes().into(), Box::default(), Vec::new());
            place = Place { parent: Some(Arc::new(place)), name, lower, hits, dev: 7, ino, depth };
        }
        place
    }

    /// Pooled file systems give one number to several folders: a whole disk of photos was left out for that.
    #[test]
    fn a_number_that_a_folder_above_has_is_no_loop_and_going_round_is() {
        assert!(!chain(|_| (2, "pool".to_owned()), 3).is_loop(), "mounted twice below itself");
        assert!(!chain(|depth| (2, depth.to_string()), 5_000).is_loop(), "all have one number");
        assert!(!chain(|depth| (depth as u64, "further".to_owned()), 5_000).is_loop(), "all have one name");
        assert!(!chain(|_| (2, "again".to_owned()), ROUNDS).is_loop());
        assert!(chain(|_| (2, "again".to_owned()), ROUNDS + 1).is_loop());
        let round = |depth: usize| (depth as u64 % 3, format!("{}", depth % 3));
        assert!(!chain(round, 3 * ROUNDS).is_loop() && chain(round, 3 * ROUNDS + 3).is_loop(), "three go round");
        assert!(!chain(|depth| (depth as u64, depth.to_string()), BOTTOM).is_loop());
        assert!(chain(|depth| (depth as u64, depth.to_string()), BOTTOM + 1).is_loop(), "bottomless");
    }
}
