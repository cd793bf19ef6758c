//! Looking again while others are at work: what is only being replaced is not called damaged.
//!
//! Why it is safe: whoever adds, stores chunks anew or repairs never leaves a moment in which a chunk that a snapshot
//! needs lies nowhere. A look takes time, so it may meet one object before and another after it was replaced; the next
//! look meets other objects so. What every look finds is damaged, whoever works.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use super::{Verify, VerifyOptions, objects};
use crate::archive::Archive;
use crate::error::Result;
use crate::format::names;
use crate::op::{Observer, check_stop};
use crate::store::Leftovers;

/// How often is looked while somebody is at work, and how long the first pause is; each is twice as long as the one
/// before.
const MOST_LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);
/// A pause is slept in steps of this length, so that the user's wish to stop is heard.
const STEP: Duration = Duration::from_millis(50);

/// Looks until nothing is found, or nobody is at work and nothing has changed, or often enough.
pub(super) fn until_settled(
    archive: &Archive,
    options: &VerifyOptions,
    observer: &dyn Observer,
    mut look: impl FnMut() -> Result<Verify>,
) -> Result<Verify> {
    let mut every: Option<Suspects> = None;
    for number in 1.. {
        let begun = names_of_objects(archive)?;
        let mut found = look()?;
        if options.alone || (found.is_whole() && found.gone.is_empty()) {
            return Ok(found);
        }
        let suspects = Suspects::of(&found).also_in(every.as_ref());
        found.in_use = archive.is_in_use();
        let changed = names_of_objects(archive)? != begun;
        if !found.in_use && !changed {
            return Ok(found);
        }
        if number >= MOST_LOOKS {
            suspects.keep_in(&mut found);
            return Ok(found);
        }
        every = Some(suspects);
        pause(PAUSE * 2_u32.pow(number - 1), observer)?;
        archive.refresh()?;
    }
    look()
}

fn pause(time: Duration, observer: &dyn Observer) -> Result<()> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time {
        check_stop(observer)?;
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// What lies in the archive, quarantine included: a repair gives objects their bytes back under their names.
fn names_of_objects(archive: &Archive) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for folder in [names::SNAPSHOTS, names::SEGMENTS, names::PACKS, names::PARITY, names::MARKS, names::DERIVED] {
        all.extend(objects(archive, folder)?.into_iter().map(|object| object.name));
    }
    let quarantine = archive.store().list(names::QUARANTINE, Leftovers::Leave)?;
    all.extend(quarantine.into_iter().map(|object| object.name));
    Ok(all)
}

/// What a look found, by names.
struct Suspects {
    objects: HashSet<String>,
    files: HashSet<(crate::id::SnapshotId, Vec<u8>)>,
}

impl Suspects {
    fn of(found: &Verify) -> Self {
        let wrong = found.wrong.iter().map(|wrong| &wrong.file);
        let files = found.affected.iter().chain(wrong).map(|file| (file.snapshot, file.path.clone()));
        let files = files.chain(found.false_claims.iter().map(|(snapshot, path, _)| (*snapshot, path.clone())));
        let objects =
            found.damage.iter().map(|damage| &damage.object).chain(found.gone.iter().map(|gone| &gone.object));
        Self { objects: objects.cloned().collect(), files: files.collect() }
    }

    /// Those that were there before as well.
    fn also_in(self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self };
        fn both<T: Eq + Hash>(mut one: HashSet<T>, other: &HashSet<T>) -> HashSet<T> {
            one.retain(|what| other.contains(what));
            one
        }
        Self { objects: both(self.objects, &before.objects), files: both(self.files, &before.files) }
    }

    /// Leaves only these in what was found, and counts the others as not checked.
    fn keep_in(&self, found: &mut Verify) {
        let before = Self::of(found);
        found.damage.retain(|damage| self.objects.contains(&damage.object));
        found.gone.retain(|gone| self.objects.contains(&gone.object));
        let known = |file: &super::AffectedFile| self.files.contains(&(file.snapshot, file.path.clone()));
        found.affected.retain(|file| known(file));
        found.wrong.retain(|wrong| known(&wrong.file));
        found.false_claims.retain(|(snapshot, path, _)| self.files.contains(&(*snapshot, path.clone())));
        found.lost.retain(|lost| self.files.contains(&(lost.snapshot, lost.path.clone())));
        let objects = before.objects.len() - self.objects.len();
        found.unsettled = (objects + before.files.len() - self.files.len()) as u64;
    }
}
