//! `diff`: what differs between two snapshots.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::archive::{Altered, Archive, Comparison, Filter, Place, Selector};
use crate::error::Kind;
use crate::format::{Carried, Entry, EntryKind};
use crate::op::{self, Diff};
use crate::view::{Node, Sources, Tally, View, above, is_below, join, last_name};
use jiff::Zoned;
use serde_json::{Value, json};

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::{text, unless_text};
use super::selector::Asked;
use super::{names, near, words};

/// Tell what differs between two snapshots
///
/// A new file is marked +, a file that is gone -, one that has changed M, a photo that differs only in its tags T, one that
/// has moved R (old → new), a new double of another file C, and with --metadata U is one with other permissions, times or
/// owner. What could not be read any more is marked ?, what a rule leaves out now X; the newer snapshot has both as they
/// were. Folders that are new, gone or have moved as a whole are one line, unless -v is given.
///
/// Without arguments each source is compared with itself: its newest snapshot with the one before. With one, what that
/// snapshot has is compared with the newest of the same source.
#[derive(clap::Args)]
pub struct Arguments {
    /// The older snapshot, and perhaps what in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    old: Option<OsString>,
    /// The newer one
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    new: Option<OsString>,
    /// Tell of changes of permissions, times and owners, too
    #[arg(long)]
    metadata: bool,
    #[command(flatten)]
    which: Which,
}

/// Tells it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let (now, filter) = (Zoned::now(), asked.which.filter()?);
    let parse =
        |text: &OsString| Asked::parse(text, &now).map_err(|failure| near::or_path(app, text, &filter, failure));
    let (old, new) = (asked.old.as_ref().map(parse).transpose()?, asked.new.as_ref().map(parse).transpose()?);
    let archive = app.open()?;
    let pairs = match (&old, &new) {
        (Some(old), Some(new)) => vec![(old.look(app, &archive, &filter)?, new.look(app, &archive, &filter)?)],
        (Some(old), None) => {
            let old = old.look(app, &archive, &filter)?;
            with_present(&archive, &filter, old)?
        }
        _ => with_before(app, &archive, &filter)?,
    };
    for (old, new) in &pairs {
        let done = op::diff(&archive, (&old.0, &old.1), (&new.0, &new.1))?;
        let lines = Lines { app, old: &old.1.path, new: &new.1.path };
        if app.screen.is_json() {
            lines.json(&done, asked.metadata);
        } else {
            lines.words(&done, asked.metadata);
            let name = if pairs.len() > 1 { format!("{}, ", names::escape(&new.1.path)) } else { String::new() };
            let (old, new) = (old.0.id().short(), new.0.id().short());
            app.screen.tell(&format!("{name}from {old} to {new}: {}", sum(&done)));
        }
    }
    Ok(Code::Done)
}

/// A place in a snapshot.
type Spot<'a> = (View<'a>, Node);

/// What two places are compared.
type Pairs<'a> = Vec<(Spot<'a>, Spot<'a>)>;

/// Each source in its newest snapshot, and in the one before.
fn with_before<'a>(app: &App, archive: &'a Archive, filter: &Filter) -> Result<Pairs<'a>, Failure> {
    let sources = Sources::of(archive, filter)?;
    let mut pairs = Vec::new();
    for line in sources.present() {
        let mut states = sources.states(line).map(|(at, name)| spot(archive, &sources, at, name));
        let (new, old) = (states.next().transpose()?, states.next().transpose()?);
        match (old, new) {
            (Some(old), Some(new)) => pairs.push((old, new)),
            _ => app.screen.remark(&format!("{}: only one snapshot has it so far", names::escape(&line.name))),
        }
    }
    if sources.all().is_empty() {
        return Err(archive
            .find(&Selector::Latest(0), filter)
            .map_or_else(Failure::from, |_| Failure::new(Code::Failed, "no snapshot has a source")));
    }
    Ok(pairs)
}

