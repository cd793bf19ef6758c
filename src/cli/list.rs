//! `list`: the snapshots, oldest first.

use std::collections::{BTreeSet, HashMap};

use crate::format::Snapshot;
use crate::id::SnapshotId;
use unicode_width::UnicodeWidthStr;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::SnapshotObject;
use super::{dates, gone, names, words};

/// List the snapshots, oldest first
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the newest N of each set of sources of each machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    latest: Option<u32>,
    #[command(flatten)]
    which: Which,
}

/// Lists them.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let all = archive.snapshots();
    let held = all.len();
    let mut snapshots: Vec<_> = all.into_iter().filter(|(_, snapshot)| filter.admits(snapshot)).collect();
    if let Some(number) = asked.latest {
        keep_newest(&mut snapshots, number);
    }
    if held == 0 {
        // Nothing is listed, and that must not look as if nothing had ever been there.
        gone::look(app, &archive).inspect_err(|_| {
            if app.screen.is_json() {
                app.screen.json(&Vec::<SnapshotObject<'_>>::new());
            }
        })?;
    }
    if app.screen.is_json() {
        let objects: Vec<_> = snapshots.iter().map(|(id, snapshot)| SnapshotObject::new(id, snapshot)).collect();
        app.screen.json(&objects);
        return Ok(Code::Done);
    }
    if !snapshots.is_empty() {
        table(&snapshots).iter().for_each(|line| app.screen.line(line));
    }
    app.screen.tell(&match (snapshots.len(), held) {
        (_, 0) => "no snapshots yet".to_owned(),
        (shown, held) if shown < held => format!("{shown} of {}", words::things(held as u64, "snapshot", "snapshots")),
        (shown, _) => words::things(shown as u64, "snapshot", "snapshots"),
    });
    let sizes = crate::op::sizes(&archive);
    if sizes.images > 0 {
        app.screen.tell(&format!("squeezed: {}", words::squeezed(&sizes)));
    }
    Ok(Code::Done)
}

/// Leaves so many of each machine and set of sources, as restic's `--latest` does.
fn keep_newest(snapshots: &mut Vec<(SnapshotId, Snapshot)>, number: u32) {
    let mut seen: HashMap<(String, BTreeSet<Vec<u8>>), u32> = HashMap::new();
    let mut kept: Vec<bool> = Vec::with_capacity(snapshots.len());
    for (_, snapshot) in snapshots.iter().rev() {
        let sources = snapshot.sources.iter().map(|source| source.path.clone()).collect();
        let count = seen.entry((snapshot.host.clone(), sources)).or_default();
        *count = count.saturating_add(1);
        kept.push(*count <= number);
    }
    let mut kept = kept.into_iter().rev();
    snapshots.retain(|_| kept.next().unwrap_or_default());
}

const HEADINGS: [&str; 14] = [
    "id", "date", "host", "files", "size", "new", "changed", "moved", "gone", "kept", "state", "tags", "note",
    "sources",
];
const NUMBERS: std::ops::RangeInclusive<usize> = 3..=8;

fn table(snapshots: &[(SnapshotId, Snapshot)]) -> Vec<String> {
    let mut rows: Vec<[String; 14]> = vec![HEADINGS.map(str::to_owned)];
    rows.extend(snapshots.iter().map(|(id, snapshot)| row(id, snapshot)));
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
    // A column in which nothing stands is left out.
    let columns: Vec<(usize, usize)> = (0..HEADINGS.len())
        .filter(|column| rows[1..].iter().any(|row| !row[*column].is_empty()))
        .map(|column| (column, width(column)))
        .collect();
    let line = |row: &[String; 14]| {
        let cells = columns.iter().map(|(column, width)| {
            let cell = &row[*column];
            let space = " ".repeat(width.saturating_sub(cell.width()));
            if NUMBERS.contains(column) { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(id: &SnapshotId, snapshot: &Snapshot) -> [String; 14] {
    let summary = &snapshot.summary;
    let text = |text: &str| names::message(text);
    [
        id.short(),
        dates::minute(snapshot.time),
        text(&snapshot.host),
        words::count(summary.files),
        words::bytes(summary.bytes),
        words::count(summary.new),
        words::count(summary.changed),
        if summary.moved == 0 { String::new() } else { words::count(summary.moved) },
        words::count(summary.gone),
        if snapshot.pinned { "for ever".to_owned() } else { String::new() },
        match summary.unread {
            0 => String::new(),
            unread => format!("incomplete: {} could not be read", words::things(unread, "place", "places")),
        },
        text(&snapshot.tags.join(",")),
        text(snapshot.note.as_deref().unwrap_or_default()),
        snapshot.sources.iter().map(|source| names::escape(&source.path)).collect::<Vec<_>>().join(", "),
    ]
}
