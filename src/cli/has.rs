//! `has`: whether files are in the archive, by their bytes.

use std::path::PathBuf;

use crate::op::{self, Verdict};
use crate::view::Episode;
use serde::Serialize;
use serde_json::json;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::{text, unless_text};
use super::progress::{Progress, Words};
use super::{names, places, words};

/// Tell whether files are in the archive, whatever they are called, as before deleting them
///
/// Names do not matter: every file is read, and its bytes are looked for. Of those that are there, it is checked that
/// each of their parts lies in the archive; --read-data reads them as well. Only what is missing is listed, and photos
/// of which only the tags differ, which count as missing; -v lists the rest.
///
/// The exit code is 0 only if all of them are there, 15 if one is missing, and 3 if one could not be read.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files, and folders with everything in them
    #[arg(value_name = "FILE|FOLDER", required = true)]
    paths: Vec<PathBuf>,
    /// Read what the archive has of them, too, and compare it with its hashes
    #[arg(long)]
    read_data: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct FileObject {
    message_type: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    size: u64,
    hash: String,
    verdict: &'static str,
    names: Vec<String>,
    in_newest: bool,
}

/// Tells it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let words_of = Words { during: "reading", things: "files", restored: "", finishing: "looking into the archive" };
    let progress = Progress::new(&app.screen, words_of);
    let done = op::has(&archive, &asked.paths, &filter, asked.read_data, &progress);
    drop(progress);
    let done = done?;
    let screen = &app.screen;
    if done.passed_over > 0 {
        let others = words::things(done.passed_over, "link or other thing", "links and other things");
        screen.warn(&format!("{others} that are no files were not looked at"));
    }
    if done.files.is_empty() && done.unread.is_empty() {
        return Err(Failure::new(Code::Failed, "there is no file to ask about")
            .hint("is the card or drive mounted, and is the path written right?"));
    }
    let (mut here, mut same) = (0, 0);
    for file in &done.files {
        let path = places::bytes_of(file.path.as_os_str());
        let (verdict, found): (&'static str, &[Episode]) = match &file.verdict {
            Verdict::Here(found) => ("here", found),
            Verdict::SamePicture(found) => ("same picture, other tags", found),
            Verdict::Missing => ("missing", &[]),
        };
        here += u64::from(verdict == "here");
        same += u64::from(matches!(file.verdict, Verdict::SamePicture(_)));
        if screen.is_json() {
            screen.json(&FileObject {
                message_type: "file",
                path: text(&path),
                path_hex: unless_text(&path),
                size: file.size,
                hash: file.hash.to_hex(),
                verdict,
                names: found.iter().map(|one| text(&one.path)).collect(),
                in_newest: found.first().is_some_and(|one| one.state.ended.is_none()),
            });
        } else if verdict != "here" || screen.verbose() > 0 {
            screen.name_line(&format!("{verdict}: "), &path, told(found).as_bytes());
        }
    }
    let all = (done.files.len() + done.unread.len()) as u64;
    let missing = done.files.len() as u64 - here - same;
    if screen.is_json() {
        screen.json(&json!({
            "message_type": "summary", "files": all, "here": here, "same_picture": same,
            "missing": missing, "unreadable": done.unread.len(), "unrestorable": done.unrestorable,
            "data_read": asked.read_data,
        }));
    }
    // Only what was read on both sides is known to be the same to the last bit.
    let as_read = if asked.read_data { ", bit for bit" } else { "" };
    let what = if done.all() {
        format!("all of it is in the archive{as_read}")
    } else {
        format!("{} of {} are in the archive{as_read}", words::count(here), words::files(all))
    };
    screen.tell(&format!("{}: {what}", words::files(all)));
    if here > 0 && !asked.read_data {
        screen.tell(
            "the archive's own bytes were not read again; --read-data reads them, and is what to ask before deleting",
        );
    }
    if same > 0 {
        screen.tell(&format!("of {} more only the tags differ from a photo in the archive", words::count(same)));
    }
    if done.unrestorable > 0 {
        let files = words::things(done.unrestorable, "file was", "files were");
        screen.warn(&format!(
            "{files} backed up once and cannot be had back from the archive as it is now; \
             `{} verify --read-data` says what is damaged",
            screen.name()
        ));
    }
    if !done.unread.is_empty() {
        screen.warn(&format!("{} could not be read; the reasons are above", words::files(done.unread.len() as u64)));
    }
    Ok(match (missing + same, done.unread.len()) {
        (0, 0) if done.passed_over == 0 => Code::Done,
        (0, _) => Code::Incomplete,
        _ => Code::NotHeld,
    })
}

/// ` = Pictures/2019/a.jpg and 2 more`
fn told(found: &[Episode]) -> String {
    let Some(first) = found.first() else { return String::new() };
    let gone = if first.state.ended.is_some() { " (no longer in the source)" } else { "" };
    let more = match found.len() - 1 {
        0 => String::new(),
        more => format!(" and {} more", words::count(more as u64)),
    };
    format!(" = {}{gone}{more}", names::escape(&first.path))
}