/// A place in a snapshot, and the same in the newest snapshot of its source; of a whole snapshot, each of its sources.
fn with_present<'a>(archive: &'a Archive, filter: &Filter, old: Spot<'a>) -> Result<Pairs<'a>, Failure> {
    let sources = Sources::of(archive, filter)?;
    let (view, node) = &old;
    let top = node.path.split(|byte| *byte == b'/').next().unwrap_or_default();
    let mut pairs = Vec::new();
    for source in view.snapshot().sources.iter().filter(|source| top.is_empty() || source.name == top) {
        let Some(line) = sources.line_of(view.snapshot(), source) else { continue };
        let Some((at, name)) = sources.states(line).next() else { continue };
        let below = if top.is_empty() { &[][..] } else { &node.path[top.len()..] };
        let (old, new) = ([source.name.as_slice(), below].concat(), [name, below].concat());
        let view = View::new(archive, view.id(), view.snapshot().clone());
        match view.find(&old) {
            Ok(node) => pairs.push(((view, node), spot(archive, &sources, at, &new)?)),
            // The snapshot could not read it.
            Err(error) if error.kind() == Kind::NotFound && below.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pairs)
}

fn spot<'a>(archive: &'a Archive, sources: &Sources<'_>, at: usize, path: &[u8]) -> Result<Spot<'a>, Failure> {
    let (id, snapshot) = sources.snapshots()[at].clone();
    let view = View::new(archive, id, snapshot);
    let node = view.find(path)?;
    Ok((view, node))
}

struct Lines<'a> {
    app: &'a App,
    /// Where the two places lie in their snapshots.
    old: &'a [u8],
    new: &'a [u8],
}

