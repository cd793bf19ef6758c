//! Where a restore writes when nobody names a folder: back to where something was, or into a fresh folder beside it.
//!
//! A snapshot's own word does not decide that. Only a folder that is known to have been backed up here (see [`Known`]) is
//! used unasked; any other is shown to the user first, and where there is no terminal to ask on, it is refused.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::format::Snapshot;
use crate::view::{Node, View};
use jiff::Zoned;

use super::app::App;
use super::exit::{Code, Failure};
use super::known::{Known, is_plain};
use super::{names, places};

/// A folder that is not there yet: beside the source where that is known to be of this computer, else in the current
/// folder.
///
/// # Errors
/// If there are hundreds already.
pub fn fresh(app: &App, known: &Known, snapshot: &Snapshot, path: &[u8]) -> Result<PathBuf, Failure> {
    let first = path.split(|byte| *byte == b'/').find(|name| !name.is_empty());
    let source = snapshot.sources.iter().find(|source| first.is_some_and(|name| *name == source.name));
    let source = source.filter(|source| known.has(app, snapshot, &source.path));
    let source = source.map(|source| places::path_of(source.path.clone()));
    let beside = source.as_ref().and_then(|path| path.parent()).filter(|folder| folder.is_dir());
    let folder = beside.map_or_else(PathBuf::new, Path::to_owned);
    let named = first.map(|name| places::path_of(name.to_vec()));
    let named = named.filter(|name| is_tame(name.as_os_str())).and_then(|name| Some(name.file_name()?.to_owned()));
    let stem = source.as_ref().and_then(|path| path.file_name()).map(OsStr::to_owned).or(named);
    let stem = stem.unwrap_or_else(|| "snapshot".into());
    for number in 1..1000 {
        let mut name = stem.clone();
        name.push(format!("-restored-{}", Zoned::now().strftime("%Y-%m-%d")));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        let path = folder.join(name);
        if std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(path);
        }
    }
    Err(Failure::usage("no fresh folder could be found").hint("name one with --target FOLDER"))
}

/// Whether a name from an archive may be a part of a folder's name here.
fn is_tame(name: &OsStr) -> bool {
    let shown = names::escape(&places::bytes_of(name));
    shown.len() < 100 && name.to_str() == Some(shown.as_str())
}

/// The folder that a place was in at the source; the place gets the name that it had there.
///
/// # Errors
/// If it leads nowhere or has several, or if it is not known and the user does not want it.
pub fn in_place(app: &App, known: &Known, view: &View<'_>, node: &mut Node) -> Result<PathBuf, Failure> {
    let snapshot = view.snapshot();
    if let ([], [only]) = (node.path.as_slice(), snapshot.sources.as_slice()) {
        *node = view.find(&only.name)?;
    }
    let mut parts = node.path.splitn(2, |byte| *byte == b'/');
    let (name, below) = (parts.next().unwrap_or_default(), parts.next());
    let source = snapshot.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        Failure::usage("several sources cannot be put back at once")
            .hint("name one of them, as in {snap} restore --in-place latest:Pictures")
    })?;
    let origin = match below {
        Some(below) => crate::view::join(&source.path, below),
        None => source.path.clone(),
    };
    let elsewhere = "name a folder with --target FOLDER instead";
    if !is_plain(&origin) {
        let message = format!("the archive says that it was in \"{}\", which is no whole path", names::escape(&origin));
        return Err(Failure::new(Code::Failed, message).hint(elsewhere));
    }
    let now = view.archive().renames()?;
    let now = now.path_now(&snapshot.host, &source.path, snapshot.sequence);
    if now != source.path {
        // What the archive says of a move must not choose where a restore writes.
        let message = format!("{} is {} now, as was told", names::escape(&source.path), names::escape(now));
        return Err(Failure::new(Code::Failed, message)
            .hint(format!("name the folder that it goes into, as in --target \"{}\"", names::escape(now))));
    }
    let is_known = known.has(app, snapshot, &source.path);
    let origin = places::path_of(origin);
    let (Some(parent), Some(last)) = (origin.parent(), origin.file_name()) else {
        return Err(Failure::usage("the whole file system cannot be put back in place").hint(elsewhere));
    };
    if !is_known && !is_wanted(app, snapshot, &origin) {
        let whose = match snapshot.host == app.host() {
            true => String::new(),
            false => format!(", but of another computer, {}", names::message(&snapshot.host)),
        };
        let message = format!("this user has not backed up {} on this computer{whose}", names::path(&origin));
        return Err(Failure::new(Code::Failed, message).hint(elsewhere));
    }
    if let Some(entry) = &mut node.entry {
        entry.name = places::bytes_of(last).into_owned();
    }
    Ok(parent.to_owned())
}

/// Asks, where there is a terminal, whether a path that only the archive names is where to restore to.
fn is_wanted(app: &App, snapshot: &Snapshot, origin: &Path) -> bool {
    if app.screen.is_json() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let (host, user) = (names::message(&snapshot.host), names::message(&snapshot.user));
    app.screen.warn(&format!(
        "the archive says that this was backed up by {user} on {host}; this computer does not know that"
    ));
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "restore to {}? [y/N] ", names::path(origin)).and_then(|()| err.flush());
    let mut answer = String::new();
    let heard = std::io::stdin().read_line(&mut answer);
    heard.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
