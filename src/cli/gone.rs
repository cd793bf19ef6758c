//! What is said of a snapshot that is gone, and of what was said of a source and nobody can read any more.

use crate::archive::Archive;
use crate::format::{Mark, Says};
use crate::op::{self, GoneRecord, Record};
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::{dates, names, words};

/// Names each: what can be had back, by a word before it and what becomes of it, and what is lost.
pub fn tell(app: &App, gone: &[GoneRecord], [sort, becomes]: [&str; 2]) {
    for gone in gone {
        let what = what(gone);
        app.screen.line(&match (gone.mendable, gone.lost) {
            (true, true) => format!("{sort:<8} {what}: {becomes}"),
            (true, false) => format!(
                "{sort:<8} {what}: {becomes}; the run that took it was interrupted in its last moment, or it was lost since"
            ),
            (false, _) => format!("{:<8} {what}", "lost"),
        });
    }
}

/// Before something is told of the past: that there is none left, where that is so.
///
/// # Errors
/// If there was one.
pub fn look(app: &App, archive: &Archive) -> Result<(), Failure> {
    if archive.snapshots().is_empty() {
        none_left(archive)?.iter().for_each(|told| app.screen.remark(told));
    }
    Ok(())
}

/// Where an archive has no snapshot, whether there were some: their recovery data say so, or this computer has seen them.
/// One alone may be of a first run that was cut off in its last moment, which is told and no fault.
///
/// # Errors
/// If there were some.
pub fn none_left(archive: &Archive) -> Result<Option<String>, Failure> {
    let (told, seen) = (op::missing_snapshots(archive)?, archive.seen_snapshots().len() as u64);
    let none = "there is no snapshot in the archive, although";
    let message = match (told, seen) {
        (0, 0) => return Ok(None),
        (1, 0) => {
            let what = "recovery data of a snapshot are there: the run that took it was interrupted in its last moment, or it \
                        was lost since; `verify` tells, and `repair` brings it back";
            return Ok(Some(what.to_owned()));
        }
        (0, seen) => format!("{none} this computer has seen {} in it", words::count(seen)),
        (told, _) => format!("{none} recovery data of {} there", words::things(told, "snapshot are", "snapshots are")),
    };
    Err(Failure::new(Code::Damage, message)
        .hint("{snap} verify finds out what is missing, and {snap} repair brings back what it can"))
}

/// What of them is lost, in a part of a sentence; none if nothing is.
pub fn lost(gone: &[GoneRecord]) -> Option<String> {
    let of = |gone: &&GoneRecord| !gone.mendable && matches!(gone.what, Record::Snapshot(_) | Record::LostSnapshot(_));
    let snapshots = gone.iter().filter(of).count() as u64;
    let snapshots = (snapshots > 0).then(|| words::things(snapshots, "snapshot is lost", "snapshots are lost"));
    let parts: Vec<String> = snapshots.into_iter().chain(lost_words(gone)).collect();
    (!parts.is_empty()).then(|| parts.join(", and "))
}

/// The same without snapshots.
pub fn lost_words(gone: &[GoneRecord]) -> Option<String> {
    let of = |gone: &&GoneRecord| !gone.mendable && !matches!(gone.what, Record::Snapshot(_) | Record::LostSnapshot(_));
    match gone.iter().filter(of).count() as u64 {
        0 => None,
        1 => Some(
            "something that was said of a source is lost; say it again with `source rename` or `source retire`"
                .to_owned(),
        ),
        more => Some(format!(
            "{} that were said of sources are lost; say them again with `source rename` or `source retire`",
            words::things(more, "thing", "things")
        )),
    }
}

/// The same for programs.
pub fn objects(gone: &[GoneRecord]) -> Vec<serde_json::Value> {
    let object = |gone: &GoneRecord| json!({"object": gone.object, "message": what(gone), "mendable": gone.mendable, "lost": gone.lost});
    gone.iter().map(object).collect()
}

fn what(gone: &GoneRecord) -> String {
    let last = gone.object.rsplit('/').next().unwrap_or_default();
    let short = last.get(..8).unwrap_or(last);
    match &gone.what {
        Record::Snapshot(snapshot) => {
            let sources: Vec<String> = snapshot.sources.iter().map(|source| names::escape(&source.path)).collect();
            format!("snapshot {short} of {}, of {}", dates::minute(snapshot.time), sources.join(", "))
        }
        Record::LostSnapshot(id) => format!("snapshot {}", id.short()),
        Record::Mark(mark) => format!("what was said on {}: {}", dates::minute(mark.time), says(mark)),
        Record::DamagedMark(Some(mark)) => {
            format!("what was said on {}; as far as it is legible: {}", dates::minute(mark.time), says(mark))
        }
        Record::DamagedMark(None) => {
            "something that was said of a source: that it was renamed, is retired, or counts again".to_owned()
        }
        Record::Unknown => {
            "a snapshot, or something that was said of a source: its recovery data are damaged, too".to_owned()
        }
    }
}

/// `that /home/anna/Pictures on laptop is retired`
fn says(mark: &Mark) -> String {
    let source = |host: &str, path: &[u8]| format!("{} on {}", names::escape(path), names::message(host));
    match &mark.says {
        Says::SourceRenamed { host, path, new } => {
            format!("that what was {} is now {}", source(host, path), names::escape(new))
        }
        Says::SourceRetired { host, path } => format!("that {} is retired", source(host, path)),
        Says::SourceBack { host, path } => format!("that {} counts again", source(host, path)),
    }
}
