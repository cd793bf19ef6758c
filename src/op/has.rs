//! Whether files are in the archive: by their bytes, whatever they are called. Nothing is written.
//!
//! "Here" is said of a file only if its hash, made anew from all its bytes, is that of a recorded file, and if every
//! pack that this file needs lies in the archive with the length that it must have.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Event, Observer, check_stop, file};
use crate::archive::{Archive, Filter, each_chunk};
use crate::error::Result;
use crate::format::EntryKind;
use crate::id::{FileHash, PackId, PictureHash};
use crate::source::{self, Failure, RuleSpec, Rules, Stat};
use crate::store::Leftovers;
use crate::view::{Episode, Past, View};

/// What is known of one file.
#[derive(Debug)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// Its hash.
    pub hash: FileHash,
    /// Whether it is in the archive.
    pub verdict: Verdict,
}

/// Whether a file is in the archive.
#[derive(Debug)]
pub enum Verdict {
    /// Bit for bit, under these names; first those that the source has still.
    Here(Vec<Episode>),
    /// Not itself, but the same picture with other tags, under these names.
    SamePicture(Vec<Episode>),
    /// No.
    Missing,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Has {
    /// Every file that could be read, by path.
    pub files: Vec<Finding>,
    /// What could not be read, and why.
    pub unread: Vec<(PathBuf, String)>,
}

impl Has {
    /// Whether everything is in the archive, bit for bit.
    pub fn all(&self) -> bool {
        self.unread.is_empty() && self.files.iter().all(|file| matches!(file.verdict, Verdict::Here(_)))
    }
}

/// Looks for these files, and for all files below these directories.
///
/// # Errors
/// [`crate::error::Kind::Source`] if one of the paths cannot be used at all, the archive's error, or the user's wish to
/// stop.
pub fn has(archive: &Archive, paths: &[PathBuf], filter: &Filter, observer: &dyn Observer) -> Result<Has> {
    let mut has = Has::default();
    let rules = Rules::new(&RuleSpec::default())?;
    let (mut files, mut count, mut bytes) = (Vec::new(), 0, 0);
    for path in paths {
        let tick = |more: u64, size: u64| observer.event(Event::Scanned { files: count + more, bytes: bytes + size });
        let scan = source::scan(path, &rules, &tick, observer.stop())?;
        has.unread.extend(scan.failures.iter().map(told));
        count += scan.files;
        bytes += scan.bytes;
        below(path, scan.node, &mut files);
    }
    observer.event(Event::Begin { files: count, bytes });

    let look = |(path, stat): &(PathBuf, Stat)| {
        check_stop(observer)?;
        let looked = file::look(archive, path, stat, observer)?;
        observer.event(Event::Advance { files: 1, bytes: 0 });
        Ok(looked)
    };
    let looked = files.par_iter().map(look).collect::<Result<Vec<_>>>()?;
    let past = Past::open(archive, filter)?;
    let mut read = Vec::new();
    for ((path, _), looked) in files.into_iter().zip(looked) {
        match looked {
            Ok(looked) => read.push((path, looked)),
            Err(failure) => {
                let (path, why) = told(&failure);
                observer.event(Event::Trouble { path: &path, why: &why });
                has.unread.push((path, why));
            }
        }
    }
    let hashes: Vec<FileHash> = read.iter().map(|(_, looked)| looked.hash).collect();
    let found = past.with_content(&hashes)?;
    let holding = Holding::new(archive)?;
    for ((path, looked), names) in read.into_iter().zip(found) {
        let here = holding.of(&past, names)?;
        let verdict = match (here.is_empty(), looked.picture) {
            (false, _) => Verdict::Here(here),
            (true, Some(picture)) => match holding.of(&past, same_picture(&past, &picture)?)? {
                names if names.is_empty() => Verdict::Missing,
                names => Verdict::SamePicture(names),
            },
            (true, None) => Verdict::Missing,
        };
        has.files.push(Finding { path, size: looked.size, hash: looked.hash, verdict });
    }
    has.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(has)
}

fn same_picture(past: &Past<'_>, picture: &PictureHash) -> Result<Vec<Episode>> {
    let hashes = past.archive().files_of_picture(picture)?;
    Ok(past.with_content(&hashes)?.into_iter().flatten().collect())
}

fn told(failure: &Failure) -> (PathBuf, String) {
    (failure.path.clone(), format!("{}: {}", failure.during, failure.cause))
}

fn below(path: &Path, node: source::Node, files: &mut Vec<(PathBuf, Stat)>) {
    let mut todo = vec![(path.to_owned(), node)];
    while let Some((path, mut node)) = todo.pop() {
        if node.stat.kind == source::Kind::File {
            files.push((path, node.stat));
            continue;
        }
        for child in std::mem::take(&mut node.children) {
            todo.push((path.join(source::name_of(&child.name)), child));
        }
    }
}

/// Whether what the past tells of is in the archive still.
struct Holding<'a> {
    archive: &'a Archive,
    /// The packs that are there and their lengths; none if no pack is missing at all.
    present: Option<HashMap<PackId, u64>>,
}

impl<'a> Holding<'a> {
    fn new(archive: &'a Archive) -> Result<Self> {
        let present = archive.present_packs(Leftovers::Leave)?;
        let whole = archive.known_packs().iter().all(|pack| present.get(&pack.id) == Some(&pack.len));
        Ok(Self { archive, present: (!whole).then_some(present) })
    }

    /// Those of these states that can be restored; first those that the source has still.
    fn of(&self, past: &Past<'_>, states: Vec<Episode>) -> Result<Vec<Episode>> {
        let mut held = Vec::new();
        for state in states {
            if self.holds(past, &state)? {
                held.push(state);
            }
        }
        held.sort_by_key(|episode| episode.state.ended.is_some());
        Ok(held)
    }

    fn holds(&self, past: &Past<'_>, episode: &Episode) -> Result<bool> {
        let Some(present) = &self.present else { return Ok(true) };
        let Some((id, snapshot)) = past.last(episode) else { return Ok(false) };
        let view = View::new(self.archive, id, snapshot.clone());
        let node = match view.find(&episode.path) {
            Ok(node) => node,
            Err(error) if error.kind().is_of_an_object() => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(EntryKind::File { content, size, .. }) = node.entry.map(|entry| entry.kind) else { return Ok(false) };
        let mut all = true;
        let looked = each_chunk(view.reader(), &content, size, &mut |chunks| {
            for chunk in chunks {
                let places = if all { self.archive.locate(&chunk.id)? } else { break };
                all = places.iter().any(|place| present.get(&place.pack) == Some(&place.pack_len));
            }
            Ok(())
        });
        match looked {
            Err(error) if error.kind().is_of_an_object() => Ok(false),
            looked => looked.map(|()| all),
        }
    }
}
