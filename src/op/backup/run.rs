//! One run: the tree of the source, joined with the tree that the archive has, becomes a new tree.
//!
//! Directories are worked on in parallel and finished from below: a directory is stored when all that is in it is.

mod file;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::before::Before;
use super::carry::{Below, Keeping, Kept, is_of_kind, presence};
use super::decay::Decay;
use super::evidence::{Asked, Grounds};
use super::moved::Moved;
use super::previous::{Known, Previous, time};
use super::{BackupOptions, Root, bytes};
use crate::archive::{Archive, FileKey, Reader, Writer, Written, each_chunk, store_entries};
use crate::error::{Kind, Result};
use crate::format::{CaptureFacts, Entry, EntryKind, Meta, Summary, Unread};
use crate::id::{ChunkId, FileHash, SnapshotId};
use crate::op::capture::MAKER;
use crate::op::{Action, Decayed, Event, Observer, check_stop};
use crate::source::{self, Failure, Node, Presence, Stat, Unseen};
use crate::store::Lock;

pub(super) struct Run<'a> {
    archive: &'a Archive,
    options: &'a BackupOptions,
    pub(super) observer: &'a dyn Observer,
    previous: &'a Previous,
    roots: &'a [Root],
    /// What may be believed of what was recorded of each source.
    grounds: Vec<Grounds>,
    /// Looked for when the first file is met that has no past under its name.
    moved: OnceLock<Moved>,
    looking: Mutex<()>,
    /// None in a dry run.
    writer: Option<Writer<'a>>,
    pub(super) reader: Reader<'a>,
    pub(super) counts: Counts,
    pub(super) keeping: Keeping,
    /// Directories that are carried forward, and what is below each.
    pub(super) counted_trees: Mutex<HashMap<ChunkId, Below>>,
    unread: Mutex<Vec<Unread>>,
    /// Folders of which the last state cannot be read.
    unknown: Mutex<Vec<PathBuf>>,
    /// What new files tell about their taking.
    facts: Mutex<Vec<(FileHash, CaptureFacts)>>,
    /// Whether files that are unchanged may lack facts.
    lacks_facts: bool,
    /// Earlier snapshots of which everything is in the archive.
    whole: HashSet<SnapshotId>,
    /// Whether that is so of all that the sources are compared with.
    pub(super) all_held: bool,
    /// Files that have several names as they were when they were read, by device and number, so that each is read once.
    linked: Mutex<HashMap<(u64, u64), (Stat, EntryKind)>>,
    decay: Decay,
}

