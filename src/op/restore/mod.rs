//! Restoring: the spine back.
//!
//! What to restore is planned before anything is written. Files are read in the order in which they lie in the archive,
//! each is checked against its recorded hash before it gets its name, and the metadata of directories is set last. What
//! lies at the target already is left alone unless the user says otherwise. A file that cannot be restored is told and
//! passed over; everything else is restored.

mod files;
mod plan;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Action, Event, Observer};
use crate::error::Result;
use crate::source::Patterns;
use crate::target::{Notes, Target};
use crate::view::{Node, View};
use files::Work;
use plan::Plan;

/// What to do where something lies at the target already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// It is left as it is.
    Never,
    /// It is replaced if its length or its modification time differ.
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
    /// What lay there and was left.
    pub left: Vec<PathBuf>,
    /// What could not be restored, and why.
    pub failed: Vec<(PathBuf, String)>,
    /// Whether one of those failed because the archive is damaged.
    pub damaged: bool,
    /// What the target could not keep of the metadata.
    pub notes: Notes,
}

impl Restore {
    /// Adds what came of another restore.
    pub fn add(&mut self, more: Self) {
        let Self { files, bytes, dirs, symlinks, left, failed, damaged, notes } = more;
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
        self.dirs += dirs;
        self.symlinks += symlinks;
        self.left.extend(left);
        self.failed.extend(failed);
        self.damaged |= damaged;
        self.notes += notes;
    }
}

/// Restores what is at `node` into the target, under its own last name; the top's content if it is the top.
///
/// # Errors
/// [`crate::error::Kind::Target`] if the target cannot be used or is full, the archive's error if it cannot be read any
/// more, or the user's wish to stop. What is restored by then stays.
pub fn restore(view: &View<'_>, node: &Node, options: &RestoreOptions, observer: &dyn Observer) -> Result<Restore> {
    let plan = Plan::make(view, node, &options.selection, observer)?;
    if options.dry_run {
        return Ok(foretell(&plan, options, observer));
    }
    let target = Target::open(&options.target, true)?;
    let mut work = Work::new(view, &plan, options, observer);
    work.tell_short();
    work.make_dirs(target.root());
    work.restore_files()?;
    work.restore_links()?;
    work.restore_symlinks()?;
    work.finish_dirs()?;
    observer.event(Event::Finishing);
    target.sync()?;
    Ok(work.into_outcome())
}

/// What would be done, by a look at what lies at the target.
fn foretell(plan: &Plan, options: &RestoreOptions, observer: &dyn Observer) -> Restore {
    let mut outcome = Restore { dirs: plan.dirs.len() as u64, ..Restore::default() };
    for item in plan.files.iter().chain(&plan.symlinks) {
        let path = options.target.join(plan.path(item));
        let there = std::fs::symlink_metadata(&path).ok();
        if there.is_some_and(|there| !replaces(options.overwrite, item, there.len(), modified(&there))) {
            tell(observer, Action::Left, &path, item.size);
            outcome.left.push(path);
        } else {
            tell(observer, Action::Restored, &path, item.size);
            outcome.files += u64::from(!item.is_symlink());
            outcome.symlinks += u64::from(item.is_symlink());
            outcome.bytes = outcome.bytes.saturating_add(item.size);
        }
    }
    outcome
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
