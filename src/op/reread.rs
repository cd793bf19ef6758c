//! Reading the source again: whether files that look unchanged still hold the bytes that were recorded.
//!
//! A backup reads only what looks changed, so a drive that loses bits, or a program that writes without a trace, is not
//! noticed by it. Here files are read that look unchanged, those that were not read for longest first, for as long as
//! there is time; so in the end every file is read. A file whose bytes are others is read twice, named with the
//! snapshot that has it as it was, and remembered on this computer: the next backup reads it again and does not take it
//! for an edit without saying so. Neither the source nor the archive is written to.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::backup::Grounds;
use super::here::{self, Asked, Here};
use super::verify::now;
use super::{Event, Observer, check_stop, file};
use crate::archive::{Archive, Budget, FileKey, Filter, weight};
use crate::error::{Error, Kind, Result};
use crate::format::{Entry, EntryKind};
use crate::id::{ChunkId, FileHash, SnapshotId};
use crate::source::{self, Node, Stat};
use crate::view::{Sources, View, join};

/// So many files are read before it is written down that they were.
const GROUP: usize = 256;

/// What to read again.
#[derive(Clone, Debug, Default)]
pub struct RereadOptions {
    /// The machine whose sources are read: this one.
    pub host: String,
    /// Read no further file after this long.
    pub time: Option<Duration>,
}

/// A file whose bytes have changed while nothing else has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decayed {
    /// The file.
    pub path: PathBuf,
    /// The newest snapshot that has it as it was, and its path there; none if no snapshot has it so.
    pub good: Option<(SnapshotId, Vec<u8>)>,
    /// Its bytes.
    pub size: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Reread {
    /// Files that look unchanged.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were read.
    pub read: u64,
    /// The bytes of these.
    pub bytes_read: u64,
    /// Files that could not be read, or were left out, at the last backup.
    pub carried: u64,
    /// Files that look changed; the next backup reads them.
    pub changed: u64,
    /// What has other bytes than were recorded.
    pub decayed: Vec<Decayed>,
    /// What could not be read, and why.
    pub unread: Vec<(PathBuf, String)>,
}

/// What names a file of a machine's source in notes.
pub(super) fn file_key(host: &str, path: &Path) -> FileKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(host.len() as u64).to_le_bytes()).update(host.as_bytes());
    hasher.update(path.as_os_str().as_encoded_bytes());
    *hasher.finalize().as_bytes()
}

/// A file that looks unchanged.
struct Candidate {
    path: PathBuf,
    stat: Stat,
    key: FileKey,
    snapshot: SnapshotId,
    grounds: Arc<Grounds>,
    inside: Vec<u8>,
    entry: Entry,
    host: Arc<str>,
    /// Where its source is now.
    source: Arc<Path>,
}

