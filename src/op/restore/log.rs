//! What comes of a restore, told as it happens and added up.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::{Item, Plan};
use super::{Restore, RestoreOptions, tell};
use crate::error::{Error, Kind, Result, is_out_of_handles};
use crate::op::{Action, Event, Observer};
use crate::target::Notes;
use crate::view::Gap;

pub(super) struct Log<'a> {
    pub(super) options: &'a RestoreOptions,
    pub(super) observer: &'a dyn Observer,
    outcome: Mutex<Restore>,
}

impl<'a> Log<'a> {
    /// Begins with what the plan already knows.
    pub(super) fn new(plan: &Plan, options: &'a RestoreOptions, observer: &'a dyn Observer) -> Self {
        let outcome = Restore { matched: plan.matched.clone(), ..Restore::default() };
        let log = Self { options, observer, outcome: Mutex::new(outcome) };
        for (path, gap) in &plan.gaps {
            log.fails(options.target.join(path), &gap_error(gap));
        }
        // What there is of them is restored.
        for (path, why) in &plan.short {
            log.trouble(options.target.join(path), true, why.clone());
        }
        log
    }

    pub(super) fn into_outcome(self) -> Restore {
        let mut outcome = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.left.sort_unstable();
        outcome.failed.sort_unstable();
        outcome.renamed.sort_unstable();
        outcome
    }

    pub(super) fn outcome(&self) -> MutexGuard<'_, Restore> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn path(&self, plan: &Plan, item: &Item) -> PathBuf {
        self.options.target.join(plan.path(item))
    }

    pub(super) fn written(&self, path: &Path, item: &Item, notes: Notes) {
        tell(self.observer, Action::Restored, path, item.size);
        self.observer.event(Event::Advance { files: u64::from(!item.is_symlink()), bytes: 0 });
        let mut outcome = self.outcome();
        outcome.files += u64::from(!item.is_symlink());
        outcome.symlinks += u64::from(item.is_symlink());
        outcome.bytes = outcome.bytes.saturating_add(item.size);
        outcome.notes += notes;
    }

    pub(super) fn left(&self, path: PathBuf, item: &Item) {
        tell(self.observer, Action::Left, &path, item.size);
        self.advance(item);
        self.outcome().left.push(path);
    }

    /// What is there is just what the archive has.
    pub(super) fn present(&self, path: &Path, item: &Item) {
        tell(self.observer, Action::Present, path, item.size);
        self.advance(item);
        self.outcome().present += 1;
    }

    fn advance(&self, item: &Item) {
        self.observer.event(Event::Advance { files: u64::from(!item.is_symlink()), bytes: item.size });
    }

    pub(super) fn renamed(&self, wanted: PathBuf, actual: PathBuf) {
        self.outcome().renamed.push((wanted, actual));
    }

    pub(super) fn failed(&self, plan: &Plan, item: &Item, error: &Error) {
        self.fails(self.path(plan, item), error);
    }

    fn fails(&self, path: PathBuf, error: &Error) {
        let damaged = matches!(error.kind(), Kind::Damaged | Kind::Missing);
        self.trouble(path, damaged, error.to_string());
    }

    fn trouble(&self, path: PathBuf, damaged: bool, why: String) {
        self.observer.event(Event::Trouble { path: &path, why: &why });
        let mut outcome = self.outcome();
        outcome.damaged |= damaged;
        outcome.failed.push((path, why));
    }
}

/// What a gap in a directory costs, in words.
fn gap_error(gap: &Gap) -> Error {
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let doing = match (&gap.from, &gap.until) {
        (None, None) => "everything in this folder is missing".to_owned(),
        (None, Some(until)) => format!("what comes before \"{}\" in this folder is missing", shown(until)),
        (Some(from), None) => format!("\"{}\" and what comes after it in this folder is missing", shown(from)),
        (Some(from), Some(until)) => {
            format!("\"{}\" and what comes before \"{}\" in this folder is missing", shown(from), shown(until))
        }
    };
    gap.error.clone().within(doing)
}

/// Whether nothing else could be restored either after this error.
pub(super) fn is_hopeless(error: &Error, archive_is_reachable: impl FnOnce() -> bool) -> bool {
    // It is of this process, and neither of the file nor of a drive.
    if error.io().is_some_and(is_out_of_handles) {
        return true;
    }
    match error.kind() {
        Kind::Interrupted | Kind::Internal => true,
        Kind::Target => error.io().is_some_and(|cause| {
            use rustix::io::Errno;
            use std::io::ErrorKind::{
                NotConnected, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull,
            };
            let gone = [Errno::NODEV, Errno::NXIO].map(|errno| Some(errno.raw_os_error()));
            gone.contains(&cause.raw_os_error())
                || matches!(
                    cause.kind(),
                    StorageFull | QuotaExceeded | ReadOnlyFilesystem | NotConnected | StaleNetworkFileHandle
                )
        }),
        // What cannot be opened costs what lies in it; a drive that is gone ends everything.
        Kind::Store => !archive_is_reachable(),
        _ => false,
    }
}

/// Passes over an item that cannot be restored, or ends the restore if nothing else could be either.
pub(super) fn pass_over(hopeless: bool, error: Error, tell: impl FnOnce(&Error)) -> Result<()> {
    if hopeless {
        return Err(error);
    }
    tell(&error);
    Ok(())
}
