//! Backing up: the spine.
//!
//! The whole source is looked at before anything is stored, so the totals are known and nothing is recorded of a source
//! that cannot be used. Files that are as the previous snapshot has them are not read. What is unreadable in the source
//! is told and passed over; an error of the archive ends the run, and then there is no snapshot. Whatever ends it, the
//! chunks that are durable by then are not stored again by the next run.

mod before;
mod carry;
mod decay;
mod earlier;
mod evidence;
mod guard;
mod moved;
mod previous;
mod run;
mod unmounted;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use super::{Action, Decayed, Event, Observer, capture, check_stop};
use crate::archive::{Archive, Packing};
use crate::error::{Error, Kind, Result, words_of};
use crate::format::{Device, Snapshot, Source, Summary, Time, Unread};
use crate::id::SnapshotId;
use crate::source::{self, PassedOver, RuleSpec, Rules, Scan};
use crate::target::is_temp_name;
pub use carry::Kept;
pub(in crate::op) use evidence::Grounds;
use previous::{Known, Previous};
pub(in crate::op) use previous::{Recorded, grounds_of};
use run::Run;

/// A thread's stack, in bytes: directories may nest deeply.
const STACK: usize = 256 << 20;

/// The past of every path follows a new snapshot at once where no more files than this have changed, since that takes a
/// moment; after more it is filled when somebody asks for it.
const LITTLE: usize = 2_000;

/// What to back up, and how to record it.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// Folders and files.
    pub sources: Vec<PathBuf>,
    /// What to leave out.
    pub rules: RuleSpec,
    /// This machine's name.
    pub host: String,
    /// This user's name.
    pub user: String,
    /// Words to find the snapshot by.
    pub tags: Vec<String>,
    /// What to remember about it.
    pub note: Option<String>,
    /// When the run begins.
    pub time: Time,
    /// Minutes by which local time is ahead of UTC.
    pub offset_minutes: i16,
    /// Name and version of the program.
    pub program: String,
    /// Only say what would be stored.
    pub dry_run: bool,
    /// Record nothing if the source is as the previous snapshot has it.
    pub skip_if_unchanged: bool,
    /// How chunks are packed.
    pub packing: Packing,
    /// Read every file, whatever the evidence says.
    pub force: bool,
    /// Keep the snapshot for ever.
    pub pinned: bool,
    /// Refuse a source of whose files more than this many percent are lost or changed since the previous snapshot; none
    /// takes it as it is.
    pub max_loss: Option<u8>,
}

/// What came of it.
#[derive(Debug)]
pub struct Backup {
    /// The new snapshot; none in a dry run, or when it was skipped.
    pub id: Option<SnapshotId>,
    /// Counts and bytes.
    pub summary: Summary,
    /// The snapshot that the source was compared with.
    pub parent: Option<SnapshotId>,
    /// Bytes of the files that were read, or would be.
    pub read: u64,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// Folders of which the last state could not be read in the archive, so that nobody knows all that was in them.
    pub unknown: Vec<PathBuf>,
    /// What is in the snapshot as an earlier one has it, since it was not read this time.
    pub kept: Kept,
    /// What is never stored, such as sockets, and directories that were not entered.
    pub passed_over: Vec<(PathBuf, PassedOver)>,
    /// Nothing differs from the previous snapshot.
    pub unchanged: bool,
    /// Files whose bytes have changed while nothing else has. They are among those that were not read well.
    pub decayed: Vec<Decayed>,
}

