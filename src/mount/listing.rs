//! What is in a directory of the mount, and the attributes of each thing in it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::nodes::Ident;
use crate::id::ChunkId;
use crate::view::{Entry, EntryKind, Meta, Time};

/// What a directory of the mount is made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Dir {
    /// The top.
    Top,
    /// The newest state of each source.
    Latest,
    /// A folder for each snapshot.
    Snapshots,
    /// A directory of a snapshot, and the snapshot's number: hard links are known within it.
    Tree(ChunkId, u32),
    /// A folder of what was deleted, by its path; empty for all of it.
    Deleted(Vec<u8>),
}

/// A thing in a directory.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) ident: Ident,
    pub(super) entry: Entry,
    /// What it is made from, if it is a directory.
    pub(super) dir: Option<Dir>,
    /// Names that it has, as far as that is known.
    pub(super) links: u32,
}

impl Item {
    /// A thing of a snapshot. Files that had several names there are one file with several names here.
    pub(super) fn of_tree(parent: Ident, entry: Entry, snapshot: Option<u32>) -> Self {
        let mut ident = parent.child(&entry.name);
        let mut links = 1;
        let dir = match (&entry.kind, snapshot) {
            (EntryKind::Dir { tree, .. }, Some(snapshot)) => Some(Dir::Tree(*tree, snapshot)),
            (EntryKind::File { hash, size, .. }, Some(snapshot)) if entry.meta.links > 1 => {
                links = u32::try_from(entry.meta.links).unwrap_or(u32::MAX);
                ident = Ident::of_linked(snapshot, &entry.meta, hash, *size);
                None
            }
            _ => None,
        };
        Self { ident, entry, dir, links }
    }

    /// A directory that no snapshot has.
    pub(super) fn made(parent: Ident, name: Vec<u8>, dir: Dir, time: Time) -> Self {
        Self { ident: parent.child(&name), entry: made_entry(name, time), dir: Some(dir), links: 1 }
    }

    pub(super) fn kind(&self) -> FileType {
        match (&self.dir, &self.entry.kind) {
            (None, EntryKind::File { .. }) => FileType::RegularFile,
            (None, EntryKind::Symlink { .. }) => FileType::Symlink,
            _ => FileType::Directory,
        }
    }

