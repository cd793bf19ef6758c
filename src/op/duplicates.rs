//! Files that the source has more than once, bit for bit.

use std::collections::HashSet;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;

use crate::archive::{Archive, Filter};
use crate::error::Result;
use crate::id::{FileHash, SnapshotId};
use crate::op::folders::Folders;
use crate::source;
use crate::view::{Episode, Past, Span};

/// Files with the same bytes.
#[derive(Debug)]
pub struct Duplicates {
    /// The bytes of one of them.
    pub size: u64,
    /// Where they are, by path; at least two.
    pub places: Vec<Episode>,
}

impl Duplicates {
    /// Bytes that the source would not need.
    pub fn waste(&self) -> u64 {
        self.size.saturating_mul(self.places.len() as u64 - 1)
    }
}

/// What the sources have more than once.
#[derive(Debug, Default)]
pub struct Doubled {
    /// What costs most comes first.
    pub groups: Vec<Duplicates>,
    /// Files that would be among them and are no longer there, or no longer as the newest snapshot has them.
    pub gone: u64,
    /// Other machines whose files are among them as their newest snapshots have them: nobody looked there.
    pub elsewhere: BTreeSet<String>,
}

/// What the newest snapshot of each source has more than once. Files of the machine `here` count only if they are there
/// still, with the length that was recorded. Empty files and several names of one file (hard links) cost
/// nothing and are left out.
///
/// # Errors
/// The archive's error.
pub fn duplicates(archive: &Archive, filter: &Filter, here: &str) -> Result<Doubled> {
    let past = Past::open(archive, filter)?;
    let mut by_content: HashMap<FileHash, Vec<Episode>> = HashMap::new();
    for one in past.episodes(&past.roots(), Span::Newest)? {
        if one.state.size > 0 && !one.state.symlink {
            by_content.entry(one.state.hash).or_default().push(one);
        }
    }
    by_content.retain(|_, places| places.len() > 1);
    let metas = metas(archive, &past, &by_content)?;
    let mut found = Doubled::default();
    for places in by_content.into_values() {
        let mut files: Vec<(Vec<u8>, u64, u64)> = Vec::new();
        let (mut apart, mut met): (Vec<Episode>, HashSet<(u64, u64)>) = Default::default();
        for one in places {
            let Some((id, snapshot, path)) = past.place(&one) else { continue };
            let host = snapshot.host.clone();
            let linked = metas.get(&(id, path.clone()));
            if host == here {
                let (_, origin) = past.origin(&past.spot(&one));
                let Some(file) = is_there(&origin, one.state.size, one.state.mtime) else {
                    found.gone += 1;
                    continue;
                };
                // Sources may overlap, or lead to one place by links: one file is no double of itself.
                if !met.insert(file) {
                    continue;
                }
            } else {
                found.elsewhere.insert(host);
            }
            if let Some((device, inode)) = linked {
                let source = path.split(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
                let file = (source, *device, *inode);
                if files.contains(&file) {
                    continue;
                }
                files.push(file);
            }
            apart.push(one);
        }
        if apart.len() > 1 {
            apart.sort_by(|a, b| a.path.cmp(&b.path));
            found.groups.push(Duplicates { size: apart[0].state.size, places: apart });
        }
    }
    let places = |group: &Duplicates| group.places[0].path.clone();
    found.groups.sort_by(|a, b| b.waste().cmp(&a.waste()).then_with(|| places(a).cmp(&places(b))));
    Ok(found)
}

/// The device and number of each file that had several names.
type Linked = HashMap<(SnapshotId, Vec<u8>), (u64, u64)>;

/// Those of these files, by snapshot and path. They are looked up in the order of their folders, so that each is read once.
fn metas(archive: &Archive, past: &Past<'_>, by_content: &HashMap<FileHash, Vec<Episode>>) -> Result<Linked> {
    let mut wanted: Vec<_> = by_content.values().flatten().filter_map(|one| past.place(one)).collect();
    wanted.sort_unstable_by(|(id, _, path), (other, _, next)| (id, path).cmp(&(other, next)));
    let (mut folders, mut linked) = (Folders::new(archive), Linked::new());
    for (id, snapshot, path) in wanted {
        let meta = folders.entry(id, snapshot.tree, &path)?.map(|entry| entry.meta);
        if let Some(meta) = meta.filter(|meta| meta.links > 1) {
            linked.insert((id, path), (meta.device, meta.inode));
        }
    }
    Ok(linked)
}

/// The device and number of a file, if it has this length and date still: one that was edited since is no double for sure.
fn is_there(path: &[u8], size: u64, mtime: i64) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(source::name_of(path)).ok()?;
    let same = meta.is_file() && meta.len() == size && meta.mtime() == mtime;
    same.then(|| (meta.dev(), meta.ino()))
}
