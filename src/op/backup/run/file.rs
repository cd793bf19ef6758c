//! One file of a run: whether it is read, and what is recorded of it.
//!
//! What the archive has is recorded only where the evidence rule says that it is what the file holds, and where the archive
//! holds all of it still. Everything else is read, and what was read is what is recorded.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use super::{Found, Place, Run};
use crate::archive::{Writer, first_chunks};
use crate::error::Result;
use crate::format::{CaptureFacts, Entry, EntryKind, Meta};
use crate::id::FileHash;
use crate::op::backup::evidence::is_one_file;
use crate::op::backup::moved::Moved;
use crate::op::backup::previous::time;
use crate::op::backup::{bytes, decay};
use crate::op::capture::MAKER;
use crate::op::file::{self, Looked, Stored};
use crate::op::reread::last_good;
use crate::op::{Action, Event};
use crate::source::{self, Node, Stat};
use crate::view::join;

/// What a file tells about its taking is looked for in no more than so many of its chunks.
const MANY: usize = 1 << 16;

impl Run<'_> {
    /// None if it cannot be read, or in a dry run is not.
    pub(super) fn file(
        &self,
        place: &Place<'_>,
        node: &Node,
        path: &Path,
        known: Option<&Entry>,
    ) -> Result<Option<Found>> {
        let known = known.filter(|known| matches!(known.kind, EntryKind::File { .. }));
        let suspect = self.decay.suspects(path);
        if let Some(known) = known
            && !self.options.force
            && !suspect
            && !place.carried
            && place.grounds.is_unchanged(known, &node.stat)
            && self.holds(place, known)?
        {
            self.counted(Action::Unchanged, path, node.stat.size, false);
            if self.lacks_facts && self.writer.is_some() {
                self.note_facts(&known.kind, || self.facts(path, &node.stat, &known.kind));
            }
            let mut meta = self.meta(place, &node.stat, || self.xattrs(place, path, &node.stat, Some(known)));
            meta.decayed = known.meta.decayed;
            if known.meta == meta {
                return Ok(Some(Found::Same));
            }
            return Ok(Some(Found::Other(known.kind.clone(), meta)));
        }
        if known.is_none()
            && !self.options.force
            && let Some(origin) = self.moved()?.origin(place.number, place.grounds, &node.stat)
            && self.holds(place, origin)?
            && self.holds_chunks(origin, Writer::seems_to_have)?
        {
            let moved = node.stat.size == 0 || self.moved()?.claim(&origin.kind);
            self.counted(if moved { Action::Moved } else { Action::New }, path, node.stat.size, false);
            let mut meta = self.meta(place, &node.stat, || self.xattrs(place, path, &node.stat, None));
            meta.decayed = origin.meta.decayed;
            return Ok(Some(Found::Other(origin.kind.clone(), meta)));
        }
        let Some(writer) = &self.writer else {
            let action = match known {
                None => Action::New,
                // What was written just before the last backup looks changed, and only its bytes say whether it is.
                Some(known) if known.meta.mtime == time(node.stat.mtime) && self.is_same(path, node, known)? => {
                    Action::Unchanged
                }
                Some(_) => Action::Changed,
            };
            self.counted(action, path, node.stat.size, action != Action::Unchanged);
            return Ok(None);
        };
        let stored = match self.read_already(place, &node.stat) {
            Some(kind) => {
                let size = node.stat.size;
                self.observer.event(Event::Advance { files: 0, bytes: size });
                Ok(Stored { kind, stat: node.stat, size, xattrs: source::xattrs(path), facts: None })
            }
            None => file::store(self.archive, writer, path, &node.stat, self.observer)?,
        };
        let Stored { kind, stat, size, xattrs, facts } = match stored {
            Ok(stored) => stored,
            Err(failure) => {
                self.failed(&failure);
                return Ok(None);
            }
        };
        if let Some(known) = known
            && self.looks_decayed(place, known, &kind, &stat)
            && let Some(kind) = self.as_it_was(place, writer, path, node, known)?
        {
            // A single bad read may be the memory's fault, or the cable's.
            self.trouble(path, decay::FAILING.to_owned());
            self.counted(Action::Unchanged, path, size, true);
            let meta = Meta { decayed: known.meta.decayed, ..self.meta(place, &stat, || self.readable_of(xattrs)) };
            return Ok(Some(Found::Other(kind, meta)));
        }
        if stat.nlink > 1 && !matches!(kind, EntryKind::File { unsettled: true, .. }) {
            self.linked().insert((stat.dev, stat.ino), (stat, kind.clone()));
        }
        self.note_facts(&kind, || facts);
        let same = known.is_some_and(|known| content(&known.kind) == content(&kind));
        let action = match (known, same) {
            (None, _) if self.moved()?.claim(&kind) => Action::Moved,
            (None, _) => Action::New,
            (Some(_), true) => Action::Unchanged,
            (Some(_), false) => Action::Changed,
        };
        self.counted(action, path, size, true);
        if let EntryKind::File { unsettled: true, .. } = kind {
            let why = "it changed each time it was read; what was stored may be of several moments";
            self.trouble(path, why.to_owned());
        }
        let decayed = self.decayed(place, path, known, &kind, &stat)?;
        let meta = Meta { decayed, ..self.meta(place, &stat, || self.readable_of(xattrs)) };
        Ok(Some(Found::Other(kind, meta)))
    }

    /// Reads a file once more that was just read with other bytes than `known` has of it, and gives what is in the archive of
    /// it if it has the known bytes after all. Where the archive has them no longer, this reading is what is stored.
    fn as_it_was(
        &self,
        place: &Place<'_>,
        writer: &Writer<'_>,
        path: &Path,
        node: &Node,
        known: &Entry,
    ) -> Result<Option<EntryKind>> {
        if self.holds(place, known)? {
            let looked = file::look(self.archive, path, &node.stat, self.observer)?;
            let same = |again: Looked| again.settled && Some((again.size, again.hash)) == content(&known.kind);
            return Ok(looked.is_ok_and(same).then(|| known.kind.clone()));
        }
        let stored = file::store(self.archive, writer, path, &node.stat, self.observer)?;
        let same = |kind: &EntryKind| {
            content(kind) == content(&known.kind) && !matches!(kind, EntryKind::File { unsettled: true, .. })
        };
        Ok(stored.ok().map(|stored| stored.kind).filter(same))
    }

    /// Whether the bytes of a file that was just read are others than `known` has of it, while nothing else has
    /// changed; then that is told. What was recorded so before stays so as long as it is the same.
    fn decayed(
        &self,
        place: &Place<'_>,
        path: &Path,
        known: Option<&Entry>,
        kind: &EntryKind,
        stat: &Stat,
    ) -> Result<bool> {
        self.decay.settle(path);
        let Some(known) = known else { return Ok(false) };
        if !self.looks_decayed(place, known, kind, stat) {
            let same = content(&known.kind) == content(kind);
            return Ok(known.meta.decayed && same && self.looks_as_it_was(place, known, stat));
        }
        let good = match self.previous.root(place.number).filter(|_| !known.meta.decayed) {
            None => last_good(self.archive, &self.options.host, &place.root.path, path)?,
            Some(root) => {
                let below = bytes(path.strip_prefix(&place.root.path).unwrap_or(Path::new("")));
                let name = &root.entry.name;
                Some((root.snapshot, if below.is_empty() { name.clone() } else { join(name, &below) }))
            }
        };
        self.decay.note(path, stat.size, good);
        self.observer.event(Event::Trouble { path, why: decay::WHY });
        Ok(true)
    }

    /// Whether a file has the bytes that are known of it; it is read.
    fn is_same(&self, path: &Path, node: &Node, known: &Entry) -> Result<bool> {
        if content(&known.kind).is_none_or(|(size, _)| size != node.stat.size) {
            return Ok(false);
        }
        let looked = file::look(self.archive, path, &node.stat, self.observer)?;
        Ok(looked.is_ok_and(|looked| looked.settled && Some((looked.size, looked.hash)) == content(&known.kind)))
    }

    fn looks_as_it_was(&self, place: &Place<'_>, known: &Entry, stat: &Stat) -> bool {
        place.grounds.looks_the_same(known, stat)
    }

    /// Whether a file that was just read has other bytes than `known` has of it, while nothing else has changed.
    fn looks_decayed(&self, place: &Place<'_>, known: &Entry, kind: &EntryKind, stat: &Stat) -> bool {
        let other = content(&known.kind) != content(kind) && !matches!(kind, EntryKind::File { unsettled: true, .. });
        other && self.looks_as_it_was(place, known, stat)
    }

    /// Files that are gone from where they were.
    fn moved(&self) -> Result<&Moved> {
        if let Some(moved) = self.moved.get() {
            return Ok(moved);
        }
        let _one_at_a_time = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(moved) = self.moved.get() {
            return Ok(moved);
        }
        let found = Moved::find(&self.reader, self.roots, self.previous)?;
        Ok(self.moved.get_or_init(|| found))
    }

    /// The content of a file that was read under another of its names.
    fn read_already(&self, place: &Place<'_>, stat: &Stat) -> Option<EntryKind> {
        let linked = self.linked();
        let (read, kind) = linked.get(&(stat.dev, stat.ino))?;
        (!self.options.force && is_one_file(place.grounds.of(stat.dev).trust, read, stat)).then(|| kind.clone())
    }

    /// What a file tells about its taking that is stored already.
    fn facts(&self, path: &Path, stat: &Stat, kind: &EntryKind) -> Option<CaptureFacts> {
        let EntryKind::File { content, size, .. } = kind else { return None };
        file::facts(path, stat, &first_chunks(&self.reader, content, *size, MANY).ok()?)
    }

    /// Keeps what a file tells about its taking, unless that is known.
    fn note_facts(&self, kind: &EntryKind, facts: impl FnOnce() -> Option<CaptureFacts>) {
        let EntryKind::File { hash, .. } = kind else { return };
        if self.archive.has_facts(hash, MAKER) {
            return;
        }
        if let Some(facts) = facts() {
            self.facts.lock().unwrap_or_else(PoisonError::into_inner).push((*hash, facts));
        }
    }

    fn linked(&self) -> MutexGuard<'_, HashMap<(u64, u64), (Stat, EntryKind)>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file's bytes are, whatever else is recorded of it.
fn content(kind: &EntryKind) -> Option<(u64, FileHash)> {
    match kind {
        EntryKind::File { size, hash, .. } => Some((*size, *hash)),
        _ => None,
    }
}
