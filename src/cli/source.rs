//! `source`: which sources there are, and what is to be known of those that moved or are gone.

use std::path::PathBuf;

use crate::archive::{Archive, Filter};
use crate::error::words_of;
use crate::format::{EntryKind, Time};
use crate::op::{self, Speaker};
use crate::view::{SourceLine, Sources, View};
use clap::Subcommand;
use jiff::Zoned;
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::json::{text, unless_text};
use super::{dates, names, places, words};

/// List the sources, or say that one has moved or is backed up no more
///
/// Each source's present is its own newest snapshot. If a folder has moved, say so before the next backup: its past then
/// goes on under the new path, and nothing counts as new. If it is gone for good, retire it: what is in it no longer
/// counts as present or deleted. Snapshots are never changed by it.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// List every source: where it is, when it was backed up last, and what it held
    List,
    /// Say that a folder has moved: what was recorded under OLD is the past of NEW
    ///
    /// Sources below OLD move with it. `rename NEW OLD` takes it back.
    Rename {
        /// Where it was
        old: PathBuf,
        /// Where it is now
        new: PathBuf,
        /// The machine that it is on; else this one
        #[arg(short = 'H', long, value_name = "NAME")]
        host: Option<String>,
    },
    /// Say that a source is backed up no more: it counts neither as present nor as deleted
    ///
    /// Its snapshots stay. A new backup of it brings it back.
    Retire {
        /// Where it was
        path: PathBuf,
        /// The machine that it was on; else this one
        #[arg(short = 'H', long, value_name = "NAME")]
        host: Option<String>,
        /// Take it back: it counts again
        #[arg(long)]
        undo: bool,
    },
}

/// Does it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    match &asked.what {
        None | Some(What::List) => list(app),
        Some(What::Rename { old, new, host }) => {
            let archive = app.open()?;
            let (old, new) = (path(app, old)?, path(app, new)?);
            let host = host.clone().unwrap_or_else(|| app.host());
            let renamed = op::rename_source(&archive, &speaker(app), &host, &old, &new).map_err(explain)?;
            for (old, new) in &renamed {
                if app.screen.is_json() {
                    let (old, new) = (text(old), text(new));
                    app.screen.json(&json!({"message_type": "renamed", "host": host, "path": old, "new": new}));
                }
                let (old, new) = (names::escape(old), names::escape(new));
                app.screen.tell(&format!("what was recorded of {old} is now the past of {new}"));
            }
            let named = app.config.create.sources.iter();
            let stale =
                named.filter(|source| renamed.iter().any(|(old, _)| *old == *places::bytes_of(source.as_os_str())));
            for source in stale {
                let source = names::path(source);
                app.screen
                    .remark(&format!("the configuration still names {source} as a source of create: change it there"));
            }
            Ok(Code::Done)
        }
        Some(What::Retire { path: given, host, undo }) => {
            let archive = app.open()?;
            let path = path(app, given)?;
            let host = host.clone().unwrap_or_else(|| app.host());
            let shown = names::escape(&path);
            let say = if *undo { op::bring_source_back } else { op::retire_source };
            say(&archive, &speaker(app), &host, &path).map_err(explain)?;
            if app.screen.is_json() {
                let said = if *undo { "back" } else { "retired" };
                app.screen.json(&json!({"message_type": said, "host": host, "path": text(&path)}));
            }
            app.screen.tell(&match undo {
                true => format!("{shown} counts again"),
                false => format!("{shown} is retired: it counts neither as present nor as deleted; its snapshots stay"),
            });
            Ok(Code::Done)
        }
    }
}

/// A full path, as a source is recorded by it; `/` at its end says nothing.
fn path(app: &App, path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let path = app.expand(path);
    let leads_up = path.components().any(|part| part == std::path::Component::ParentDir);
    // A folder that is gone is named as it was.
    let whole = match crate::op::source_path(&path) {
        Err(_) if leads_up => std::path::absolute(&path).map_err(|error| {
            Failure::usage(format!("finding the path {}: {}", names::path(&path), words_of(&error)))
        })?,
        whole => whole?,
    };
    Ok(places::bytes_of(whole.as_os_str()).into_owned())
}

