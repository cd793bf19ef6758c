//! What lies at the target already, and what that means for what is to be written.
//!
//! What bears a name before this run has written anything is the user's, and their wish decides. What bears it afterwards
//! was written by this run, under a name that the target takes for the same, and is never replaced.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::dirs::Dirs;
use super::log::Log;
use super::plan::{Item, Plan};
use super::{Overwrite, replaces};
use crate::error::{Error, Kind, Result};
use crate::format::EntryKind;
use crate::id::FileHash;
use crate::op::{Observer, check_stop};
use crate::source::{Kind as FileKind, Stat, Time};
use crate::target::{Dir, LONGEST_NAME, Replace, is_same_time};

/// What bore the name before this run wrote anything.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Standing {
    /// Nothing.
    #[default]
    Free,
    /// Something.
    There,
    /// Something that is already another item's: the target takes both names for the same.
    Alias,
}

/// What is to be done with an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    Write(Replace),
    /// What is there stays.
    Leave,
    /// What is there is what would be written.
    Present,
    /// It cannot have its name.
    Rename,
}

/// The names that the plan has in each directory, gathered when they are first needed.
#[derive(Default)]
pub(super) struct Names(Option<HashSet<(Option<usize>, Vec<u8>)>>);

impl Names {
    pub(super) fn of(&mut self, plan: &Plan) -> &HashSet<(Option<usize>, Vec<u8>)> {
        self.0.get_or_insert_with(|| {
            plan.dirs.iter().chain(plan.items()).map(|item| (item.dir, item.entry.name.clone())).collect()
        })
    }
}

/// A directory of the plan, and the names that the target shows in it.
type Shown = (Option<usize>, HashSet<Box<[u8]>>);

/// Names under which a target that ignores case finds what bears another name of the plan, although it gives each spelling a
/// number of its own.
#[derive(Default)]
pub(super) struct Shadows {
    names: Names,
    listed: Option<Shown>,
}

