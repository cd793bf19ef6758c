//! `restore`: files of a snapshot, written into a folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, words_of};
use crate::op::{self, NoRoom, Overwrite, Restore, RestoreOptions, Selection};
use crate::source::Patterns;
use crate::target::Notes;
use crate::view::{Node, View, is_below, join};
use clap::ValueEnum;
use serde_json::json;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::known::Known;
use super::progress::{Progress, Words};
use super::wish::Wish;
use super::{destination, names, words};

/// Write files of a snapshot into a folder
///
/// What is named keeps its last name: latest:Pictures/2019 becomes TARGET/2019. Files that are there already are left as
/// they are, unless --overwrite says otherwise. Every file is checked before it gets its name. Without a target a fresh
/// folder beside the source is made, and where the source was not backed up on this computer, one in the current folder.
///
/// No snapshot has to be named: PATH is a photo or an album in the newest snapshot that has it, PATH@DATE is it as it was
/// then, and --deleted PATH is what was deleted there, as the newest snapshot that had it has it.
///
/// Owners come back when root restores. What makes a program run with other rights than those of whoever starts it
/// (set-user-ID and set-group-ID bits of files, file capabilities) comes back only with --setuid.
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
    /// Put missing files back where they were; nothing that is there is touched. A place that this user has not backed up
    /// on this computer is asked about first
    #[arg(long, conflicts_with = "overwrite")]
    in_place: bool,
    /// Only what fits this pattern; may be repeated
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<String>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<String>,
    /// Not what fits this pattern; may be repeated
    #[arg(short, long, value_name = "PATTERN")]
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
    /// Restore set-user-ID and set-group-ID bits of files, and file capabilities, too
    #[arg(long)]
    setuid: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    /// It stays
    Never,
    /// If its size, time or bytes differ
    IfChanged,
    /// If the archive's is newer
    IfNewer,
    /// In any case
    Always,
}

/// Restores it.
pub fn run(app: &App, asked: Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let named = named(&asked);
    let mut options = RestoreOptions {
        target: PathBuf::new(),
        selection: Selection {
            include: Patterns::new(&asked.include, &asked.iinclude)?,
            exclude: Patterns::new(&asked.exclude, &asked.iexclude)?,
            only: None,
            named: named.iter().map(|(_, _, pattern)| each(pattern)).collect::<Result<_, _>>()?,
        },
        overwrite: match asked.overwrite {
            When::Never => Overwrite::Never,
            When::IfChanged => Overwrite::IfChanged,
            When::IfNewer => Overwrite::IfNewer,
            When::Always => Overwrite::Always,
        },
        dry_run: asked.dry_run,
        verify: asked.verify,
        setuid: asked.setuid,
    };
    let wish = Wish::parse(&asked.what, asked.deleted)?;
    let archive = app.open()?;
    let finds = wish.find(app, &archive, &filter)?;
    let (mut all, known) = (Restore::default(), Known::of(app, &archive));
    let fresh = finds.first().map(|first| destination::fresh(app, &known, &first.snapshot, &first.path)).transpose()?;
    let (mut jobs, mut missing) = (Vec::new(), 0);
    for find in finds {
        let view = View::new(&archive, find.id, find.snapshot);
        let mut node = view.find(&find.path)?;
        let target = match (&asked.target, asked.in_place, &fresh) {
            (Some(target), _, _) => target.clone(),
            (None, true, _) => destination::in_place(app, &known, &view, &mut node)?,
            (None, false, Some(fresh)) => fresh.clone(),
            (None, false, None) => continue,
        };
        missing += never_read(&view, &node);
        outside(app, &target)?;
        jobs.push((view, node, find.only, target));
    }
    let words = Words {
        during: "restore",
        things: "files",
        restored: if asked.dry_run { "to restore" } else { "restored" },
        finishing: "making sure that everything is on the drive",
    };
    let progress = Progress::new(&app.screen, words);
    let mut targets: Vec<PathBuf> = Vec::new();
    for (view, node, only, target) in jobs {
        options.target = target;
        options.selection.only = only;
        all.add(op::restore(&view, &node, &options, &progress).map_err(explain)?);
        if !targets.contains(&options.target) {
            targets.push(options.target.clone());
        }
    }
    let took = progress.elapsed();
    drop(progress);
    tell(app, asked.dry_run, &targets, &all, took);
    let missed = tell_unmatched(app, &named, &all);
    if missing > all.unread {
        let what = words::things(missing, "file or folder", "files or folders");
        app.screen.warn(&format!(
            "{what} could not be read, or not wholly, when this snapshot was taken; what of it no earlier one has is missing"
        ));
    }
    let whole = all.failed.is_empty() && all.renamed.is_empty() && all.notes.faults == 0;
    let whole = whole && all.unread == 0 && missing == 0 && !missed;
    Ok(match (whole, all.damaged) {
        (true, _) => Code::Done,
        (false, true) => Code::Damage,
        (false, false) => Code::Incomplete,
    })
}

