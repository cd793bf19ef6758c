//! The evidence rule: when bytes that are in the archive are recorded for a file that is not read.
//!
//! That is done only where what the file system says leaves no other explanation. Every caller asks here, and nothing
//! else decides it. Each line below is one check, and each is there for an accident that it alone gives away; which of
//! them are asked depends on how far the word of the file system goes ([`Trust`]).
//!
//! | check | it alone gives away |
//! |---|---|
//! | `read`: the entry was read whole in the run that recorded it, and did not change meanwhile | what was recorded of several moments, or stands in from an earlier run |
//! | `clock`: this run does not begin before that one did | the clock was set back between them: times repeat |
//! | `tick`: the times are older than that run, by more than a tick of the file system's clock | an edit after the reading, within the tick of the edit before it; times later than the run |
//! | `skew`: by more than two clocks may differ as well | the same, where another machine's clock, which is behind this one's, sets the times |
//! | `length` | an append where times repeat |
//! | `mtime` | an ordinary edit where times of change are not kept or repeat |
//! | `ctime`: the kernel alone sets it | an edit in place, or a rename and an edit, with the date put back |
//! | `born` | a new file that got the number of a deleted one, with its length and date |
//! | `inode` | two folders that changed names, with files made in the same tick |
//! | `device` | another drive at the same place, filled by the same program |
//! | `names`: as many as when it was read | a name more or less between reading one name of a file and meeting the other |
//!
//! | what it is | file system | asked | else |
//! |---|---|---|---|
//! | a file where it was | [`Trust::Whole`]: ext, XFS, btrfs, F2FS, tmpfs, ZFS | `read clock tick length mtime ctime born inode device` | read |
//! | a file where it was | [`Trust::Place`]: NFS, SMB, 9p, overlay, kernel NTFS and others of the table in `source/trust.rs` | the same with `skew`, and without `device`: anonymous numbers, and no birth to know the folder by | read |
//! | a file where it was | [`Trust::Name`]: FAT, exFAT, FUSE | the same with `skew`, and without `device` and `inode`, which are made up when it is mounted; and no other file of all sources there, as recorded or as they are, has its length and date | read |
//! | a file where it was | [`Trust::Never`]: images that are made whole (squashfs, erofs, ISO 9660), whatever is not known | | read |
//! | a file that a renamed folder took along | Whole, and a time of birth is told | as for a file where it was | read; its chunks are known then, and it counts as moved |
//! | a file that was itself renamed, linked or edited | any | its `ctime` is another | read |
//! | a second name of a file read in this run | Whole, and a time of birth is told | `length mtime ctime born inode device names` | read |
//! | moved files and second names | Place, Name, Never: pooled file systems give one number to several files | | read |
//! | attributes where they were | Whole | `read clock tick ctime born inode device` | read |
//! | attributes | Place, Name, Never | | read |
//!
//! `born` is equal if neither time is told; told by one alone, as by an entry of an older snapshot, it is not.
//!
//! **Ticks.** A file that changed within a tick of being read may change again without another time. So a time counts
//! only if it lies before the start of the run that recorded it, by more than its tick: 2 s where it has no fraction (FAT,
//! ext3, old servers), else 50 ms (the kernel's clock for times goes in steps of 1 to 10 ms). On Whole this is asked of
//! `ctime` alone, which nobody can set; elsewhere of `mtime` as well, since `ctime` may be its copy. A time later than the
//! run is never old enough: such a file is read each time until the clock has passed it.
//!
//! **Two clocks.** A run begins by this machine's clock. Where the kernel keeps a file system itself, the times of files are of the
//! same one; elsewhere (NFS, SMB, 9p, FUSE) they may be of another machine's, and if that one is behind,
//! an edit within the tick of the reading has a time that lies well before the run. So there a time counts only if it lies five
//! minutes further back: machines whose clocks are further apart refuse each other's tickets (Kerberos), and clocks that the
//! network sets, or that somebody sets once in a season, are nearer. It costs that what was written in the last minutes before
//! a run is read once more by the next one. A server whose clock is further behind than that must be given the time.
//!
//! **Clocks.** Where the clock was set back between two runs, nothing is taken over, once; the run after that has a start
//! to compare with again. A clock that was wrong and right again between two runs shows in no run: then an edit that
//! put everything else back would also have to hit the very tick of the recorded time.
//!
//! **Devices** get other numbers at each start of the computer, and two drives may change theirs. The folder by which the
//! walk came onto a device (the source itself, or where something is mounted) tells which one it is, if its inode number and time
//! of birth are as recorded; only where no birth is told, the device's number does.
//!
//! **What no evidence shows.** FAT and exFAT keep no time of change: after mounting anew it is the modification time. So
//! an edit in place there (and on FUSE file systems that do as they) that keeps length and date looks like nothing; reading
//! every file of a drive at each run would be the only remedy, and `--reread` is there for it. Two folders that change their
//! names show nothing either, and a burst of photos of one length and date that is numbered anew shows nothing but one that is
//! gone, not even in the numbers once the drive was plugged in again; so a file that has its length and date in common with
//! another one, of whichever source of the run, is read. On any file system, a program that keeps a file mapped may
//! write to a page again, before the system has written that page out, without another time; tmpfs gives such writes none.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::before::Before;
use super::bytes;
use super::previous::{Known, time};
use crate::archive::{Budget, Reader};
use crate::error::Result;
use crate::format::{Entry, EntryKind, Time};
use crate::id::ChunkId;
use crate::source::{self, Clock, Node, Stat, Trust, trust};

