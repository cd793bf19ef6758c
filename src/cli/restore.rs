//! `restore`: files of a snapshot, written into a folder.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use jiff::Zoned;
use serde_json::json;
use snapkeep::archive::{Archive, Filter};
use snapkeep::error::{Error, Kind};
use snapkeep::format::{Snapshot, Time};
use snapkeep::id::SnapshotId;
use snapkeep::op::{self, Overwrite, Restore, RestoreOptions, Selection};
use snapkeep::source::Patterns;
use snapkeep::view::{Node, Past, Span, Spot, View};

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::selector::Asked;
use super::{dates, episodes, names, places, words};

/// Write files of a snapshot into a folder
///
/// What is named keeps its last name: latest:Pictures/2019 becomes TARGET/2019. Files that are there already are left as
/// they are, unless --overwrite says otherwise. Every file is checked before it gets its name. Without a target a fresh
/// folder beside the source is made, and where the source is not on this computer, one in the current folder.
///
/// No snapshot has to be named: PATH@DATE is a photo or an album as it was then, and --deleted PATH is what was deleted
/// there, as the newest snapshot that had it has it.
#[derive(clap::Args)]
pub struct Arguments {
    /// The snapshot, and what in it; or PATH@DATE; or, with --deleted, a path
    #[arg(value_name = "SNAPSHOT[:PATH]|PATH@DATE|PATH")]
    what: OsString,
    /// Bring back what was deleted there: all of it if it is gone, else what is missing in it
    #[arg(long)]
    deleted: bool,
    /// The folder to restore into
    #[arg(short, long, value_name = "FOLDER", conflicts_with = "in_place")]
    target: Option<PathBuf>,
    /// Put missing files back where they were; nothing that is there is touched
    #[arg(long, conflicts_with = "overwrite")]
    in_place: bool,
    /// Only what fits this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<String>,
    /// Not what fits this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,
    /// When to replace a file that is there already
    #[arg(long, value_name = "WHEN", default_value = "never")]
    overwrite: When,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Read each file back from the target and compare it
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    /// It stays
    Never,
    /// If its size or time differ
    IfChanged,
    /// If the archive's is newer
    IfNewer,
    /// In any case
    Always,
}

/// Restores it.
pub fn run(app: &App, asked: Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let mut options = RestoreOptions {
        target: PathBuf::new(),
        selection: Selection {
            include: Patterns::new(&asked.include, &asked.iinclude)?,
            exclude: Patterns::new(&asked.exclude, &asked.iexclude)?,
            only: None,
        },
        overwrite: match asked.overwrite {
            When::Never => Overwrite::Never,
            When::IfChanged => Overwrite::IfChanged,
            When::IfNewer => Overwrite::IfNewer,
            When::Always => Overwrite::Always,
        },
        dry_run: asked.dry_run,
        verify: asked.verify,
    };
    let wish = Wish::parse(&asked)?;
    let archive = app.open()?;
    let finds = wish.find(app, &archive, &filter)?;
    let (mut all, host) = (Restore::default(), app.host());
    let fresh = finds.first().map(|first| fresh_folder(first, &host)).transpose()?;
    let words = Words {
        during: "restore",
        things: "files",
        restored: if asked.dry_run { "to restore" } else { "restored" },
        finishing: "making sure that everything is on the drive",
    };
    let progress = Progress::new(&app.screen, words);
    let mut targets: Vec<PathBuf> = Vec::new();
    for find in finds {
        let view = View::new(&archive, find.id, find.snapshot);
        let mut node = view.find(&find.path)?;
        options.target = match (&asked.target, asked.in_place, &fresh) {
            (Some(target), _, _) => target.clone(),
            (None, true, _) => in_place(&view, &mut node, &host)?,
            (None, false, Some(fresh)) => fresh.clone(),
            (None, false, None) => continue,
        };
        options.selection.only = find.only;
        all.add(op::restore(&view, &node, &options, &progress).map_err(explain)?);
        if !targets.contains(&options.target) {
            targets.push(options.target.clone());
        }
    }
    let took = progress.elapsed();
    drop(progress);
    tell(app, asked.dry_run, &targets, &all, took);
    Ok(match (all.failed.is_empty(), all.damaged) {
        (true, _) => Code::Done,
        (false, true) => Code::Damage,
        (false, false) => Code::Incomplete,
    })
}