/// Refuses to restore into the archive's own folder, where nothing but its objects may lie.
fn outside(app: &App, target: &Path) -> Result<(), Failure> {
    let (archive, target) = (std::fs::canonicalize(app.place_of_new()?), std::path::absolute(target));
    let (Ok(archive), Ok(target)) = (archive, target) else { return Ok(()) };
    // What is not there yet lies where the nearest folder above it leads.
    let above = target.ancestors().find_map(|above| std::fs::canonicalize(above).ok());
    if above.is_some_and(|above| above.starts_with(&archive)) {
        let message = format!("{} is in the archive's own folder", names::path(&target));
        return Err(Failure::usage(message).hint("name a folder elsewhere with --target FOLDER"));
    }
    Ok(())
}

/// How much of what is at a place, or around it, is named as not read in the snapshot.
fn never_read(view: &View<'_>, node: &Node) -> u64 {
    let snapshot = view.snapshot();
    let mut parts = node.path.splitn(2, |byte| *byte == b'/');
    let (name, below) = (parts.next().unwrap_or_default(), parts.next());
    let origin = snapshot.sources.iter().find(|source| source.name == name).map(|source| match below {
        Some(below) => join(&source.path, below),
        None => source.path.clone(),
    });
    let within = |path: &[u8]| origin.as_ref().is_none_or(|origin| is_below(path, origin) || path == origin);
    snapshot.unread.iter().filter(|unread| within(&unread.path)).count() as u64
}