/// How long the clock of a file system may stand still, in nanoseconds: where times have fractions, and where not.
const TICK_FINE: i128 = 50_000_000;
const TICK_COARSE: i128 = 2_000_000_000;
/// How far the clock of another machine may be behind, in nanoseconds.
const SKEW: i128 = 300_000_000_000;

/// What is known of a file, and what the file system says of it now.
pub(in crate::op) struct Evidence<'a> {
    /// As it was recorded.
    pub(super) entry: &'a Entry,
    /// As it is.
    pub(super) stat: &'a Stat,
    /// When the run began that recorded it.
    pub(super) since: Time,
    /// When this one began.
    pub(super) now: Time,
    pub(super) ground: Ground,
}

/// A check of the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    Read,
    Clock,
    Tick,
    Skew,
    Length,
    Mtime,
    Ctime,
    Born,
    Inode,
    Device,
    Names,
}

/// What is asked of a file where it was, if all that the file system says is good.
const SAME: &[Check] = {
    use Check::*;
    &[Read, Clock, Tick, Length, Mtime, Ctime, Born, Inode, Device]
};
/// The same, if it is good at one place.
const SAME_PLACE: &[Check] = {
    use Check::*;
    &[Read, Clock, Tick, Skew, Length, Mtime, Ctime, Born, Inode]
};
/// The same, if the numbers are made up.
const SAME_NAME: &[Check] = {
    use Check::*;
    &[Read, Clock, Tick, Skew, Length, Mtime, Ctime, Born]
};
/// What is asked before attributes are taken over.
const ATTRIBUTES: &[Check] = {
    use Check::*;
    &[Read, Clock, Tick, Ctime, Born, Inode, Device]
};
/// What makes two names of this run those of one file.
const LINKED: &[Check] = {
    use Check::*;
    &[Length, Mtime, Ctime, Born, Inode, Device, Names]
};

