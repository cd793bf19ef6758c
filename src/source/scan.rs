//! The walk: a tree of everything below a root, with what the file system says of it.
//!
//! Directories are walked in parallel, each by its open handle, so that a file costs one system call and no path is built.
//! Nothing recurses: directories are tasks, and the tree is put together from their results afterwards, so that a tree
//! of any depth needs no deeper stack. The number of open handles is bounded; a directory whose parent was closed
//! meanwhile is reached again from the root, name by name and without following links.

use super::failure::Failure;
use super::place::Place;
use super::rules::Rules;
use super::stat::{Kind, Stat};
use super::sys::{self, Listed};
use super::trust;
use crate::error::{Error, Kind as ErrorKind, Result};
use rayon::Scope;
use rustix::fs::OFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How many directories are kept open for the sake of their subdirectories. macOS allows 256 open files by default.
const HANDLES: usize = 128;

/// How many names of one directory a task looks at; a larger directory is shared out.
const NAMES_AT_ONCE: usize = 1024;

/// One file, directory or link of the source.
///
/// A tree may be deeper than the stack allows to recurse; letting go of one does not recurse.
#[derive(Debug)]
pub struct Node {
    /// The name in its directory; of the root, the last component of its path (empty for `/`, `.` and the like).
    pub name: Box<[u8]>,
    /// What the file system says of it.
    pub stat: Stat,
    /// What a directory holds, sorted by the bytes of the names.
    pub children: Vec<Node>,
    /// What else it holds; none if that is all.
    missed: Option<Box<Missed>>,
}

/// What a directory holds that is not among its children.
#[derive(Debug, Default)]
struct Missed {
    /// Names that a rule leaves out, and names that could not be looked at; each list ascending.
    excluded: Vec<Listed>,
    unread: Vec<Listed>,
    /// Why there may be more names than all these: it could not be listed to its end, or a rule says not to enter it.
    closed: Option<Unseen>,
}

/// Why something of a directory is not among its children although it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// It could not be looked at, or nobody knows whether it is there since the directory could not be listed.
    Unread,
    /// A rule leaves it out.
    Excluded,
}

/// What is known of a name in a directory.
#[derive(Debug, Clone, Copy)]
pub enum Presence<'n> {
    /// This is there.
    Here(&'n Node),
    /// Something is or may be there.
    Unseen(Unseen),
    /// It is not there.
    Gone,
}

impl Node {
    fn new(name: Box<[u8]>, stat: Stat) -> Self {
        Self { name, stat, children: Vec::new(), missed: None }
    }

    /// What is known of a thing of this kind with this name in this directory. What was not looked at and is of another
    /// kind is not it.
    pub fn below(&self, name: &[u8], kind: Kind) -> Presence<'_> {
        if let Ok(at) = self.children.binary_search_by(|child| child.name[..].cmp(name)) {
            return Presence::Here(&self.children[at]);
        }
        let Some(missed) = &self.missed else { return Presence::Gone };
        for (listed, why) in [(&missed.excluded, Unseen::Excluded), (&missed.unread, Unseen::Unread)] {
            if let Ok(at) = listed.binary_search_by(|other| other.name[..].cmp(name)) {
                let is_other = listed[at].kind.is_some_and(|now| now != kind);
                return if is_other { Presence::Gone } else { Presence::Unseen(why) };
            }
        }
        missed.closed.map_or(Presence::Gone, Presence::Unseen)
    }

    /// Names of this directory that are there and not among its children, as far as they are known.
    pub fn missed(&self) -> impl Iterator<Item = &[u8]> {
        let missed = self.missed.as_deref();
        missed.into_iter().flat_map(|missed| missed.excluded.iter().chain(&missed.unread)).map(|listed| &*listed.name)
    }

    /// Why there may be more names than are known, if that is so.
    pub fn closed(&self) -> Option<Unseen> {
        self.missed.as_ref().and_then(|missed| missed.closed)
    }

    /// Why not all of a directory was seen, if that is so; that something could not be read comes first.
    pub fn missing(&self) -> Option<Unseen> {
        let missed = self.missed.as_deref()?;
        let unread = !missed.unread.is_empty() || missed.closed == Some(Unseen::Unread);
        Some(if unread { Unseen::Unread } else { Unseen::Excluded })
    }

    /// Whether nothing at all is in a directory.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty() && self.missed.is_none()
    }

    /// Why nothing of a directory was seen, if that is so.
    pub fn unseen(&self) -> Option<Unseen> {
        self.closed().filter(|_| self.children.is_empty())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.children);
        while let Some(mut node) = rest.pop() {
            rest.append(&mut node.children);
        }
    }
}

