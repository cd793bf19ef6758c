//! `diff`: what differs between two snapshots.

use std::collections::BTreeMap;
use std::ffi::OsString;

use jiff::Zoned;
use serde_json::{Value, json};
use snapkeep::archive::{Altered, Comparison, Place};
use snapkeep::format::{Entry, EntryKind};
use snapkeep::op::{self, Diff};
use snapkeep::view::{Node, Tally, View, above, is_below, join, last_name};

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::{text, unless_text};
use super::selector::Asked;
use super::words;

/// Tell what differs between two snapshots
///
/// A new file is marked +, a file that is gone -, one that has changed M, a photo that differs only in its tags T, one that
/// has moved R (old → new), a new double of another file C, and with --metadata U is one with other permissions, times or
/// owner. Folders that are new, gone or have moved as a whole are one line, unless -v is given.
#[derive(clap::Args)]
pub struct Arguments {
    /// The older snapshot, and perhaps what in it
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest~1")]
    old: OsString,
    /// The newer one
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    new: OsString,
    /// Tell of changes of permissions, times and owners, too
    #[arg(long)]
    metadata: bool,
    #[command(flatten)]
    which: Which,
}

/// Tells it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let now = Zoned::now();
    let (old, new) = (Asked::parse(&asked.old, &now)?, Asked::parse(&asked.new, &now)?);
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let place = |asked: &Asked| -> Result<(View<'_>, Node), Failure> {
        let (id, snapshot) = asked.find(&archive, &filter)?;
        let view = View::new(&archive, id, snapshot);
        let node = view.find(asked.path.as_deref().unwrap_or_default())?;
        Ok((view, node))
    };
    let (old, new) = (place(&old)?, place(&new)?);
    let done = op::diff(&archive, (&old.0, &old.1), (&new.0, &new.1))?;
    let lines = Lines { app, old: &old.1.path, new: &new.1.path };
    if app.screen.is_json() {
        lines.json(&done, asked.metadata);
    } else {
        lines.words(&done, asked.metadata);
        let (old, new) = (old.0.id().short(), new.0.id().short());
        app.screen.tell(&format!("from {old} to {new}: {}", sum(&done)));
    }
    Ok(Code::Done)
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
            if tally.files > 1 && !each {
                lines.push((join(self.old, from), "R", [b"/".as_slice(), &arrow(to), &told(*tally)].concat()));
            }
        }
        for one in &found.moved {
            let album = folders(&one.from.path, &one.to.path).and_then(|folders| moved.get(&folders));
            let single = album.is_none_or(|tally| tally.files < 2);
            if each || single {
                lines.push((join(self.old, &one.from.path), "R", arrow(&one.to.path)));
            }
        }
        for altered in &found.changed {
            lines.push((join(self.new, &altered.path), if altered.tags { "T" } else { "M" }, Vec::new()));
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
        for altered in found.touched.iter().filter(|_| metadata) {
            say("U", &join(self.new, &altered.path), &altered.new, &[]);
        }
        let sums = sums(diff);
        let tally = |tally: Tally| json!({"files": tally.files, "bytes": tally.bytes});
        self.app.screen.json(&json!({
            "message_type": "statistics", "added": tally(sums.added), "removed": tally(sums.removed),
            "changed": tally(sums.changed), "tags": tally(sums.tags), "moved": tally(sums.moved),
            "doubles": tally(sums.doubles),
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
    ];
    let told = parts.iter().filter(|(tally, _)| tally.files > 0);
    let told: Vec<String> = told
        .map(|(tally, what)| format!("{} {what} ({})", words::count(tally.files), words::bytes(tally.bytes)))
        .collect();
    if told.is_empty() { "no file differs".to_owned() } else { told.join(", ") }
}

fn count(tally: &mut Tally, entry: &Entry) {
    tally.files += 1;
    tally.bytes = tally.bytes.saturating_add(size(entry));
}

fn size(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    }
}

fn told(tally: Tally) -> Vec<u8> {
    format!("/  ({}, {})", words::files(tally.files), words::bytes(tally.bytes)).into_bytes()
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