impl Evidence<'_> {
    /// Whether a file is surely as it was recorded under the same name.
    pub(in crate::op) fn is_unchanged(&self) -> bool {
        let asked = match self.ground.trust {
            Trust::Whole => SAME,
            Trust::Place => SAME_PLACE,
            Trust::Name => SAME_NAME,
            Trust::Never => return false,
        };
        self.is_file() && self.all(asked)
    }

    /// Whether the file system says nothing of a file that was read just now but what was recorded of it. That is asked when its
    /// bytes are others: then they changed while nothing else did. Where all of its word is good, it does not matter why the
    /// file was read, and what only makes it necessary to read is not asked (an entry that was carried forward, a clock that was
    /// set back). Elsewhere an edit may look the same then.
    fn looks_the_same(&self) -> bool {
        use Check::*;
        let asked: &[Check] = match self.ground.trust {
            Trust::Whole => &[Tick, Length, Mtime, Ctime, Born, Inode, Device],
            Trust::Place => SAME_PLACE,
            Trust::Name | Trust::Never => SAME_NAME,
        };
        let settled = !matches!(self.entry.kind, EntryKind::File { unsettled: true, .. });
        settled && self.is_file() && self.all(asked)
    }

    /// Whether a file is surely one that was recorded under another name.
    pub(super) fn is_moved(&self) -> bool {
        self.ground.trust == Trust::Whole && self.stat.born.is_some() && self.is_file() && self.all(SAME)
    }

    /// Whether the attributes of anything are surely as they were recorded under the same name.
    pub(super) fn has_its_attributes(&self) -> bool {
        self.ground.trust == Trust::Whole && self.all(ATTRIBUTES)
    }

    fn is_file(&self) -> bool {
        self.stat.kind == source::Kind::File && matches!(self.entry.kind, EntryKind::File { .. })
    }

    fn all(&self, asked: &[Check]) -> bool {
        asked.iter().all(|check| is_left_out(*check) || self.holds(*check))
    }

    fn holds(&self, check: Check) -> bool {
        let (meta, stat) = (&self.entry.meta, self.stat);
        match check {
            Check::Read => {
                meta.carried.is_none() && !matches!(self.entry.kind, EntryKind::File { unsettled: true, .. })
            }
            Check::Clock => self.since <= self.now,
            Check::Tick => self.is_settled(0),
            Check::Skew => self.ground.clock == Clock::Own || self.is_settled(SKEW),
            Check::Length => matches!(self.entry.kind, EntryKind::File { size, .. } if size == stat.size),
            Check::Mtime => meta.mtime == time(stat.mtime),
            Check::Ctime => meta.ctime == time(stat.ctime),
            Check::Born => meta.born == stat.born.map(time),
            Check::Inode => meta.inode == stat.ino,
            Check::Device => self.ground.device == Some(meta.device),
            Check::Names => meta.links == stat.nlink,
        }
    }

    /// Whether a change after the reading would have another time, by a clock that is behind by no more than this.
    fn is_settled(&self, skew: i128) -> bool {
        let meta = &self.entry.meta;
        let (newest, fine) = match self.ground.trust {
            Trust::Whole => (meta.ctime, meta.ctime.nanos != 0),
            _ => (meta.ctime.max(meta.mtime), meta.ctime.nanos != 0 && meta.mtime.nanos != 0),
        };
        nanos(newest) + if fine { TICK_FINE } else { TICK_COARSE } + skew < nanos(self.since)
    }
}

/// Whether two names that were met in this run, the first of them read, are surely names of one file.
pub(super) fn is_one_file(trust: Trust, read: &Stat, met: &Stat) -> bool {
    let holds = |check: &Check| match check {
        Check::Length => read.size == met.size,
        Check::Mtime => read.mtime == met.mtime,
        Check::Ctime => read.ctime == met.ctime,
        Check::Born => read.born.is_some() && read.born == met.born,
        Check::Inode => read.ino == met.ino,
        Check::Device => read.dev == met.dev,
        Check::Names => read.nlink == met.nlink,
        Check::Read | Check::Clock | Check::Tick | Check::Skew => true,
    };
    let files = read.kind == source::Kind::File && met.kind == source::Kind::File && met.nlink > 1;
    trust == Trust::Whole && files && LINKED.iter().all(|check| is_left_out(*check) || holds(check))
}

fn nanos(time: Time) -> i128 {
    i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos)
}

/// What a device is worth as a witness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground {
    /// How far its word goes.
    pub(super) trust: Trust,
    /// Whose times it has.
    pub(super) clock: Clock,
    /// Which of the recorded source's devices it is, if it is surely one of them.
    pub(super) device: Option<u64>,
}

/// The devices of a source, and what may be believed of what was recorded of it.
pub(in crate::op) struct Grounds {
    devices: HashMap<u64, Ground>,
    since: Time,
    now: Time,
    /// Length and date that several files have in common, where a file system's word goes no further than names: if they
    /// changed theirs, nothing else would show it. None if not all that was recorded can be read: then any file may have a
    /// twin.
    twins: Arc<Option<HashSet<Look>>>,
    /// Paths that the recording run could not read, or not wholly; none if it did not name all of them.
    doubted: Option<Arc<HashSet<Vec<u8>>>>,
}

