//! `has`: whether files are in the archive, by their bytes.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;
use snapkeep::op::{self, Verdict};
use snapkeep::view::Episode;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::{text, unless_text};
use super::progress::{Progress, Words};
use super::{names, places, words};

/// Tell whether files are in the archive, bit for bit
///
/// Names do not matter: every file is read, and its bytes are looked for. The exit code is 0 only if all of them are there.
/// A photo of which only the tags differ is told of apart; it counts as missing.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files, and folders with everything in them
    #[arg(value_name = "FILE|FOLDER", required = true)]
    paths: Vec<PathBuf>,
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
    let done = op::has(&archive, &asked.paths, &filter, &progress);
    drop(progress);
    let done = done?;
    let screen = &app.screen;
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
        } else {
            screen.name_line(&format!("{verdict}: "), &path, told(found).as_bytes());
        }
    }
    let all = (done.files.len() + done.unread.len()) as u64;
    if screen.is_json() {
        screen.json(&json!({
            "message_type": "summary", "files": all, "here": here, "same_picture": same,
            "missing": done.files.len() as u64 - here - same, "unreadable": done.unread.len(),
        }));
    }
    let what = if done.all() {
        "all of it is in the archive, bit for bit".to_owned()
    } else {
        format!("{} of {} are in the archive, bit for bit", words::count(here), words::files(all))
    };
    screen.tell(&format!("{}: {what}", words::files(all)));
    if same > 0 {
        screen.tell(&format!("of {} more only the tags differ from a photo in the archive", words::count(same)));
    }
    if !done.unread.is_empty() {
        screen.warn(&format!("{} could not be read; the reasons are above", words::files(done.unread.len() as u64)));
    }
    Ok(if done.all() { Code::Done } else { Code::Failed })
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
