//! Files that the source has more than once, bit for bit.
//!
//! People delete by this answer. So of the sources of this machine only what is there now counts: a file that is surely as it
//! was recorded, or that is read and has the recorded bytes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::file::{self, Looked};
use super::here::{self, Asked, Here};
use super::{Event, Observer, check_stop};
use crate::archive::{Archive, Filter};
use crate::error::Result;
use crate::format::{Content, Entry, EntryKind};
use crate::id::{FileHash, SnapshotId};
use crate::op::folders::Folders;
use crate::source::{self, Node, Stat};
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
    /// Files that would be among them and are no longer there, or hold other bytes than the newest snapshot has of them.
    pub gone: u64,
    /// What could not be read, and why; nothing of it is among them.
    pub unread: Vec<(PathBuf, String)>,
    /// Other machines whose files are among them as their newest snapshots have them: nobody looked there.
    pub elsewhere: BTreeSet<String>,
}

/// What the newest snapshot of each source has more than once. Files of the machine `here` count only if they are there
/// still with the recorded bytes; those that do not surely look so are read. Empty files and several names of one file (hard
/// links) cost nothing and are left out.
///
/// # Errors
/// The archive's error, or the user's wish to stop.
pub fn duplicates(archive: &Archive, filter: &Filter, here: &str, observer: &dyn Observer) -> Result<Doubled> {
    let past = Past::open(archive, filter)?;
    let mut by_content: HashMap<FileHash, Vec<Episode>> = HashMap::new();
    for one in past.episodes(&past.roots(), Span::Newest)? {
        if one.state.size > 0 && !one.state.symlink {
            by_content.entry(one.state.hash).or_default().push(one);
        }
    }
    by_content.retain(|_, places| places.len() > 1);
    let mut found = Doubled::default();
    if by_content.is_empty() {
        return Ok(found);
    }
    let entries = entries(archive, &past, &by_content)?;
    let sources = sources(archive, &past, here, observer, &mut found.unread)?;
    let (mut groups, mut asked) = (Vec::with_capacity(by_content.len()), Vec::new());
    for places in by_content.into_values() {
        let mut group = Vec::with_capacity(places.len());
        for one in places {
            let Some((id, snapshot, path)) = past.place(&one) else { continue };
            let entry = entries.get(&(id, path.clone()));
            let now = match snapshot.host == here {
                true => now(&past, &sources, &one, entry),
                false => Now::Elsewhere(snapshot.host.clone()),
            };
            let name = path.split(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            let linked = entry.filter(|entry| entry.meta.links > 1);
            group.push((one, now, linked.map(|entry| (id, name, entry.meta.device, entry.meta.inode))));
        }
        // What is there once only need not be read.
        if group.iter().filter(|(_, now, _)| !matches!(now, Now::Gone)).count() > 1 {
            for (one, now, _) in &group {
                if let Now::Ask(path, stat) = now {
                    asked.push((path.clone(), *stat, one.state.hash));
                }
            }
        }
        groups.push(group);
    }
    let same = read(archive, asked, observer, &mut found.unread)?;
    for group in groups {
        let mut files = HashSet::new();
        let (mut apart, mut met): (Vec<Episode>, HashSet<(u64, u64)>) = Default::default();
        for (one, now, linked) in group {
            let file = match now {
                Now::Same(stat) => Some((stat.dev, stat.ino)),
                Now::Ask(path, stat) => match same.get(&path) {
                    Some(Answer::Same) => Some((stat.dev, stat.ino)),
                    Some(Answer::Unread) => continue,
                    Some(Answer::Other) | None => {
                        found.gone += u64::from(same.contains_key(&path));
                        continue;
                    }
                },
                Now::Gone => {
                    found.gone += 1;
                    continue;
                }
                Now::Elsewhere(host) => {
                    found.elsewhere.insert(host);
                    None
                }
            };
            // Sources may overlap, or lead to one place by links: one file is no double of itself.
            if file.is_some_and(|file| !met.insert(file)) || linked.is_some_and(|linked| !files.insert(linked)) {
                continue;
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

/// What is known of a file now, before it is read.
enum Now {
    /// It is surely as it was recorded.
    Same(Stat),
    /// Its bytes must be asked.
    Ask(PathBuf, Stat),
    /// It is not there, or has another length.
    Gone,
    /// It is on this other machine.
    Elsewhere(String),
}

/// What a file's bytes say.
#[derive(Clone, Copy)]
enum Answer {
    Same,
    Other,
    Unread,
}

fn now(past: &Past<'_>, sources: &[Here<'_>], one: &Episode, entry: Option<&Entry>) -> Now {
    let (_, path) = past.origin(&past.spot(one));
    let (_, top) = past.origin(&past.root(one));
    let (path, top) = (Path::new(source::name_of(&path)), Path::new(source::name_of(&top)));
    let Some(here) = sources.iter().find(|here| here.asked.path == top) else { return Now::Gone };
    let names = path.strip_prefix(&here.asked.path).unwrap_or(Path::new("")).components();
    let mut node: &Node = &here.node;
    for name in names {
        let name = name.as_os_str().as_encoded_bytes();
        let Ok(at) = node.children.binary_search_by(|child| child.name[..].cmp(name)) else { return Now::Gone };
        node = &node.children[at];
    }
    if node.stat.kind != source::Kind::File || node.stat.size != one.state.size {
        return Now::Gone;
    }
    match entry {
        Some(entry) if here.grounds.is_unchanged(entry, &node.stat) => Now::Same(node.stat),
        _ => Now::Ask(path.to_owned(), node.stat),
    }
}

/// Reads files, and says whether they have these bytes.
fn read(
    archive: &Archive,
    asked: Vec<(PathBuf, Stat, FileHash)>,
    observer: &dyn Observer,
    unread: &mut Vec<(PathBuf, String)>,
) -> Result<HashMap<PathBuf, Answer>> {
    observer.event(Event::Begin {
        files: asked.len() as u64,
        bytes: asked.iter().map(|(_, stat, _)| stat.size).fold(0, u64::saturating_add),
    });
    let look = |(path, stat, hash): (PathBuf, Stat, FileHash)| {
        check_stop(observer)?;
        let answer = match file::look(archive, &path, &stat, observer)? {
            Ok(Looked { settled: false, .. }) => Err("it changed each time it was read".to_owned()),
            Ok(looked) if looked.hash == hash => Ok(Answer::Same),
            Ok(_) => Ok(Answer::Other),
            Err(failure) => Err(format!("{}: {}", failure.during, failure.why())),
        };
        observer.event(Event::Advance { files: 1, bytes: 0 });
        Ok((path, answer))
    };
    let looked = asked.into_par_iter().map(look).collect::<Result<Vec<_>>>()?;
    let mut answers = HashMap::with_capacity(looked.len());
    for (path, answer) in looked {
        let answer = answer.unwrap_or_else(|why| {
            observer.event(Event::Trouble { path: &path, why: &why });
            unread.push((path.clone(), why));
            Answer::Unread
        });
        answers.insert(path, answer);
    }
    observer.event(Event::Finishing);
    Ok(answers)
}

/// The sources of this machine, as they are: all of them, since what one file may be taken for depends on all others.
fn sources<'a>(
    archive: &Archive,
    past: &'a Past<'_>,
    here: &str,
    observer: &dyn Observer,
    unread: &mut Vec<(PathBuf, String)>,
) -> Result<Vec<Here<'a>>> {
    let mut asked = Vec::new();
    for spot in past.roots() {
        let (host, path) = past.origin(&spot);
        let Some((id, snapshot, source)) = past.newest_of(&spot).filter(|_| host == here) else { continue };
        asked.push(Asked { path: source::name_of(&path).into(), id, snapshot, source });
    }
    here::look(archive, asked, observer, unread)
}

/// What was recorded of each file, but for what it holds.
type Entries = HashMap<(SnapshotId, Vec<u8>), Entry>;

/// These files' entries, by snapshot and path. They are looked up in the order of their folders, so that each is read once.
fn entries(archive: &Archive, past: &Past<'_>, by_content: &HashMap<FileHash, Vec<Episode>>) -> Result<Entries> {
    let mut wanted: Vec<_> = by_content.values().flatten().filter_map(|one| past.place(one)).collect();
    wanted.sort_unstable_by(|(id, _, path), (other, _, next)| (id, path).cmp(&(other, next)));
    let (mut folders, mut entries) = (Folders::new(archive), Entries::new());
    for (id, snapshot, path) in wanted {
        if let Some(mut entry) = folders.entry(id, snapshot.tree, &path)? {
            if let EntryKind::File { content, .. } = &mut entry.kind {
                *content = Content::Chunks(Vec::new());
            }
            entries.insert((id, path), entry);
        }
    }
    Ok(entries)
}
