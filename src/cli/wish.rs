//! What a restore or a dump is asked for: a snapshot or a path, and which snapshots that means.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

use crate::archive::{Archive, Filter};
use crate::format::{Snapshot, Time};
use crate::id::SnapshotId;
use crate::view::{Past, Span, Spot, Tally, View};
use jiff::Zoned;

use super::app::App;
use super::exit::{Code, Failure};
use super::selector::Asked;
use super::{dates, episodes, gone, names, near, places, words};

/// What was asked for, before the archive is known.
pub enum Wish {
    /// A snapshot, and what in it, as it was written.
    Snapshot(Asked, OsString),
    /// A path as it was at a time, which was written so.
    AsOf(OsString, Time, String),
    /// What was deleted there.
    Deleted(OsString),
    /// A path, in the newest snapshot that has it; and what is wrong if there is none.
    Newest(OsString, Failure),
}

/// An id that is written with fewer digits is looked up as a name first.
const SURE_ID: usize = 4;

/// Something to restore.
pub struct Find {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its content.
    pub snapshot: Snapshot,
    /// Where it is in the snapshot.
    pub path: Vec<u8>,
    /// Only these files of it.
    pub only: Option<HashSet<Vec<u8>>>,
}

impl Wish {
    /// Understands what was written.
    ///
    /// # Errors
    /// A usage failure if it makes no sense.
    pub fn parse(what: &OsStr, deleted: bool) -> Result<Self, Failure> {
        if deleted {
            return Ok(Self::Deleted(what.to_owned()));
        }
        let now = Zoned::now();
        let failure = match Asked::parse(what, &now) {
            Ok(asked) => return Ok(Self::Snapshot(asked, what.to_owned())),
            Err(failure) => failure,
        };
        // The last @ counts; what is before it is a path and may have others.
        let bytes = places::bytes_of(what);
        let Some(at) = bytes.iter().rposition(|byte| *byte == b'@').filter(|at| *at > 0) else {
            return Ok(Self::Newest(what.to_owned(), failure));
        };
        let date = String::from_utf8_lossy(&bytes[at + 1..]).into_owned();
        let Some(time) = dates::end_of(&date, &now) else {
            let failure = Failure::usage(format!("\"{date}\" is no date"));
            let failure = failure.hint("write PATH@2024-06, or PATH@\"3 weeks ago\"");
            // A photo may have an @ in its name.
            return Ok(Self::Newest(what.to_owned(), failure));
        };
        Ok(Self::AsOf(places::path_of(bytes[..at].to_vec()).into_os_string(), time, date))
    }

    /// Finds it.
    ///
    /// # Errors
    /// If it is not there, or if several things could be meant.
    pub fn find(self, app: &App, archive: &Archive, filter: &Filter) -> Result<Vec<Find>, Failure> {
        gone::look(app, archive)?;
        match self {
            Self::Snapshot(asked, written) => {
                let found = asked.locate(app, archive, filter);
                // A folder may be called "2018" or "a".
                let is_sure = found.is_ok() && written.len() >= SURE_ID;
                if asked.may_be_a_name() && !is_sure {
                    let past = Past::open(archive, filter)?;
                    if episodes::spots(&past, &written).is_ok() {
                        let failure = Failure::new(Code::Failed, "no snapshot is called so");
                        return Self::Newest(written, failure).find(app, archive, filter);
                    }
                }
                let (id, snapshot, path) = found?;
                let view = View::new(archive, id, snapshot.clone());
                view.find(&path).map_err(|error| asked.or_near(archive, filter, error))?;
                Ok(vec![Find { id, snapshot, path, only: None }])
            }
            Self::AsOf(path, time, date) => {
                let past = Past::open(archive, filter)?;
                let spot = only_one(&past, &path)?;
                let Some((id, snapshot)) = past.as_of(&spot, time)? else {
                    let shown = names::message(&path.to_string_lossy());
                    let counts = |snapshot: &Snapshot| filter.admits(snapshot) && snapshot.time <= time;
                    let message = if archive.snapshots().iter().any(|(_, snapshot)| counts(snapshot)) {
                        format!("the newest snapshot that was made by {date} has no \"{shown}\"")
                    } else {
                        format!("there was no \"{shown}\" by {date}")
                    };
                    return Err(Failure::new(Code::Failed, message)
                        .hint(format!("{{snap}} history \"{shown}\" shows when it was there")));
                };
                Ok(vec![find(app, &past, &spot, id, snapshot, None)?])
            }
            Self::Deleted(path) => {
                let past = Past::open(archive, filter)?;
                let spot = only_one(&past, &path)?;
                deleted(app, &past, &spot)
            }
            Self::Newest(path, failure) => {
                let past = Past::open(archive, filter)?;
                let nothing = || {
                    let near = near::hint(&past, &path).or(failure.hint);
                    Failure {
                        message: format!("{}, and nothing was ever there", failure.message),
                        hint: near,
                        ..failure
                    }
                };
                let spot = match episodes::spots(&past, &path) {
                    Err(_) => return Err(nothing()),
                    Ok(_) => only_one(&past, &path)?,
                };
                let Some((id, snapshot, _)) = past.newest_with(&spot)? else { return Err(nothing()) };
                Ok(vec![find(app, &past, &spot, id, snapshot, None)?])
            }
        }
    }
}