/// Backs up the sources as one snapshot.
///
/// # Errors
/// [`Kind::Source`] if a source cannot be used at all, [`Kind::Loss`] if it has lost too much, [`Kind::Interrupted`] if the
/// user wished so, or what the archive is. Then no snapshot was recorded.
pub fn backup(archive: &Archive, options: &BackupOptions, observer: &dyn Observer) -> Result<Backup> {
    let started = Instant::now();
    let (mut roots, missing) = scan(options, observer)?;
    let previous = Previous::find(archive, options, &roots)?;
    unmounted::mark(archive, &mut roots, &previous)?;
    let pool = rayon::ThreadPoolBuilder::new().stack_size(STACK).build();
    let pool = pool.map_err(no_threads)?;
    let coming = pool.install(|| guard::check(archive, options, &roots, &previous, observer))?;
    if let Some(free) = archive.store().free().filter(|free| *free < coming) {
        observer.event(Event::ScarceRoom { free, coming });
    }
    let run = Run::new(archive, options, observer, &previous, &roots)?;
    let stored = run.store(&pool, missing);
    let mut done = run.finish(stored)?;

    done.summary.millis = started.elapsed().as_millis() as u64;
    let unchanged = done.tree == previous.tree();
    let id = match done.tree {
        Some(tree) if !(unchanged && options.skip_if_unchanged) => {
            let kept_some = done.kept != Kept::default();
            let record = |(at, root): (usize, &Root)| root.record(previous.root(at).filter(|_| kept_some));
            let snapshot = Snapshot {
                sequence: previous.next_sequence(),
                time: options.time,
                offset_minutes: options.offset_minutes,
                host: options.host.clone(),
                user: options.user.clone(),
                sources: roots.iter().enumerate().map(record).collect(),
                tree,
                parent: previous.parent(),
                tags: options.tags.clone(),
                note: options.note.clone(),
                excludes: [options.rules.exclude.as_slice(), &options.rules.iexclude].concat(),
                program: options.program.clone(),
                summary: done.summary,
                unread: done.unread.iter().take(Snapshot::MAX_UNREAD).cloned().collect(),
                pinned: options.pinned,
            };
            check_stop(observer)?;
            let id = archive.commit(&snapshot)?;
            archive.note_done(id, capture::MAKER, done.indexed)?;
            // What was suspected has been read, and is recorded as it is.
            archive.note_reads(&[], &[], &done.settled);
            // The snapshot is there, whatever becomes of the index: who asks for the past fills it.
            let kept = done.kept.unread.saturating_add(done.kept.excluded);
            if kept <= LITTLE as u64 && roots.len() <= LITTLE {
                let _ = archive.follow_past(LITTLE);
            }
            Some(id)
        }
        _ => None,
    };
    drop(done.lock); // until now nobody could remove what the snapshot needs
    let passed_over = roots.into_iter().flat_map(|root| root.scan.passed_over).collect();
    let Summary { new, changed, moved, gone, .. } = done.summary;
    let unchanged = if options.dry_run { new + changed + moved + gone == 0 } else { unchanged };
    let (summary, unread, kept, read, decayed) = (done.summary, done.unread, done.kept, done.read, done.decayed);
    let (parent, unknown) = (previous.parent(), done.unknown);
    Ok(Backup { id, summary, parent, read, unread, unknown, kept, passed_over, unchanged, decayed })
}

/// What the system said when it gave no threads.
fn no_threads(error: rayon::ThreadPoolBuildError) -> Error {
    use std::error::Error as _;
    let code = error.source().and_then(|cause| cause.downcast_ref()).and_then(std::io::Error::raw_os_error);
    match code {
        Some(code) => Error::caused(Kind::Internal, "starting threads", std::io::Error::from_raw_os_error(code)),
        None => Error::caused(Kind::Internal, "starting threads", error),
    }
}

/// One source: its name in the snapshot, where it is, and what is there.
struct Root {
    name: Vec<u8>,
    path: PathBuf,
    scan: Scan,
    devices: Vec<u64>,
}

impl Root {
    fn record(&self, known: Option<&Known>) -> Source {
        let mut devices: Vec<Device> = self.devices.iter().map(|number| Device(*number)).collect();
        // Entries that were not read now keep their numbers, and a number is below how many devices there are.
        devices.extend(
            known
                .into_iter()
                .flat_map(|known| known.devices.iter().skip(self.devices.len()).map(|number| Device(*number))),
        );
        Source { name: self.name.clone(), path: bytes(&self.path), devices }
    }

