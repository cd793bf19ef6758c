//! What a restore will write, known before it writes anything.

use std::collections::HashMap;
use std::path::PathBuf;

use super::Selection;
use crate::error::Result;
use crate::format::{Content, Entry, EntryKind};
use crate::op::{Event, Observer, check_stop};
use crate::view::{Node, View};

/// Directories, files and links, each naming the directory that it goes into.
pub(super) struct Plan {
    /// Parents before children.
    pub(super) dirs: Vec<Item>,
    /// In the order in which they lie in the archive.
    pub(super) files: Vec<Item>,
    /// Further names of files above: which item of `files`, and the name.
    pub(super) links: Vec<(usize, Item)>,
    pub(super) symlinks: Vec<Item>,
}

/// An entry and the directory it goes into, by its place in `dirs`; none means the target itself.
pub(super) struct Item {
    pub(super) dir: Option<usize>,
    pub(super) entry: Entry,
    /// A file's bytes.
    pub(super) size: u64,
}

impl Item {
    pub(super) fn is_symlink(&self) -> bool {
        matches!(self.entry.kind, EntryKind::Symlink { .. })
    }
}

impl Plan {
    pub(super) fn make(view: &View<'_>, node: &Node, selection: &Selection, observer: &dyn Observer) -> Result<Self> {
        let mut plan = Self { dirs: Vec::new(), files: Vec::new(), links: Vec::new(), symlinks: Vec::new() };
        // The directories that lead to what is being visited: their paths in the snapshot, and where they are planned.
        let mut above: Vec<(Node, Option<usize>)> = Vec::new();
        view.walk(node, &mut |visited| {
            check_stop(observer)?;
            while above.last().is_some_and(|(dir, _)| !is_below(&visited.path, &dir.path)) {
                above.pop();
            }
            let Some(entry) = &visited.entry else { return Ok(true) };
            let excluded = selection.exclude.fit(&visited.path);
            if matches!(entry.kind, EntryKind::Dir { .. }) {
                above.push((visited.clone(), None));
                if !excluded && (selection.include.is_empty() || selection.include.fit(&visited.path)) {
                    plan.dir(&mut above);
                }
                return Ok(!excluded);
            }
            if !excluded && (selection.include.is_empty() || selection.include.fit(&visited.path)) {
                let dir = plan.dir(&mut above);
                plan.add(dir, entry);
            }
            Ok(false)
        })?;
        plan.separate_links();
        plan.sort_by_place(view)?;
        let (files, bytes) = plan.files.iter().fold((0, 0), |(files, bytes), item| (files + 1, bytes + item.size));
        observer.event(Event::Begin { files, bytes });
        Ok(plan)
    }

    /// Plans the directories above what is being visited, and says which is the innermost.
    fn dir(&mut self, above: &mut [(Node, Option<usize>)]) -> Option<usize> {
        let mut inside = None;
        for (node, planned) in above {
            let Some(entry) = &node.entry else { continue };
            if planned.is_none() {
                self.dirs.push(Item { dir: inside, entry: entry.clone(), size: 0 });
                *planned = Some(self.dirs.len() - 1);
            }
            inside = *planned;
        }
        inside
    }

    fn add(&mut self, dir: Option<usize>, entry: &Entry) {
        match &entry.kind {
            EntryKind::File { size, .. } => self.files.push(Item { dir, entry: entry.clone(), size: *size }),
            _ => self.symlinks.push(Item { dir, entry: entry.clone(), size: 0 }),
        }
    }

    /// Of files that are the same one under several names, all but the first become links to it.
    fn separate_links(&mut self) {
        let mut first: HashMap<(u64, u64, [u8; 32]), usize> = HashMap::new();
        let (mut files, mut links) = (Vec::new(), Vec::new());
        for item in std::mem::take(&mut self.files) {
            let meta = &item.entry.meta;
            let EntryKind::File { hash, .. } = &item.entry.kind else { continue };
            let key = (meta.device, meta.inode, *hash.as_bytes());
            match first.get(&key).filter(|_| meta.links > 1) {
                Some(at) => links.push((*at, item)),
                None => {
                    if meta.links > 1 {
                        first.insert(key, files.len());
                    }
                    files.push(item);
                }
            }
        }
        self.files = files;
        self.links = links;
    }

    /// Puts files in the order in which the first chunk of each lies in the archive.
    fn sort_by_place(&mut self, view: &View<'_>) -> Result<()> {
        let mut order = Vec::with_capacity(self.files.len());
        for (at, item) in self.files.iter().enumerate() {
            let place = match &item.entry.kind {
                EntryKind::File { content: Content::Chunks(chunks), .. } => match chunks.first() {
                    Some(chunk) => view.reader().archive().locate(&chunk.id)?.first().copied(),
                    None => None,
                },
                _ => None,
            };
            order.push((place.map(|place| (place.pack, place.row.offset)), at));
        }
        order.sort_unstable();
        let mut moved = vec![0; order.len()];
        let mut files: Vec<Option<Item>> = std::mem::take(&mut self.files).into_iter().map(Some).collect();
        for (to, (_, from)) in order.into_iter().enumerate() {
            moved[from] = to;
            self.files.extend(files[from].take());
        }
        for (first, _) in &mut self.links {
            *first = moved[*first];
        }
        Ok(())
    }

    /// Where an item goes, below the target.
    pub(super) fn path(&self, item: &Item) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let mut names = vec![item.entry.name.as_slice()];
        let mut dir = item.dir;
        while let Some(above) = dir.map(|at| &self.dirs[at]) {
            names.push(&above.entry.name);
            dir = above.dir;
        }
        names.into_iter().rev().map(std::ffi::OsStr::from_bytes).collect()
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}