/// Why something is not backed up although no pattern leaves it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassedOver {
    /// It is no file, directory or link, but a "socket", "fifo" or what else [`Kind::Other`] says.
    Special(&'static str),
    /// A directory on another file system, which is not to be entered.
    OtherFileSystem,
    /// It belongs to this program: what it is.
    Own(&'static str),
}

/// What a walk found.
#[derive(Debug)]
pub struct Scan {
    /// The root as it was named.
    root: PathBuf,
    /// The root and all below it. A directory that could not be listed is here, with what could be read of it.
    pub node: Node,
    /// What could not be read, sorted by path. If there are any, something of the source is missing here.
    pub failures: Vec<Failure>,
    /// What is never backed up, sorted by path, and directories that were not entered.
    pub passed_over: Vec<(PathBuf, PassedOver)>,
    /// How many names the rules left out; of an excluded directory only its own.
    pub excluded: u64,
    /// How many regular files there are.
    pub files: u64,
    /// How many directories there are, the root among them.
    pub dirs: u64,
    /// How many symbolic links there are.
    pub links: u64,
    /// The sum of the files' sizes.
    pub bytes: u64,
    /// The root's file system may make inode numbers up, so that they mean little once it was mounted again.
    pub numbers_made_up: bool,
}

impl Scan {
    /// Marks a directory, given by its names from the root on, as one that could not be listed, for this reason.
    pub fn close(&mut self, names: &[Box<[u8]>], why: &str) {
        let (mut node, mut path) = (&mut self.node, self.root.clone());
        for name in names {
            let Ok(at) = node.children.binary_search_by(|child| child.name.cmp(name)) else { return };
            node = &mut node.children[at];
            path.push(sys::os(name));
        }
        node.missed.get_or_insert_default().closed = Some(Unseen::Unread);
        self.failures.push(Failure::new("entering", path, io::Error::other(why)));
    }
}

/// Walks `root`, a directory or a single file, and leaves out what `rules` say.
///
/// A root that is a symbolic link to a directory is followed, as `cp -r link/` would; every other link is recorded as a
/// link. `tick` is told the running totals of files and bytes, from any thread. An error of kind `Source` says that the
/// root itself cannot be used, `Interrupted` that `stop` was set; everything below the root is a [`Failure`] instead.
pub fn scan(root: &Path, rules: &Rules, tick: &(dyn Fn(u64, u64) + Sync), stop: &AtomicBool) -> Result<Scan> {
    let unusable =
        |cause: io::Error| Error::caused(ErrorKind::Source, format!("reading the source {}", root.display()), cause);
    let reached = sys::reach(root).map_err(unusable)?;
    let mut stat = sys::stat(reached.at(), reached.rest.as_os_str()).map_err(unusable)?;
    // "link/." is the directory that a link leads to, and an error if it leads to none.
    let inside = reached.rest.join(".");
    if stat.kind == Kind::Symlink
        && let Ok(target) = sys::stat(reached.at(), inside.as_os_str())
    {
        stat = target;
    }
    if let Kind::Other(kind) = stat.kind {
        return Err(unusable(io::Error::other(format!("it is a {kind}"))));
    }
    let handle = match stat.kind {
        Kind::Dir => Some(sys::open(reached.at(), inside.as_os_str(), stat.uid, OFlags::DIRECTORY).map_err(unusable)?),
        _ => None,
    };
    if rules.is_own_folder(reached.at(), inside.as_os_str().as_bytes(), &stat) {
        return Err(unusable(io::Error::other("it belongs to this program and is never backed up")));
    }
    let walk = Walk {
        root,
        root_dev: stat.dev,
        root_handle: handle.as_ref().map(AsFd::as_fd),
        rules,
        tick,
        stop,
        handles: AtomicUsize::new(0),
        next_part: AtomicUsize::new(1),
        found: Mutex::default(),
        totals: Totals::default(),
    };
    walk.totals.count(&stat);
    if let Some(dir) = walk.root_handle {
        let place = rules.place_of_root(root, &stat).map_err(unusable)?;
        let (names, ended) = sys::list(dir);
        match ended {
            Some(cause) if names.is_empty() => return Err(unusable(cause)),
            Some(cause) => walk.close("listing", ROOT, &place, cause),
            None => {}
        }
        rayon::scope(|scope| walk.share_out(scope, ROOT, Arc::new(place), None, names));
    }
    if stop.load(Relaxed) {
        return Err(Error::interrupted());
    }
    let name = root.file_name().map(|name| name.as_bytes().into()).unwrap_or_default();
    let numbers_made_up = walk.root_handle.is_some_and(trust::makes_numbers_up);
    Ok(Scan { numbers_made_up, ..walk.finish(Node::new(name, stat)) })
}

/// What the tasks of one walk share.
struct Walk<'w> {
    root: &'w Path,
    root_dev: u64,
    root_handle: Option<BorrowedFd<'w>>,
    rules: &'w Rules,
    tick: &'w (dyn Fn(u64, u64) + Sync),
    stop: &'w AtomicBool,
    handles: AtomicUsize,
    next_part: AtomicUsize,
    found: Mutex<Found>,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    files: AtomicU64,
    dirs: AtomicU64,
    links: AtomicU64,
    bytes: AtomicU64,
    excluded: AtomicU64,
}

