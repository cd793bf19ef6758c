//! What a drive may hold after a power cut, worked out from a record of calls.
//!
//! What is promised, in every model but `lying`, is no more than POSIX lets one hope for:
//!
//! - the sync of a file promises what was written to it until then, and nothing about its name;
//! - the sync of a folder promises the names in it as they were then (made, renamed, removed), and nothing about what the
//!   files hold, about names in folders below, or about its own name in the folder above;
//! - nothing else is promised: whatever is not, may be on the drive or not.
//!
//! The models differ in what becomes of that which is not promised:
//!
//! | model | names | content of files |
//! |---|---|---|
//! | `strict` | as they were | as it was |
//! | `journal` | in the order in which they changed, up to any moment after the last that is promised | all; zeros; a prefix, with zeros after it or not; none |
//! | `delalloc` | the same | all; a short prefix; half; none: a renamed file may be empty |
//! | `vfat` | any part of the changes, a rename being three changes: the old name goes, a file that had the new one goes, the new one comes | all; garbage; none. And a name has length 0 until the file is synced *after* it got that name, or by luck |
//! | `reorder` | any part of the changes, a rename being one | any part of the writes, with a hole where one is missing |
//! | `torn` | as they were | a multiple of 512 bytes or of 4 KiB, and then nothing, zeros or garbage |
//! | `lying` | as `reorder`, but no sync of the run promised anything | as `journal`, or garbage |
//!
//! Up to three things that are not promised are tried in all their combinations; of more, those in which one differs from
//! the rest, and combinations drawn at random, the same in each run for the same record.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::common::Random;
use super::disk::{Blob, Disk, Ino, Name, Op, above};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Model {
    Strict,
    Journal,
    Delalloc,
    Vfat,
    Reorder,
    Torn,
    Lying,
}

impl Model {
    pub const ALL: [Self; 7] =
        [Self::Strict, Self::Journal, Self::Delalloc, Self::Vfat, Self::Reorder, Self::Torn, Self::Lying];

    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// How much is tried at each moment at which the power may go.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Combinations of up to three things, at most; beyond, they are drawn at random.
    pub all: usize,
    /// Combinations drawn at random.
    pub random: usize,
}

#[derive(Clone, Copy)]
enum Entry {
    Dir,
    /// A file, and when it got this name.
    File(Ino, usize),
}

#[derive(Clone)]
enum Piece {
    Set(Name, Entry),
    Unset(Name),
}

/// A change of names in one folder.
struct Change {
    at: usize,
    folder: Name,
    pieces: Vec<Piece>,
}

struct File {
    parts: Vec<Blob>,
    whole: Blob,
    /// So many parts are promised.
    durable: usize,
    synced: usize,
}

/// Something that may have come out in several ways. The first is always: as it was done.
#[derive(Clone, Copy)]
enum Unit {
    /// So many changes of names, from the end, did not happen, as the way says.
    Last,
    Change(usize),
    Piece(usize, usize),
    Content(Ino),
    /// A name has length 0.
    Length(Ino),
}

/// What is promised at one moment, and what is not.
struct Cut {
    model: Model,
    names: BTreeMap<Name, Entry>,
    changes: Vec<Change>,
    /// Changes of names up to this moment are promised, where names are in order.
    ordered: usize,
    files: Vec<File>,
    /// What became of content that was not promised, once thought out.
    contents: HashMap<(Ino, usize, usize), Vec<Blob>>,
}

impl Cut {
    fn new(disk: &Disk, model: Model) -> Self {
        let (mut names, mut files) = (BTreeMap::new(), Vec::new());
        for (name, blob) in &disk.0 {
            let entry = match blob {
                None => Entry::Dir,
                Some(blob) => {
                    files.push(File { parts: vec![blob.clone()], whole: blob.clone(), durable: 1, synced: 0 });
                    Entry::File(files.len() - 1, 0)
                }
            };
            names.insert(name.clone(), entry);
        }
        Self { model, names, changes: Vec::new(), ordered: 0, files, contents: HashMap::new() }
    }

    fn advance(&mut self, at: usize, op: &Op) {
        let at = at + 1;
        let mut change = |folder: &str, pieces| self.changes.push(Change { at, folder: folder.into(), pieces });
        match op {
            Op::MakeDir(name) => change(above(name), vec![Piece::Set(name.clone(), Entry::Dir)]),
            Op::Create(ino, name) => {
                change(above(name), vec![Piece::Set(name.clone(), Entry::File(*ino, at))]);
                self.files.push(File { parts: Vec::new(), whole: Blob::new(Vec::new()), durable: 0, synced: 0 });
            }
            Op::Append(ino, blob) => {
                let file = &mut self.files[*ino];
                file.parts.push(blob.clone());
                let parts: Vec<&[u8]> = file.parts.iter().map(Blob::bytes).collect();
                file.whole = if parts.len() == 1 { blob.clone() } else { Blob::new(parts.concat()) };
            }
            Op::Rename(ino, from, to, over) => {
                let mut pieces = vec![Piece::Unset(from.clone())];
                pieces.extend(over.then(|| Piece::Unset(to.clone())));
                pieces.push(Piece::Set(to.clone(), Entry::File(*ino, at)));
                change(above(to), pieces);
            }
            Op::Remove(name) => change(above(name), vec![Piece::Unset(name.clone())]),
            Op::Sync(..) | Op::SyncDir(_) if self.model == Model::Lying => {}
            Op::Sync(ino, _) => {
                let file = &mut self.files[*ino];
                (file.durable, file.synced) = (file.parts.len(), at);
            }
            Op::SyncDir(folder) => {
                let last = self.changes.iter().rfind(|change| change.folder == *folder).map(|change| change.at);
                self.ordered = self.ordered.max(last.unwrap_or(0));
                let changes = std::mem::take(&mut self.changes);
                let (done, rest): (Vec<_>, _) = changes.into_iter().partition(|change| change.folder == *folder);
                self.changes = rest;
                done.iter().for_each(|change| apply(&mut self.names, &change.pieces));
            }
            Op::Promised(_) | Op::Told => {}
        }
    }

