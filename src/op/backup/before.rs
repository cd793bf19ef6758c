//! What the previous snapshot has in a directory, as far as it can be read.
//!
//! A page that is damaged, gone or on a bad sector costs what it holds and nothing else, and it is never taken for a page
//! that holds nothing: whoever asks for a name learns that it may have been there.

use crate::archive::{Budget, Listing, Reader, readable_entries_of};
use crate::error::{Error, Kind, Result};
use crate::format::Entry;
use crate::id::ChunkId;

/// The entries of a directory, and where some of them cannot be read.
#[derive(Default)]
pub(super) struct Before {
    /// Ascending by name.
    pub(super) entries: Vec<Entry>,
    gaps: Vec<Span>,
}

/// Names from the one to the other, which is not among them; none where there is no end.
type Span = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Before {
    /// Reads it.
    ///
    /// # Errors
    /// The drive's error, or that a newer version wrote a page: nobody may go on as if he had understood it.
    pub(super) fn read(reader: &Reader<'_>, tree: &ChunkId) -> Result<Self> {
        Self::of(readable_entries_of(reader, tree)?)
    }

    fn of(listing: Listing) -> Result<Self> {
        let mut gaps = Vec::new();
        for gap in listing.gaps {
            if gap.error.kind() == Kind::Unsupported {
                return Err(gap.error);
            }
            gaps.push((gap.from, gap.until));
        }
        Ok(Self { entries: listing.entries, gaps })
    }

    /// Reads the next directory of a walk. One that the budget does not bear, since a snapshot claims more than the archive
    /// holds, is known as little as one that is damaged.
    pub(super) fn enter(budget: &mut Budget<'_>, tree: &ChunkId) -> Result<Self> {
        let unknown = |error: &Error| matches!(error.kind(), Kind::Unsupported | Kind::Damaged | Kind::Missing);
        match budget.enter_readable(tree, b"") {
            Err(error) if unknown(&error) => Ok(Self { entries: Vec::new(), gaps: vec![(None, None)] }),
            listing => {
                let Listing { entries, gaps } = listing?;
                Ok(Self { entries, gaps: gaps.into_iter().map(|gap| (gap.from, gap.until)).collect() })
            }
        }
    }

    /// Whether all of it was read.
    pub(super) fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// The place of the entry of this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()
    }

    /// Whether this name belongs to a page that cannot be read.
    pub(super) fn is_in_gap(&self, name: &[u8]) -> bool {
        let within = |(from, until): &Span| {
            from.as_ref().is_none_or(|from| from.as_slice() <= name)
                && until.as_ref().is_none_or(|until| name < until.as_slice())
        };
        self.gaps.iter().any(within)
    }

    /// Whether something of this name may have been there, in a page that cannot be read, and nothing stands in for it.
    pub(super) fn may_have_had(&self, name: &[u8]) -> bool {
        self.is_in_gap(name) && self.find(name).is_none()
    }

    /// Adds what stands in for what cannot be read.
    pub(super) fn stand_in(&mut self, entries: impl Iterator<Item = Entry>) {
        let more: Vec<Entry> = entries.filter(|entry| self.may_have_had(&entry.name)).collect();
        self.entries.extend(more);
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{EntryKind, Meta};

    fn entry(name: &str) -> Entry {
        let kind = EntryKind::Symlink { target: b"x".to_vec() };
        Entry { name: name.into(), kind, meta: Meta::default() }
    }

    /// A name beside a gap is known not to have been there; one in it is not.
    #[test]
    fn only_what_lies_in_a_gap_may_have_been_there() {
        let span = |from: &str, until: &str| (Some(from.into()), Some(until.into()));
        let mut before = Before { entries: vec![entry("a"), entry("p")], gaps: vec![span("d", "h"), span("q", "t")] };
        let all = ["a", "c", "d", "g", "h", "p", "s", "t"];
        let may = |before: &Before| all.into_iter().filter(|name| before.may_have_had(name.as_bytes())).collect();
        let found: Vec<&str> = may(&before);
        assert_eq!(found, ["d", "g", "s"]);
        before.stand_in(["c", "g", "p"].map(entry).into_iter());
        let names: Vec<&[u8]> = before.entries.iter().map(|entry| entry.name.as_slice()).collect();
        assert_eq!(names, [b"a", b"g", b"p"]);
        let found: Vec<&str> = may(&before);
        assert_eq!(found, ["d", "s"]);
        assert!(!before.is_whole());
        before.gaps = vec![(None, None)];
        assert!(before.may_have_had(b"zz") && !before.may_have_had(b"a"));
    }
}