impl Shadows {
    /// Whether what is found under a name is listed only under another name of the plan.
    pub(super) fn has(&mut self, plan: &Plan, dir: &Dir, inside: Option<usize>, name: &[u8]) -> Result<bool> {
        if self.listed.as_ref().is_none_or(|(of, _)| *of != inside) {
            self.listed = Some((inside, dir.names()?));
        }
        let Some((_, listed)) = &self.listed else { return Ok(false) };
        if listed.contains(name) {
            return Ok(false);
        }
        let lower = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
        let (wanted, planned) = (lower(name), self.names.of(plan));
        let number = |name: &[u8]| Ok(dir.existing(name)?.map(|stat| (stat.dev, stat.ino)));
        for other in listed.iter().filter(|other| lower(other) == wanted) {
            // Where both have one number, that tells.
            if planned.contains(&(inside, other.to_vec())) && number(other)? != number(name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What the items of a directory are at the target, those left out that could not have their names.
#[derive(Default)]
pub(super) struct Taken {
    nameless: HashSet<(Option<usize>, Vec<u8>)>,
    dirs: HashMap<Option<usize>, HashSet<(u64, u64)>>,
}

impl Taken {
    pub(super) fn leave_out(&mut self, nameless: &[Item]) {
        let name = |item: &Item| (item.dir, item.own.clone().unwrap_or_else(|| item.entry.name.clone()));
        self.nameless = nameless.iter().map(name).collect();
    }

    /// Gives what bears the item's name to it, unless that is another item, which the target shows under both names.
    pub(super) fn claim(&mut self, plan: &Plan, dir: &Dir, item: &Item) -> Result<bool> {
        let Some(stat) = dir.existing(&item.entry.name)? else { return Ok(false) };
        if !self.dirs.contains_key(&item.dir) {
            let mut found = HashSet::new();
            for other in plan.items().filter(|other| other.dir == item.dir) {
                if self.nameless.contains(&(other.dir, other.entry.name.clone())) {
                    continue;
                }
                found.extend(dir.existing(&other.entry.name)?.map(|stat| (stat.dev, stat.ino)));
            }
            self.dirs.insert(item.dir, found);
        }
        Ok(self.dirs.get_mut(&item.dir).is_some_and(|found| found.insert((stat.dev, stat.ino))))
    }
}

/// Looks at what is there, before anything is written. Where two items find the same thing, it is the one's whose name it
/// bears, to the byte.
pub(super) fn look(plan: &mut Plan, dirs: &Dirs, log: &Log<'_>) -> Result<()> {
    let mut found: HashMap<(Option<usize>, u64, u64), usize> = HashMap::new();
    let mut listed: Option<Shown> = None;
    let mut standing = vec![Standing::Free; plan.items().count()];
    let items: Vec<&Item> = plan.items().collect();
    for (at, item) in items.iter().enumerate() {
        if at % 1024 == 0 {
            check_stop(log.observer)?;
        }
        let Some(dir) = dirs.dir(item).filter(|_| dirs.was_there(item)) else { continue };
        let Ok(Some(stat)) = dir.existing(&item.entry.name) else { continue };
        standing[at] = Standing::There;
        if stat.kind == FileKind::Dir && dirs.is_ours(&stat) {
            standing[at] = Standing::Alias;
            continue;
        }
        match found.entry((item.dir, stat.dev, stat.ino)) {
            Slot::Vacant(slot) => {
                slot.insert(at);
            }
            Slot::Occupied(mut slot) => {
                if listed.as_ref().is_none_or(|(of, _)| *of != item.dir) {
                    listed = Some((item.dir, dir.names()?));
                }
                let bears = |at: usize| {
                    listed.as_ref().is_some_and(|(_, names)| names.contains(items[at].entry.name.as_slice()))
                };
                let holds = |at: usize| match items[at].is_symlink() {
                    true => Ok(false),
                    false => holds(dir, items[at], log.observer),
                };
                // An earlier run gave it to one of them; some targets show names in another case than was given.
                let claims = match (holds(*slot.get())?, holds(at)?) {
                    (one, other) if one != other => (one, other),
                    _ => (bears(*slot.get()), bears(at)),
                };
                match claims {
                    (true, true) => {} // two names of one file
                    (false, true) => {
                        standing[*slot.get()] = Standing::Alias;
                        slot.insert(at);
                    }
                    _ => standing[at] = Standing::Alias,
                }
            }
        }
    }
    // Others give each spelling of a name a number of its own.
    let mut shadows = Shadows::default();
    for (at, item) in items.iter().enumerate().filter(|(_, item)| dirs.was_there(item)) {
        let Some(dir) = dirs.dir(item).filter(|_| standing[at] == Standing::There) else { continue };
        if shadows.has(plan, dir, item.dir, &item.entry.name)? {
            standing[at] = Standing::Alias;
        }
    }
    plan.items_mut().zip(standing).for_each(|(item, standing)| item.standing = standing);
    Ok(())
}

/// What is to be done with an item, by what bears its name.
pub(super) fn decide(dir: &Dir, item: &Item, overwrite: Overwrite, observer: &dyn Observer) -> Result<Decision> {
    match item.standing {
        Standing::Free => return Ok(Decision::Write(Replace::Never)),
        Standing::Alias => return Ok(Decision::Rename),
        Standing::There if overwrite == Overwrite::Always => return Ok(Decision::Write(Replace::Always)),
        Standing::There => {}
    }
    let Some(stat) = dir.existing(&item.entry.name)? else { return Ok(Decision::Write(Replace::Never)) };
    if is_present(dir, item, &stat, observer)? {
        return Ok(Decision::Present);
    }
    let same = stat.size == item.size && is_same_time(stat.mtime, mtime(item));
    let changed = overwrite == Overwrite::IfChanged && (same || stat.kind != kind(item));
    let replaces = changed || replaces(overwrite, item, stat.size, (stat.mtime.secs, stat.mtime.nanos));
    Ok(if replaces { Decision::Write(Replace::Always) } else { Decision::Leave })
}

/// Whether what is there is what would be written: asked of its bytes, once length and time say that it may be.
fn is_present(dir: &Dir, item: &Item, stat: &Stat, observer: &dyn Observer) -> Result<bool> {
    if stat.kind != kind(item) || !is_same_time(stat.mtime, mtime(item)) {
        return Ok(false);
    }
    match &item.entry.kind {
        EntryKind::Symlink { target } => Ok(dir.read_link(&item.entry.name)? == *target),
        _ if stat.size != item.size => Ok(false),
        _ => holds(dir, item, observer),
    }
}

/// Whether a file of the item's name holds what the archive has of it. One that cannot be read does not.
pub(super) fn holds(dir: &Dir, item: &Item, observer: &dyn Observer) -> Result<bool> {
    let EntryKind::File { size, hash, .. } = &item.entry.kind else { return Ok(false) };
    let Ok((file, stat)) = dir.open_file(&item.entry.name) else { return Ok(false) };
    if stat.kind != FileKind::File || stat.size != *size {
        return Ok(false);
    }
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; (1 << 20).min(*size as usize + 1)]);
    let mut file = file.take(size.saturating_add(1));
    loop {
        check_stop(observer)?;
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => hasher.update(&piece[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(false),
        };
    }
    Ok(FileHash::from_bytes(*hasher.finalize().as_bytes()) == *hash)
}

/// Whether what bears an item's name is what would be written.
pub(super) fn bears(dir: &Dir, item: &Item, observer: &dyn Observer) -> Result<bool> {
    match &item.entry.kind {
        EntryKind::Symlink { target } => Ok(dir.read_link(&item.entry.name).is_ok_and(|said| said == *target)),
        _ => holds(dir, item, observer),
    }
}

fn kind(item: &Item) -> FileKind {
    if item.is_symlink() { FileKind::Symlink } else { FileKind::File }
}

fn mtime(item: &Item) -> Time {
    Time { secs: item.entry.meta.mtime.secs, nanos: item.entry.meta.mtime.nanos }
}

/// The name that something gets whose own cannot be had: `a (2).jpg` for `a.jpg`.
pub(super) fn escaped(name: &[u8], number: usize) -> Vec<u8> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0 && name.len() - at <= 16);
    let (stem, ending) = name.split_at(dot.unwrap_or(name.len()));
    let number = format!(" ({number})");
    let mut room = stem.len().min(LONGEST_NAME - number.len() - ending.len());
    // A character is kept whole.
    while room < stem.len() && room > 0 && stem[room] & 0xC0 == 0x80 {
        room -= 1;
    }
    [&stem[..room], number.as_bytes(), ending].concat()
}

/// What is said of something for which no name could be found.
pub(super) fn nameless() -> Error {
    Error::new(Kind::Exists, "restoring", "its name is the same as another's to the target")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_name_keeps_its_ending_and_fits() {
        assert_eq!(escaped(b"a.JPG", 2), b"a (2).JPG");
        assert_eq!(escaped(b"album", 3), b"album (3)");
        assert_eq!(escaped(b".hidden", 2), b".hidden (2)");
        assert_eq!(escaped(b"a sentence. and what follows it", 2), b"a sentence. and what follows it (2)");
        let long = [vec![b'x'; 251], b".jpg".to_vec()].concat();
        assert_eq!(escaped(&long, 2).len(), 255);
        assert!(escaped(&long, 2).ends_with(b"x (2).jpg"));
        let umlauts = [b"x".to_vec(), "ü".repeat(127).into_bytes()].concat();
        assert!(String::from_utf8(escaped(&umlauts, 42)).unwrap().ends_with("ü (42)"));
    }
}
