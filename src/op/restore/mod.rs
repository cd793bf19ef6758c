//! Restoring: the spine back.
//!
//! What to restore is planned before anything is written. Files are read in the order in which they lie in the archive,
//! each is checked against its recorded hash before it gets its name, and the metadata of directories is set last. What
//! lies at the target already is left alone unless the user says otherwise. A file that cannot be restored is told and
//! passed over; everything else is restored.

mod dirs;
mod files;
mod log;
mod plan;
mod room;
mod there;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::{Action, Event, Observer};
use crate::error::Result;
use crate::source::Patterns;
use crate::target::{Notes, Policy, Target};
use crate::view::{Node, View};
use dirs::Dirs;
use files::Work;
use log::Log;
use plan::Plan;
pub use room::NoRoom;

/// What to do where something lies at the target already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// It is left as it is.
    Never,
    /// It is replaced if its length, its modification time or its bytes differ.
    IfChanged,
    /// It is replaced if the archive's is newer.
    IfNewer,
    /// It is replaced.
    Always,
}

/// Which entries to restore, by patterns over their paths in the snapshot.
#[derive(Debug, Default)]
pub struct Selection {
    /// Only what fits one of these, unless there is none.
    pub include: Patterns,
    /// And nothing that fits one of these.
    pub exclude: Patterns,
    /// And only files and links with these very paths, if there are any here.
    pub only: Option<HashSet<Vec<u8>>>,
    /// Patterns of which it is to be told whether they fit anything.
    pub named: Vec<Patterns>,
}

impl Selection {
    fn takes(&self, path: &[u8]) -> bool {
        let only = self.only.as_ref().is_none_or(|only| only.contains(path));
        only && (self.include.is_empty() || self.include.fit(path))
    }
}

/// How to restore.
#[derive(Debug)]
pub struct RestoreOptions {
    /// The folder to restore into; made if it is not there.
    pub target: PathBuf,
    /// Which entries.
    pub selection: Selection,
    /// What to do with what lies there.
    pub overwrite: Overwrite,
    /// Only say what would be restored.
    pub dry_run: bool,
    /// Read every file back before it gets its name.
    pub verify: bool,
    /// Restore set-user-ID and set-group-ID bits of files, and file capabilities.
    pub setuid: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Restore {
    /// Files restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Directories made.
    pub dirs: u64,
    /// Symbolic links restored.
    pub symlinks: u64,
    /// Files and links that were there, just as the archive has them.
    pub present: u64,
    /// What else lay there and was left.
    pub left: Vec<PathBuf>,
    /// What could not have its name, because the target takes it for that of something else, and the name that it has.
    pub renamed: Vec<(PathBuf, PathBuf)>,
    /// What could not be restored, and why.
    pub failed: Vec<(PathBuf, String)>,
    /// Whether one of those failed because the archive is damaged.
    pub damaged: bool,
    /// What the target could not keep of the metadata.
    pub notes: Notes,
    /// Files and links that could not be read when the snapshot was taken, so that they are as an earlier one has them.
    pub unread: u64,
    /// Which of [`Selection::named`] fit something.
    pub matched: BTreeSet<usize>,
}

impl Restore {
    /// Adds what came of another restore.
    pub fn add(&mut self, more: Self) {
        let Self { files, bytes, dirs, symlinks, present, left, renamed, failed, damaged, notes, unread, matched } =
            more;
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
        self.dirs += dirs;
        self.symlinks += symlinks;
        self.present += present;
        self.left.extend(left);
        self.renamed.extend(renamed);
        self.failed.extend(failed);
        self.damaged |= damaged;
        self.notes += notes;
        self.unread += unread;
        self.matched.extend(matched);
    }
}

/// Restores what is at `node` into the target, under its own last name; the top's content if it is the top.
///
/// # Errors
/// [`crate::error::Kind::Target`] if the target cannot be used or has no room (see [`NoRoom`]), the archive's error if it
/// cannot be read any more, or the user's wish to stop. What is restored by then stays, and running the same again does
/// the rest.
pub fn restore(view: &View<'_>, node: &Node, options: &RestoreOptions, observer: &dyn Observer) -> Result<Restore> {
    let mut plan = Plan::make(view, node, &options.selection, observer)?;
    let log = Log::new(&plan, options, observer);
    log.outcome().unread = plan.unread;
    if options.dry_run {
        foretell(&plan, &log);
        return Ok(log.into_outcome());
    }
    room::check(&plan, options)?;
    let policy = Policy { setuid: options.setuid, ..Policy::default() };
    let target = Target::open(&options.target, true)?.with_policy(policy);
    let mut dirs = Dirs::default();
    let written = write(view, &mut plan, &target, &mut dirs, &log);
    // However that ended: a directory that was made is not left as it was while it was being filled.
    let finished = dirs.finish(&plan, &log, written.is_err());
    written.and(finished)?;
    observer.event(Event::Finishing);
    target.sync()?;
    Ok(log.into_outcome())
}

fn write(view: &View<'_>, plan: &mut Plan, target: &Target, dirs: &mut Dirs, log: &Log<'_>) -> Result<()> {
    dirs.make(plan, target.root(), log)?;
    there::look(plan, dirs, log)?;
    let work = Work::new(view, plan, dirs, log);
    work.restore_files()?;
    work.restore_links()?;
    work.restore_symlinks()?;
    work.restore_renamed()
}

/// What would be done, by a look at what lies at the target.
fn foretell(plan: &Plan, log: &Log<'_>) {
    log.outcome().dirs = plan.dirs.len() as u64;
    for item in plan.items() {
        let path = log.path(plan, item);
        let there = std::fs::symlink_metadata(&path).ok();
        if there.is_some_and(|there| !replaces(log.options.overwrite, item, there.len(), modified(&there))) {
            log.left(path, item);
        } else {
            log.written(&path, item, Notes::default());
        }
    }
}

/// Whether an item replaces what lies there.
fn replaces(overwrite: Overwrite, item: &plan::Item, len: u64, modified: (i64, u32)) -> bool {
    let ours = (item.entry.meta.mtime.secs, item.entry.meta.mtime.nanos);
    match overwrite {
        Overwrite::Never => false,
        Overwrite::IfChanged => item.size != len || ours != modified,
        Overwrite::IfNewer => ours > modified,
        Overwrite::Always => true,
    }
}

fn modified(there: &std::fs::Metadata) -> (i64, u32) {
    use std::os::unix::fs::MetadataExt;
    (there.mtime(), there.mtime_nsec() as u32)
}

fn tell(observer: &dyn Observer, action: Action, path: &Path, size: u64) {
    observer.event(Event::Item { action, path, size });
}