impl Lines<'_> {
    fn words(&self, Diff { found, doubles }: &Diff, metadata: bool) {
        let each = self.app.screen.verbose() > 0;
        let mut lines: Vec<(Vec<u8>, &str, Vec<u8>)> = Vec::new();
        let (new_dirs, gone_dirs) = (tops(&found.new_dirs), tops(&found.gone_dirs));
        let moved = albums(found);
        let whole = |path: &[u8], dirs: &[&Place]| {
            dirs.iter().map(|dir| dir.path.as_slice()).find(|dir| is_below(path, dir)).map(<[u8]>::to_vec)
        };
        let mut come: BTreeMap<Vec<u8>, Tally> = BTreeMap::new();
        let mut gone: BTreeMap<Vec<u8>, Tally> = BTreeMap::new();
        for (place, double) in found.added.iter().zip(doubles) {
            match (double, whole(&place.path, &new_dirs)) {
                (Some(double), _) => {
                    lines.push((join(self.new, &place.path), "C", [b" = ".as_slice(), double].concat()));
                }
                (None, Some(dir)) if !each => count(come.entry(dir).or_default(), &place.entry),
                (None, _) => lines.push((join(self.new, &place.path), "+", Vec::new())),
            }
        }
        for place in found.removed.iter().chain(&found.replaced) {
            match whole(&place.path, &gone_dirs) {
                Some(dir) if !each => count(gone.entry(dir).or_default(), &place.entry),
                _ => lines.push((join(self.old, &place.path), "-", Vec::new())),
            }
        }
        for (dirs, mark, above) in [(&come, "+", self.new), (&gone, "-", self.old)] {
            for (path, tally) in dirs.iter() {
                lines.push((join(above, path), mark, told(*tally)));
            }
        }
        for dir in new_dirs.iter().filter(|dir| is_empty(&dir.entry)) {
            lines.push((join(self.new, &dir.path), "+", b"/".to_vec()));
        }
        for dir in gone_dirs.iter().filter(|dir| is_empty(&dir.entry)) {
            lines.push((join(self.old, &dir.path), "-", b"/".to_vec()));
        }
        let arrow = |to: &[u8]| [" → ".as_bytes(), &join(self.new, to)].concat();
        for ((from, to), tally) in &moved {
            if tally.files + tally.links > 1 && !each {
                lines.push((join(self.old, from), "R", [b"/".as_slice(), &arrow(to), &told(*tally)].concat()));
            }
        }
        for one in &found.moved {
            let album = folders(&one.from.path, &one.to.path).and_then(|folders| moved.get(&folders));
            let single = album.is_none_or(|tally| tally.files + tally.links < 2);
            if each || single {
                lines.push((join(self.old, &one.from.path), "R", arrow(&one.to.path)));
            }
        }
        for altered in &found.changed {
            lines.push((join(self.new, &altered.path), if altered.tags { "T" } else { "M" }, Vec::new()));
        }
        let marked_dirs = tops(&found.marked_dirs);
        let mut marked: BTreeMap<(Vec<u8>, &str), Tally> = BTreeMap::new();
        for altered in &found.marked {
            let Some(mark) = altered.new.meta.carried.map(mark) else { continue };
            match whole(&altered.path, &marked_dirs) {
                Some(dir) if !each => count(marked.entry((dir, mark)).or_default(), &altered.new),
                _ => lines.push((join(self.new, &altered.path), mark, Vec::new())),
            }
        }
        for ((dir, mark), tally) in marked {
            lines.push((join(self.new, &dir), mark, told(tally)));
        }
        if metadata {
            lines.extend(found.touched.iter().map(|altered| (join(self.new, &altered.path), "U", Vec::new())));
        }
        lines.sort();
        for (path, mark, after) in lines {
            self.app.screen.name_line(&format!("{mark}  "), &path, &after);
        }
    }

    fn json(&self, diff: &Diff, metadata: bool) {
        let found = &diff.found;
        let say = |modifier: &str, path: &[u8], entry: &Entry, more: &[(&str, Value)]| {
            let size = size(entry);
            let mut line = json!({"message_type": "change", "path": text(path), "modifier": modifier, "size": size});
            if let Some(hex) = unless_text(path) {
                line["path_hex"] = hex.into();
            }
            for (key, value) in more {
                line[*key] = value.clone();
            }
            self.app.screen.json(&line);
        };
        for (place, double) in found.added.iter().zip(&diff.doubles) {
            let path = join(self.new, &place.path);
            match double {
                Some(double) => say("C", &path, &place.entry, &[("double_of", text(double).into())]),
                None => say("+", &path, &place.entry, &[]),
            }
        }
        for place in found.removed.iter().chain(&found.replaced) {
            say("-", &join(self.old, &place.path), &place.entry, &[]);
        }
        for altered in &found.changed {
            say(if altered.tags { "T" } else { "M" }, &join(self.new, &altered.path), &altered.new, &[]);
        }
        for one in &found.moved {
            let from = join(self.old, &one.from.path);
            say("R", &join(self.new, &one.to.path), &one.to.entry, &[("moved_from", text(&from).into())]);
        }
        for altered in &found.marked {
            if let Some(why) = altered.new.meta.carried {
                say(mark(why), &join(self.new, &altered.path), &altered.new, &[]);
            }
        }
        for altered in found.touched.iter().filter(|_| metadata) {
            say("U", &join(self.new, &altered.path), &altered.new, &[]);
        }
        let sums = sums(diff);
        let tally = |tally: Tally| json!({"files": tally.files, "links": tally.links, "bytes": tally.bytes});
        self.app.screen.json(&json!({
            "message_type": "statistics", "added": tally(sums.added), "removed": tally(sums.removed),
            "changed": tally(sums.changed), "tags": tally(sums.tags), "moved": tally(sums.moved),
            "doubles": tally(sums.doubles), "unreadable": tally(sums.unread), "excluded": tally(sums.excluded),
        }));
    }
}

/// What differs, in counts.
#[derive(Default)]
struct Sums {
    added: Tally,
    doubles: Tally,
    removed: Tally,
    changed: Tally,
    tags: Tally,
    moved: Tally,
    unread: Tally,
    excluded: Tally,
}