/// What a run has done when it ends well.
pub(super) struct Done {
    pub(super) tree: Option<ChunkId>,
    pub(super) summary: Summary,
    /// Bytes of the files that were read, or would be.
    pub(super) read: u64,
    pub(super) unread: Vec<Unread>,
    pub(super) unknown: Vec<PathBuf>,
    pub(super) kept: Kept,
    /// The archive is held until the snapshot is recorded.
    pub(super) lock: Option<Lock>,
    /// Whether the index knows where all of it lies.
    pub(super) indexed: bool,
    /// Files that were suspected to have decayed and have been read.
    pub(super) settled: Vec<FileKey>,
    /// Files that have decayed.
    pub(super) decayed: Vec<Decayed>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) files: AtomicU64,
    pub(super) dirs: AtomicU64,
    pub(super) symlinks: AtomicU64,
    pub(super) bytes: AtomicU64,
    new: AtomicU64,
    changed: AtomicU64,
    moved: AtomicU64,
    gone: AtomicU64,
    read: AtomicU64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        archive: &'a Archive,
        options: &'a BackupOptions,
        observer: &'a dyn Observer,
        previous: &'a Previous,
        roots: &'a [Root],
    ) -> Result<Self> {
        let reader = archive.reader();
        let sources = roots.iter().enumerate();
        let sources =
            sources.map(|(at, root)| Asked { path: &root.path, node: &root.scan.node, known: previous.root(at) });
        let grounds = Grounds::find(&reader, &sources.collect::<Vec<_>>(), options.time)?;
        let writer = if options.dry_run { None } else { Some(archive.writer(options.packing)?) };
        let mut snapshots: HashSet<SnapshotId> =
            (0..roots.len()).filter_map(|number| previous.root(number)).map(|known| known.snapshot).collect();
        snapshots.retain(|snapshot| writer.as_ref().is_some_and(|writer| writer.holds_all_of(snapshot)));
        Ok(Self {
            archive,
            options,
            observer,
            previous,
            roots,
            grounds,
            moved: OnceLock::new(),
            looking: Mutex::default(),
            writer,
            reader,
            counts: Counts::default(),
            keeping: Keeping::default(),
            counted_trees: Mutex::default(),
            unread: Mutex::default(),
            unknown: Mutex::default(),
            facts: Mutex::default(),
            lacks_facts: !previous.parent().is_some_and(|parent| archive.facts_are_done(&parent, MAKER)),
            all_held: roots
                .iter()
                .enumerate()
                .all(|(number, _)| previous.root(number).is_none_or(|known| snapshots.contains(&known.snapshot))),
            whole: snapshots,
            linked: Mutex::default(),
            decay: Decay::new(archive, &options.host),
        })
    }

    /// Stores everything and returns the top tree; none in a dry run.
    pub(super) fn store(&self, pool: &rayon::ThreadPool, missing: Vec<Unread>) -> Result<Option<ChunkId>> {
        for Unread { path, why } in missing {
            self.trouble(Path::new(source::name_of(&path)), why);
        }
        for failure in self.roots.iter().flat_map(|root| &root.scan.failures) {
            self.failed(failure);
        }
        let mut entries = pool.install(|| {
            let each = self.roots.par_iter().enumerate();
            let each = each.map(|(number, root)| self.root(number, root, self.previous.root(number)));
            each.filter_map(Result::transpose).collect::<Result<Vec<Entry>>>()
        })?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.writer.as_ref().map(|writer| store_entries(writer, entries)).transpose()
    }

    /// Makes what was stored durable, also after the user's wish to stop, and gives the results.
    pub(super) fn finish(self, stored: Result<Option<ChunkId>>) -> Result<Done> {
        let interrupted = stored.as_ref().is_err_and(|error| error.kind() == Kind::Interrupted);
        let tree = match stored {
            Err(error) if !interrupted => return Err(error),
            stored => stored,
        };
        self.observer.event(Event::Finishing);
        let written = match self.writer {
            Some(writer) => writer.finish()?,
            None => Default::default(),
        };
        let facts = self.facts.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !facts.is_empty() {
            self.archive.put_facts(MAKER, facts)?;
        }
        let unread = self.unread.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = self.unknown.into_inner().unwrap_or_else(PoisonError::into_inner);
        unknown.sort();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let summary = Summary {
            files: count(&self.counts.files),
            dirs: count(&self.counts.dirs),
            symlinks: count(&self.counts.symlinks),
            bytes: count(&self.counts.bytes),
            new: count(&self.counts.new),
            changed: count(&self.counts.changed),
            moved: count(&self.counts.moved),
            // A file that has moved is not gone.
            gone: count(&self.counts.gone).saturating_sub(count(&self.counts.moved)),
            added: written.added,
            stored: written.stored,
            unread: unread.len() as u64,
            millis: 0,
        };
        let (kept, read) = (self.keeping.kept(), count(&self.counts.read));
        let (settled, decayed) = self.decay.end();
        let Written { lock, indexed, .. } = written;
        Ok(Done { tree: tree?, summary, read, unread, unknown, kept, lock, indexed, settled, decayed })
    }

    fn root(&self, number: usize, root: &Root, known: Option<&Known>) -> Result<Option<Entry>> {
        let held = known.is_some_and(|known| self.whole.contains(&known.snapshot));
        let lost = self.previous.has_lost(number);
        let place = Place { number, root, grounds: &self.grounds[number], held, carried: false, lost };
        if lost {
            self.forgotten(&root.path);
        }
        let entry = self.entry(&place, &root.scan.node, &root.path, known.map(|known| &known.entry))?;
        let entry = match (entry, known) {
            (Some(Now::Same), Some(known)) => Some(known.entry.clone()),
            (Some(Now::Other(entry)), _) => Some(*entry),
            _ => None,
        };
        Ok(entry.map(|entry| Entry { name: root.name.clone(), ..entry }))
    }

    fn entry(&self, place: &Place<'_>, node: &Node, path: &Path, known: Option<&Entry>) -> Result<Option<Now>> {
        check_stop(self.observer)?;
        let known_of_kind = known.filter(|known| is_of_kind(known, node.stat.kind));
        if let (Some(why), Some(known @ Entry { kind: EntryKind::Dir { files: 1.., .. }, .. })) =
            (node.unseen(), known_of_kind)
        {
            return self.carry(path, known, why).map(Some);
        }
        let found = match node.stat.kind {
            source::Kind::Dir if lies_too_deep(place.root, path) => {
                self.trouble(path, "it lies too deep, and nobody could restore it".to_owned());
                None
            }
            source::Kind::Dir => Some(self.dir(place, node, path, known)?),
            source::Kind::File => self.file(place, node, path, known)?,
            source::Kind::Symlink => self.symlink(place, node, path, known),
            source::Kind::Other(_) => None,
        };
        if let (None, Some(known), Some(_)) = (&found, known_of_kind, &self.writer) {
            return self.carry(path, known, Unseen::Unread).map(Some);
        }
        // What is just as it was need not be made once more.
        let same =
            |kind: &EntryKind, meta: &Meta| known.is_some_and(|known| known.kind == *kind && known.meta == *meta);
        Ok(found.map(|found| match found {
            Found::Same => Now::Same,
            Found::Other(kind, meta) if same(&kind, &meta) => Now::Same,
            Found::Other(kind, meta) => Now::Other(Box::new(Entry { name: node.name.to_vec(), kind, meta })),
        }))
    }

    fn dir(&self, place: &Place<'_>, node: &Node, path: &Path, known: Option<&Entry>) -> Result<Found> {
        let before = match known.map(|known| &known.kind) {
            Some(EntryKind::Dir { tree, .. }) => self.previous.take(&self.reader, place.number, path, tree)?,
            _ => Default::default(),
        };
        if !before.is_whole() {
            self.forgotten(path);
        }
        self.tell_forgotten(place, node, path, &before);
        self.count_gone(node, path, &before.entries);
        let inside = place.inside(known);
        let below = node.children.par_iter().map(|child| {
            let at = before.find(&child.name);
            let known = at.map(|at| &before.entries[at]);
            let inside = Place { lost: place.lost || before.is_in_gap(&child.name), ..inside };
            let now = self.entry(&inside, child, &path.join(source::name_of(&child.name)), known)?;
            Ok(now.map(|now| (at, now)))
        });
        let mut below = below.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
        for (at, known) in before.entries.iter().enumerate() {
            if let Presence::Unseen(why) = presence(node, known) {
                let path = path.join(source::name_of(&known.name));
                below.push((Some(at), self.carry(&path, known, why)?));
            }
        }
        self.counts.dirs.fetch_add(1, Ordering::Relaxed);
        let meta = self.meta(place, &node.stat, || self.xattrs(place, path, &node.stat, known));
        let same = below.len() == before.entries.len() && below.iter().all(|(_, now)| matches!(now, Now::Same));
        if let Some(Entry { kind: kind @ EntryKind::Dir { .. }, .. }) = known
            && same
            // A directory that could not be read looks as if nothing had been in it.
            && !before.entries.is_empty()
            && before.is_whole()
            && self.held(place)
        {
            return Ok(Found::Other(kind.clone(), meta));
        }
        let mut entries: Vec<Entry> = below
            .into_iter()
            .filter_map(|(at, now)| match now {
                Now::Same => at.map(|at| before.entries[at].clone()),
                Now::Other(entry) => Some(*entry),
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let (files, size) = entries.iter().fold((0_u64, 0_u64), |(files, size), entry| match &entry.kind {
            EntryKind::File { size: more, .. } => (files + 1, size.saturating_add(*more)),
            EntryKind::Dir { files: more, bytes, .. } => (more.saturating_add(files), size.saturating_add(*bytes)),
            EntryKind::Symlink { .. } => (files + 1, size),
        });
        let tree = match &self.writer {
            Some(writer) => store_entries(writer, entries)?,
            None => ChunkId::from_bytes([0; 32]),
        };
        Ok(Found::Other(EntryKind::Dir { tree, files, bytes: size }, meta))
    }

    fn symlink(&self, place: &Place<'_>, node: &Node, path: &Path, known: Option<&Entry>) -> Option<Found> {
        match source::read_link(path) {
            Ok(target) => {
                self.counts.symlinks.fetch_add(1, Ordering::Relaxed);
                self.observer.event(Event::Advance { files: 0, bytes: 0 });
                let meta = self.meta(place, &node.stat, || self.xattrs(place, path, &node.stat, known));
                Some(Found::Other(EntryKind::Symlink { target }, meta))
            }
            Err(failure) => {
                self.failed(&failure);
                None
            }
        }
    }

    /// Whether everything that is recorded of a source is surely in the archive.
    fn held(&self, place: &Place<'_>) -> bool {
        place.held && !self.archive.distrusts_any()
    }

    /// Whether everything that makes up a recorded file is still in the archive.
    fn holds(&self, place: &Place<'_>, known: &Entry) -> Result<bool> {
        if self.held(place) {
            return Ok(true);
        }
        self.holds_content(known)
    }

    /// The same, by its chunks.
    pub(super) fn holds_content(&self, known: &Entry) -> Result<bool> {
        self.holds_chunks(known, Writer::knows)
    }

    pub(super) fn holds_chunks(&self, known: &Entry, held: fn(&Writer<'a>, &ChunkId) -> Result<bool>) -> Result<bool> {
        let (Some(writer), EntryKind::File { content, size, .. }) = (&self.writer, &known.kind) else {
            return Ok(true);
        };
        let mut all = true;
        let looked = each_chunk(&self.reader, content, *size, &mut |chunks| {
            check_stop(self.observer)?;
            for chunk in chunks {
                all = all && held(writer, &chunk.id)?;
            }
            Ok(())
        });
        match looked {
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing) => Ok(false),
            looked => looked.map(|()| all),
        }
    }

    /// The last state of a folder cannot be read.
    fn forgotten(&self, path: &Path) {
        let why = "the archive is damaged: what the last snapshot has of this folder cannot be read; an earlier one stands in \
                   where there is one, and what is there is read";
        self.observer.event(Event::Trouble { path, why });
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    }

    /// Names what is there and was not read, where nobody knows whether the last snapshot had it: no photo leaves the newest
    /// snapshot without a word.
    fn tell_forgotten(&self, place: &Place<'_>, node: &Node, path: &Path, before: &Before) {
        let may_have_had = |name: &[u8]| before.find(name).is_none() && (place.lost || before.may_have_had(name));
        let why = "it was not read now, and what the last snapshot has of it is damaged; if no earlier one has it, it is missing";
        for name in node.missed().filter(|name| may_have_had(name)) {
            self.trouble(&path.join(source::name_of(name)), why.to_owned());
        }
        if node.closed().is_some() && (place.lost || !before.is_whole()) {
            self.trouble(
                path,
                "not all of it was seen now, and what the last snapshot has of it is damaged".to_owned(),
            );
        }
    }

    /// What was in a directory and is no longer, counted in files.
    fn count_gone(&self, node: &Node, path: &Path, before: &[Entry]) {
        for entry in before {
            let now = match presence(node, entry) {
                Presence::Here(node) => Some(node.stat.kind),
                Presence::Unseen(_) => continue,
                Presence::Gone => None,
            };
            let (files, size) = match (&entry.kind, now) {
                (EntryKind::File { size, .. }, None | Some(source::Kind::Dir | source::Kind::Symlink)) => (1, *size),
                (EntryKind::Dir { files, bytes, .. }, now) if now != Some(source::Kind::Dir) => (*files, *bytes),
                _ => continue,
            };
            self.counts.gone.fetch_add(files, Ordering::Relaxed);
            let path = path.join(source::name_of(&entry.name));
            self.observer.event(Event::Item { action: Action::Gone, path: &path, size });
        }
    }

    fn counted(&self, action: Action, path: &Path, size: u64, read: bool) {
        let counter = match action {
            Action::New => Some(&self.counts.new),
            Action::Changed => Some(&self.counts.changed),
            Action::Moved => Some(&self.counts.moved),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.counts.files.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(size, Ordering::Relaxed);
        if read {
            self.counts.read.fetch_add(size, Ordering::Relaxed);
        }
        self.observer.event(Event::Item { action, path, size });
        // Bytes that were read have been told while they were read.
        let unread = if read { 0 } else { size };
        self.observer.event(Event::Advance { files: 1, bytes: unread });
    }

    /// Extended attributes: those that are known where the evidence says so, unless some could not be read then.
    fn xattrs(&self, place: &Place<'_>, path: &Path, stat: &Stat, known: Option<&Entry>) -> Vec<source::Xattr> {
        let known = known.filter(|_| !self.options.force && !place.carried && !place.grounds.doubts(path));
        match known.filter(|known| place.grounds.evidence(known, stat).has_its_attributes()) {
            Some(known) => known.meta.xattrs.clone(),
            None => self.readable_of(source::xattrs(path)),
        }
    }

    /// What could be read of attributes; what could not is told.
    fn readable_of(&self, xattrs: source::Xattrs) -> Vec<source::Xattr> {
        if let Some(failure) = &xattrs.failure {
            self.failed(failure);
        }
        xattrs.values
    }

    fn meta(&self, place: &Place<'_>, stat: &Stat, xattrs: impl FnOnce() -> Vec<source::Xattr>) -> Meta {
        Meta {
            mode: stat.mode,
            // All ones is nobody's number, and readers refuse it.
            uid: stat.uid.min(u32::MAX - 1),
            gid: stat.gid.min(u32::MAX - 1),
            mtime: time(stat.mtime),
            ctime: time(stat.ctime),
            inode: stat.ino,
            device: place.root.device(stat.dev),
            links: if stat.kind == source::Kind::Dir { 1 } else { stat.nlink.max(1) },
            xattrs: xattrs(),
            born: stat.born.map(time),
            carried: None,
            decayed: false,
        }
    }

    fn failed(&self, failure: &Failure) {
        self.trouble(&failure.path, format!("{}: {}", failure.during, failure.why()));
    }

    pub(super) fn trouble(&self, path: &Path, why: String) {
        self.observer.event(Event::Trouble { path, why: &why });
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.push(Unread { path: bytes(path), why });
    }
}

/// Where an entry belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Which of the sources.
    number: usize,
    root: &'a Root,
    grounds: &'a Grounds,
    /// Everything that is known was in the archive when this run began.
    held: bool,
    /// What is known was recorded by an earlier run than the one that is compared with.
    carried: bool,
    /// More may have been recorded than is known, since it can no longer be read.
    lost: bool,
}

impl Place<'_> {
    /// The place of what lies in a directory.
    fn inside(&self, dir: Option<&Entry>) -> Self {
        let carried = self.carried || dir.is_some_and(|dir| dir.meta.carried.is_some());
        Place { carried, ..*self }
    }
}

/// What there is in place of something that is known.
pub(super) enum Now {
    /// The same.
    Same,
    Other(Box<Entry>),
}

/// The same before it has a name.
#[allow(clippy::large_enum_variant)] // it lives for a moment
enum Found {
    Same,
    Other(EntryKind, Meta),
}

/// Whether a directory lies in more directories, or has a longer path, than a reader takes.
fn lies_too_deep(root: &Root, path: &Path) -> bool {
    let below = path.strip_prefix(&root.path).unwrap_or(path);
    let len = root.name.len() + 1 + below.as_os_str().len();
    len > crate::format::Tree::MAX_PATH || below.components().count() >= crate::format::Tree::MAX_DEPTH
}