/// What was asked for, before the archive is known.
enum Wish {
    Snapshot(Asked),
    AsOf(OsString, Time, String),
    Deleted(OsString),
}

/// Something to restore.
struct Find {
    id: SnapshotId,
    snapshot: Snapshot,
    /// Where it is in the snapshot.
    path: Vec<u8>,
    /// Only these files of it.
    only: Option<HashSet<Vec<u8>>>,
}

impl Wish {
    fn parse(asked: &Arguments) -> Result<Self, Failure> {
        if asked.deleted {
            return Ok(Self::Deleted(asked.what.clone()));
        }
        let now = Zoned::now();
        let failure = match Asked::parse(&asked.what, &now) {
            Ok(asked) => return Ok(Self::Snapshot(asked)),
            Err(failure) => failure,
        };
        // The last @ counts; what is before it is a path and may have others.
        let bytes = places::bytes_of(&asked.what);
        let at = bytes.iter().rposition(|byte| *byte == b'@').filter(|at| *at > 0).ok_or(failure)?;
        let date = String::from_utf8_lossy(&bytes[at + 1..]).into_owned();
        let time = dates::end_of(&date, &now).ok_or_else(|| {
            Failure::usage(format!("\"{date}\" is no date")).hint("write PATH@2024-06, or PATH@\"3 weeks ago\"")
        })?;
        Ok(Self::AsOf(places::path_of(bytes[..at].to_vec()).into_os_string(), time, date))
    }

    fn find(&self, app: &App, archive: &Archive, filter: &Filter) -> Result<Vec<Find>, Failure> {
        match self {
            Self::Snapshot(asked) => {
                let (id, snapshot, path) = asked.locate(app, archive, filter)?;
                Ok(vec![Find { id, snapshot, path, only: None }])
            }
            Self::AsOf(path, time, date) => {
                let past = Past::open(archive, filter)?;
                let spot = only_one(&past, path)?;
                let Some((id, snapshot)) = past.as_of(&spot, *time)? else {
                    let shown = names::message(&path.to_string_lossy());
                    return Err(Failure::new(Code::Failed, format!("there was no \"{shown}\" by {date}"))
                        .hint(format!("{{snap}} history \"{shown}\" shows when it was there")));
                };
                Ok(vec![find(app, &past, &spot, id, snapshot, None)?])
            }
            Self::Deleted(path) => {
                let past = Past::open(archive, filter)?;
                let spot = only_one(&past, path)?;
                deleted(app, &past, &spot)
            }
        }
    }
}

