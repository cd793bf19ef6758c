//! `history`: what happened to a photo or an album.

use std::ffi::OsString;

use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::view::{AlbumChange, Episode, History, Past, Spot, Tally};
use serde::Serialize;

use super::app::App;
use super::args::Which;
use super::episodes::{self, EpisodeObject};
use super::exit::{Code, Failure};
use super::json::{text, unless_text};
use super::{dates, gone, names, words};

/// Tell what happened to a photo or an album, and when
///
/// A photo is followed under all the names that it had. The path is written as it stands in snapshots (Pictures/2019), as
/// it is or was at the source (/home/anna/Pictures/2019), or from the current folder on.
#[derive(clap::Args)]
pub struct Arguments {
    /// A file or a folder, also one that is gone
    #[arg(value_name = "PATH")]
    what: OsString,
    #[command(flatten)]
    which: Which,
}

/// Tells it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    gone::look(app, &archive)?;
    let past = Past::open(&archive, &filter)?;
    let spots = episodes::meant(&past, &asked.what)?;
    for spot in &spots {
        let (host, origin) = past.origin(spot);
        if spots.len() > 1 {
            app.screen.tell(&format!("{} of {}:", names::escape(&origin), names::message(host)));
        }
        match past.history(spot)? {
            History::File(found) => file(app, &past, &found),
            History::Album(found) => album(app, &past, spot, &found),
        }
    }
    Ok(Code::Done)
}

fn file(app: &App, past: &Past<'_>, found: &[Episode]) {
    let screen = &app.screen;
    if screen.is_json() {
        let archive = past.archive();
        return found.iter().for_each(|one| {
            screen.json(&EpisodeObject::new("state", past, one, archive.facts(&one.state.hash).as_ref()));
        });
    }
    screen.tell(&format!("{:16}  {:16}  {:>9}  {}", "first seen", "last seen", "size", "what happened"));
    for one in found {
        let last = episodes::last_seen(past, one).unwrap_or_else(|| "still there".to_owned());
        let (first, size) = (episodes::first_seen(past, one), words::bytes(one.state.size));
        screen.name_line(
            &format!("{first:16}  {last:16}  {size:>9}  {}: ", episodes::happened(past, one)),
            &one.path,
            b"",
        );
    }
}

#[derive(Serialize)]
struct AlbumObject {
    message_type: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    snapshot: String,
    time: String,
    added: u64,
    changed: u64,
    tags: u64,
    moved_in: u64,
    moved_out: u64,
    moved_within: u64,
    unreadable: u64,
    excluded: u64,
    deleted: u64,
    deleted_bytes: u64,
    files: u64,
    links: u64,
    bytes: u64,
}

fn album(app: &App, past: &Past<'_>, spot: &Spot, found: &[(SnapshotId, &Snapshot, AlbumChange)]) {
    let (screen, path) = (&app.screen, past.path(spot));
    if screen.is_json() {
        return found.iter().for_each(|(id, snapshot, change)| {
            screen.json(&AlbumObject {
                message_type: "album",
                path: text(&path),
                path_hex: unless_text(&path),
                snapshot: id.to_hex(),
                time: dates::rfc3339(snapshot.time, snapshot.offset_minutes),
                added: change.added.files,
                changed: change.changed.files,
                tags: change.tags.files,
                moved_in: change.moved_in.files,
                moved_out: change.moved_out.files,
                moved_within: change.moved_within.files,
                unreadable: change.unread.files,
                excluded: change.excluded.files,
                deleted: change.deleted.files,
                deleted_bytes: change.deleted.bytes,
                files: change.holds.files,
                links: change.holds.links,
                bytes: change.holds.bytes,
            });
        });
    }
    screen.tell(&format!("{:16}  {:8}  {:>7}  {:>9}  {}", "snapshot of", "id", "files", "size", "what happened"));
    for (id, snapshot, change) in found {
        screen.line(&format!(
            "{:16}  {:8}  {:>7}  {:>9}  {}",
            dates::minute(snapshot.time),
            id.short(),
            words::count(change.holds.files),
            words::bytes(change.holds.bytes),
            happened(change)
        ));
    }
}

/// `120 added, 3 deleted`
fn happened(change: &AlbumChange) -> String {
    let parts: [(Tally, &str); 9] = [
        (change.added, "added"),
        (change.changed, "changed"),
        (change.tags, "with other tags"),
        (change.moved_within, "renamed"),
        (change.moved_in, "moved in"),
        (change.moved_out, "moved out"),
        (change.unread, "could not be read"),
        (change.excluded, "left out by rules"),
        (change.deleted, "deleted"),
    ];
    let told = parts.iter().filter(|(tally, _)| !tally.is_empty());
    let told: Vec<String> =
        told.map(|(tally, what)| format!("{} {what}", words::count_and_links(tally.files, tally.links))).collect();
    if told.is_empty() { "replaced".to_owned() } else { told.join(", ") }
}