/// The one place that is meant.
fn only_one(past: &Past<'_>, path: &OsStr) -> Result<Spot, Failure> {
    let mut spots = episodes::meant(past, path)?;
    // A folder that is a source and lies in another one is one place: the source that has it newest answers.
    if spots.iter().all(|spot| Some(past.origin(spot)) == spots.first().map(|spot| past.origin(spot))) {
        let mut newest = Vec::new();
        for spot in spots {
            let last = past.newest_with(&spot)?;
            newest.push((last.map(|(_, snapshot, is_there)| (is_there, snapshot.sequence)), spot));
        }
        newest.sort_by_key(|(last, _)| *last);
        spots = newest.pop().map(|(_, spot)| spot).into_iter().collect();
    }
    if spots.len() > 1 {
        let origin = |spot: &Spot| {
            let (host, path) = past.origin(spot);
            format!("{} of {}", names::escape(&path), names::message(host))
        };
        let origins: Vec<String> = spots.iter().map(origin).collect();
        return Err(Failure::new(Code::Failed, format!("several places are called so: {}", origins.join(", ")))
            .hint("give the whole path as it was at the source, or --host NAME"));
    }
    spots.pop().ok_or_else(|| Failure::new(Code::Failed, "nothing was ever there"))
}

/// What was deleted at a place: all of it if it is gone, else what is missing in it, each as it last was.
fn deleted(app: &App, past: &Past<'_>, spot: &Spot) -> Result<Vec<Find>, Failure> {
    let gone = past.episodes(std::slice::from_ref(spot), Span::Deleted)?;
    let shown = names::escape(&past.path(spot));
    if gone.is_empty() {
        return Err(Failure::new(Code::Failed, format!("nothing that was in \"{shown}\" was deleted"))
            .hint(format!("{{snap}} history \"{shown}\" tells what became of it")));
    }
    if let Some((id, snapshot, false)) = past.newest_with(spot)? {
        // An album that was emptied step by step had others before, which are told of and not mixed in.
        let earlier = gone.iter().filter(|one| past.last(one).is_some_and(|(last, _)| last != id)).count() as u64;
        let found = find(app, past, spot, id, snapshot, None)?;
        if earlier > 0 {
            let files = words::things(earlier, "file was", "files were");
            app.screen.remark(&format!(
                "{files} deleted from it before that and not among them: {} deleted -v --under \"{shown}\" names them, and {} \
                 restore --deleted PATH brings each back",
                app.screen.name(),
                app.screen.name()
            ));
        }
        return Ok(vec![found]);
    }
    let mut snapshots: BTreeMap<(u64, SnapshotId), &Snapshot> = BTreeMap::new();
    let mut files: HashMap<SnapshotId, (HashSet<Vec<u8>>, Tally)> = HashMap::new();
    for one in &gone {
        let Some((id, snapshot)) = past.last(one) else { continue };
        let Some(path) = past.path_in(&past.spot(one), &id) else { continue };
        snapshots.insert((snapshot.sequence, id), snapshot);
        let (paths, tally) = files.entry(id).or_default();
        if paths.insert(path) {
            tally.add(&one.state);
        }
    }
    let each = snapshots.into_iter();
    each.map(|((_, id), snapshot)| find(app, past, spot, id, snapshot, files.remove(&id))).collect()
}

fn find(
    app: &App,
    past: &Past<'_>,
    spot: &Spot,
    id: SnapshotId,
    snapshot: &Snapshot,
    only: Option<(HashSet<Vec<u8>>, Tally)>,
) -> Result<Find, Failure> {
    let path = past.path_in(spot, &id);
    let path = path.ok_or_else(|| Failure::new(Code::Failed, "the snapshot does not have this source"))?;
    let what = match &only {
        None => "all of it".to_owned(),
        Some((_, tally)) => words::files_and_links(tally.files, tally.links),
    };
    app.screen.remark(&format!(
        "{}: {what}, as snapshot {} of {} has it",
        names::escape(&past.path(spot)),
        id.short(),
        dates::minute(snapshot.time)
    ));
    Ok(Find { id, snapshot: snapshot.clone(), path, only: only.map(|(only, _)| only) })
}