fn speaker(app: &App) -> Speaker {
    let now = Zoned::now();
    let (secs, nanos) = (now.timestamp().as_second(), now.timestamp().subsec_nanosecond());
    Speaker {
        host: app.host(),
        user: places::user_name(),
        program: concat!("snapkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        time: Time { secs, nanos: nanos.unsigned_abs() },
        offset_minutes: (now.offset().seconds() / 60) as i16,
    }
}

fn explain(error: crate::error::Error) -> Failure {
    Failure::from(error).hint("{snap} source list shows every source; --host NAME names another machine")
}

/// What is shown of a source.
struct Row {
    host: String,
    path: Vec<u8>,
    was: Vec<Vec<u8>>,
    newest: Option<(String, Time, i16)>,
    files: u64,
    /// Links are counted among them.
    with_links: bool,
    bytes: u64,
    state: &'static str,
}

fn list(app: &App) -> Result<Code, Failure> {
    let archive = app.open()?;
    let sources = Sources::of(&archive, &Filter::default())?;
    let here = app.host();
    let rows = sources.all().iter().map(|line| row(&archive, &sources, line, &here));
    let rows = rows.collect::<Result<Vec<Row>, Failure>>()?;
    if app.screen.is_json() {
        for row in &rows {
            let was: Vec<String> = row.was.iter().map(|path| text(path)).collect();
            let mut line = json!({
                "message_type": "source", "host": row.host, "path": text(&row.path), "was": was, "files": row.files,
                "bytes": row.bytes, "state": row.state,
            });
            if let Some((id, time, offset)) = &row.newest {
                line["snapshot"] = id.as_str().into();
                line["time"] = dates::rfc3339(*time, *offset).into();
            }
            if let Some(hex) = unless_text(&row.path) {
                line["path_hex"] = hex.into();
            }
            app.screen.json(&line);
        }
        return Ok(Code::Done);
    }
    let shown = |row: &Row| {
        let newest = row.newest.as_ref().map(|(_, time, _)| dates::minute(*time)).unwrap_or_default();
        let files = match row.with_links {
            true => words::things(row.files, "file or link", "files and links"),
            false => words::files(row.files),
        };
        let size = words::bytes(row.bytes);
        format!("{newest:16}  {files:>14}  {size:>9}  {:9}  {}  ", row.state, names::message(&row.host))
    };
    for row in &rows {
        let was: Vec<&[u8]> = row.was.iter().map(Vec::as_slice).collect();
        let was =
            if was.is_empty() { Vec::new() } else { [b"  (was ", was.join(&b", "[..]).as_slice(), b")"].concat() };
        app.screen.name_line(&shown(row), &row.path, &was);
    }
    if rows.is_empty() {
        app.screen.tell("there is no snapshot yet");
    }
    Ok(Code::Done)
}

fn row(archive: &Archive, sources: &Sources<'_>, line: &SourceLine, here: &str) -> Result<Row, Failure> {
    let (mut files, mut bytes, mut with_links, mut newest) = (0, 0, false, None);
    if let Some((at, name)) = sources.states(line).next() {
        let (id, snapshot) = &sources.snapshots()[at];
        newest = Some((id.to_hex(), snapshot.time, snapshot.offset_minutes));
        let entry = match View::new(archive, *id, snapshot.clone()).find(name) {
            Ok(node) => node.entry,
            Err(error) if error.kind().is_of_an_object() => None,
            Err(error) => return Err(error.into()),
        };
        (files, bytes) = match entry.map(|entry| entry.kind) {
            Some(EntryKind::Dir { files, bytes, .. }) => (files, bytes),
            Some(EntryKind::File { size, .. }) => (1, size),
            _ => (0, 0),
        };
        // A directory counts links among its files, and `create` does not.
        match (snapshot.sources.len(), snapshot.summary.symlinks) {
            (_, 0) => {}
            (1, _) => files = snapshot.summary.files,
            _ => with_links = true,
        }
    }
    let gone = || std::fs::symlink_metadata(places::path_of(line.path.clone())).is_err();
    let state = match line.retired {
        true => "retired",
        false if line.host == here && gone() => "not there",
        false => "",
    };
    let (host, path, was) = (line.host.clone(), line.path.clone(), line.was.clone());
    Ok(Row { host, path, was, newest, files, with_links, bytes, state })
}
