//! One run: the tree of the source, joined with the tree that the archive has, becomes a new tree.
//!
//! Directories are worked on in parallel and finished from below: a directory is stored when all that is in it is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::moved::Moved;
use super::previous::{Known, Previous, is_unchanged, time};
use super::{BackupOptions, Root, bytes};
use crate::archive::{Archive, Reader, Writer, each_chunk, first_chunks, store_entries};
use crate::error::{Kind, Result};
use crate::format::{CaptureFacts, Entry, EntryKind, Meta, Summary, Unread};
use crate::id::{ChunkId, FileHash};
use crate::op::capture::MAKER;
use crate::op::file::{self, Stored};
use crate::op::{Action, Event, Observer, check_stop};
use crate::source::{self, Failure, Node, Stat};
use crate::store::Lock;

/// What a file tells about its taking is looked for in no more than so many of its chunks.
const MANY: usize = 1 << 16;

pub(super) struct Run<'a> {
    archive: &'a Archive,
    options: &'a BackupOptions,
    observer: &'a dyn Observer,
    previous: &'a Previous,
    roots: &'a [Root],
    /// Looked for when the first file is met that has no past under its name.
    moved: OnceLock<Moved>,
    looking: Mutex<()>,
    /// None in a dry run.
    writer: Option<Writer<'a>>,
    reader: Reader<'a>,
    counts: Counts,
    unread: Mutex<Vec<Unread>>,
    /// What new files tell about their taking.
    facts: Mutex<Vec<(FileHash, CaptureFacts)>>,
    /// Whether files that are unchanged may lack facts.
    lacks_facts: bool,
    /// Content of files that have several names, by device and number, so that it is read once.
    linked: Mutex<HashMap<(u64, u64), EntryKind>>,
}

/// What a run has done when it ends well.
pub(super) struct Done {
    pub(super) tree: Option<ChunkId>,
    pub(super) summary: Summary,
    pub(super) unread: Vec<Unread>,
    /// The archive is held until the snapshot is recorded.
    pub(super) lock: Option<Lock>,
    /// Whether the index knows where all of it lies.
    pub(super) indexed: bool,
}

