//! `deleted`: what is in the archive and no longer in the source.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;

use crate::view::{Episode, Past, Span, Tally, above};
use jiff::Zoned;
use serde_json::json;

use super::app::App;
use super::args::Which;
use super::episodes::{self, EpisodeObject};
use super::exit::{Code, Failure};
use super::{dates, gone, names, places, words};

/// List what is in the archive but no longer in the source, by album
///
/// Photos that were only moved are not among it. `restore --deleted PATH` brings an album or a photo back.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what a snapshot since then no longer had: 2024-06, yesterday, "3 weeks ago"
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// Only what was in this folder
    #[arg(long, value_name = "PATH")]
    under: Option<OsString>,
    /// Of sources that are retired, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

/// Lists it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let since = asked.since.as_ref().map(|text| {
        dates::start_of(text, &Zoned::now()).ok_or_else(|| Failure::usage(format!("\"{text}\" is no date")))
    });
    let since = since.transpose()?;
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    gone::look(app, &archive)?;
    let past = Past::open(&archive, &filter)?;
    let spots = match &asked.under {
        Some(path) => episodes::meant(&past, path)?,
        None if asked.all => past.all_roots(),
        None => past.roots(),
    };
    let mut found = past.episodes(&spots, Span::Deleted)?;
    if let Some(since) = since {
        found.retain(|one| past.ended(one).is_some_and(|(_, snapshot)| snapshot.time >= since));
    }
    // That takes a look at everything that the source has.
    let each = app.screen.verbose() > 0;
    let held = if each { past.newest_contents()? } else { HashSet::new() };
    let (screen, mut albums) = (&app.screen, BTreeMap::<&[u8], Vec<&Episode>>::new());
    for one in &found {
        if screen.is_json() {
            screen.json(&EpisodeObject::new("deleted", &past, one, archive.facts(&one.state.hash).as_ref()));
        }
        albums.entry(above(&one.path)).or_default().push(one);
    }
    let (mut all, mut doubles) = (Tally::default(), 0_u64);
    for (path, photos) in &albums {
        let mut tally = Tally::default();
        for one in photos {
            tally.add(&one.state);
            doubles += u64::from(one.state.size > 0 && held.contains(&one.state.hash));
        }
        all = all.and(tally);
        if screen.is_json() {
            continue;
        }
        if !each {
            let last = photos.iter().filter_map(|one| episodes::last_seen(&past, one)).max().unwrap_or_default();
            let (files, size) = (words::files_and_links(tally.files, tally.links), words::bytes(tally.bytes));
            screen.name_line(&format!("last seen {last:16}  {files:>14}  {size:>9}  "), path, b"/");
            continue;
        }
        for one in photos {
            let (last, size) = (episodes::last_seen(&past, one).unwrap_or_default(), words::bytes(one.state.size));
            screen.name_line(&format!("last seen {last:16}  {size:>9}  "), &one.path, b"");
        }
    }
    if screen.is_json() {
        screen.json(&json!({
            "message_type": "summary", "files": all.files, "links": all.links, "bytes": all.bytes, "albums": albums.len(),
        }));
    }
    screen.tell(&match all.is_empty() {
        true => nothing(asked),
        false => format!(
            "{} in {}, {}: no longer in the source, still in the archive",
            words::files_and_links(all.files, all.links),
            words::things(albums.len() as u64, "folder", "folders"),
            words::bytes(all.bytes)
        ),
    });
    if doubles > 0 {
        screen.tell(&format!("the source has {} of them under another name", words::count(doubles)));
    }
    if !all.is_empty() {
        screen.remark(&format!("bring a folder or a photo back with: {} restore --deleted PATH", screen.name()));
    }
    Ok(Code::Done)
}

/// That nothing of what was asked for was deleted.
fn nothing(asked: &Arguments) -> String {
    let since = asked.since.as_ref().map(|since| format!(" since {}", names::message(since))).unwrap_or_default();
    match &asked.under {
        Some(under) => {
            format!("nothing under {} was deleted from the source{since}", names::escape(&places::bytes_of(under)))
        }
        None if asked.since.is_some() => format!("nothing was deleted from the source{since}"),
        None => "nothing that the archive has was deleted from the source".to_owned(),
    }
}
