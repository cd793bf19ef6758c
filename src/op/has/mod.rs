//! Whether files are in the archive: by their bytes, whatever they are called. Nothing is written.
//!
//! People ask this before they delete. "Here" is said of a file only if its hash, made anew from all its bytes, is that
//! of a recorded file, and if every chunk of that file lies in a pack that has the length that it must have, behind a
//! header that names this chunk as part of a file and with this length; and only if these chunks make up the file:
//! either they are those that the file itself is cut into, or they are read and hashed. Their bytes are read again only
//! if that is asked for.

mod holding;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::file::Looked;
use super::{Event, Observer, check_stop, file};
use crate::archive::{Archive, Filter};
use crate::error::Result;
use crate::format::ChunkRef;
use crate::id::{FileHash, PictureHash};
use crate::source::{self, Failure, RuleSpec, Rules, Stat};
use crate::view::{Episode, Past};
use holding::Holding;

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
    /// Files that were recorded, and that cannot be had back from the archive as it is now.
    pub unrestorable: u64,
    /// Links, and what is no file or folder: nobody looked at what they lead to.
    pub passed_over: u64,
}

impl Has {
    /// Whether everything is in the archive, bit for bit.
    pub fn all(&self) -> bool {
        self.unread.is_empty()
            && self.passed_over == 0
            && self.files.iter().all(|file| matches!(file.verdict, Verdict::Here(_)))
    }
}

/// Looks for these files, and for all files below these directories. With `read_data`, what the archive has of them is
/// read and hashed as well.
///
/// # Errors
/// [`crate::error::Kind::Source`] if one of the paths cannot be used at all, the archive's error, or the user's wish to
/// stop.
pub fn has(
    archive: &Archive,
    paths: &[PathBuf],
    filter: &Filter,
    read_data: bool,
    observer: &dyn Observer,
) -> Result<Has> {
    let mut has = Has::default();
    let rules = Rules::new(&RuleSpec::default())?;
    let (mut files, mut count, mut bytes) = (Vec::new(), 0, 0);
    for path in paths {
        let tick = |more: u64, size: u64| observer.event(Event::Scanned { files: count + more, bytes: bytes + size });
        let scan = source::scan(path, &rules, &tick, observer.stop())?;
        for (path, why) in scan.failures.iter().map(told) {
            observer.event(Event::Trouble { path: &path, why: &why });
            has.unread.push((path, why));
        }
        count += scan.files;
        bytes += scan.bytes;
        has.passed_over += scan.links + scan.passed_over.len() as u64;
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
            Ok(looked) if looked.size == looked.said => read.push((path, looked)),
            // Where nobody knows how long a file is, a reading that was cut off looks as one that came to the end.
            Ok(Looked { size, said, .. }) => {
                let why = format!(
                    "its file system says that it has {said} bytes, and {size} could be read; \
                     whether that is all of it cannot be said"
                );
                observer.event(Event::Trouble { path: &path, why: &why });
                has.unread.push((path, why));
            }
            Err(failure) => {
                let (path, why) = told(&failure);
                observer.event(Event::Trouble { path: &path, why: &why });
                has.unread.push((path, why));
            }
        }
    }
    observer.event(Event::Finishing);
    let hashes: Vec<FileHash> = read.iter().map(|(_, looked)| looked.hash).collect();
    let found = past.with_content(&hashes)?;
    let mut holding = Holding::new(archive, &past, read_data, observer)?;
    for ((_, looked), names) in read.iter().zip(&found) {
        holding.ask(names, Some(&looked.chunks))?;
    }
    holding.look()?;
    let mut left = Vec::new();
    for ((path, looked), names) in read.into_iter().zip(found) {
        let recorded = !names.is_empty();
        let here = holding.held(names)?;
        has.unrestorable += u64::from(recorded && here.is_empty());
        let finding = Finding { path, size: looked.size, hash: looked.hash, verdict: Verdict::Missing };
        match looked.picture {
            _ if !here.is_empty() => has.files.push(Finding { verdict: Verdict::Here(here), ..finding }),
            None => has.files.push(finding),
            // Only what is not here itself may be here as another picture.
            Some(picture) => {
                let alike = same_picture(&past, &picture)?;
                holding.ask(&alike, None)?;
                left.push((finding, alike));
            }
        }
    }
    holding.look()?;
    for (finding, alike) in left {
        has.files.push(match holding.held(alike)? {
            alike if alike.is_empty() => finding,
            alike => Finding { verdict: Verdict::SamePicture(alike), ..finding },
        });
    }
    has.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(has)
}

fn same_picture(past: &Past<'_>, picture: &PictureHash) -> Result<Vec<Episode>> {
    let hashes = past.archive().files_of_picture(picture)?;
    Ok(past.with_content(&hashes)?.into_iter().flatten().collect())
}

fn told(failure: &Failure) -> (PathBuf, String) {
    (failure.path.clone(), format!("{}: {}", failure.during, failure.why()))
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

/// Whether two lists give the same bytes for sure.
fn same_chunks(one: &[ChunkRef], other: &[ChunkRef]) -> bool {
    !one.is_empty() && one == other
}
