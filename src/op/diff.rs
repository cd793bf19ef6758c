//! What differs between two snapshots, or parts of them.

use crate::archive::{Archive, Comparison, Filter};
use crate::error::Result;
use crate::format::{Entry, EntryKind, Meta};
use crate::id::FileHash;
use crate::view::{Node, Past, View};

/// What differs, and which of the new files are doubles.
#[derive(Debug)]
pub struct Diff {
    /// What differs, with paths below the two places.
    pub found: Comparison,
    /// For each file that was added, in that order: where the newer snapshot has the same bytes besides.
    pub doubles: Vec<Option<Vec<u8>>>,
}

/// Compares two places. Directories that are the same are not read.
///
/// # Errors
/// The archive's error.
pub fn diff(archive: &Archive, old: (&View<'_>, &Node), new: (&View<'_>, &Node)) -> Result<Diff> {
    let found = Comparison::of(archive, b"", Some(&whole(old.0, old.1)), Some(&whole(new.0, new.1)))?;
    let added: Vec<FileHash> = found.added.iter().filter_map(|place| place.entry.content()).collect();
    let mut doubles = vec![None; found.added.len()];
    if !added.is_empty() {
        let past = Past::open(archive, &Filter::default())?;
        let mut names = past.with_content(&added)?.into_iter();
        for (place, double) in found.added.iter().zip(&mut doubles) {
            if place.entry.content().is_none() {
                continue;
            }
            let own = crate::view::join(&new.1.path, &place.path);
            let others = names.next().unwrap_or_default().into_iter();
            let mut others = others.filter(|other| other.path != own && past.is_in(other, &new.0.id()));
            *double = others.next().map(|other| other.path);
        }
    }
    Ok(Diff { found, doubles })
}

/// A place as an entry, the top among them.
fn whole(view: &View<'_>, node: &Node) -> Entry {
    node.entry.clone().unwrap_or_else(|| Entry {
        name: Vec::new(),
        kind: EntryKind::Dir { tree: view.snapshot().tree, files: 0, bytes: 0 },
        meta: Meta::default(),
    })
}
