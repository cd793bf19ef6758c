//! The file system: what the kernel asks, answered from views.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenAccMode,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyXattr, Request,
};

use super::deleted::{Deleted, Found};
use super::files::{Files, OpenFile};
use super::listing::{Dir, Item, Listing, Listings};
use super::nodes::{Ident, Nodes, TOP};
use super::tops::{Origin, snapshot_names, source_names};
use super::{Clock, Tell, Trouble};
use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::view::{self, EntryKind, Snapshot, Time, Window};

/// Nothing here ever changes.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Bytes of listed directories that are kept.
const LISTED: usize = 64 << 20;
/// Unreadable things that are remembered so that each is told once.
const TOLD: usize = 10_000;

/// An archive as a file system.
pub(super) struct Shown {
    window: Window,
    snapshots: Vec<(SnapshotId, Snapshot)>,
    snapshot_names: Vec<Vec<u8>>,
    sources: Vec<Latest>,
    source_names: HashMap<Origin, Vec<u8>>,
    owner: (u32, u32),
    deleted: OnceLock<Deleted>,
    nodes: Mutex<Nodes>,
    listings: Listings,
    files: Files,
    open: RwLock<HashMap<u64, Open>>,
    handles: AtomicU64,
    tell: Tell,
    told: Mutex<HashSet<u64>>,
    gone: AtomicBool,
    ended: Box<dyn Fn() + Send + Sync>,
    /// Whether the kernel is to heed permissions, and with them ACLs.
    guarded: bool,
}

/// A source that is present, in the newest snapshot that has it.
struct Latest {
    origin: Origin,
    /// The snapshot's position.
    at: usize,
    /// The name of the source in it.
    name: Vec<u8>,
}

/// What a handle of the kernel stands for.
#[derive(Clone)]
enum Open {
    File(Arc<OpenFile>),
    Dir(Arc<Listing>),
}

/// An error that was told already.
struct Failed(Errno);

type Answer<T> = std::result::Result<T, Failed>;

/// The name of an extended attribute, and its value.
type Xattr = (Vec<u8>, Vec<u8>);

