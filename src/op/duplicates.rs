//! Files that the source has more than once, bit for bit.

use std::collections::HashMap;

use crate::archive::{Archive, Filter};
use crate::error::Result;
use crate::id::FileHash;
use crate::view::{Episode, Past, Span, View};

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

/// What the newest snapshot of each source has more than once; what costs most comes first. Empty files and several names
/// of one file (hard links) cost nothing and are left out.
///
/// # Errors
/// The archive's error.
pub fn duplicates(archive: &Archive, filter: &Filter) -> Result<Vec<Duplicates>> {
    let past = Past::open(archive, filter)?;
    let mut by_content: HashMap<FileHash, Vec<Episode>> = HashMap::new();
    for one in past.episodes(&past.roots(), Span::Newest)? {
        if one.state.size > 0 && !one.state.symlink {
            by_content.entry(one.state.hash).or_default().push(one);
        }
    }
    let mut found = Vec::new();
    for places in by_content.into_values().filter(|places| places.len() > 1) {
        let mut files: Vec<(Vec<u8>, u64, u64)> = Vec::new();
        let mut apart: Vec<Episode> = Vec::new();
        for one in places {
            let Some((id, snapshot)) = past.last(&one) else { continue };
            let view = View::new(archive, id, snapshot.clone());
            let entry = view.find(&one.path).map(|node| node.entry);
            let several = match entry {
                Ok(Some(entry)) if entry.meta.links > 1 => {
                    let source = one.path.split(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
                    Some((source, entry.meta.device, entry.meta.inode))
                }
                Ok(_) => None,
                Err(error) if error.kind().is_of_an_object() => None,
                Err(error) => return Err(error),
            };
            if let Some(file) = several {
                if files.contains(&file) {
                    continue;
                }
                files.push(file);
            }
            apart.push(one);
        }
        if apart.len() > 1 {
            apart.sort_by(|a, b| a.path.cmp(&b.path));
            found.push(Duplicates { size: apart[0].state.size, places: apart });
        }
    }
    found.sort_by(|a, b| b.waste().cmp(&a.waste()).then_with(|| a.places[0].path.cmp(&b.places[0].path)));
    Ok(found)
}
