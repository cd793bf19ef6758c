//! `duplicates`: what the source has more than once.

use crate::op;
use serde_json::json;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::json::text;
use super::progress::{Progress, Words};
use super::{names, words};

/// List photos that the source has more than once
///
/// The archive stores each of them once; what is told is what the others cost the source. Of the sources on this computer
/// only what is there now, with the same bytes, counts: a file that may have changed since it was backed up is read. Nothing is
/// removed.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
}

/// Lists them.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let words_of = Words { during: "reading", things: "files", restored: "", finishing: "comparing" };
    let progress = Progress::new(&app.screen, words_of);
    let found = op::duplicates(&archive, &filter, &app.host(), &progress);
    drop(progress);
    let op::Doubled { groups: found, gone, unread, elsewhere } = found?;
    let screen = &app.screen;
    let waste: u64 = found.iter().map(op::Duplicates::waste).fold(0, u64::saturating_add);
    let more: u64 = found.iter().map(|group| group.places.len() as u64 - 1).sum();
    for group in &found {
        if screen.is_json() {
            let paths: Vec<String> = group.places.iter().map(|one| text(&one.path)).collect();
            let hash = group.places[0].state.hash.to_hex();
            screen.json(&json!({
                "message_type": "duplicates", "size": group.size, "waste": group.waste(), "hash": hash, "paths": paths,
            }));
            continue;
        }
        let (times, size) = (words::count(group.places.len() as u64), words::bytes(group.size));
        screen.line(&format!("{times} times {size}, {} more than one takes:", words::bytes(group.waste())));
        for one in &group.places {
            screen.name_line("  ", &one.path, b"");
        }
    }
    if screen.is_json() {
        screen.json(&json!({
            "message_type": "summary", "groups": found.len(), "files": more, "waste": waste, "gone": gone,
            "unreadable": unread.len(),
        }));
    }
    screen.tell(&match more {
        0 => "the source has nothing more than once".to_owned(),
        more => format!(
            "{} more than needed, {} in the source",
            words::things(more, "file is", "files are"),
            words::bytes(waste)
        ),
    });
    if gone > 0 {
        let files = words::things(gone, "file is not counted: it is", "files are not counted: they are");
        screen.remark(&format!("{files} no longer there with the bytes that the newest snapshot has"));
    }
    for host in &elsewhere {
        let host = names::message(host);
        screen.remark(&format!("what is on {host} is told as its newest snapshots have it; nobody looked there now"));
    }
    Ok(if unread.is_empty() { Code::Done } else { Code::Incomplete })
}