    /// What is not promised, and in how many ways each may have come out.
    fn units(&mut self) -> Vec<(Unit, usize)> {
        let mut units = Vec::new();
        match self.model {
            Model::Strict | Model::Torn => {}
            Model::Journal | Model::Delalloc => {
                let free = self.changes.iter().filter(|change| change.at > self.ordered).count();
                if free > 0 {
                    units.push((Unit::Last, free + 1));
                }
            }
            Model::Reorder | Model::Lying => units.extend((0..self.changes.len()).map(|at| (Unit::Change(at), 2))),
            Model::Vfat => {
                let pieces = self.changes.iter().enumerate();
                units.extend(
                    pieces.flat_map(|(at, change)| (0..change.pieces.len()).map(move |p| (Unit::Piece(at, p), 2))),
                );
                let set = self.changes.iter().flat_map(|change| &change.pieces).filter_map(|piece| match piece {
                    Piece::Set(_, entry) => Some(entry),
                    Piece::Unset(_) => None,
                });
                let mut empty: Vec<Ino> = Vec::new();
                for entry in self.names.values().chain(set) {
                    if let Entry::File(ino, set) = entry
                        && *set > self.files[*ino].synced
                        && !self.files[*ino].parts.is_empty()
                        && !empty.contains(ino)
                    {
                        empty.push(*ino);
                    }
                }
                units.extend(empty.into_iter().map(|ino| (Unit::Length(ino), 2)));
            }
        }
        if self.model != Model::Strict {
            for (ino, file) in self.files.iter().enumerate().filter(|(_, file)| file.durable < file.parts.len()) {
                let key = (ino, file.parts.len(), file.durable);
                let ways = self.contents.entry(key).or_insert_with(|| ways(self.model, file)).len();
                units.push((Unit::Content(ino), ways));
            }
        }
        units
    }

    /// The drive if each unit came out in this way.
    fn disk(&self, units: &[(Unit, usize)], choice: &[usize]) -> Disk {
        let mut names = self.names.clone();
        let (mut absent, mut missing) = (0, HashSet::new());
        let mut contents: HashMap<Ino, Blob> = HashMap::new();
        let mut empty = HashSet::new();
        for ((unit, _), way) in units.iter().zip(choice).filter(|(_, way)| **way > 0) {
            match unit {
                Unit::Last => absent = *way,
                Unit::Change(at) => drop(missing.insert((*at, usize::MAX))),
                Unit::Piece(at, piece) => drop(missing.insert((*at, *piece))),
                Unit::Length(ino) => drop(empty.insert(*ino)),
                Unit::Content(ino) => {
                    let file = &self.files[*ino];
                    contents.insert(*ino, self.contents[&(*ino, file.parts.len(), file.durable)][*way].clone());
                }
            }
        }
        let makes_folders = self.changes.iter().any(|c| matches!(c.pieces[..], [Piece::Set(_, Entry::Dir)]));
        for (at, change) in self.changes.iter().enumerate().take(self.changes.len() - absent) {
            let there = |piece: &usize| !missing.contains(&(at, usize::MAX)) && !missing.contains(&(at, *piece));
            let pieces: Vec<Piece> = (0..change.pieces.len()).filter(there).map(|p| change.pieces[p].clone()).collect();
            apply(&mut names, &pieces);
        }
        let mut disk = BTreeMap::new();
        for (name, entry) in names {
            // What lies in a folder that is not there cannot be reached.
            if makes_folders && !above(&name).is_empty() && !disk.contains_key(above(&name)) {
                continue;
            }
            let blob = match entry {
                Entry::Dir => None,
                Entry::File(ino, _) if empty.contains(&ino) => Some(Blob::new(Vec::new())),
                Entry::File(ino, _) => Some(contents.get(&ino).unwrap_or(&self.files[ino].whole).clone()),
            };
            disk.insert(name, blob);
        }
        Disk(disk)
    }
}

fn apply(names: &mut BTreeMap<Name, Entry>, pieces: &[Piece]) {
    for piece in pieces {
        match piece {
            Piece::Set(name, entry) => drop(names.insert(name.clone(), *entry)),
            Piece::Unset(name) => drop(names.remove(name)),
        }
    }
}

