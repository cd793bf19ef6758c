//! The guard: a source that looks as if something had happened to it is not recorded unless the user says so.
//!
//! A drive that is not mounted, a folder that was emptied, photos that a program has encrypted: a snapshot of that would
//! be the newest, and what it lacks would look deleted. Names, lengths and times are compared with the previous
//! snapshot. Only where these make many files look changed are some of them read, to tell other tags from other photos;
//! nothing is stored before the guard has spoken.

mod survey;
mod tags;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::evidence::is_same_folder;
use super::previous::{Known, Previous};
use super::{BackupOptions, Root};
use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::format::EntryKind;
use crate::id::SnapshotId;
use crate::op::Observer;
use crate::source;
use survey::{EXAMPLES, Found, Seen, Survey};

/// So few files may always be lost or changed.
const FEW: u64 = 50;

/// Looks at what became of the files that the previous snapshots have, refuses sources that are empty, lie on another
/// device, or have lost or changed too much, and says how many bytes of files are new or changed.
///
/// # Errors
/// [`Kind::Loss`], or the archive's error.
pub(super) fn check(
    archive: &Archive,
    options: &BackupOptions,
    roots: &[Root],
    previous: &Previous,
    observer: &dyn Observer,
) -> Result<u64> {
    let refuse = |path: &Path, why: Option<String>| match why.filter(|_| options.max_loss.is_some()) {
        Some(why) => Err(Error::new(Kind::Loss, format!("backing up {}", path.display()), why)),
        None => Ok(()),
    };
    let guard = Guard { archive, percent: options.max_loss.unwrap_or(100), previous, observer };
    // Sources that are single files are looked at together.
    let (files, mut singles, mut newest) = (guard.survey(0), Seen::default(), None);
    let mut coming = 0_u64;
    for (number, root) in roots.iter().enumerate() {
        let (path, node) = (root.path.as_path(), &root.scan.node);
        let Some(known) = previous.root(number) else {
            coming = coming.saturating_add(root.scan.bytes);
            refuse(path, is_empty(root).then(|| "there is no file in it".to_owned()))?;
            continue;
        };
        refuse(path, changed_place(root, known))?;
        if matches!(known.entry.kind, EntryKind::Dir { .. }) {
            let survey = guard.survey(number);
            let seen = match node.unseen() {
                None => survey.entry(&|| path.to_owned(), &known.entry, Some(node))?,
                Some(_) => Seen::default(),
            };
            let found = survey.finish(seen);
            coming = coming.saturating_add(found.seen.coming);
            if options.max_loss.is_some() {
                refuse(path, guard.doubt(Some((root, known)), known.snapshot, found)?)?;
            }
        } else {
            singles = singles.and(files.entry(&|| path.to_owned(), &known.entry, Some(node))?);
            newest = newest.max(Some(known.snapshot));
        }
    }
    let found = files.finish(singles);
    coming = coming.saturating_add(found.seen.coming);
    if let Some(snapshot) = newest.filter(|_| options.max_loss.is_some())
        && let Some(why) = guard.doubt(None, snapshot, found)?
    {
        return Err(Error::new(Kind::Loss, "backing up single files", why));
    }
    Ok(coming)
}

/// Whether there is nothing to back up in a folder, and not because it could not be read or rules leave it out.
fn is_empty(root: &Root) -> bool {
    let source::Scan { node, failures, files, links, excluded, .. } = &root.scan;
    node.stat.kind == source::Kind::Dir && files + links + excluded == 0 && failures.is_empty()
}

/// What is wrong with the place that a source is at, whatever is in it.
fn changed_place(root: &Root, known: &Known) -> Option<String> {
    let snapshot = known.snapshot.short();
    let EntryKind::Dir { files, .. } = known.entry.kind else {
        return is_empty(root).then(|| format!("it is an empty folder now; in snapshot {snapshot} it is a file"));
    };
    if files > 0 && is_empty(root) {
        return Some(format!("it is empty now; snapshot {snapshot} has {} in it", counted(files)));
    }
    let elsewhere = is_elsewhere(root, known) && !root.scan.numbers_made_up;
    elsewhere.then(|| format!("it is on another device than in snapshot {snapshot}"))
}

/// Whether a source lies on another device than it did; unless numbers are made up, and then this says little. A device may
/// get another number at each start of the computer, and the next device the number of the last one; but a folder keeps what
/// tells which one it is. One that was made anew on the same device is no other device, unless it is the top of it.
fn is_elsewhere(root: &Root, known: &Known) -> bool {
    let stat = &root.scan.node.stat;
    let Some(device) = known.device else { return false };
    match is_same_folder(&known.entry, stat) {
        Some(same) => !same && (device != stat.dev || is_top(&root.path, stat.dev)),
        None => device != stat.dev && known.entry.meta.inode != stat.ino,
    }
}

