//! Marks: what was said about snapshots and sources afterwards, and which past a source has by them.
//!
//! A mark is written like a snapshot, recovery data first, and depends on nothing. There are few, so they are read from
//! the store when somebody asks for the first time. One that is damaged or newer is passed over with a notice: it then
//! says nothing, and no bytes of any snapshot hang on it.

use std::sync::{Arc, PoisonError};

use super::{Archive, check_hash, put_checked, put_parity, restored};
use crate::error::{Kind, Result};
use crate::format::{Mark, PackContent, Says, Snapshot, Source, names};
use crate::id::MarkId;
use crate::store::Leftovers;

/// The longest mark object that is read, in bytes.
pub const MAX_MARK_LEN: u64 = 1 << 20;

/// What marks say of sources: which path a source has now, and whether it is retired.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Renames {
    /// Ascending: the sequence of the mark, and what it says.
    said: Vec<(u64, Says)>,
}

impl Renames {
    /// What these marks say, in their order.
    pub fn of(marks: impl IntoIterator<Item = Mark>) -> Self {
        Self { said: marks.into_iter().map(|mark| (mark.sequence, mark.says)).collect() }
    }

    /// The path by which a source goes now that something of this sequence recorded under `path`.
    pub fn path_now<'p>(&'p self, host: &str, path: &'p [u8], sequence: u64) -> &'p [u8] {
        let mut now = path;
        for (_, says) in self.said.iter().filter(|(said, _)| *said > sequence) {
            if let Says::SourceRenamed { host: of, path, new } = says
                && (of.as_str(), path.as_slice()) == (host, now)
            {
                now = new;
            }
        }
        now
    }

    /// Whether the source that goes by this path now, whose newest snapshot has this sequence, is retired.
    pub fn is_retired(&self, host: &str, path: &[u8], newest: u64) -> bool {
        let mut retired = false;
        for (said, says) in self.said.iter().filter(|(said, _)| *said > newest) {
            match says {
                Says::SourceRetired { host: of, path: at } if of == host && self.path_now(of, at, *said) == path => {
                    retired = true;
                }
                Says::SourceBack { host: of, path: at } if of == host && self.path_now(of, at, *said) == path => {
                    retired = false;
                }
                _ => {}
            }
        }
        retired
    }

    /// How often a source of this machine was renamed.
    pub(super) fn count(&self, host: &str) -> usize {
        let renamed = |(_, says): &&(u64, Says)| matches!(says, Says::SourceRenamed { host: of, .. } if of == host);
        self.said.iter().filter(renamed).count()
    }

    /// The source of a snapshot that goes by this path now.
    pub fn source_in<'s>(&self, snapshot: &'s Snapshot, path: &[u8]) -> Option<&'s Source> {
        let now = |source: &&Source| self.path_now(&snapshot.host, &source.path, snapshot.sequence) == path;
        snapshot.sources.iter().find(now)
    }

    /// The order in which the sources of a snapshot are found again by the paths that they go by now.
    pub fn order(&self, snapshot: &Snapshot) -> SourceOrder {
        let now = |at: &u32| self.path_at(snapshot, *at).unwrap_or_default();
        let mut order: Vec<u32> = (0..snapshot.sources.len() as u32).collect();
        // Of several that go by one path, the first is meant: the sort leaves them as they are.
        order.sort_by(|one, other| now(one).cmp(now(other)));
        SourceOrder(order)
    }

    /// The same as [`Renames::source_in`] for a snapshot whose sources have this order. A list of files makes as many sources,
    /// and looking at each of them for each would take its square.
    pub fn source_by<'s>(&self, order: &SourceOrder, snapshot: &'s Snapshot, path: &[u8]) -> Option<&'s Source> {
        let at = order.0.partition_point(|at| self.path_at(snapshot, *at).is_some_and(|now| now < path));
        let at = *order.0.get(at)?;
        (self.path_at(snapshot, at) == Some(path)).then(|| snapshot.sources.get(at as usize)).flatten()
    }

    fn path_at<'p>(&'p self, snapshot: &'p Snapshot, at: u32) -> Option<&'p [u8]> {
        let source = snapshot.sources.get(at as usize)?;
        Some(self.path_now(&snapshot.host, &source.path, snapshot.sequence))
    }
}

/// The sources of one snapshot by the paths that they go by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceOrder(Vec<u32>);

impl Archive {
    /// Records a mark.
    ///
    /// # Errors
    /// The store's error; then nothing was said, or all of it.
    pub fn put_mark(&self, mark: &Mark) -> Result<MarkId> {
        self.headers.agree()?;
        let _lock = self.lock_shared()?;
        let bytes = mark.encode();
        let id = MarkId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let permille = self.permille(PackContent::Metadata);
        if permille > 0 {
            put_parity(&**self.store(), id.as_bytes(), &bytes, permille)?;
        }
        put_checked(&**self.store(), &names::mark(&id), id.as_bytes(), &bytes)?;
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(id)
    }

