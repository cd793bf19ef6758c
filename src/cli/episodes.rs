//! Parts of the past as people and programs read them: what `history`, `deleted`, `find` and `has` have in common.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use crate::archive::{Began, Ended};
use crate::error::Kind;
use crate::format::CaptureFacts;
use crate::view::{Carried, Episode, Past, Spot, join};
use serde::Serialize;

use super::exit::Failure;
use super::json::{PhotoObject, text, unless_text};
use super::{dates, names, near, places};

/// Where an argument is or was: a path as it stands in snapshots, one as it is at the source, or one that begins in the
/// current folder.
///
/// # Errors
/// If nothing was ever there.
pub fn spots(past: &Past<'_>, path: &OsStr) -> Result<Vec<Spot>, Failure> {
    let given = places::bytes_of(path);
    let missing = match past.spots(&given) {
        Err(error) if error.kind() == Kind::NotFound && !given.starts_with(b"/") => error,
        done => return Ok(done?),
    };
    match whole(Path::new(path)).map(|whole| past.spots(&places::bytes_of(whole.as_os_str()))) {
        Some(Ok(spots)) => Ok(spots),
        _ => Err(missing.into()),
    }
}

/// The same; where nothing ever was, the hint says what is perhaps meant.
///
/// # Errors
/// If nothing was ever there.
pub fn meant(past: &Past<'_>, path: &OsStr) -> Result<Vec<Spot>, Failure> {
    spots(past, path).map_err(|missing| match near::hint(past, path) {
        Some(hint) => missing.hint(hint),
        None => missing,
    })
}

/// A path in full. What is gone cannot be asked where `..` leads, and then it leads to the folder that is written before it.
fn whole(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = crate::op::source_path(path) {
        return Some(found);
    }
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path).ok()?.components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    Some(whole)
}

/// A state of a path, as JSON.
#[derive(Serialize)]
pub struct EpisodeObject {
    message_type: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    r#type: &'static str,
    size: u64,
    mtime: String,
    hash: String,
    happened: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    source_retired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<PhotoObject>,
}

impl EpisodeObject {
    /// The object for this state.
    pub fn new(message_type: &'static str, past: &Past<'_>, episode: &Episode, facts: Option<&CaptureFacts>) -> Self {
        let state = &episode.state;
        let root = root(episode);
        let elsewhere = |below: &[u8]| text(&join(root, below));
        let (happened, moved_from) = match &state.began {
            Began::Added => ("added", None),
            Began::Changed => ("changed", None),
            Began::Tags => ("tags", None),
            Began::Decayed => ("decayed", None),
            Began::Moved(origin) => ("moved", Some(elsewhere(origin))),
        };
        let (ended, moved_to) = match &state.ended {
            None => (None, None),
            Some((_, Ended::Deleted)) => (Some("deleted"), None),
            Some((_, Ended::Changed)) => (Some("changed"), None),
            Some((_, Ended::Moved(went))) => (Some("moved"), Some(elsewhere(went))),
        };
        let (since, last, unread) = (past.since(episode), past.last(episode), past.unread_since(episode));
        Self {
            message_type,
            path: text(&episode.path),
            path_hex: unless_text(&episode.path),
            r#type: if state.symlink { "symlink" } else { "file" },
            size: state.size,
            mtime: dates::rfc3339_local(crate::format::Time { secs: state.mtime, nanos: 0 }),
            hash: state.hash.to_hex(),
            happened,
            moved_from,
            first_snapshot: since.map(|(id, _)| id.to_hex()),
            first_seen: since.map(|(_, snapshot)| dates::rfc3339(snapshot.time, snapshot.offset_minutes)),
            last_snapshot: last.map(|(id, _)| id.to_hex()),
            last_seen: last.map(|(_, snapshot)| dates::rfc3339(snapshot.time, snapshot.offset_minutes)),
            not_read: unread.map(|(why, _, _)| not_read(why)),
            not_read_since: unread.map(|(_, _, snapshot)| dates::rfc3339(snapshot.time, snapshot.offset_minutes)),
            ended,
            moved_to,
            source_retired: was_left(past, episode),
            photo: facts.map(PhotoObject::new),
        }
    }
}

/// Why something was not read, for programs.
pub fn not_read(why: Carried) -> &'static str {
    match why {
        Carried::Unread => "unreadable",
        Carried::Excluded => "excluded",
    }
}

/// The name of an episode's source in snapshots.
pub fn root(episode: &Episode) -> &[u8] {
    let below = episode.state.path.len();
    let end = episode.path.len().saturating_sub(below + usize::from(below > 0));
    episode.path.get(..end).unwrap_or_default()
}

/// When a state was seen first.
pub fn first_seen(past: &Past<'_>, episode: &Episode) -> String {
    past.since(episode).map(|(_, snapshot)| dates::minute(snapshot.time)).unwrap_or_default()
}

/// When a state was seen last; nothing if it is there still, as far as could be seen.
pub fn last_seen(past: &Past<'_>, episode: &Episode) -> Option<String> {
    if episode.state.ended.is_none() && episode.state.carried.is_none() && !past.is_retired(episode) {
        return None;
    }
    Some(past.last_read(episode).map(|(_, snapshot)| dates::minute(snapshot.time)).unwrap_or_default())
}

/// What is said behind a state that its source had to the last, if the source was retired; else nothing.
pub fn retired(past: &Past<'_>, episode: &Episode) -> &'static str {
    if was_left(past, episode) { " (its source was retired)" } else { "" }
}

/// Whether a state was there to the last, and then its source was retired.
fn was_left(past: &Past<'_>, episode: &Episode) -> bool {
    episode.state.ended.is_none() && past.is_retired(episode)
}

/// What happened, in words.
pub fn happened(past: &Past<'_>, episode: &Episode) -> String {
    let elsewhere = |below: &[u8]| names::escape(&join(root(episode), below));
    let mut began = match &episode.state.began {
        Began::Added => "added".to_owned(),
        Began::Changed => "changed".to_owned(),
        Began::Tags => "only its tags changed".to_owned(),
        Began::Decayed => "its bytes changed while nothing else did".to_owned(),
        Began::Moved(origin) => format!("moved here from {}", elsewhere(origin)),
    };
    if let Some((why, id, snapshot)) = past.unread_since(episode) {
        let what = match why {
            Carried::Unread => "could not be read",
            Carried::Excluded => "left out by rules",
        };
        began += &format!("; {what} since {} (snapshot {})", dates::minute(snapshot.time), id.short());
    }
    match &episode.state.ended {
        Some((_, Ended::Deleted)) => format!("{began}; then deleted"),
        Some((_, Ended::Moved(went))) => format!("{began}; then moved to {}", elsewhere(went)),
        None if was_left(past, episode) => format!("{began}; then its source was retired"),
        Some((_, Ended::Changed)) | None => began,
    }
}
