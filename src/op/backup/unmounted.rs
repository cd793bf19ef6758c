//! Folders of a source where another file system was mounted when the previous snapshot was made, and nothing is now.
//!
//! Such a folder looks like one whose files were all deleted. It is told by the previous snapshot, where the folder lies on
//! another device than the one it stands in, while now it is empty and on the same. Then nobody has seen what it holds: it is
//! marked as not read, so what is known of it is carried forward. A drive that is gone for good is told by removing the
//! empty folder. Bind mounts of the same file system have no device of their own, and are not told.

use super::{Previous, Root};
use crate::archive::Archive;
use crate::error::Result;
use crate::format::{Entry, EntryKind};
use crate::source::{Kind, Node};

const WHY: &str = "the drive that was there last time is not mounted; remove the empty folder if it is gone for good";

/// Marks those folders of the sources as not read.
///
/// # Errors
/// The archive's, as far as the previous snapshot must be read.
pub(super) fn mark(archive: &Archive, roots: &mut [Root], previous: &Previous) -> Result<()> {
    for (number, root) in roots.iter_mut().enumerate() {
        // Only a source that lay on several devices can lack one.
        let Some(known) = previous.root(number).filter(|known| known.devices.len() > 1) else { continue };
        for names in empty_folders(&root.scan.node) {
            if was_on_its_own(archive, previous, number, root, &known.entry, &names)? {
                root.scan.close(&names, WHY);
            }
        }
    }
    Ok(())
}

/// The folders below a node in which nothing is, and which lie on the device of the folder that they stand in, by their names.
fn empty_folders(top: &Node) -> Vec<Vec<Box<[u8]>>> {
    let mut found = Vec::new();
    let mut todo: Vec<(&Node, Vec<Box<[u8]>>)> = vec![(top, Vec::new())];
    while let Some((node, names)) = todo.pop() {
        for child in node.children.iter().filter(|child| child.stat.kind == Kind::Dir) {
            let names = || names.iter().cloned().chain([child.name.clone()]).collect();
            if !child.is_empty() {
                todo.push((child, names()));
            } else if child.stat.dev == node.stat.dev {
                found.push(names());
            }
        }
    }
    found
}

/// Whether the previous snapshot has files in a folder, and has it on another device than the one above it.
fn was_on_its_own(
    archive: &Archive,
    previous: &Previous,
    number: usize,
    root: &Root,
    top: &Entry,
    names: &[Box<[u8]>],
) -> Result<bool> {
    let (reader, mut path, mut entry, mut above) = (archive.reader(), root.path.clone(), top.clone(), None);
    for name in names {
        let EntryKind::Dir { tree, .. } = &entry.kind else { return Ok(false) };
        let before = previous.before(&reader, number, &path, tree)?;
        let Some(at) = before.find(name) else { return Ok(false) };
        path.push(crate::source::name_of(name));
        above = Some(entry.meta.device);
        entry = before.entries[at].clone();
    }
    let had_files = matches!(entry.kind, EntryKind::Dir { files: 1.., .. });
    Ok(had_files && above.is_some_and(|above| above != entry.meta.device))
}