    /// All marks, oldest first. What cannot be read is told as a notice and left out.
    ///
    /// # Errors
    /// The store's error.
    pub fn marks(&self) -> Result<Arc<Vec<(MarkId, Mark)>>> {
        let mut kept = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marks) = &*kept {
            return Ok(Arc::clone(marks));
        }
        let mut all = Vec::new();
        for object in self.store().list(names::MARKS, Leftovers::Leave)? {
            let Some(id) = MarkId::from_hex(names::last(&object.name)) else { continue };
            match self.read_mark(&id) {
                Ok(mark) => all.push((id, mark)),
                Err(error) => self.pass_over(names::mark(&id), error)?,
            }
        }
        all.sort_unstable_by_key(|(id, mark)| (mark.sequence, mark.time, *id));
        let all = Arc::new(all);
        *kept = Some(Arc::clone(&all));
        Ok(all)
    }

    /// What all marks say of sources.
    ///
    /// # Errors
    /// The store's error.
    pub fn renames(&self) -> Result<Renames> {
        Ok(Renames::of(self.marks()?.iter().map(|(_, mark)| mark.clone())))
    }

    /// The sequence of the next snapshot or mark.
    ///
    /// # Errors
    /// The store's error.
    pub fn next_sequence(&self) -> Result<u64> {
        let snapshot = self.snapshots().last().map_or(0, |(_, last)| last.sequence);
        let mark = self.marks()?.last().map_or(0, |(_, last)| last.sequence);
        Ok(snapshot.max(mark).saturating_add(1))
    }

    /// A mark. A damaged one is mended, with a notice.
    fn read_mark(&self, id: &MarkId) -> Result<Mark> {
        let name = names::mark(id);
        let read = self.store().get(&name, MAX_MARK_LEN);
        let bytes = match read.and_then(|bytes| check_hash(&name, id.as_bytes(), &bytes).map(|()| bytes)) {
            Err(error) if error.kind() == Kind::Damaged => {
                let Ok(mended) = restored(&**self.store(), &name, id.as_bytes(), MAX_MARK_LEN) else {
                    return Err(error);
                };
                self.tell_mended(&name, mended.anew);
                mended.bytes
            }
            bytes => bytes?,
        };
        Mark::decode(&bytes).map_err(|error| error.within(format!("reading {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Time;

    fn mark(sequence: u64, says: Says) -> Mark {
        let text = String::new;
        let (host, user, program) = (text(), text(), text());
        Mark { sequence, time: Time::default(), offset_minutes: 0, host, user, program, says }
    }

    fn renamed(sequence: u64, path: &str, new: &str) -> Mark {
        mark(sequence, Says::SourceRenamed { host: "h".into(), path: path.into(), new: new.into() })
    }

    #[test]
    fn a_source_goes_by_the_path_that_it_was_given_last() {
        let said = Renames::of([renamed(5, "/a", "/b"), renamed(8, "/b", "/c")]);
        let now =
            |path: &str, sequence| String::from_utf8(said.path_now("h", path.as_bytes(), sequence).into()).unwrap();
        assert_eq!(now("/a", 4), "/c");
        assert_eq!(now("/b", 6), "/c");
        assert_eq!(now("/a", 5), "/a", "what is at the old path afterwards is something else");
        assert_eq!(now("/b", 9), "/b");
        assert_eq!(said.path_now("other", b"/a", 1), b"/a", "a source of another machine");
        let there_and_back = Renames::of([renamed(5, "/a", "/b"), renamed(8, "/b", "/a")]);
        assert_eq!(there_and_back.path_now("h", b"/a", 1), b"/a");
        assert_eq!(there_and_back.path_now("h", b"/b", 6), b"/a");
        let round = Renames::of([renamed(5, "/a", "/b"), renamed(5, "/b", "/a")]);
        assert_eq!(round.path_now("h", b"/a", 1), b"/a", "it ends");
    }

    #[test]
    fn a_source_is_found_by_the_order_of_the_paths_as_it_is_without_one() {
        let said = Renames::of([renamed(5, "/b", "/x"), renamed(6, "/x", "/a/new")]);
        let source = |path: &str| Source { name: path.into(), path: path.into(), devices: Vec::new() };
        let mut snapshot = Snapshot::of(crate::id::ChunkId::from_bytes([0; 32]));
        (snapshot.sequence, snapshot.host) = (4, "h".to_owned());
        snapshot.sources = ["/z", "/b", "/a", "/a/new", "/m"].map(source).to_vec();
        let order = said.order(&snapshot);
        for path in ["/z", "/b", "/x", "/a", "/a/new", "/m", "", "/zz", "/a/"] {
            let (plain, quick) =
                (said.source_in(&snapshot, path.as_bytes()), said.source_by(&order, &snapshot, path.as_bytes()));
            assert_eq!(quick, plain, "{path}");
        }
        assert_eq!(said.source_by(&order, &snapshot, b"/a/new").map(|source| source.path.as_slice()), Some(&b"/b"[..]));
        assert_eq!(said.source_by(&SourceOrder::default(), &snapshot, b"/a"), None);
    }

    #[test]
    fn a_source_is_retired_until_it_is_backed_up_or_brought_back() {
        let retired = |path: &str| Says::SourceRetired { host: "h".into(), path: path.into() };
        let back = |path: &str| Says::SourceBack { host: "h".into(), path: path.into() };
        let said = Renames::of([mark(5, retired("/a")), renamed(7, "/a", "/b")]);
        assert!(said.is_retired("h", b"/b", 4), "under its new name, too");
        assert!(!said.is_retired("h", b"/a", 4));
        assert!(!said.is_retired("h", b"/b", 6), "a later snapshot has it");
        let said = Renames::of([mark(5, retired("/a")), mark(6, back("/a"))]);
        assert!(!said.is_retired("h", b"/a", 1));
        let said = Renames::of([mark(5, back("/a")), mark(6, retired("/a"))]);
        assert!(said.is_retired("h", b"/a", 1) && !said.is_retired("g", b"/a", 1));
    }
}