/// A source of a run.
pub(super) struct Asked<'a> {
    /// Where it is.
    pub(super) path: &'a Path,
    /// What is there.
    pub(super) node: &'a Node,
    /// What was recorded of it.
    pub(super) known: Option<&'a Known>,
}

impl Grounds {
    /// Looks at the devices of the sources of a run that begins now. All of them are asked for together, since folders may
    /// have changed their names from one to the other.
    pub(super) fn find(reader: &Reader<'_>, sources: &[Asked<'_>], now: Time) -> Result<Vec<Self>> {
        let (mut all, mut by_name) = (Vec::with_capacity(sources.len()), Vec::new());
        for source @ Asked { path, node, known } in sources {
            let mut devices = HashMap::new();
            for (node, names) in landings(node) {
                let path = names.iter().fold(path.to_path_buf(), |path, name| path.join(source::name_of(name)));
                let device = known.map(|known| recorded(reader, known, node, &names)).transpose()?.flatten();
                let (trust, clock) = trust(&path, node.stat.dev);
                devices.insert(node.stat.dev, Ground { trust, clock, device });
            }
            if devices.values().any(|ground| ground.trust == Trust::Name) {
                by_name.push(source);
            }
            let doubted = known.map_or(Some(Arc::default()), |known| known.doubted.clone());
            let since = known.map(|known| known.since).unwrap_or_default();
            all.push(Self { devices, since, now, twins: Arc::default(), doubted });
        }
        let twins = Arc::new(twins(reader, &by_name)?);
        all.iter_mut().for_each(|grounds| grounds.twins = twins.clone());
        Ok(all)
    }

    /// What is known of something, beside what the file system says of it now.
    pub(in crate::op) fn evidence<'a>(&self, entry: &'a Entry, stat: &'a Stat) -> Evidence<'a> {
        Evidence { entry, stat, since: self.since, now: self.now, ground: self.of(stat.dev) }
    }

    /// Whether a file is surely as it was recorded under the same name.
    pub(in crate::op) fn is_unchanged(&self, entry: &Entry, stat: &Stat) -> bool {
        self.evidence(entry, stat).is_unchanged() && !self.may_be_a_twin(entry, stat)
    }

    /// Whether nothing tells a file that was read just now from what was recorded of it, but perhaps its bytes.
    pub(super) fn looks_the_same(&self, entry: &Entry, stat: &Stat) -> bool {
        self.evidence(entry, stat).looks_the_same() && !self.may_be_a_twin(entry, stat)
    }

    /// Whether it may be another file that has got its name.
    fn may_be_a_twin(&self, entry: &Entry, stat: &Stat) -> bool {
        let by_name = self.of(stat.dev).trust == Trust::Name;
        by_name && self.twins.as_ref().as_ref().is_none_or(|twins| twins.contains(&look_of(entry)))
    }

    /// What this device is worth.
    pub(super) fn of(&self, device: u64) -> Ground {
        self.devices.get(&device).copied().unwrap_or(Ground { trust: Trust::Never, clock: Clock::Other, device: None })
    }

    /// Whether something at this path may be missing from what was recorded of it.
    pub(super) fn doubts(&self, path: &Path) -> bool {
        self.doubted.as_ref().is_none_or(|doubted| !doubted.is_empty() && doubted.contains(&bytes(path)))
    }
}

/// Length and date of a file.
type Look = (u64, Time);

/// The same as it was recorded.
fn look_of(entry: &Entry) -> Look {
    (if let EntryKind::File { size, .. } = entry.kind { size } else { 0 }, entry.meta.mtime)
}

/// What files were met, and what several of them have in common.
#[derive(Default)]
struct Looks {
    met: HashSet<Look>,
    twins: HashSet<Look>,
}

impl Looks {
    fn meet(&mut self, look: Look) {
        if !self.met.insert(look) {
            self.twins.insert(look);
        }
    }
}

