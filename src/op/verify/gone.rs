//! What is not there any more and only its recovery data tell of.
//!
//! Nothing else points at a snapshot or mark that is gone, and a pack may lose the segment that tells of it along with
//! itself. Their recovery data lie elsewhere, so what is gone is named by them, and made again from them. A snapshot that is
//! gone together with its recovery data is named if this computer has seen it here, and mentioned if a later one was
//! compared with it.
//!
//! A run that is cut off in its last moment leaves recovery data, too: those of a snapshot that was never committed. It
//! counts as lost only if it was surely there: this computer has seen it, or others were recorded that took it into account.

use std::collections::{BTreeSet, HashSet};

use super::{AffectedFile, Check, GoneRecord, LostChunk, Record};
use crate::archive::{MAX_PACK_LEN, MAX_PARITY_LEN, directory_of, restored};
use crate::error::{Kind, Result};
use crate::format::{Mark, Snapshot, names};
use crate::id::{ChunkId, ChunkKind, MarkId, PackId, SnapshotId};
use crate::op::check_stop;
use crate::parity::Parity;
use crate::store::{Leftovers, Object};

impl Check<'_> {
    /// Names what is gone and has left its recovery data.
    pub(super) fn gone(&mut self, parity: &[Object]) -> Result<()> {
        let mut coming = HashSet::new();
        for object in parity {
            check_stop(self.observer)?;
            let id =
                PackId::from_hex(names::last(&object.name)).filter(|id| names::parity(id.as_bytes()) == object.name);
            let Some(id) = id.filter(|_| !self.protected.contains(&object.name)) else { continue };
            let (snapshot, mark) = (SnapshotId::from_bytes(*id.as_bytes()), MarkId::from_bytes(*id.as_bytes()));
            let own = [names::pack(&id), names::snapshot(&snapshot), names::mark(&mark)];
            if own
                .iter()
                .map(|name| self.archive.store().len(name))
                .collect::<Result<Vec<_>>>()?
                .iter()
                .any(Option::is_some)
            {
                continue;
            }
            let bytes = match restored(&**self.archive.store(), &own[0], id.as_bytes(), MAX_PACK_LEN) {
                Ok(restored) => restored.bytes,
                Err(error) if error.kind().is_of_an_object() => {
                    self.untellable(object, &own)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let [pack_name, snapshot_name, mark_name] = own;
            if let Ok(decoded) = Snapshot::decode(&bytes) {
                // Without its directories it would be of no use, and is not known to have been complete.
                if !self.archive.locate(&decoded.tree)?.is_empty() {
                    let lost = self.was_there(&snapshot, decoded.sequence)?;
                    self.record(snapshot_name, Record::Snapshot(Box::new(decoded)), lost);
                }
            } else if let Ok(decoded) = Mark::decode(&bytes) {
                let said_again = self
                    .archive
                    .marks()?
                    .iter()
                    .any(|(_, other)| other.sequence == decoded.sequence && other.says == decoded.says);
                let lost = !said_again;
                self.record(mark_name, Record::Mark(decoded), lost);
            } else if let Ok(decoded) = directory_of(&id, &bytes) {
                let chunks: HashSet<ChunkId> = decoded.rows.iter().map(|row| row.frame.id).collect();
                if self.found.lost.iter().any(|lost| chunks.contains(&lost.id)) {
                    coming.extend(chunks);
                    self.mendable(pack_name, "it is missing");
                }
            }
        }
        self.comes_back(&coming);
        self.gone_without_a_trace()
    }

    /// Snapshots that are gone and have left no recovery data.
    fn gone_without_a_trace(&mut self) -> Result<()> {
        let all = self.archive.snapshots();
        let here: HashSet<SnapshotId> = all.iter().map(|(id, _)| *id).collect();
        let told: HashSet<String> = self.found.gone.iter().map(|gone| gone.object.clone()).collect();
        let is_gone = |id: &SnapshotId| -> Result<bool> {
            let name = names::snapshot(id);
            Ok(!here.contains(id) && !told.contains(&name) && self.archive.store().len(&name)?.is_none())
        };
        let seen: BTreeSet<SnapshotId> = self.archive.seen_snapshots().into_iter().collect();
        for id in &seen {
            if is_gone(id)? {
                let (object, what) = (names::snapshot(id), Record::LostSnapshot(*id));
                self.found.gone.push(GoneRecord { object, what, mendable: false, lost: true });
            }
        }
        for (id, snapshot) in &all {
            if let Some(parent) = snapshot.parent.filter(|parent| !seen.contains(parent))
                && is_gone(&parent)?
            {
                self.found.orphans.push((*id, parent));
            }
        }
        Ok(())
    }

    /// A snapshot or mark that its recovery data tell.
    fn record(&mut self, object: String, what: Record, lost: bool) {
        if lost {
            self.mendable(object.clone(), "it is missing");
        }
        self.found.gone.push(GoneRecord { object, what, mendable: true, lost });
    }

    /// Recovery data from which nothing can be told. Those of a pack are never so long that they tell all of it, and what
    /// was set aside is known; an empty object is what FAT keeps of one that was never finished.
    fn untellable(&mut self, object: &Object, own: &[String; 3]) -> Result<()> {
        let store = self.archive.store();
        for name in own {
            let place = names::quarantine(name);
            let folder = place.rsplit_once('/').map_or(names::QUARANTINE, |(folder, _)| folder);
            if store.list(folder, Leftovers::Leave)?.iter().any(|kept| kept.name.starts_with(&place)) {
                return Ok(());
            }
        }
        let is_whole = match store.get(&object.name, MAX_PARITY_LEN).and_then(|bytes| Parity::from_bytes(&bytes)) {
            Ok(parity) => parity.is_whole(),
            Err(error) if error.kind() == Kind::Missing => true,
            Err(error) if error.kind().is_of_an_object() => false,
            Err(error) => return Err(error),
        };
        if object.len > 0 && !is_whole {
            let object = object.name.clone();
            self.found.gone.push(GoneRecord { object, what: Record::Unknown, mendable: false, lost: true });
        }
        Ok(())
    }

    /// Whether a snapshot was surely committed: it was seen here, or what came after it took it into account.
    fn was_there(&self, id: &SnapshotId, sequence: u64) -> Result<bool> {
        if self.archive.seen_snapshots().contains(id) {
            return Ok(true);
        }
        let marks = self.archive.marks()?;
        let sequences: BTreeSet<u64> = self.archive.snapshots().iter().map(|(_, snapshot)| snapshot.sequence).collect();
        let all = || sequences.iter().copied().chain(marks.iter().map(|(_, mark)| mark.sequence));
        Ok(all().any(|other| other > sequence) && all().all(|other| other != sequence))
    }

    /// What is lost only until these chunks are there again is mended.
    fn comes_back(&mut self, coming: &HashSet<ChunkId>) {
        if coming.is_empty() {
            return;
        }
        // What is below a directory, or in a list, that comes back is not known before.
        let whole = |lost: &&LostChunk| lost.kind == ChunkKind::Data && coming.contains(&lost.id);
        let stays = self.found.lost.iter().filter(|lost| !whole(lost)).map(|lost| (lost.snapshot, lost.path.clone()));
        let stays: HashSet<(SnapshotId, Vec<u8>)> = stays.collect();
        let place = |file: &AffectedFile| (file.snapshot, file.path.clone());
        let wrong: HashSet<_> = self.found.wrong.iter().map(|wrong| place(&wrong.file)).collect();
        let affected = std::mem::take(&mut self.found.affected);
        let (lost, mended): (Vec<_>, Vec<_>) =
            affected.into_iter().partition(|file| wrong.contains(&place(file)) || stays.contains(&place(file)));
        self.found.affected = lost;
        self.found.mended.extend(mended);
    }
}