/// The option and the text of a pattern, and the pattern alone: exact, or for any case.
type Named = (&'static str, String, Pattern);

/// A pattern that is exact, or one for any case.
type Pattern = (Vec<String>, Vec<String>);

/// Every pattern by itself, so that one that fits nothing is heard of.
fn named(asked: &Arguments) -> Vec<Named> {
    let exact = |text: &str| (vec![text.to_owned()], Vec::new());
    let any_case = |text: &str| (Vec::new(), vec![text.to_owned()]);
    let mut named: Vec<Named> = Vec::new();
    let mut add = |option, texts: &[String], pattern: &dyn Fn(&str) -> Pattern| {
        named.extend(texts.iter().map(|text| (option, text.clone(), pattern(text.strip_prefix('!').unwrap_or(text)))));
    };
    add("--include", &asked.include, &exact);
    add("--iinclude", &asked.iinclude, &any_case);
    add("--exclude", &asked.exclude, &exact);
    add("--iexclude", &asked.iexclude, &any_case);
    named
}

fn each((exact, any_case): &(Vec<String>, Vec<String>)) -> Result<Patterns, Error> {
    Patterns::new(exact, any_case)
}

/// Names patterns that fit nothing; whether something that was wanted is missing for it.
fn tell_unmatched(app: &App, named: &[Named], done: &Restore) -> bool {
    let mut missed = false;
    for (at, (option, text, _)) in named.iter().enumerate() {
        if !done.matched.contains(&at) {
            missed |= option.ends_with("include");
            app.screen.warn(&format!("nothing there fits {option} \"{}\"", names::message(text)));
        }
    }
    missed
}

fn explain(error: Error) -> Failure {
    let room = error.io().and_then(|cause| cause.get_ref()?.downcast_ref::<NoRoom>().copied());
    if let Some(NoRoom { needed, free }) = room {
        let message = format!(
            "there is no room for it: {} are to be written, and {} are free there",
            words::bytes(needed),
            words::bytes(free)
        );
        return Failure::new(Code::Failed, message)
            .hint("nothing was written; name another folder with --target, or a part with SNAPSHOT:PATH or --include");
    }
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
            "total_files": done.files + left + done.present + failed,
            "files_present": done.present,
            "files_renamed": done.renamed.len(),
            "files_restored": done.files,
            "files_skipped": left + done.present,
            "files_failed": failed,
            "files_from_earlier": done.unread,
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
    if done.present > 0 {
        let were =
            if done.present == 1 { "was there already, just as it is" } else { "were there already, just as they are" };
        screen.tell(&format!("{} {were} in the archive", words::files(done.present)));
    }
    if left > 0 {
        let were = if left == 1 { "was there and is" } else { "were there and are" };
        screen.tell(&format!(
            "{} {were} left as before (--overwrite can change that; -v names them)",
            words::files(left)
        ));
    }
    for (wanted, actual) in &done.renamed {
        screen.warn(&format!(
            "{} is restored as {}, since the target takes its name for another's",
            names::path(wanted),
            names::path(actual)
        ));
    }
    if done.unread > 0 {
        let how = if done.unread == 1 {
            "it is restored as an earlier snapshot has it"
        } else {
            "they are restored as an earlier snapshot has them"
        };
        screen.warn(&format!("{} could not be read when this snapshot was taken; {how}", words::files(done.unread)));
    }
    unkept(&done.notes).iter().for_each(|line| screen.remark(line));
    if failed > 0 {
        screen.warn(&format!("{} could not be restored; the reasons are above", words::files(failed)));
    }
}

/// What the target could not keep, one sort a line.
fn unkept(notes: &Notes) -> Vec<String> {
    let within = match notes.rounded_by {
        by if by < Duration::from_millis(10) => "a hundredth of a second",
        by if by < Duration::from_secs(1) => "a second",
        _ => "two seconds",
    };
    let rounded = format!("the date is kept to within {within}, which is all that the target can");
    let fault = notes.fault.map(std::io::Error::from_raw_os_error).as_ref().map(words_of).unwrap_or_default();
    let sorts = [
        (notes.owner, "the owner could not be kept".to_owned()),
        (notes.mode, "the permissions could not be kept".to_owned()),
        (notes.times, "the date could not be kept".to_owned()),
        (notes.rounded, rounded),
        (notes.xattrs, "an extended attribute could not be kept".to_owned()),
        (notes.acls, "the access list could not be kept".to_owned()),
        (
            notes.setuid,
            "what lets a program run with other rights was left out (set-user-ID, set-group-ID or capabilities); --setuid \
             restores it for files that get their owner back"
                .to_owned(),
        ),
        (notes.faults, format!("the target failed while owner, permissions, date or attributes were set: {fault}")),
    ];
    let some = sorts.into_iter().filter(|(number, _)| *number > 0);
    some.map(|(number, what)| format!("{}: {what}", words::things(number, "file or folder", "files and folders")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_of_what_could_not_be_kept_is_one_line() {
        assert_eq!(unkept(&Notes::default()), Vec::<String>::new());
        let notes = Notes {
            times: 1,
            rounded: 3,
            rounded_by: Duration::from_millis(1500),
            fault: Some(5),
            faults: 2,
            ..Notes::default()
        };
        let expected = [
            "1 file or folder: the date could not be kept",
            "3 files and folders: the date is kept to within two seconds, which is all that the target can",
            "2 files and folders: the target failed while owner, permissions, date or attributes were set: input/output error",
        ];
        assert_eq!(unkept(&notes), expected);
    }
}