fn sums(Diff { found, doubles }: &Diff) -> Sums {
    let mut sums = Sums::default();
    for (place, double) in found.added.iter().zip(doubles) {
        count(if double.is_some() { &mut sums.doubles } else { &mut sums.added }, &place.entry);
    }
    for place in found.removed.iter().chain(&found.replaced) {
        count(&mut sums.removed, &place.entry);
    }
    for Altered { new, tags, .. } in &found.changed {
        count(if *tags { &mut sums.tags } else { &mut sums.changed }, new);
    }
    for one in &found.moved {
        count(&mut sums.moved, &one.to.entry);
    }
    for Altered { new, .. } in &found.marked {
        match new.meta.carried {
            Some(Carried::Unread) => count(&mut sums.unread, new),
            Some(Carried::Excluded) => count(&mut sums.excluded, new),
            None => {}
        }
    }
    sums
}

fn sum(diff: &Diff) -> String {
    let sums = sums(diff);
    let parts = [
        (sums.added, "new"),
        (sums.doubles, "new doubles"),
        (sums.removed, "gone"),
        (sums.changed, "changed"),
        (sums.tags, "with other tags"),
        (sums.moved, "moved"),
        (sums.unread, "could not be read and stay as they were"),
        (sums.excluded, "left out by rules now and stay as they were"),
    ];
    let told = parts.iter().filter(|(tally, _)| !tally.is_empty());
    let told: Vec<String> = told
        .map(|(tally, what)| {
            format!("{} {what} ({})", words::count_and_links(tally.files, tally.links), words::bytes(tally.bytes))
        })
        .collect();
    if told.is_empty() { "no file differs".to_owned() } else { told.join(", ") }
}

/// The mark of what was not read.
fn mark(why: Carried) -> &'static str {
    match why {
        Carried::Unread => "?",
        Carried::Excluded => "X",
    }
}

fn count(tally: &mut Tally, entry: &Entry) {
    match entry.kind {
        EntryKind::Symlink { .. } => tally.links += 1,
        _ => tally.files += 1,
    }
    tally.bytes = tally.bytes.saturating_add(size(entry));
}

fn size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    }
}

fn told(tally: Tally) -> Vec<u8> {
    format!("/  ({}, {})", words::files_and_links(tally.files, tally.links), words::bytes(tally.bytes)).into_bytes()
}

fn is_empty(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Dir { files: 0, .. })
}

/// Those of these directories that lie in none of the others.
fn tops(dirs: &[Place]) -> Vec<&Place> {
    let mut tops: Vec<&Place> = Vec::new();
    for dir in dirs {
        if !tops.iter().any(|top| is_below(&dir.path, &top.path)) {
            tops.push(dir);
        }
    }
    tops
}

/// Files that went from one folder to another and kept what is below it, by the two folders.
fn albums(found: &Comparison) -> BTreeMap<(&[u8], &[u8]), Tally> {
    let mut albums: BTreeMap<(&[u8], &[u8]), Tally> = BTreeMap::new();
    for one in &found.moved {
        if let Some(folders) = folders(&one.from.path, &one.to.path) {
            count(albums.entry(folders).or_default(), &one.to.entry);
        }
    }
    albums
}

/// What is left of two paths without the names that they have in common at their ends; nothing if their last names differ.
fn folders<'p>(from: &'p [u8], to: &'p [u8]) -> Option<(&'p [u8], &'p [u8])> {
    let (mut old, mut new) = (from, to);
    while last_name(old) == last_name(new) && !above(old).is_empty() && !above(new).is_empty() {
        (old, new) = (above(old), above(new));
    }
    (old != from).then_some((old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_renamed_is_told_as_one() {
        let told = |from: &'static str, to: &'static str| {
            let found = folders(from.as_bytes(), to.as_bytes());
            found.map(|(old, new)| (String::from_utf8_lossy(old), String::from_utf8_lossy(new)))
        };
        assert_eq!(told("P/2012/a/x", "P/2012 sorted/a/x"), Some(("P/2012".into(), "P/2012 sorted".into())));
        assert_eq!(told("P/a/x", "P/b/x"), Some(("P/a".into(), "P/b".into())));
        assert_eq!(told("P/a/x", "P/b/y"), None);
        assert_eq!(told("a/x", "b/a/x"), Some(("a".into(), "b/a".into())));
        assert_eq!(told("x", "a/x"), None, "nothing would be left");
    }
}