/// The one place that is meant.
fn only_one(past: &Past<'_>, path: &OsStr) -> Result<Spot, Failure> {
    let mut spots = episodes::spots(past, path)?;
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
    let mut files: HashMap<SnapshotId, HashSet<Vec<u8>>> = HashMap::new();
    for one in &gone {
        let Some((id, snapshot)) = past.last(one) else { continue };
        let Some(path) = past.path_in(&past.spot(one), snapshot) else { continue };
        snapshots.insert((snapshot.sequence, id), snapshot);
        files.entry(id).or_default().insert(path);
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
    only: Option<HashSet<Vec<u8>>>,
) -> Result<Find, Failure> {
    let path = past.path_in(spot, snapshot);
    let path = path.ok_or_else(|| Failure::new(Code::Failed, "the snapshot does not have this source"))?;
    let what = match &only {
        None => "all of it".to_owned(),
        Some(only) => words::files(only.len() as u64),
    };
    app.screen.remark(&format!(
        "{}: {what}, as snapshot {} of {} has it",
        names::escape(&past.path(spot)),
        id.short(),
        dates::minute(snapshot.time)
    ));
    Ok(Find { id, snapshot: snapshot.clone(), path, only })
}

/// A folder that is not there yet: beside the source where that is on this computer, else in the current folder.
fn fresh_folder(find: &Find, host: &str) -> Result<PathBuf, Failure> {
    let first = find.path.split(|byte| *byte == b'/').find(|name| !name.is_empty());
    let source = find.snapshot.sources.iter().find(|source| first.is_some_and(|name| *name == source.name));
    let source = source.map(|source| places::path_of(source.path.clone()));
    let beside = source.as_ref().filter(|_| find.snapshot.host == host).and_then(|path| path.parent());
    let folder = beside.filter(|folder| folder.is_dir()).map_or_else(PathBuf::new, Path::to_owned);
    let stem = source.as_ref().and_then(|path| path.file_name()).unwrap_or(OsStr::new("snapshot"));
    for number in 1..1000 {
        let mut name = stem.to_owned();
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

/// The folder that a place was in at the source; the place gets the name that it had there.
fn in_place(view: &View<'_>, node: &mut Node, host: &str) -> Result<PathBuf, Failure> {
    let snapshot = view.snapshot();
    if snapshot.host != host {
        let message = format!("the snapshot is of another computer, {}", names::message(&snapshot.host));
        return Err(Failure::new(Code::Failed, message).hint("name a folder with --target FOLDER instead"));
    }
    let mut parts = node.path.splitn(2, |byte| *byte == b'/');
    let (name, below) = (parts.next().unwrap_or_default(), parts.next());
    let source = snapshot.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        Failure::usage("several sources cannot be put back at once")
            .hint("name one of them, as in {snap} restore --in-place latest:Pictures")
    })?;
    let origin = match below {
        Some(below) => snapkeep::view::join(&source.path, below),
        None => source.path.clone(),
    };
    let origin = places::path_of(origin);
    let (Some(parent), Some(last)) = (origin.parent(), origin.file_name()) else {
        return Err(Failure::usage("the whole file system cannot be put back in place")
            .hint("name a folder with --target FOLDER instead"));
    };
    if let Some(entry) = &mut node.entry {
        entry.name = places::bytes_of(last).into_owned();
    }
    Ok(parent.to_owned())
}

fn explain(error: Error) -> Failure {
    match error.kind() {
        Kind::Interrupted => Failure::new(Code::Interrupted, "interrupted before everything was restored")
            .hint("the files that are there are whole; run the same again to restore the others"),
        _ => error.into(),
    }
}

fn tell(app: &App, dry_run: bool, targets: &[PathBuf], done: &Restore, took: Duration) {
    let screen = &app.screen;
    let (left, failed) = (done.left.len() as u64, done.failed.len() as u64);
    if screen.is_json() {
        return screen.json(&json!({
            "message_type": "summary",
            "seconds_elapsed": took.as_secs_f64(),
            "total_files": done.files + left + failed,
            "files_restored": done.files,
            "files_skipped": left,
            "files_failed": failed,
            "dirs_restored": done.dirs,
            "symlinks_restored": done.symlinks,
            "bytes_restored": done.bytes,
            "dry_run": dry_run,
            "targets": targets.iter().map(|target| target.to_string_lossy()).collect::<Vec<_>>(),
        }));
    }
    let verb = if dry_run { "would restore" } else { "restored" };
    let links = match done.symlinks {
        0 => String::new(),
        links => format!(" and {}", words::things(links, "link", "links")),
    };
    screen.tell(&format!(
        "{verb} {}{links}, {}, to {} in {}",
        words::files(done.files),
        words::bytes(done.bytes),
        targets.iter().map(|target| names::path(target)).collect::<Vec<_>>().join(" and "),
        words::duration(took)
    ));
    if left > 0 {
        let were = if left == 1 { "was there and is" } else { "were there and are" };
        screen.tell(&format!(
            "{} {were} left as before (--overwrite can change that; -v names them)",
            words::files(left)
        ));
    }
    let notes = &done.notes;
    let unkept = [
        (notes.owner, "their owner"),
        (notes.mode, "all of their permissions"),
        (notes.times, "their time"),
        (notes.xattrs, "an extended attribute"),
    ];
    for (number, what) in unkept.into_iter().filter(|(number, _)| *number > 0) {
        screen.remark(&format!("{} without {what}, which the target did not take", words::files(number)));
    }
    if failed > 0 {
        screen.warn(&format!("{} could not be restored; the reasons are above", words::files(failed)));
    }
}