/// What may have become of a file's content; the first is all of it, the last what was promised and no more.
fn ways(model: Model, file: &File) -> Vec<Blob> {
    let whole = file.whole.bytes();
    let kept: usize = file.parts[..file.durable].iter().map(|part| part.bytes().len()).sum();
    let cut = |len: usize| whole[..len.clamp(kept, whole.len())].to_vec();
    let filled = |len: usize, with: &[u8]| [cut(len).as_slice(), &with[cut(len).len()..]].concat();
    let zeros = vec![0; whole.len()];
    let garbage = Random(whole.len() as u64).bytes(whole.len());
    let half = whole.len() / 2 / 4096 * 4096;
    let mut found = match model {
        Model::Strict => Vec::new(),
        Model::Journal => vec![filled(0, &zeros), filled(half, &zeros), cut(half)],
        Model::Delalloc => vec![cut(512), cut(whole.len() / 2)],
        Model::Vfat => vec![filled(0, &garbage)],
        Model::Lying => vec![filled(0, &zeros), filled(half, &garbage), cut(half), cut(512)],
        Model::Torn => {
            let sectors = (1..12).map(|n| n * 512).chain((1..).map(|n| n * 4096).take_while(|len| *len < whole.len()));
            let ends = sectors.chain([whole.len().saturating_sub(1) / 512 * 512]);
            ends.flat_map(|len| [cut(len), filled(len, &zeros), filled(len, &garbage)]).collect()
        }
        Model::Reorder => {
            // Any part of the writes that are not promised.
            let free = file.parts.len() - file.durable;
            let subsets = (1..(1_usize << free.min(6)) - 1).map(|subset| {
                let mut bytes = cut(0);
                let mut at = kept;
                for (number, part) in file.parts[file.durable..].iter().enumerate() {
                    if subset >> number & 1 == 1 {
                        bytes.resize(at, 0);
                        bytes.extend_from_slice(part.bytes());
                    }
                    at += part.bytes().len();
                }
                bytes
            });
            subsets.collect()
        }
    };
    found.push(cut(0));
    let mut seen: Vec<Vec<u8>> = vec![whole.to_vec()];
    for bytes in found {
        if !seen.contains(&bytes) {
            seen.push(bytes);
        }
    }
    let mut blobs: Vec<Blob> = seen.into_iter().skip(1).map(Blob::new).collect();
    blobs.insert(0, file.whole.clone());
    blobs
}

/// In which ways everything may have come out together.
fn choices(units: &[(Unit, usize)], effort: Effort, random: &mut Random) -> Vec<Vec<usize>> {
    let all = units.iter().fold(1_usize, |all, (_, ways)| all.saturating_mul(*ways));
    let nth = |mut number: usize| -> Vec<usize> {
        let way = |(_, ways): &(Unit, usize)| {
            let way = number % ways;
            number /= ways;
            way
        };
        units.iter().map(way).collect()
    };
    if units.len() <= 3 && all <= effort.all || all <= 16 {
        return (0..all).map(nth).collect();
    }
    let done = vec![0; units.len()];
    let least: Vec<usize> = units.iter().map(|(_, ways)| ways - 1).collect();
    let mut found = vec![done.clone(), least.clone()];
    if units.len() <= 12 {
        for (at, (_, ways)) in units.iter().enumerate() {
            for way in 0..*ways {
                for mut other in [done.clone(), least.clone()] {
                    other[at] = way;
                    found.push(other);
                }
            }
        }
    }
    for _ in 0..effort.random {
        let often = [5, 20, 50, 80, 95][random.below(5) as usize];
        // Half of the time names are as they were up to some moment.
        let moment = if random.below(2) == 0 { random.below(units.len() as u64 + 1) as usize } else { usize::MAX };
        let way = |(at, (unit, ways)): (usize, &(Unit, usize))| match unit {
            Unit::Change(_) | Unit::Piece(..) if moment < usize::MAX => usize::from(at >= moment),
            _ if random.below(100) < often => 1 + random.below(*ways as u64 - 1) as usize,
            _ => 0,
        };
        found.push(units.iter().enumerate().map(way).collect());
    }
    found
}

/// A moment at which the power goes: after so many calls, when so many had been told that their work was done.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub calls: usize,
    pub told: usize,
}

/// Every state that the drive may be in if the power goes after any call from the `from`th on. Stops if `each` says so.
pub fn each_state(
    start: &Disk,
    log: &[Op],
    from: usize,
    model: Model,
    effort: Effort,
    each: &mut dyn FnMut(Moment, Disk) -> bool,
) {
    let mut cut = Cut::new(start, model);
    let mut random = Random(from as u64 * 31 + model as u64);
    let mut told = 0;
    for calls in 0..=log.len() {
        if calls > 0 {
            cut.advance(calls - 1, &log[calls - 1]);
            told += usize::from(matches!(log[calls - 1], Op::Told));
        }
        if calls < from {
            continue;
        }
        let units = cut.units();
        for choice in choices(&units, effort, &mut random) {
            if !each(Moment { calls, told }, cut.disk(&units, &choice)) {
                return;
            }
        }
    }
}