/// What several files of these sources have in common, as they were recorded or as they are; none if not all that was recorded
/// can be read.
fn twins(reader: &Reader<'_>, sources: &[&Asked<'_>]) -> Result<Option<HashSet<Look>>> {
    // What lies in two sources at once is met once.
    let within = |one: &Asked<'_>, other: &Asked<'_>| one.path != other.path && one.path.starts_with(other.path);
    let apart: Vec<&Asked<'_>> =
        sources.iter().filter(|one| !sources.iter().any(|other| within(one, other))).copied().collect();
    let (mut then, mut now) = (Looks::default(), Looks::default());
    for Asked { node, known, .. } in apart {
        let mut todo = vec![*node];
        while let Some(node) = todo.pop() {
            if node.stat.kind == source::Kind::File {
                now.meet((node.stat.size, time(node.stat.mtime)));
            }
            todo.extend(&node.children);
        }
        let whole = match known.map(|known| &known.entry) {
            Some(Entry { kind: EntryKind::Dir { tree, .. }, .. }) => meet_all(reader, *tree, &mut then)?,
            Some(entry) => {
                then.meet(look_of(entry));
                true
            }
            None => true,
        };
        if !whole {
            return Ok(None);
        }
    }
    then.twins.extend(now.twins);
    Ok(Some(then.twins))
}

/// Meets every file of a tree, and says whether all of it can be read.
fn meet_all(reader: &Reader<'_>, top: ChunkId, looks: &mut Looks) -> Result<bool> {
    let (mut budget, mut todo) = (Budget::new(reader.archive()), vec![top]);
    while let Some(tree) = todo.pop() {
        let before = Before::enter(&mut budget, &tree)?;
        if !before.is_whole() {
            return Ok(false);
        }
        for entry in before.entries {
            match &entry.kind {
                EntryKind::Dir { tree, .. } => todo.push(*tree),
                EntryKind::File { .. } => looks.meet(look_of(&entry)),
                EntryKind::Symlink { .. } => {}
            }
        }
    }
    Ok(true)
}

/// Where the walk came onto each device, and the names that lead there from the source.
fn landings(root: &Node) -> Vec<(&Node, Vec<&[u8]>)> {
    let mut found: Vec<(&Node, Vec<&[u8]>)> = vec![(root, Vec::new())];
    // Names are gathered only where a device was left: almost every folder lies on the one of the folder above.
    let mut todo: Vec<(&Node, usize)> = vec![(root, 0)];
    let mut above: Vec<&[u8]> = Vec::new();
    while let Some((node, depth)) = todo.pop() {
        above.truncate(depth.saturating_sub(1));
        if depth > 0 {
            above.push(&node.name);
        }
        if !found.iter().any(|(known, _)| known.stat.dev == node.stat.dev) {
            found.push((node, above.clone()));
        }
        let strange = |child: &&Node| child.stat.kind == source::Kind::Dir || child.stat.dev != node.stat.dev;
        todo.extend(node.children.iter().filter(strange).rev().map(|child| (child, depth + 1)));
    }
    found
}

/// Which of the recorded devices the one is onto which the walk came at `node`.
fn recorded(reader: &Reader<'_>, known: &Known, node: &Node, names: &[&[u8]]) -> Result<Option<u64>> {
    let mut entry = known.entry.clone();
    for name in names {
        let EntryKind::Dir { tree, .. } = &entry.kind else { return Ok(by_number(known, node)) };
        let found = Before::read(reader, tree)?;
        let Some(at) = found.find(name) else {
            return Ok(if found.may_have_had(name) { None } else { by_number(known, node) });
        };
        entry = found.entries[at].clone();
    }
    match is_same_folder(&entry, &node.stat) {
        Some(same) => Ok(same.then_some(entry.meta.device)),
        None => Ok(by_number(known, node)),
    }
}

/// Whether a folder is the one that was recorded, on whichever device: its number and its time of birth say so together, since the
/// top folder has one number on every file system of a sort. None where no birth is told.
pub(super) fn is_same_folder(entry: &Entry, stat: &Stat) -> Option<bool> {
    let (then, now) = entry.meta.born.zip(stat.born)?;
    Some(then == time(now) && entry.meta.inode == stat.ino)
}

fn by_number(known: &Known, node: &Node) -> Option<u64> {
    known.devices.iter().position(|device| *device == node.stat.dev).map(|at| at as u64)
}

/// Whether a check is left out, which tests do to see that it is needed.
#[cfg(not(test))]
fn is_left_out(_: Check) -> bool {
    false
}

#[cfg(test)]
use tests::is_left_out;

#[cfg(test)]
mod tests;