impl Shown {
    pub(super) fn new(
        window: Window,
        clock: Clock<'_>,
        tell: Tell,
        ended: Box<dyn Fn() + Send + Sync>,
        guarded: bool,
    ) -> Self {
        let snapshots = window.snapshots();
        let snapshot_names = snapshot_names(&snapshots, clock);
        let (mut sources, mut names) = (Vec::new(), Vec::new());
        match window.sources() {
            Ok(all) => {
                for line in all.present() {
                    let Some((at, name)) = all.states(line).next() else { continue };
                    let origin = (line.host.clone(), line.path.clone());
                    sources.push(Latest { origin: origin.clone(), at, name: name.to_vec() });
                    names.push((origin, line.name.clone()));
                }
            }
            Err(error) => tell(Trouble::Unreachable(&error)),
        }
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self {
            files: Files::new(window.clone()),
            window,
            snapshots,
            snapshot_names,
            sources,
            source_names: source_names(&names),
            owner,
            deleted: OnceLock::new(),
            nodes: Mutex::new(Nodes::new()),
            listings: Listings::new(LISTED),
            open: RwLock::default(),
            handles: AtomicU64::new(1),
            tell,
            told: Mutex::default(),
            gone: AtomicBool::new(false),
            ended,
            guarded,
        }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in a directory.
    fn listing(&self, ino: u64) -> Answer<Arc<Listing>> {
        if let Some(listing) = self.listings.get(ino) {
            return Ok(listing);
        }
        let (ident, dir) = {
            let nodes = self.nodes();
            let node = nodes.get(ino).ok_or(Failed(Errno::ENOENT))?;
            (node.ident(ino), node.dir.clone().ok_or(Failed(Errno::ENOTDIR))?)
        };
        match self.list(ident, &dir) {
            Ok((items, whole)) => {
                self.gone.store(false, Ordering::Relaxed);
                let listing = Arc::new(Listing::new(items, whole));
                self.listings.put(ino, Arc::clone(&listing));
                Ok(listing)
            }
            Err(error) => Err(self.failed(ino, &error)),
        }
    }

    /// What is in a directory, and whether that is all of it: what is missing because of damage was told.
    fn list(&self, ident: Ident, dir: &Dir) -> Result<(Vec<Item>, bool)> {
        let mut whole = true;
        let items = match dir {
            Dir::Top => {
                let newest = self.snapshots.last().map_or(Time::default(), |(_, snapshot)| snapshot.time);
                let made = |name: &[u8], dir| Item::made(ident, name.to_vec(), dir, newest);
                let deleted = Dir::Deleted(Vec::new());
                vec![made(b"deleted", deleted), made(b"latest", Dir::Latest), made(b"snapshots", Dir::Snapshots)]
            }
            Dir::Snapshots => {
                let named = self.snapshots.iter().zip(&self.snapshot_names).enumerate();
                let made = |(at, ((_, snapshot), name)): (usize, (&(_, Snapshot), &Vec<u8>))| {
                    Item::made(ident, name.clone(), Dir::Tree(snapshot.tree, at as u32), snapshot.time)
                };
                named.map(made).collect()
            }
            Dir::Latest => {
                let (items, all) = self.latest(ident)?;
                whole = all;
                items
            }
            Dir::Tree(tree, at) => {
                let view::Listing { entries, mut gaps } = self.window.list_readable(tree)?;
                whole = self.partly(ident.ino, entries.is_empty(), gaps.pop().map(|gap| gap.error))?;
                entries.into_iter().map(|entry| Item::of_tree(ident, entry, Some(*at))).collect()
            }
            Dir::Deleted(folder) => {
                let (found, trouble) = self.deleted()?.list(&self.window, folder);
                whole = self.partly(ident.ino, found.is_empty(), trouble)?;
                let item = |found| match found {
                    Found::Folder(name, path, time) => Item::made(ident, name, Dir::Deleted(path), time),
                    Found::File(name, entry) => {
                        let mut entry = *entry;
                        entry.name = name;
                        Item::of_tree(ident, entry, None)
                    }
                };
                found.into_iter().map(item).collect()
            }
        };
        Ok((items, whole))
    }

    /// Each source as its newest snapshot has it.
    fn latest(&self, ident: Ident) -> Result<(Vec<Item>, bool)> {
        let (mut items, mut trouble) = (Vec::new(), None);
        for Latest { origin, at, name } in &self.sources {
            let (_, snapshot) = &self.snapshots[*at];
            let entries = self.window.list(&snapshot.tree).unwrap_or_else(|error| {
                trouble = Some(error);
                Vec::new()
            });
            let Some(mut entry) = entries.into_iter().find(|entry| entry.name == *name) else { continue };
            entry.name = self.source_names.get(origin).cloned().unwrap_or(entry.name);
            items.push(Item::of_tree(ident, entry, Some(*at as u32)));
        }
        let whole = self.partly(ident.ino, items.is_empty(), trouble)?;
        items.sort_unstable_by(|a, b| a.entry.name.cmp(&b.entry.name));
        Ok((items, whole))
    }

    /// Lets a listing pass in which something is missing because of damage, and tells of it. Whether nothing is missing.
    ///
    /// # Errors
    /// The trouble, if there is nothing else to show or the archive does not answer: what is shown stays so.
    fn partly(&self, ino: u64, nothing: bool, trouble: Option<Error>) -> Result<bool> {
        match trouble {
            None => Ok(true),
            Some(error) if nothing || !error.kind().is_of_an_object() || !self.window.is_reachable() => Err(error),
            Some(error) => {
                self.failed(ino, &error);
                Ok(false)
            }
        }
    }

    /// What was deleted, put together when somebody looks for the first time.
    fn deleted(&self) -> Result<&Deleted> {
        if let Some(deleted) = self.deleted.get() {
            return Ok(deleted);
        }
        let deleted = Deleted::new(self.window.lost()?, &self.source_names, &self.window.all_snapshots());
        Ok(self.deleted.get_or_init(|| deleted))
    }

    /// Calls `with` with the thing that an inode stands for. The top is none.
    fn with_item<T>(&self, ino: u64, with: impl FnOnce(&Item) -> T) -> Answer<T> {
        let (parent, at) = {
            let nodes = self.nodes();
            let node = nodes.get(ino).ok_or(Failed(Errno::ENOENT))?;
            (node.parent, node.at)
        };
        let listing = self.listing(parent)?;
        listing.get(at as usize).map(with).ok_or(Failed(Errno::ENOENT))
    }

    /// The path of an inode below the mount.
    fn path(&self, ino: u64) -> Vec<u8> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = ino;
        while at != TOP.ino {
            let Some((parent, position)) = self.nodes().get(at).map(|node| (node.parent, node.at)) else { break };
            // What was shown is mostly still kept, and what is not must not be read while telling of a failure.
            let name = self.listings.get(parent).and_then(|kept| Some(kept.get(position as usize)?.entry.name.clone()));
            names.push(name.unwrap_or_else(|| b"...".to_vec()));
            at = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Tells of a failure, once for each thing.
    fn failed(&self, ino: u64, error: &Error) -> Failed {
        if !self.window.is_reachable() {
            if !self.gone.swap(true, Ordering::Relaxed) {
                (self.tell)(Trouble::Unreachable(error));
            }
            return Failed(Errno::EIO);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let new = told.len() < TOLD && told.insert(ino);
        drop(told);
        if new {
            (self.tell)(Trouble::Unreadable(&self.path(ino), error));
        }
        Failed(Errno::EIO)
    }

    fn hold(&self, open: Open) -> FileHandle {
        let handle = self.handles.fetch_add(1, Ordering::Relaxed);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(handle, open);
        FileHandle(handle)
    }

    fn held(&self, handle: FileHandle) -> Option<Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&handle.0).cloned()
    }

    fn let_go(&self, handle: FileHandle) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
    }