/// The newest snapshot that has a file as it was before its bytes changed by themselves, and where in it. `source` is where its
/// source is now.
pub(super) fn last_good(
    archive: &Archive,
    host: &str,
    source: &Path,
    path: &Path,
) -> Result<Option<(SnapshotId, Vec<u8>)>> {
    let below = path.strip_prefix(source).unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
    let renames = archive.renames()?;
    for (id, snapshot) in archive.snapshots().into_iter().rev().filter(|(_, snapshot)| snapshot.host == host) {
        let Some(name) =
            renames.source_in(&snapshot, source.as_os_str().as_encoded_bytes()).map(|one| one.name.clone())
        else {
            continue;
        };
        let inside = if below.is_empty() { name } else { join(&name, below) };
        let view = View::new(archive, id, snapshot);
        let entry = match view.find(&inside) {
            Ok(node) => node.entry,
            Err(error) if error.kind().is_of_an_object() || error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if entry.is_some_and(|entry| matches!(entry.kind, EntryKind::File { .. }) && !entry.meta.decayed) {
            return Ok(Some((id, inside)));
        }
    }
    Ok(None)
}

/// What reading one found.
enum Found {
    Same(FileKey),
    Decayed(FileKey, FileHash, Decayed),
    Unread(PathBuf, String),
    /// It has changed meanwhile, or there was no time.
    Not,
}

/// Reads the files of this machine's sources again.
///
/// # Errors
/// [`Kind::NotFound`] if no snapshot is of this machine, the archive's error, or the user's wish to stop.
pub fn reread(archive: &Archive, options: &RereadOptions, observer: &dyn Observer) -> Result<Reread> {
    let started = Instant::now();
    let mut done = Reread::default();
    let mut candidates = candidates(archive, options, &mut done, observer)?;
    let reads = archive.last_reads();
    // What was never read here was read when it was recorded, and that was not before it last changed.
    candidates.sort_by_cached_key(|one| reads.get(&one.key).copied().unwrap_or(one.entry.meta.ctime.secs));
    done.files = candidates.len() as u64;
    done.bytes = candidates.iter().map(|one| one.stat.size).sum();
    observer.event(Event::Begin { files: done.files, bytes: done.bytes });
    let in_time = || options.time.is_none_or(|time| started.elapsed() < time);
    for group in candidates.chunks(GROUP) {
        if !in_time() {
            break;
        }
        let look = |one: &Candidate| if in_time() { one.look(archive, observer) } else { Ok(Found::Not) };
        let found: Vec<Found> = group.par_iter().map(look).collect::<Result<_>>()?;
        let (mut reads, mut suspects, mut cleared) = (Vec::new(), Vec::new(), Vec::new());
        for (one, found) in group.iter().zip(found) {
            match found {
                Found::Same(key) => {
                    reads.push((key, now()));
                    cleared.push(key);
                }
                Found::Decayed(key, hash, decayed) => {
                    reads.push((key, now()));
                    suspects.push((key, hash));
                    done.decayed.push(decayed);
                }
                Found::Unread(path, why) => {
                    observer.event(Event::Trouble { path: &path, why: &why });
                    done.unread.push((path, why));
                    continue;
                }
                Found::Not => continue,
            }
            done.read += 1;
            done.bytes_read += one.stat.size;
        }
        archive.note_reads(&reads, &suspects, &cleared);
    }
    done.decayed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(done)
}

impl Candidate {
    fn look(&self, archive: &Archive, observer: &dyn Observer) -> Result<Found> {
        check_stop(observer)?;
        let EntryKind::File { hash: recorded, size, .. } = &self.entry.kind else { return Ok(Found::Not) };
        let mut differs = false;
        // A single bad read may be the memory's fault, or the cable's.
        for _ in 0..2 {
            let looked = match file::look(archive, &self.path, &self.stat, observer)? {
                Ok(looked) => looked,
                Err(failure) => {
                    let why = format!("{}: {}", failure.during, failure.why());
                    return Ok(Found::Unread(failure.path, why));
                }
            };
            if !looked.settled || !self.grounds.is_unchanged(&self.entry, &looked.stat) {
                return Ok(Found::Not);
            }
            if looked.hash == *recorded {
                observer.event(Event::Advance { files: 1, bytes: 0 });
                if differs {
                    let why = "it reads differently each time: the drive, the cable or the memory is failing";
                    return Ok(Found::Unread(self.path.clone(), why.to_owned()));
                }
                return Ok(Found::Same(self.key));
            }
            differs = true;
        }
        observer.event(Event::Advance { files: 1, bytes: 0 });
        let good = match self.entry.meta.decayed {
            false => Some((self.snapshot, self.inside.clone())),
            true => last_good(archive, &self.host, &self.source, &self.path)?,
        };
        Ok(Found::Decayed(self.key, *recorded, Decayed { path: self.path.clone(), good, size: *size }))
    }
}

/// Files of this machine's sources that look as their newest snapshot has them.
fn candidates(
    archive: &Archive,
    options: &RereadOptions,
    done: &mut Reread,
    observer: &dyn Observer,
) -> Result<Vec<Candidate>> {
    let (snapshots, renames) = (archive.snapshots(), archive.renames()?);
    let mut newest = BTreeMap::new();
    for (id, snapshot) in snapshots.iter().filter(|(_, snapshot)| snapshot.host == options.host) {
        for source in &snapshot.sources {
            let path = renames.path_now(&snapshot.host, &source.path, snapshot.sequence);
            newest.insert(path.to_vec(), (id, snapshot, source));
        }
    }
    // One that was retired is nobody's present.
    let sources = Sources::of(archive, &Filter::default())?;
    let present = sources.present().filter(|line| line.host == options.host).map(|line| line.path.as_slice());
    let present: HashSet<&[u8]> = present.collect();
    newest.retain(|path, _| present.contains(path.as_slice()));
    if newest.is_empty() {
        let doing = format!("looking for sources of {}", options.host);
        return Err(Error::new(Kind::NotFound, doing, "no snapshot is of this machine"));
    }
    let asked = newest.into_iter().map(|(path, (id, snapshot, source))| {
        let path = PathBuf::from(source::name_of(&path));
        Asked { path, id: *id, snapshot, source }
    });
    let mut found = Vec::new();
    let mut budget = Budget::new(archive);
    for Here { asked, node, entry, grounds } in here::look(archive, asked.collect(), observer, &mut done.unread)? {
        let Asked { path, id, source, .. } = asked;
        let name = source.name.clone();
        let (host, top): (Arc<str>, Arc<Path>) = (options.host.as_str().into(), path.as_path().into());
        let mut todo: Vec<(PathBuf, Vec<u8>, Node, Entry)> = vec![(path, name, node, entry)];
        while let Some((path, inside, mut node, entry)) = todo.pop() {
            check_stop(observer)?;
            // What was not read then was not recorded as it was.
            if entry.meta.carried.is_some() {
                done.carried += match entry.kind {
                    EntryKind::Dir { files, .. } => files,
                    _ => 1,
                };
                continue;
            }
            if let EntryKind::File { .. } = &entry.kind {
                if node.stat.kind != source::Kind::File {
                } else if grounds.is_unchanged(&entry, &node.stat) {
                    let (stat, key) = (node.stat, file_key(&options.host, &path));
                    let (host, source) = (host.clone(), top.clone());
                    found.push(Candidate {
                        path,
                        stat,
                        key,
                        snapshot: id,
                        grounds: grounds.clone(),
                        inside,
                        entry,
                        host,
                        source,
                    });
                } else {
                    done.changed += 1;
                }
                continue;
            }
            let (EntryKind::Dir { tree, .. }, source::Kind::Dir) = (&entry.kind, node.stat.kind) else { continue };
            let below = entries(&mut budget, tree, &inside)?;
            for child in std::mem::take(&mut node.children) {
                let Ok(at) = below.binary_search_by(|entry| entry.name.as_slice().cmp(&child.name[..])) else {
                    continue;
                };
                let entry = below[at].clone();
                budget.hold(weight(&entry), &inside)?;
                let path = path.join(source::name_of(&child.name));
                todo.push((path, join(&inside, &entry.name), child, entry));
            }
        }
    }
    Ok(found)
}

/// The entries of a directory; none where it is damaged or claims too much, which is for others to tell.
fn entries(budget: &mut Budget<'_>, tree: &ChunkId, path: &[u8]) -> Result<Vec<Entry>> {
    match budget.enter(tree, path) {
        Err(error) if error.kind().is_of_an_object() => Ok(Vec::new()),
        entries => entries,
    }
}