#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    failures: Vec<Failure>,
    passed_over: Vec<(PathBuf, PassedOver)>,
    closed: Vec<(Owner, Unseen)>,
}

/// Some of a directory's entries, sorted; each task makes one. Parts are numbered so that those of a directory follow one
/// another and come after the part in which the directory itself stands.
struct Part {
    number: usize,
    owner: Owner,
    first: bool,
    nodes: Vec<Node>,
    excluded: Vec<Listed>,
    unread: Vec<Listed>,
}

/// Where a directory's own node stands; part 0 is the root alone.
#[derive(Clone, Copy)]
struct Owner {
    part: usize,
    index: usize,
}

const ROOT: Owner = Owner { part: 0, index: 0 };

/// A directory that is open for the sake of those in it, counted while it is.
struct Handle<'w> {
    fd: OwnedFd,
    open: &'w AtomicUsize,
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

impl<'w> Walk<'w> {
    /// Enters a directory: opens it, by its parent's handle if that is still at hand, and shares out its names.
    fn enter<'s>(&'s self, scope: &Scope<'s>, owner: Owner, place: Place, uid: u32, parent: Option<Arc<Handle<'s>>>) {
        if self.stop.load(Relaxed) {
            return;
        }
        if place.is_loop() {
            let cause = io::Error::other("its folders go on without end");
            return self.close("entering", owner, &place, cause);
        }
        let opened = match &parent {
            Some(parent) => sys::open(&parent.fd, sys::os(&place.name), uid, OFlags::DIRECTORY),
            None => self.open_from_root(&place, uid),
        };
        drop(parent);
        let fd = match opened {
            Ok(fd) => fd,
            Err(cause) => return self.close("entering", owner, &place, cause),
        };
        self.handles.fetch_add(1, Relaxed);
        let handle = Arc::new(Handle { fd, open: &self.handles });
        let (names, ended) = sys::list(handle.fd.as_fd());
        if let Some(cause) = ended {
            self.close("listing", owner, &place, cause);
        }
        self.share_out(scope, owner, Arc::new(place), Some(handle), names);
    }

    fn open_from_root(&self, place: &Place, uid: u32) -> io::Result<OwnedFd> {
        let root = self.root_handle.ok_or(io::ErrorKind::NotFound)?;
        let mut names = place.below_root();
        let last = names.pop().ok_or(io::ErrorKind::NotFound)?;
        match sys::descend(root, &names)? {
            Some(parent) => sys::open(parent, sys::os(last), uid, OFlags::DIRECTORY),
            None => sys::open(root, sys::os(last), uid, OFlags::DIRECTORY),
        }
    }

    /// Whether so many directories are open that one more may be only if it is soon done with.
    fn crowded(&self) -> bool {
        self.handles.load(Relaxed) >= HANDLES
    }

    /// Looks at the names of a directory, in tasks of their own if there are many. Without a handle, of the root.
    fn share_out<'s>(
        &'s self,
        scope: &Scope<'s>,
        owner: Owner,
        place: Arc<Place>,
        handle: Option<Arc<Handle<'s>>>,
        mut names: Vec<Listed>,
    ) {
        let Some(dir) = handle.as_ref().map(|handle| handle.fd.as_fd()).or(self.root_handle) else { return };
        let tags = self.rules.tags_of(dir, &names);
        let mut tagged = Vec::new();
        if !tags.is_empty() {
            (names, tagged) = names.into_iter().partition(|listed| tags.contains(&&*listed.name));
            self.totals.excluded.fetch_add(tagged.len() as u64, Relaxed);
        }
        let parts = names.len().div_ceil(NAMES_AT_ONCE);
        let number = self.next_part.fetch_add(parts, Relaxed);
        for part in (0..parts).rev() {
            let names = names.split_off(part * NAMES_AT_ONCE);
            let first = part == 0;
            let excluded = if first { std::mem::take(&mut tagged) } else { Vec::new() };
            let part = Part { number: number + part, owner, first, nodes: Vec::new(), excluded, unread: Vec::new() };
            if first || self.crowded() {
                self.look(scope, part, &place, handle.clone(), names);
            } else {
                let (place, handle) = (Arc::clone(&place), handle.clone());
                scope.spawn(move |scope| self.look(scope, part, &place, handle, names));
            }
        }
    }

    /// Looks at each name once, records what is there, and sends tasks into the directories among them.
    fn look<'s>(
        &'s self,
        scope: &Scope<'s>,
        mut part: Part,
        place: &Arc<Place>,
        handle: Option<Arc<Handle<'s>>>,
        names: Vec<Listed>,
    ) {
        let Some(dir) = handle.as_ref().map(|handle| handle.fd.as_fd()).or(self.root_handle) else { return };
        if self.stop.load(Relaxed) {
            return;
        }
        let mut gone = Vec::new();
        let tagged = part.excluded.len();
        part.nodes.reserve_exact(names.len());
        for Listed { name, kind } in names {
            if self.rules.exclude_name(place, &name) {
                part.excluded.push(Listed { name, kind });
                continue;
            }
            match sys::stat(dir, sys::os(&name)) {
                Ok(stat) if self.rules.exclude_stat(&stat) => {
                    part.excluded.push(Listed { name, kind: Some(stat.kind) });
                }
                Ok(Stat { kind: Kind::Other(kind), .. }) => self.pass_over(place, &name, PassedOver::Special(kind)),
                Ok(stat) => match self.rules.own(dir, place, &name, &stat) {
                    Some(what) => self.pass_over(place, &name, PassedOver::Own(what)),
                    None => part.nodes.push(Node::new(name, stat)),
                },
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    gone.push((Listed { name, kind }, cause));
                }
                Err(cause) => {
                    self.fail("looking at", place, Some(&name), cause);
                    part.unread.push(Listed { name, kind });
                }
            }
        }
        self.still_named(place, dir, gone, &mut part.unread);
        self.totals.excluded.fetch_add((part.excluded.len() - tagged) as u64, Relaxed);
        part.nodes.iter().for_each(|node| self.totals.count(&node.stat));
        (self.tick)(self.totals.files.load(Relaxed), self.totals.bytes.load(Relaxed));

        let mut below = Vec::new();
        for (index, node) in part.nodes.iter().enumerate().filter(|(_, node)| node.stat.kind == Kind::Dir) {
            if self.rules.may_enter(&node.stat, self.root_dev) {
                let owner = Owner { part: part.number, index };
                below.push((owner, self.rules.place_below(place, &node.name, &node.stat), node.stat.uid));
            } else {
                self.pass_over(place, &node.name, PassedOver::OtherFileSystem);
                self.found(|found| found.closed.push((Owner { part: part.number, index }, Unseen::Excluded)));
            }
        }
        let count = below.len();
        for (at, (owner, below, uid)) in below.into_iter().enumerate() {
            // The last one is entered next.
            let parent = handle.clone().filter(|_| at + 1 == count || !self.crowded());
            scope.spawn(move |scope| self.enter(scope, owner, below, uid, parent));
        }
        self.found(|found| found.parts.push(part));
    }

    /// A file that was deleted between listing and looking is simply not there any more. But one that the directory still
    /// names and the system cannot find is lost to a damaged file system, and that must be said.
    fn still_named(
        &self,
        place: &Place,
        dir: BorrowedFd<'_>,
        gone: Vec<(Listed, io::Error)>,
        unread: &mut Vec<Listed>,
    ) {
        if gone.is_empty() {
            return;
        }
        match sys::open(dir, sys::os(b"."), 0, OFlags::DIRECTORY) {
            Ok(again) => {
                let (names, _) = sys::list(again.as_fd());
                for (missing, cause) in gone {
                    if names.binary_search_by(|listed| listed.name.cmp(&missing.name)).is_ok() {
                        self.fail("looking at", place, Some(&missing.name), cause);
                        unread.push(missing);
                    }
                }
            }
            Err(cause) => {
                self.fail("listing", place, None, cause);
                unread.extend(gone.into_iter().map(|(missing, _)| missing));
            }
        }
    }

    fn fail(&self, during: &'static str, place: &Place, name: Option<&[u8]>, cause: io::Error) {
        let failure = Failure::new(during, place.path(self.root, name), cause);
        self.found(|found| found.failures.push(failure));
    }

    /// A directory of which not everything could be seen.
    fn close(&self, during: &'static str, owner: Owner, place: &Place, cause: io::Error) {
        self.fail(during, place, None, cause);
        self.found(|found| found.closed.push((owner, Unseen::Unread)));
    }

    fn pass_over(&self, place: &Place, name: &[u8], why: PassedOver) {
        let path = place.path(self.root, Some(name));
        self.found(|found| found.passed_over.push((path, why)));
    }

    fn found(&self, add: impl FnOnce(&mut Found)) {
        add(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Puts the parts together under the root, last ones first: when a part is hung up, all that belongs below it is.
    fn finish(self, mut root: Node) -> Scan {
        let Found { mut parts, mut failures, mut passed_over, closed } =
            self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        parts.sort_unstable_by_key(|part| part.number);
        for (owner, why) in closed {
            if let Some(dir) = node_of(&mut parts, &mut root, owner) {
                dir.missed.get_or_insert_default().closed = Some(why);
            }
        }
        while let Some(part) = parts.pop() {
            let Some(dir) = node_of(&mut parts, &mut root, part.owner) else { continue };
            if !part.excluded.is_empty() || !part.unread.is_empty() {
                dir.missed.get_or_insert_default();
            }
            if let Some(missed) = &mut dir.missed {
                for (listed, more) in [(&mut missed.excluded, part.excluded), (&mut missed.unread, part.unread)] {
                    listed.extend(more);
                    if part.first {
                        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                    }
                }
            }
            if dir.children.is_empty() {
                dir.children = part.nodes;
            } else {
                dir.children.extend(part.nodes);
                if part.first {
                    // Sorted runs, which a stable sort merges.
                    dir.children.sort_by(|a, b| a.name.cmp(&b.name));
                }
            }
        }
        failures.sort_by(|a, b| a.path.cmp(&b.path));
        passed_over.sort();
        let Totals { files, dirs, links, bytes, excluded } = self.totals;
        Scan {
            root: self.root.to_owned(),
            node: root,
            failures,
            passed_over,
            excluded: excluded.into_inner(),
            files: files.into_inner(),
            dirs: dirs.into_inner(),
            links: links.into_inner(),
            bytes: bytes.into_inner(),
            numbers_made_up: false,
        }
    }
}

/// A directory's own node, among parts that are sorted by number.
fn node_of<'p>(parts: &'p mut [Part], root: &'p mut Node, Owner { part, index }: Owner) -> Option<&'p mut Node> {
    match parts.binary_search_by_key(&part, |above| above.number) {
        Ok(at) => parts.get_mut(at)?.nodes.get_mut(index),
        Err(_) => Some(root),
    }
}

impl Totals {
    fn count(&self, stat: &Stat) {
        match stat.kind {
            Kind::File => {
                self.files.fetch_add(1, Relaxed);
                self.bytes.fetch_add(stat.size, Relaxed);
            }
            Kind::Dir => {
                self.dirs.fetch_add(1, Relaxed);
            }
            Kind::Symlink | Kind::Other(_) => {
                self.links.fetch_add(1, Relaxed);
            }
        }
    }
}