    fn opened_dir(&self, handle: FileHandle) -> Answer<Arc<Listing>> {
        match self.held(handle) {
            Some(Open::Dir(listing)) => Ok(listing),
            _ => Err(Failed(Errno::EBADF)),
        }
    }

    /// Opens a file for reading.
    fn open_file(&self, ino: u64) -> Answer<FileHandle> {
        let entry = self.with_item(ino, |item| item.entry.clone())?;
        let EntryKind::File { content, size, .. } = entry.kind else { return Err(Failed(Errno::EISDIR)) };
        // A list that cannot be read is told at once, and not in the middle of a copy.
        let file = OpenFile::new(ino, content, size);
        self.files.probe(&file).map_err(|error| self.failed(ino, &error))?;
        Ok(self.hold(Open::File(Arc::new(file))))
    }

    /// The extended attributes of an inode as they were recorded, ACLs among them. Left out, like the bits that make a
    /// program run as somebody else, is what would give one powers.
    fn xattrs(&self, ino: u64) -> Answer<Vec<Xattr>> {
        if ino == TOP.ino {
            return Ok(Vec::new());
        }
        let own = |item: &Item| {
            let all = item.entry.meta.xattrs.iter();
            all.filter(|(name, _)| name != b"security.capability").cloned().collect()
        };
        self.with_item(ino, own)
    }

    fn top_attr(&self) -> fuser::FileAttr {
        let newest = self.snapshots.last().map_or(Time::default(), |(_, snapshot)| snapshot.time);
        Item::made(TOP, Vec::new(), Dir::Top, newest).attr(TOP.ino, self.owner)
    }
}

/// Answers with so many bytes of what was asked for, or with how many there are.
fn sized(reply: ReplyXattr, bytes: &[u8], size: u32) {
    match (u32::try_from(bytes.len()), size) {
        (Ok(len), 0) => reply.size(len),
        (Ok(len), size) if len <= size => reply.data(bytes),
        _ => reply.error(Errno::ERANGE),
    }
}

