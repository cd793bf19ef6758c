//! Backing up: the spine.
//!
//! The whole source is looked at before anything is stored, so the totals are known and nothing is recorded of a source
//! that cannot be used. Files that are as the previous snapshot has them are not read. What is unreadable in the source
//! is told and passed over; an error of the archive ends the run, and then there is no snapshot. Whatever ends it, the
//! chunks that are durable by then are not stored again by the next run.

mod decay;
mod guard;
mod moved;
mod previous;
mod run;

use std::path::PathBuf;
use std::time::Instant;

use super::{Action, Decayed, Event, Observer, capture, check_stop};
use crate::archive::{Archive, Packing};
use crate::error::{Error, Kind, Result};
use crate::format::{Device, Snapshot, Source, Summary, Time, Unread};
use crate::id::SnapshotId;
use crate::source::{self, RuleSpec, Rules, Scan};
use previous::Previous;
pub(in crate::op) use previous::is_unchanged;
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
    /// Read every file, also those that look unchanged.
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
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// Sockets, pipes and devices, which are never stored, and what each is.
    pub passed_over: Vec<(PathBuf, &'static str)>,
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
    let roots = scan(options, observer)?;
    let previous = Previous::find(archive, options, &roots)?;
    let pool = rayon::ThreadPoolBuilder::new().stack_size(STACK).build();
    let pool = pool.map_err(|error| Error::caused(Kind::Internal, "starting threads", error))?;
    pool.install(|| guard::check(archive, options, &roots, &previous, observer))?;
    let run = Run::new(archive, options, observer, &previous, &roots)?;
    let stored = run.store(&pool);
    let mut done = run.finish(stored)?;

    done.summary.millis = started.elapsed().as_millis() as u64;
    let unchanged = done.tree == previous.tree();
    let id = match done.tree {
        Some(tree) if !(unchanged && options.skip_if_unchanged) => {
            let snapshot = Snapshot {
                sequence: previous.next_sequence(),
                time: options.time,
                offset_minutes: options.offset_minutes,
                host: options.host.clone(),
                user: options.user.clone(),
                sources: roots.iter().map(Root::record).collect(),
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
            let _ = archive.follow_past(LITTLE);
            Some(id)
        }
        _ => None,
    };
    drop(done.lock); // until now nobody could remove what the snapshot needs
    let passed_over = roots.into_iter().flat_map(|root| root.scan.passed_over).collect();
    let Summary { new, changed, moved, gone, .. } = done.summary;
    let unchanged = if options.dry_run { new + changed + moved + gone == 0 } else { unchanged };
    Ok(Backup {
        id,
        summary: done.summary,
        parent: previous.parent(),
        unread: done.unread,
        passed_over,
        unchanged,
        decayed: done.decayed,
    })
}

/// One source: its name in the snapshot, where it is, and what is there.
struct Root {
    name: Vec<u8>,
    path: PathBuf,
    scan: Scan,
    devices: Vec<u64>,
}

impl Root {
    fn record(&self) -> Source {
        let devices = self.devices.iter().map(|number| Device(*number)).collect();
        Source { name: self.name.clone(), path: bytes(&self.path), devices }
    }

    /// The number of a device within this source.
    fn device(&self, number: u64) -> u64 {
        self.devices.iter().position(|device| *device == number).unwrap_or_default() as u64
    }
}

/// Looks at every source.
fn scan(options: &BackupOptions, observer: &dyn Observer) -> Result<Vec<Root>> {
    if options.sources.is_empty() {
        return Err(Error::new(Kind::Invalid, "backing up", "there is nothing to back up"));
    }
    let rules = Rules::new(&options.rules)?;
    let mut roots: Vec<Root> = Vec::new();
    let (mut files, mut size) = (0, 0);
    for source in &options.sources {
        let path = absolute(source)?;
        if roots.iter().any(|root| root.path == path) {
            continue; // named twice
        }
        let tick = |more: u64, bytes: u64| observer.event(Event::Scanned { files: files + more, bytes: size + bytes });
        let scan = source::scan(&path, &rules, &tick, observer.stop())?;
        files += scan.files;
        size += scan.bytes;
        let name = unique_name(&path, &roots);
        roots.push(Root { name, devices: devices(&scan.node), path, scan });
    }
    for (path, _) in roots.iter().flat_map(|root| &root.scan.passed_over) {
        observer.event(Event::Item { action: Action::PassedOver, path, size: 0 });
    }
    observer.event(Event::Begin { files, bytes: size });
    Ok(roots)
}

/// A path that does not depend on where the program was started, without touching links in it.
fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    let failed = |error| Error::caused(Kind::Source, format!("finding {}", path.display()), error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    if absolute.components().any(|part| part == std::path::Component::ParentDir) {
        return absolute.canonicalize().map_err(failed);
    }
    Ok(absolute.components().collect())
}

/// The source's last name, with a number where another source has it.
fn unique_name(path: &std::path::Path, others: &[Root]) -> Vec<u8> {
    let last = path.file_name().map_or_else(|| b"root".to_vec(), |name| name.as_encoded_bytes().to_vec());
    let taken = |name: &[u8]| others.iter().any(|root| root.name == name);
    // Names have 255 bytes at most.
    let stem = &last[..last.len().min(244)];
    let numbered = (2..).map(|number: u32| [stem, b"~", number.to_string().as_bytes()].concat());
    std::iter::once(last.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(last)
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
