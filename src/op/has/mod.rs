//! Whether files are in the archive: by their bytes, whatever they are called. Nothing is written.
//!
//! People ask this before they delete. "Here" is said of a file only if its hash, made anew from all its bytes, is
//! that of a recorded file, and if every chunk of that file lies in a pack that has the length that it must have,
//! behind a header that names this chunk as part of a file and with this length; and only if these chunks make up the
//! file: either they are those that the file itself is cut into, or they are read and hashed. Their bytes are read
//! again only if that is asked for; else one block of them is looked at here and there, and where it is all zeros, as
//! a drive leaves what it has lost, they are read.

mod holding;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Bit for bit, under these names; first those that the source has still.
    Here(Arc<Vec<Episode>>),
    /// Not itself, but the same picture with other tags, under these names.
    SamePicture(Arc<Vec<Episode>>),
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
    /// Whether everything is in the archive: what it has of it was read if that was asked for.
    pub fn all(&self) -> bool {
        self.unread.is_empty()
            && self.passed_over == 0
            && self.files.iter().all(|file| matches!(file.verdict, Verdict::Here(_)))
    }
}

/// Of so many files the answers are sought at once: each takes some kilobytes until they are found.
const AT_ONCE: usize = 1 << 16;

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
    let past = Past::open(archive, filter)?;
    while !files.is_empty() {
        let some = files.split_off(files.len().saturating_sub(AT_ONCE));
        let looked = some.par_iter().map(look).collect::<Result<Vec<_>>>()?;
        let read = has.read(some, looked, observer);
        has.answer(&read, &past, Holding::new(archive, &past, read_data, observer)?)?;
    }
    observer.event(Event::Finishing);
    has.files.sort_by(|a, b| a.path.cmp(&b.path));
    has.unread.sort();
    Ok(has)
}

impl Has {
    /// Takes down what could not be read, and gives what could.
    fn read(
        &mut self,
        files: Vec<(PathBuf, Stat)>,
        looked: Vec<std::result::Result<Looked, Failure>>,
        observer: &dyn Observer,
    ) -> Vec<(PathBuf, Looked)> {
        let mut read = Vec::new();
        for ((path, _), looked) in files.into_iter().zip(looked) {
            match looked {
                Ok(Looked { settled: false, .. }) => {
                    let why = "it changed each time it was read; what it holds now cannot be said".to_owned();
                    observer.event(Event::Trouble { path: &path, why: &why });
                    self.unread.push((path, why));
                }
                Ok(looked) if looked.size == looked.said => read.push((path, looked)),
                // Where nobody knows how long a file is, a reading that was cut off looks as one that came to the end.
                Ok(Looked { size, said, .. }) => {
                    let why = format!(
                        "its file system says that it has {said} bytes, and {size} could be read; \
                         whether that is all of it cannot be said"
                    );
                    observer.event(Event::Trouble { path: &path, why: &why });
                    self.unread.push((path, why));
                }
                Err(failure) => {
                    let (path, why) = told(&failure);
                    observer.event(Event::Trouble { path: &path, why: &why });
                    self.unread.push((path, why));
                }
            }
        }
        read
    }

    /// Answers for these files.
    fn answer(&mut self, read: &[(PathBuf, Looked)], past: &Past<'_>, holding: Holding<'_>) -> Result<()> {
        // What several files are is asked once.
        let (mut distinct, mut number): (Vec<&Looked>, HashMap<FileHash, usize>) = Default::default();
        for (_, looked) in read {
            number.entry(looked.hash).or_insert_with(|| {
                distinct.push(looked);
                distinct.len() - 1
            });
        }
        let answers = answers(past, holding, &distinct)?;
        for (path, looked) in read {
            let Some(answer) = number.get(&looked.hash).and_then(|at| answers.get(*at)) else { continue };
            self.unrestorable += u64::from(answer.unrestorable);
            let (path, verdict) = (path.clone(), answer.verdict.clone());
            self.files.push(Finding { path, size: looked.size, hash: looked.hash, verdict });
        }
        Ok(())
    }
}

/// What is known of certain bytes.
struct Answer {
    verdict: Verdict,
    /// They were recorded, and cannot be had back.
    unrestorable: bool,
}

/// One for each of these files, which all differ.
fn answers(past: &Past<'_>, mut holding: Holding<'_>, files: &[&Looked]) -> Result<Vec<Answer>> {
    let hashes: Vec<FileHash> = files.iter().map(|looked| looked.hash).collect();
    let found = past.with_content(&hashes)?;
    let of_file = |(looked, names): (&&Looked, &Vec<Episode>)| (names.clone(), Some(looked.chunks.clone()));
    let asked: Vec<_> = files.iter().zip(&found).map(of_file).collect();
    holding.ask(&asked)?;
    holding.look()?;
    let mut answers = Vec::with_capacity(files.len());
    for names in found {
        let recorded = !names.is_empty();
        let here = holding.held(names)?;
        let unrestorable = recorded && here.is_empty();
        let verdict = if here.is_empty() { Verdict::Missing } else { Verdict::Here(Arc::new(here)) };
        answers.push(Answer { verdict, unrestorable });
    }
    // Only what is not here itself may be here as another picture.
    let missing = |at: &usize| matches!(answers[*at].verdict, Verdict::Missing);
    let left: Vec<(usize, PictureHash)> =
        (0..files.len()).filter(missing).filter_map(|at| Some((at, files[at].picture?))).collect();
    let pictures: HashSet<PictureHash> = left.iter().map(|(_, picture)| *picture).collect();
    let alike = pictures.into_iter().map(|picture| Ok((picture, (same_picture(past, &picture)?, None))));
    let alike = alike.collect::<Result<HashMap<_, _>>>()?;
    let (pictures, asked): (Vec<_>, Vec<_>) = alike.into_iter().unzip();
    holding.ask(&asked)?;
    holding.look()?;
    let mut held = HashMap::new();
    for (picture, (names, _)) in pictures.into_iter().zip(asked) {
        let names = holding.held(names)?;
        if !names.is_empty() {
            held.insert(picture, Arc::new(names));
        }
    }
    for (at, picture) in left {
        if let Some(names) = held.get(&picture) {
            answers[at].verdict = Verdict::SamePicture(Arc::clone(names));
        }
    }
    Ok(answers)
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