    /// The attributes, for the inode that stands for it. Of the times only that of the last modification is the
    /// archive's; it stands for all of them.
    pub(super) fn attr(&self, ino: u64, owner: (u32, u32)) -> FileAttr {
        let meta = &self.entry.meta;
        let size = match (&self.dir, &self.entry.kind) {
            (None, EntryKind::File { size, .. }) => *size,
            (None, EntryKind::Symlink { target }) => target.len() as u64,
            _ => 0,
        };
        let mtime = moment(meta.mtime);
        let (uid, gid) = if is_made(&self.entry) { owner } else { (meta.uid, meta.gid) };
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: mtime,
            mtime,
            ctime: mtime,
            crtime: mtime,
            kind: self.kind(),
            perm: (meta.mode & 0o777) as u16,
            nlink: self.links,
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn made_entry(name: Vec<u8>, mtime: Time) -> Entry {
    let meta = Meta { mode: 0o755, mtime, ..Meta::default() };
    // No stored directory has this tree: it is the hash of nothing that is one.
    let kind = EntryKind::Dir { tree: ChunkId::from_bytes([0; 32]), files: 0, bytes: 0 };
    Entry { name, kind, meta }
}

/// Whether an entry is none of a snapshot: its owner is then whoever mounts.
fn is_made(entry: &Entry) -> bool {
    entry.meta.links == 0
}

fn moment(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nanos.into());
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let secs = if time.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    secs.and_then(|secs| secs.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// What is in a directory, ascending by name.
#[derive(Debug)]
pub(super) struct Listing {
    items: Vec<Item>,
    /// Where directories with a name that was made up lie in no order.
    by_name: Option<HashMap<Vec<u8>, usize>>,
    whole: bool,
}

impl Listing {
    /// These things; and whether they are all that the directory holds. A program that copies one that is not whole gets an error
    /// after the last of them.
    pub(super) fn new(items: Vec<Item>, whole: bool) -> Self {
        let sorted = items.is_sorted_by(|a, b| a.entry.name < b.entry.name);
        let names = || items.iter().enumerate().map(|(at, item)| (item.entry.name.clone(), at)).collect();
        let by_name = (!sorted).then(names);
        Self { items, by_name, whole }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// What is to be said of a name that is not among them.
    pub(super) fn absence(&self) -> Errno {
        if self.whole { Errno::ENOENT } else { Errno::EIO }
    }

    /// Where the thing with this name is.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        match &self.by_name {
            Some(names) => names.get(name).copied(),
            None => self.items.binary_search_by(|item| item.entry.name.as_slice().cmp(name)).ok(),
        }
    }

    /// About how much memory it takes, in bytes.
    fn weight(&self) -> usize {
        let item = |item: &Item| {
            let meta = &item.entry.meta;
            let xattrs: usize = meta.xattrs.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
            let own = match &item.entry.kind {
                EntryKind::File { content: crate::view::Content::Chunks(chunks), .. } => size_of_val(chunks.as_slice()),
                EntryKind::Symlink { target } => target.len(),
                _ => 0,
            };
            size_of::<Item>() + item.entry.name.len() + xattrs + own
        };
        self.items.iter().map(item).sum()
    }
}

impl Deref for Listing {
    type Target = [Item];

    fn deref(&self) -> &[Item] {
        &self.items
    }
}

/// The directories that were listed last, up to a number of bytes.
pub(super) struct Listings {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_ino: HashMap<u64, (Arc<Listing>, usize, u64)>,
    by_age: BTreeMap<u64, u64>,
    bytes: usize,
    clock: u64,
}

impl Listings {
    /// Keeps about so many bytes of them.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// The listing of a directory, if it is still kept.
    pub(super) fn get(&self, ino: u64) -> Option<Arc<Listing>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let clock = kept.clock;
        let (listing, _, age) = kept.by_ino.get_mut(&ino)?;
        let (listing, before) = (Arc::clone(listing), std::mem::replace(age, clock));
        kept.by_age.remove(&before);
        kept.by_age.insert(clock, ino);
        Some(listing)
    }

    /// Keeps a listing, and lets go of the ones that were not asked for for longest. The newest stays, however large.
    pub(super) fn put(&self, ino: u64, listing: Arc<Listing>) {
        let weight = listing.weight();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let clock = kept.clock;
        kept.bytes += weight;
        if let Some((_, weight, age)) = kept.by_ino.insert(ino, (listing, weight, clock)) {
            kept.bytes -= weight;
            kept.by_age.remove(&age);
        }
        kept.by_age.insert(clock, ino);
        while kept.bytes > self.limit && kept.by_ino.len() > 1 {
            let Some((_, oldest)) = kept.by_age.pop_first() else { break };
            if let Some((_, weight, _)) = kept.by_ino.remove(&oldest) {
                kept.bytes -= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_1970_and_beyond_all_measure_are_moments() {
        let before = moment(Time { secs: -2, nanos: 750_000_000 });
        assert_eq!(UNIX_EPOCH.duration_since(before).ok(), Some(Duration::from_millis(1250)));
        assert!(moment(Time { secs: i64::MAX, nanos: 999_999_999 }) >= UNIX_EPOCH);
    }

    #[test]
    fn the_listings_asked_for_last_are_kept() {
        let listing = |ino: u64| {
            let ident = Ident { ino, check: 0 };
            let item = Item::made(ident, vec![b'a'; 100], Dir::Top, Time::default());
            Arc::new(Listing::new(vec![item], true))
        };
        let listings = Listings::new(3 * listing(1).weight());
        (1..=3).for_each(|ino| listings.put(ino, listing(ino)));
        assert!(listings.get(1).is_some());
        listings.put(4, listing(4));
        assert!(listings.get(2).is_none(), "the one that nobody asked for is gone");
        assert!([1, 3, 4].iter().all(|ino| listings.get(*ino).is_some()));
        listings.put(4, listing(4));
        assert_eq!(listings.kept.lock().expect("a lock").bytes, 3 * listing(1).weight());
    }
}