impl Filesystem for Shown {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
        ];
        // Without it a file's group may do what its ACL allows to anybody named there.
        let acls = self.guarded.then_some(InitFlags::FUSE_POSIX_ACL);
        for flag in wanted.into_iter().chain(acls) {
            // An older kernel does without.
            let _ = config.add_capabilities(flag);
        }
        Ok(())
    }

    fn destroy(&mut self) {
        (self.ended)();
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let listing = match self.listing(parent.0) {
            Ok(listing) => listing,
            Err(Failed(errno)) => return reply.error(errno),
        };
        let Some(at) = listing.find(name.as_bytes()) else { return reply.error(listing.absence()) };
        let item = &listing[at];
        let ino = self.nodes().remember(item.ident, parent.0, at as u32, item.dir.as_ref());
        reply.entry(&FOR_EVER, &item.attr(ino, self.owner), Generation(0));
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        self.nodes().forget(ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if ino.0 == TOP.ino {
            return reply.attr(&FOR_EVER, &self.top_attr());
        }
        match self.with_item(ino.0, |item| item.attr(ino.0, self.owner)) {
            Ok(attr) => reply.attr(&FOR_EVER, &attr),
            Err(Failed(errno)) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.with_item(ino.0, |item| match &item.entry.kind {
            EntryKind::Symlink { target } => Some(target.clone()),
            _ => None,
        });
        match target {
            Ok(Some(target)) => reply.data(&target),
            Ok(None) => reply.error(Errno::EINVAL),
            Err(Failed(errno)) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        match self.open_file(ino.0) {
            // What the kernel has of it stays right.
            Ok(handle) => reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH),
            Err(Failed(errno)) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(Open::File(file)) = self.held(handle) else { return reply.error(Errno::EBADF) };
        let mut reply = Some(reply);
        let done = self.files.read(&file, offset, size as usize, |bytes| {
            if let Some(reply) = reply.take() {
                reply.data(bytes);
            }
        });
        match done {
            Ok(()) => self.gone.store(false, Ordering::Relaxed),
            Err(error) => {
                let Failed(errno) = self.failed(file.ino, &error);
                if let Some(reply) = reply.take() {
                    reply.error(errno);
                }
            }
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.let_go(handle);
        reply.ok();
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.listing(ino.0) {
            Ok(listing) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
                reply.opened(self.hold(Open::Dir(listing)), flags);
            }
            Err(Failed(errno)) => reply.error(errno),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listing = match self.opened_dir(handle) {
            Ok(listing) => listing,
            Err(Failed(errno)) => return reply.error(errno),
        };
        let parent = self.nodes().get(ino.0).map_or(TOP.ino, |node| node.parent);
        let dots = [(ino.0, "."), (parent, "..")].into_iter().map(|(ino, name)| {
            let name = OsStr::new(name);
            (ino, fuser::FileType::Directory, name)
        });
        let items = listing.iter().map(|item| (item.ident.ino, item.kind(), OsStr::from_bytes(&item.entry.name)));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        if skip >= listing.len() + 2 && !listing.is_whole() {
            return reply.error(Errno::EIO);
        }
        for (at, (ino, kind, name)) in dots.chain(items).enumerate().skip(skip) {
            if reply.add(INodeNo(ino), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listing = match self.opened_dir(handle) {
            Ok(listing) => listing,
            Err(Failed(errno)) => return reply.error(errno),
        };
        let mut nodes = self.nodes();
        let parent = nodes.get(ino.0).map_or(TOP.ino, |node| node.parent);
        // The kernel knows these two, and is not told of them: their attributes are not taken.
        let dots = [(ino.0, "."), (parent, "..")];
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        if first >= listing.len() + dots.len() && !listing.is_whole() {
            return reply.error(Errno::EIO);
        }
        for (at, (ino, name)) in dots.into_iter().enumerate().skip(first) {
            let mut attr = self.top_attr();
            attr.ino = INodeNo(ino);
            if reply.add(INodeNo(ino), at as u64 + 1, name, &Duration::ZERO, &attr, Generation(0)) {
                return reply.ok();
            }
        }
        for (at, item) in listing.iter().enumerate().skip(first.saturating_sub(dots.len())) {
            let known = nodes.remember(item.ident, ino.0, at as u32, item.dir.as_ref());
            let attr = item.attr(known, self.owner);
            let name = OsStr::from_bytes(&item.entry.name);
            let next = (at + dots.len()) as u64 + 1;
            if reply.add(INodeNo(known), next, name, &FOR_EVER, &attr, Generation(0)) {
                // It did not fit, so the kernel is not told of it.
                nodes.forget(known, 1);
                break;
            }
        }
        drop(nodes);
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.let_go(handle);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let newest = self.sources.iter().map(|source| source.at).collect::<HashSet<_>>();
        let sums = newest.into_iter().map(|at| &self.snapshots[at].1.summary);
        let (files, bytes) = sums.fold((0_u64, 0_u64), |(files, bytes), sum| {
            let here = sum.files.saturating_add(sum.dirs).saturating_add(sum.symlinks);
            (files.saturating_add(here), bytes.saturating_add(sum.bytes))
        });
        // All of it is used, and nothing is free.
        reply.statfs(bytes.div_ceil(4096), 0, 0, files, 0, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.xattrs(ino.0) {
            Err(Failed(errno)) => reply.error(errno),
            Ok(all) => match all.iter().find(|(known, _)| known == name.as_bytes()) {
                Some((_, value)) => sized(reply, value, size),
                None => reply.error(Errno::NO_XATTR),
            },
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.xattrs(ino.0) {
            Err(Failed(errno)) => reply.error(errno),
            Ok(all) => {
                let names: Vec<u8> = all.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect();
                sized(reply, &names, size);
            }
        }
    }
}