/// Whether a folder is the top of what is mounted on its device.
fn is_top(path: &Path, device: u64) -> bool {
    std::fs::metadata(path.join("..")).is_ok_and(|above| above.dev() != device)
}

struct Guard<'a> {
    archive: &'a Archive,
    percent: u8,
    previous: &'a Previous,
    observer: &'a dyn Observer,
}

impl Guard<'_> {
    fn survey(&self, number: usize) -> Survey<'_> {
        Survey::new(self.archive.reader(), self.previous, self.observer, number)
    }

    /// What is wrong with what is in a source, if anything is.
    fn doubt(&self, source: Option<(&Root, &Known)>, snapshot: SnapshotId, found: Found) -> Result<Option<String>> {
        let Found { seen, lost, changed: mut sample } = found;
        let (snapshot, all) = (snapshot.short(), counted(seen.files));
        if let Some((root, known)) = source
            && seen.lost > 0
            && seen.same + seen.unread == 0
        {
            if root.scan.files + root.scan.links == 0 {
                return Ok(Some(format!("it is empty now; snapshot {snapshot} has {all} in it")));
            }
            if is_elsewhere(root, known) {
                let why = "it is on another device than in snapshot";
                return Ok(Some(format!("{why} {snapshot}, and none of the {all} that were there is in it")));
            }
        }
        let too_many = |files: u64| is_too_many(files, self.percent, seen.files);
        if too_many(seen.unread) {
            let unread = seen.unread;
            return Ok(Some(format!("{unread} of the {all} that snapshot {snapshot} has could not be read")));
        }
        let mut changed = seen.changed;
        if !too_many(seen.lost.saturating_add(changed)) {
            return Ok(None);
        }
        if !too_many(seen.lost) {
            let looked_at = sample.len() as u64;
            sample = tags::really_changed(self.archive, sample, self.observer)?;
            let really = (u128::from(changed) * sample.len() as u128).div_ceil(u128::from(looked_at.max(1)));
            changed = u64::try_from(really).unwrap_or(changed);
            if !too_many(seen.lost.saturating_add(changed)) {
                return Ok(None);
            }
        }
        let mut altered: Vec<PathBuf> = sample.into_iter().map(|file| file.path).collect();
        altered.sort_unstable();
        let what = match (seen.lost, changed) {
            (lost, 0) => format!("it has lost {lost} of the {all} that snapshot {snapshot} has"),
            (0, changed) => format!("{changed} of the {all} that snapshot {snapshot} has are changed"),
            (lost, changed) => {
                format!("of the {all} that snapshot {snapshot} has it has lost {lost}, and {changed} are changed")
            }
        };
        let above = source.map_or(Path::new(""), |(root, _)| root.path.as_path());
        let examples = [("lost", lost, seen.lost), ("changed", altered, changed)];
        let examples = examples.into_iter().filter(|(_, paths, _)| !paths.is_empty());
        let examples: Vec<String> = examples.map(|(sort, paths, all)| named(sort, &paths, all, above)).collect();
        Ok(Some(if examples.is_empty() { what } else { format!("{what} ({})", examples.join("; ")) }))
    }
}

/// Whether so many files are more than so many percent of all, and more than a few. The numbers may be what a snapshot claims.
fn is_too_many(files: u64, percent: u8, all: u64) -> bool {
    files >= FEW && u128::from(files) * 100 > u128::from(percent) * u128::from(all)
}

/// `lost: a/1.jpg, a/2.jpg, b/7.jpg, …`
fn named(sort: &str, paths: &[PathBuf], number: u64, above: &Path) -> String {
    let names = paths.iter().take(EXAMPLES).map(|path| path.strip_prefix(above).unwrap_or(path).to_string_lossy());
    let more = if number > EXAMPLES as u64 { ", …" } else { "" };
    format!("{sort}: {}{more}", names.collect::<Vec<_>>().join(", "))
}

fn counted(files: u64) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A damaged or hostile snapshot claimed so many files that the multiplication went round, and a loss of all of them was
    /// no loss.
    #[test]
    fn a_loss_of_as_many_files_as_can_be_claimed_is_one() {
        assert!(is_too_many(u64::MAX, 25, u64::MAX) && is_too_many(u64::MAX / 100 + 1, 99, u64::MAX / 100 + 1));
        assert!(!is_too_many(u64::MAX / 4 - 1, 25, u64::MAX) && !is_too_many(FEW - 1, 0, FEW));
    }
}
