//! Snapshots: writing one is the commit; naming one is by id, by order or by date.

use super::{Archive, Change, Notice, put_checked, put_parity};
use crate::error::{Error, Kind, Result};
use crate::format::{PackContent, Snapshot, Time, names};
use crate::id::SnapshotId;

/// How a snapshot is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selector {
    /// The newest, or so many before it.
    Latest(usize),
    /// The newest that is not later than this.
    AsOf(Time),
    /// The one whose id begins with these hexadecimal digits.
    Prefix(String),
}

/// Which snapshots count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only of this machine.
    pub host: Option<String>,
    /// Only with all the tags of one of these lists.
    pub tags: Vec<Vec<String>>,
    /// Only of sources with one of these paths.
    pub paths: Vec<Vec<u8>>,
}

impl Filter {
    /// Whether this snapshot counts.
    pub fn admits(&self, snapshot: &Snapshot) -> bool {
        let host = self.host.as_ref().is_none_or(|host| *host == snapshot.host);
        let with = |tags: &Vec<String>| tags.iter().all(|tag| snapshot.tags.contains(tag));
        let tagged = self.tags.is_empty() || self.tags.iter().any(with);
        let has = |path: &Vec<u8>| snapshot.sources.iter().any(|source| source.path == *path);
        host && tagged && (self.paths.is_empty() || self.paths.iter().any(has))
    }
}

impl Archive {
    /// Records a snapshot: the commit. Everything that it needs must be durable.
    ///
    /// # Errors
    /// The store's error; then there is no such snapshot, or it is there and complete.
    pub fn commit(&self, snapshot: &Snapshot) -> Result<SnapshotId> {
        let bytes = snapshot.encode();
        let id = SnapshotId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let permille = self.permille(PackContent::Metadata);
        if permille > 0 {
            put_parity(&**self.store(), id.as_bytes(), &bytes, permille)?;
        }
        put_checked(&**self.store(), &names::snapshot(&id), id.as_bytes(), &bytes)?;
        let snapshots = &[(id, bytes)];
        self.change(&Change { snapshots, ..Change::default() })?;
        Ok(id)
    }

    /// All snapshots, oldest first. What cannot be decoded is told as a notice and left out.
    pub fn snapshots(&self) -> Vec<(SnapshotId, Snapshot)> {
        let mut all = Vec::new();
        for (id, bytes) in self.index().snapshots() {
            match Snapshot::decode(&bytes) {
                Ok(snapshot) => all.push((id, snapshot)),
                Err(error) => self.notify(Notice::PassedOver(names::snapshot(&id), error.to_string())),
            }
        }
        all.sort_unstable_by_key(|(id, snapshot)| (snapshot.sequence, snapshot.time, *id));
        all
    }

    /// The snapshot that is named so, among those that count.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Ambiguous`].
    pub fn find(&self, selector: &Selector, filter: &Filter) -> Result<(SnapshotId, Snapshot)> {
        let doing = || "looking for the snapshot".to_owned();
        let mut all = self.snapshots();
        if all.is_empty() {
            return Err(Error::new(Kind::NotFound, doing(), "the archive holds no snapshot yet"));
        }
        let found = match selector {
            Selector::Prefix(prefix) => {
                all.retain(|(id, _)| id.to_hex().starts_with(prefix.as_str()));
                if all.len() > 1 {
                    let ids: Vec<String> = all.iter().map(|(id, _)| id.short()).collect();
                    let why = format!("\"{prefix}\" fits {} snapshots: {}", ids.len(), ids.join(", "));
                    return Err(Error::new(Kind::Ambiguous, doing(), why));
                }
                all.pop().ok_or_else(|| format!("no snapshot has an id that begins with \"{prefix}\""))
            }
            Selector::Latest(back) => {
                all.retain(|(_, snapshot)| filter.admits(snapshot));
                let count = all.len();
                let why = || format!("there are only {count} snapshots to choose from");
                all.into_iter().rev().nth(*back).ok_or_else(why)
            }
            Selector::AsOf(time) => {
                all.retain(|(_, snapshot)| filter.admits(snapshot) && snapshot.time <= *time);
                all.pop().ok_or_else(|| "there is none from then or before".to_owned())
            }
        };
        found.map_err(|why| Error::new(Kind::NotFound, doing(), why))
    }
}
