//! `verify --source`: do the files at the source still hold what was backed up of them?

use std::time::Duration;

use crate::op::{self, Decayed, Reread, RereadOptions};
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::{names, places, words};

/// Reads them.
pub fn run(app: &App, time: Option<Duration>) -> Result<Code, Failure> {
    let archive = app.open()?;
    let words_of = Words { during: "verify", things: "files", restored: "", finishing: "" };
    let progress = Progress::new(&app.screen, words_of);
    let options = RereadOptions { host: app.host(), time };
    let done = op::reread(&archive, &options, &progress);
    let took = progress.elapsed();
    drop(progress);
    let done = done?;
    let screen = &app.screen;
    if screen.is_json() {
        screen.json(&object(&done, took));
    } else {
        decayed(app, &done.decayed);
        let of = match done.read < done.files {
            true => format!(" of {}", words::count(done.files)),
            false => String::new(),
        };
        screen.tell(&format!(
            "read {}{of} that look unchanged, {} in {}",
            words::files(done.read),
            words::bytes(done.bytes_read),
            words::duration(took)
        ));
        if done.changed > 0 {
            screen.tell(&format!("{} look changed, and are for the next backup to read", words::files(done.changed)));
        }
        if done.carried > 0 {
            screen.warn(&format!(
                "{} could not be read, or were left out, at the last backup, and were not looked at",
                words::files(done.carried)
            ));
        }
        if done.decayed.is_empty() && done.unread.is_empty() && done.read > 0 {
            screen.tell("all that were read are as they were backed up");
        }
        if !done.unread.is_empty() {
            let unread = words::things(done.unread.len() as u64, "file or source", "files or sources");
            screen.warn(&format!("{unread} could not be read; the reasons are above"));
        }
    }
    if !done.decayed.is_empty() {
        let files = words::files(done.decayed.len() as u64);
        return Err(Failure::new(
            Code::Damage,
            format!("the bytes of {files} have changed at the source while nothing else has"),
        )
        .hint("the drive may be failing: restore them as they were, as told above, to another drive and compare"));
    }
    Ok(if done.unread.is_empty() && done.carried == 0 { Code::Done } else { Code::Incomplete })
}

/// Names files that have decayed, and how to get each back as it was.
pub(super) fn decayed(app: &App, decayed: &[Decayed]) {
    for one in decayed {
        let path = names::path(&one.path);
        app.screen.line(&format!("decayed  {path}: its bytes changed while nothing else did"));
        match good(one) {
            Some(good) => {
                app.screen.line(&format!("         as it was: {} restore \"{good}\" -t FOLDER", app.screen.name()));
            }
            None => app.screen.line("         no snapshot has it as it was"),
        }
    }
}

/// `3a4b5c6d:Pictures/2019/a.jpg`
fn good(one: &Decayed) -> Option<String> {
    one.good.as_ref().map(|(snapshot, path)| format!("{}:{}", snapshot.short(), names::escape(path)))
}

/// The same for programs.
pub(super) fn decayed_objects(decayed: &[Decayed]) -> Vec<serde_json::Value> {
    let object = |one: &Decayed| {
        let path = places::bytes_of(one.path.as_os_str());
        let good = one.good.as_ref().map(
            |(snapshot, inside)| json!({"snapshot_id": snapshot.to_hex(), "path": String::from_utf8_lossy(inside)}),
        );
        json!({"path": String::from_utf8_lossy(&path), "size": one.size, "good": good})
    };
    decayed.iter().map(object).collect()
}

fn object(done: &Reread, took: Duration) -> serde_json::Value {
    json!({
        "message_type": "summary",
        "files": done.files,
        "bytes": done.bytes,
        "files_read": done.read,
        "bytes_read": done.bytes_read,
        "files_changed": done.changed,
        "unreadable": done.unread.len(),
        "decayed": decayed_objects(&done.decayed),
        "seconds_elapsed": took.as_secs_f64(),
    })
}
