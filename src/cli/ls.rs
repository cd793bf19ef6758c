//! `ls`: what is in a snapshot.

use std::ffi::OsString;

use crate::archive::{Archive, Filter, Selector};
use crate::format::{CaptureFacts, Carried, Entry, EntryKind};
use crate::view::{Gap, Listing, Node, Short, Sources, View, false_claim, join};
use jiff::Zoned;
use serde::Serialize;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::{NodeObject, SnapshotObject, permissions};
use super::selector::Asked;
use super::{dates, names, near, words};

/// List what is in a snapshot
///
/// Names of directories end in a slash. A path as it was at the source (/home/anna/Pictures) is understood as well.
#[derive(clap::Args)]
pub struct Arguments {
    /// The snapshot, and what in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    what: OsString,
    /// Show permissions, size and time, too
    #[arg(short, long)]
    long: bool,
    /// Show when and with what photos were taken, too
    #[arg(long)]
    photos: bool,
    /// List what is in directories below, too
    #[arg(long)]
    recursive: bool,
    /// Show sizes in kB, MB and GB
    #[arg(long)]
    human_readable: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct Head<'a> {
    message_type: &'static str,
    struct_type: &'static str,
    #[serde(flatten)]
    snapshot: SnapshotObject<'a>,
}

/// Lists it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let what = Asked::parse(&asked.what, &Zoned::now())
        .map_err(|failure| near::or_path(app, &asked.what, &filter, failure))?;
    let archive = app.open()?;
    let (view, node) = what.look(app, &archive, &filter)?;
    if node.entry.is_none() && what.snapshot == Selector::Latest(0) {
        tell_of_others(app, &archive, &filter, &view)?;
    }
    let lines = Lines { app, asked, archive: &archive, below: below(&node) };
    if app.screen.is_json() {
        let snapshot = SnapshotObject::new(&view.id(), view.snapshot());
        app.screen.json(&Head { message_type: "snapshot", struct_type: "snapshot", snapshot });
    }
    if asked.recursive {
        let visit = &mut |visited: &Node| {
            if let Some(entry) = visited.entry.as_ref().filter(|_| visited.path != node.path || !node.is_dir()) {
                lines.entry(&visited.path, entry);
            }
            Ok(!app.screen.is_closed())
        };
        let mut gaps = Vec::new();
        let short = view.walk_readable(&node, visit, &mut |dir, gap| gaps.push(lacks(dir, &gap)))?;
        return Ok(told(app, [short, gaps].concat()));
    }
    let mut short = Vec::new();
    match &node.entry {
        Some(entry) if !node.is_dir() => lines.entry(&node.path, entry),
        entry => {
            let Listing { entries, gaps } = view.list_readable(&node)?;
            entries.iter().for_each(|entry| lines.entry(&join(&node.path, &entry.name), entry));
            short.extend(gaps.iter().map(|gap| lacks(&node, gap)));
            let wrong = entry.as_ref().filter(|_| gaps.is_empty()).and_then(|dir| false_claim(dir, &entries));
            short.extend(wrong.map(|wrong| Short { path: node.path.clone(), why: wrong.why }));
        }
    }
    Ok(told(app, short))
}

/// What of a directory cannot be read.
fn lacks(dir: &Node, gap: &Gap) -> Short {
    Short { path: dir.path.clone(), why: format!("part of it cannot be read: {}", gap.error) }
}

/// Tells of directories that claim more than they hold, or of which a part cannot be read.
fn told(app: &App, short: Vec<Short>) -> Code {
    for one in &short {
        app.screen.trouble("list", &one.path, &one.why);
    }
    if short.is_empty() { Code::Done } else { Code::Damage }
}

/// Names the sources that the newest snapshot does not have, and that have newer states of their own.
fn tell_of_others(app: &App, archive: &Archive, filter: &Filter, view: &View<'_>) -> Result<(), Failure> {
    let sources = Sources::of(archive, filter)?;
    let newest = sources.snapshots().len().checked_sub(1);
    let others = sources.present().filter(|line| line.snapshots.last() != newest.as_ref());
    let others: Vec<String> = others.map(|line| names::escape(&line.name)).collect();
    if !others.is_empty() {
        app.screen.remark(&format!(
            "this is snapshot {}; the newest states of other sources are shown by {} ls latest:NAME, for {}",
            view.id().short(),
            app.screen.name(),
            others.join(", ")
        ));
    }
    Ok(())
}

/// How many bytes of a path in a snapshot lie above what is shown: that of the directory that is listed.
fn below(node: &Node) -> usize {
    match node.path.as_slice() {
        [] => 0,
        path if node.is_dir() => path.len() + 1,
        path => path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1),
    }
}

struct Lines<'a> {
    app: &'a App,
    asked: &'a Arguments,
    archive: &'a Archive,
    below: usize,
}

impl Lines<'_> {
    fn entry(&self, path: &[u8], entry: &Entry) {
        let screen = &self.app.screen;
        if screen.is_json() {
            return screen.json(&NodeObject::new(path, entry, self.facts(entry).as_ref()));
        }
        let shown = path.get(self.below..).unwrap_or(path);
        let mut before = if self.asked.long { self.long(entry) } else { String::new() };
        if self.asked.photos {
            before += &photo(self.facts(entry).unwrap_or_default());
        }
        let mark: &[u8] = match entry.meta.carried.filter(|_| self.asked.long) {
            None => b"",
            Some(Carried::Unread) => b"  (could not be read: as it was)",
            Some(Carried::Excluded) => b"  (left out by rules: as it was)",
        };
        match &entry.kind {
            EntryKind::File { .. } => screen.name_line(&before, shown, mark),
            EntryKind::Dir { .. } => screen.name_line(&before, shown, &[b"/", mark].concat()),
            EntryKind::Symlink { target } if self.asked.long => {
                screen.name_line(&before, shown, &[b" -> ", target.as_slice(), mark].concat());
            }
            EntryKind::Symlink { .. } => screen.name_line(&before, shown, b""),
        }
    }

    fn facts(&self, entry: &Entry) -> Option<CaptureFacts> {
        match &entry.kind {
            EntryKind::File { hash, .. } => self.archive.facts(hash),
            _ => None,
        }
    }

    fn long(&self, entry: &Entry) -> String {
        let size = match &entry.kind {
            EntryKind::File { size, .. } | EntryKind::Dir { bytes: size, .. } => *size,
            EntryKind::Symlink { target } => target.len() as u64,
        };
        let (size, width) = if self.asked.human_readable { (words::bytes(size), 9) } else { (words::count(size), 15) };
        format!("{}  {size:>width$}  {}  ", permissions(entry), dates::second(entry.meta.mtime))
    }
}

/// When, how large and with what a photo was taken, in columns.
fn photo(facts: CaptureFacts) -> String {
    let taken = facts.taken.map(dates::camera).unwrap_or_default();
    let size = match (facts.width, facts.height, facts.duration) {
        (_, _, Some(millis)) => words::duration(std::time::Duration::from_millis(millis)),
        (Some(width), Some(height), None) => format!("{width}×{height}"),
        _ => String::new(),
    };
    let camera = match (facts.make, facts.model) {
        (Some(make), Some(model)) if !model.starts_with(make.split(' ').next().unwrap_or_default()) => {
            format!("{make} {model}")
        }
        (make, model) => model.or(make).unwrap_or_default(),
    };
    let place = if facts.latitude.is_some() { "place" } else { "" };
    format!("{taken:19}  {size:>11}  {:24}  {place:5}  ", names::message(&camera))
}