    /// The number of a device within this source.
    fn device(&self, number: u64) -> u64 {
        self.devices.iter().position(|device| *device == number).unwrap_or_default() as u64
    }
}

/// Looks at every source. Those that cannot be used are given apart; if none can, that is an error.
fn scan(options: &BackupOptions, observer: &dyn Observer) -> Result<(Vec<Root>, Vec<Unread>)> {
    if options.sources.is_empty() {
        return Err(Error::new(Kind::Invalid, "backing up", "there is nothing to back up"));
    }
    let rules = Rules::new(&RuleSpec { temporary: Some(is_temp_name), ..options.rules.clone() })?;
    let (mut roots, mut met, mut names) = (Vec::new(), HashSet::new(), Names::default());
    let (mut missing, mut first_error) = (Vec::new(), None);
    let (mut files, mut size) = (0, 0);
    for source in &options.sources {
        let tick = |more: u64, bytes: u64| observer.event(Event::Scanned { files: files + more, bytes: size + bytes });
        let scanned = source_path(source).and_then(|path| match met.insert(path.clone()) {
            true => source::scan(&path, &rules, &tick, observer.stop()).map(|scan| Some((path, scan))),
            false => Ok(None), // named twice
        });
        match scanned {
            Ok(Some((path, scan))) => {
                files += scan.files;
                size += scan.bytes;
                roots.push(Root { name: names.unique(&path), devices: devices(&scan.node), path, scan });
            }
            Ok(None) => {}
            Err(error) if error.kind() == Kind::Source => {
                let why = error
                    .io()
                    .map_or_else(|| error.to_string(), |cause| format!("reading the source: {}", words_of(cause)));
                missing.push(Unread { path: bytes(source), why });
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = first_error.filter(|_| roots.is_empty()) {
        return Err(match missing.len() {
            1 => error,
            number => error.within(format!("none of {number} sources can be used")),
        });
    }
    for (path, _) in roots.iter().flat_map(|root| &root.scan.passed_over) {
        observer.event(Event::Item { action: Action::PassedOver, path, size: 0 });
    }
    observer.event(Event::Begin { files, bytes: size });
    Ok((roots, missing))
}

/// A source's path as it is recorded: it does not depend on where the program was started, and no link in it is touched.
///
/// # Errors
/// [`Kind::Source`] if it leads up (`..`) and cannot be found.
pub fn source_path(path: &std::path::Path) -> Result<PathBuf> {
    let failed = |error| Error::caused(Kind::Source, format!("finding {}", path.display()), error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    if absolute.components().any(|part| part == std::path::Component::ParentDir) {
        return absolute.canonicalize().map_err(failed);
    }
    Ok(absolute.components().collect())
}

/// Names that sources have in the snapshot.
#[derive(Default)]
struct Names {
    taken: HashSet<Vec<u8>>,
    /// For a last name that several sources have, the number to go on with.
    next: HashMap<Vec<u8>, u32>,
}

impl Names {
    /// The source's last name, with a number where another source has it.
    fn unique(&mut self, path: &std::path::Path) -> Vec<u8> {
        let last = path.file_name().map_or_else(|| b"root".to_vec(), |name| name.as_encoded_bytes().to_vec());
        if self.taken.insert(last.clone()) {
            return last;
        }
        // Names have 255 bytes at most.
        let stem = &last[..last.len().min(244)];
        let next = self.next.entry(stem.to_vec()).or_insert(2);
        loop {
            let name = [stem, b"~", next.to_string().as_bytes()].concat();
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// The devices below a node, in the order of the walk.
fn devices(top: &source::Node) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    let mut todo = vec![top];
    while let Some(node) = todo.pop() {
        if found.last() != Some(&node.stat.dev) && !found.contains(&node.stat.dev) {
            found.push(node.stat.dev);
        }
        todo.extend(node.children.iter().rev());
    }
    found
}

fn bytes(path: &std::path::Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}