#[derive(Default)]
struct Counts {
    files: AtomicU64,
    dirs: AtomicU64,
    symlinks: AtomicU64,
    bytes: AtomicU64,
    new: AtomicU64,
    changed: AtomicU64,
    moved: AtomicU64,
    gone: AtomicU64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        archive: &'a Archive,
        options: &'a BackupOptions,
        observer: &'a dyn Observer,
        previous: &'a Previous,
        roots: &'a [Root],
    ) -> Result<Self> {
        let writer = if options.dry_run { None } else { Some(archive.writer(options.packing)?) };
        Ok(Self {
            archive,
            options,
            observer,
            previous,
            roots,
            moved: OnceLock::new(),
            looking: Mutex::default(),
            writer,
            reader: archive.reader(),
            counts: Counts::default(),
            unread: Mutex::default(),
            facts: Mutex::default(),
            lacks_facts: !previous.parent().is_some_and(|parent| archive.facts_are_done(&parent, MAKER)),
            linked: Mutex::default(),
        })
    }

    /// Stores everything and returns the top tree; none in a dry run.
    pub(super) fn store(&self, pool: &rayon::ThreadPool) -> Result<Option<ChunkId>> {
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
        Ok(Done { tree: tree?, summary, unread, lock: written.lock, indexed: written.indexed })
    }

    fn root(&self, number: usize, root: &Root, known: Option<&Known>) -> Result<Option<Entry>> {
        let held = known.zip(self.writer.as_ref()).is_some_and(|(known, writer)| writer.holds_all_of(&known.snapshot));
        let place = Place { number, root, since: known.map(|known| known.since).unwrap_or_default(), held };
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
            Some(EntryKind::Dir { tree, .. }) => self.previous.take_entries(&self.reader, tree)?,
            _ => Default::default(),
        };
        let find = |name: &[u8]| before.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok();
        self.count_gone(node, path, &before);
        let below = node.children.par_iter().map(|child| {
            let at = find(&child.name);
            let known = at.map(|at| &before[at]);
            let now = self.entry(place, child, &path.join(source::name_of(&child.name)), known)?;
            Ok(now.map(|now| (at, now)))
        });
        let below = below.filter_map(Result::transpose).collect::<Result<Vec<_>>>()?;
        self.counts.dirs.fetch_add(1, Ordering::Relaxed);
        let meta = self.meta(place, &node.stat, || self.xattrs(path, &node.stat, known));
        let same = below.len() == before.len() && below.iter().all(|(_, now)| matches!(now, Now::Same));
        if let Some(Entry { kind: kind @ EntryKind::Dir { .. }, .. }) = known
            && same
            // A directory that could not be read looks as if nothing had been in it.
            && !before.is_empty()
            && self.held(place)
        {
            return Ok(Found::Other(kind.clone(), meta));
        }
        let entries: Vec<Entry> = below
            .into_iter()
            .filter_map(|(at, now)| match now {
                Now::Same => at.map(|at| before[at].clone()),
                Now::Other(entry) => Some(*entry),
            })
            .collect();
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

    fn file(&self, place: &Place<'_>, node: &Node, path: &Path, known: Option<&Entry>) -> Result<Option<Found>> {
        let known = known.filter(|known| matches!(known.kind, EntryKind::File { .. }));
        if let Some(known) = known
            && !self.options.force
            && is_unchanged(known, place.since, &node.stat)
            && self.holds(place, known)?
        {
            self.counted(Action::Unchanged, path, node.stat.size, false);
            if self.lacks_facts && self.writer.is_some() {
                self.note_facts(&known.kind, || self.facts(path, &node.stat, &known.kind));
            }
            let mut meta = self.meta(place, &node.stat, Vec::new);
            if same_but_xattrs(&known.meta, &meta) {
                return Ok(Some(Found::Same));
            }
            meta.xattrs.clone_from(&known.meta.xattrs);
            return Ok(Some(Found::Other(known.kind.clone(), meta)));
        }
        if known.is_none()
            && !self.options.force
            && let Some(origin) = self.moved()?.origin(place.number, place.root.device(node.stat.dev), &node.stat)
            && self.holds(place, origin)?
        {
            let moved = node.stat.size == 0 || self.moved()?.claim(&origin.kind);
            self.counted(if moved { Action::Moved } else { Action::New }, path, node.stat.size, false);
            let meta = self.meta(place, &node.stat, || self.xattrs(path, &node.stat, None));
            return Ok(Some(Found::Other(origin.kind.clone(), meta)));
        }
        let Some(writer) = &self.writer else {
            self.counted(if known.is_some() { Action::Changed } else { Action::New }, path, node.stat.size, true);
            return Ok(None);
        };
        let link = (node.stat.nlink > 1).then_some((node.stat.dev, node.stat.ino));
        let stored = match link.and_then(|link| self.linked().get(&link).cloned()) {
            Some(kind) => {
                self.observer.event(Event::Advance { files: 0, bytes: node.stat.size });
                let xattrs = self.xattrs(path, &node.stat, None);
                Ok(Stored { kind, stat: node.stat, xattrs, facts: None })
            }
            None => file::store(self.archive, writer, path, &node.stat, self.observer)?,
        };
        let Stored { kind, stat, xattrs, facts } = match stored {
            Ok(stored) => stored,
            Err(failure) => {
                self.failed(&failure);
                return Ok(None);
            }
        };
        if let Some(link) = link {
            self.linked().insert(link, kind.clone());
        }
        self.note_facts(&kind, || facts);
        let same = known.is_some_and(|known| content(&known.kind) == content(&kind));
        let action = match (known, same) {
            (None, _) if self.moved()?.claim(&kind) => Action::Moved,
            (None, _) => Action::New,
            (Some(_), true) => Action::Unchanged,
            (Some(_), false) => Action::Changed,
        };
        self.counted(action, path, stat.size, true);
        if let EntryKind::File { unsettled: true, .. } = kind {
            let why = "it changed each time it was read; what was stored may be of several moments";
            self.trouble(path, why.to_owned());
        }
        Ok(Some(Found::Other(kind, self.meta(place, &stat, || xattrs))))
    }

    fn symlink(&self, place: &Place<'_>, node: &Node, path: &Path, known: Option<&Entry>) -> Option<Found> {
        match source::read_link(path) {
            Ok(target) => {
                self.counts.symlinks.fetch_add(1, Ordering::Relaxed);
                self.observer.event(Event::Advance { files: 0, bytes: 0 });
                let meta = self.meta(place, &node.stat, || self.xattrs(path, &node.stat, known));
                Some(Found::Other(EntryKind::Symlink { target }, meta))
            }
            Err(failure) => {
                self.failed(&failure);
                None
            }
        }
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

    /// Whether everything that is recorded of a source is surely in the archive.
    fn held(&self, place: &Place<'_>) -> bool {
        place.held && !self.archive.distrusts_any()
    }

    /// Whether everything that makes up a recorded file is still in the archive.
    fn holds(&self, place: &Place<'_>, known: &Entry) -> Result<bool> {
        if self.held(place) {
            return Ok(true);
        }
        let (Some(writer), EntryKind::File { content, size, .. }) = (&self.writer, &known.kind) else {
            return Ok(true);
        };
        let mut all = true;
        let looked = each_chunk(&self.reader, content, *size, &mut |chunks| {
            check_stop(self.observer)?;
            for chunk in chunks {
                all = all && writer.knows(&chunk.id)?;
            }
            Ok(())
        });
        match looked {
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing) => Ok(false),
            looked => looked.map(|()| all),
        }
    }

    /// What was in a directory and is no longer, counted in files.
    fn count_gone(&self, node: &Node, path: &Path, before: &[Entry]) {
        for entry in before {
            let still = node.children.binary_search_by(|child| child.name[..].cmp(&entry.name));
            let now = still.ok().map(|at| node.children[at].stat.kind);
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
        self.observer.event(Event::Item { action, path, size });
        // Bytes that were read have been told while they were read.
        let unread = if read { 0 } else { size };
        self.observer.event(Event::Advance { files: 1, bytes: unread });
    }

    /// Extended attributes. A change of them changes the entry's ctime, so an entry with the same one keeps them.
    fn xattrs(&self, path: &Path, stat: &Stat, known: Option<&Entry>) -> Vec<source::Xattr> {
        if let Some(known) = known.filter(|known| known.meta.ctime == time(stat.ctime) && known.meta.inode == stat.ino)
        {
            return known.meta.xattrs.clone();
        }
        source::xattrs(path).unwrap_or_else(|failure| {
            self.failed(&failure);
            Vec::new()
        })
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
            born: None,
            carried: None,
        }
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

    fn failed(&self, failure: &Failure) {
        self.trouble(&failure.path, format!("{}: {}", failure.during, failure.cause));
    }

    fn trouble(&self, path: &Path, why: String) {
        self.observer.event(Event::Trouble { path, why: &why });
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.push(Unread { path: bytes(path), why });
    }

    fn linked(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, u64), EntryKind>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an entry belongs.
struct Place<'a> {
    /// Which of the sources.
    number: usize,
    root: &'a Root,
    /// When the run began that recorded what is known.
    since: crate::format::Time,
    /// Everything that is known was in the archive when this run began.
    held: bool,
}

/// What there is in place of something that is known.
enum Now {
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

fn same_but_xattrs(one: &Meta, other: &Meta) -> bool {
    let Meta { mode, uid, gid, mtime, ctime, inode, device, links, xattrs: _, born, carried } = other;
    let owners = (one.mode, one.uid, one.gid) == (*mode, *uid, *gid);
    let times = (one.mtime, one.ctime) == (*mtime, *ctime);
    let there = (one.born, one.carried) == (*born, *carried);
    owners && times && there && (one.inode, one.device, one.links) == (*inode, *device, *links)
}

/// Whether a directory lies in more directories, or has a longer path, than a reader takes.
fn lies_too_deep(root: &Root, path: &Path) -> bool {
    let below = path.strip_prefix(&root.path).unwrap_or(path);
    let len = root.name.len() + 1 + below.as_os_str().len();
    len > crate::format::Tree::MAX_PATH || below.components().count() >= crate::format::Tree::MAX_DEPTH
}

/// What a file's bytes are, whatever else is recorded of it.
fn content(kind: &EntryKind) -> Option<(u64, crate::id::FileHash)> {
    match kind {
        EntryKind::File { size, hash, .. } => Some((*size, *hash)),
        _ => None,
    }
}
