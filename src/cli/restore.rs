//! `restore`: files of a snapshot, written into a folder.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Zoned;
use serde_json::json;
use snapkeep::error::{Error, Kind};
use snapkeep::op::{self, Overwrite, Restore, RestoreOptions, Selection};
use snapkeep::source::Patterns;
use snapkeep::view::View;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::selector::Asked;
use super::{names, words};

/// Write files of a snapshot into a folder
///
/// What is named keeps its last name: latest:Pictures/2019 becomes TARGET/2019. Files that are there already are left as
/// they are, unless --overwrite says otherwise. Every file is checked before it gets its name.
#[derive(clap::Args)]
pub struct Arguments {
    /// The snapshot, and what in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    what: OsString,
    /// The folder to restore into
    #[arg(short, long, value_name = "FOLDER")]
    target: PathBuf,
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
    let what = Asked::parse(&asked.what, &Zoned::now())?;
    let selection = Selection {
        include: Patterns::new(&asked.include, &asked.iinclude)?,
        exclude: Patterns::new(&asked.exclude, &asked.iexclude)?,
    };
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let (id, snapshot) = what.find(&archive, &filter)?;
    let view = View::new(&archive, id, snapshot);
    let node = view.find(what.path.as_deref().unwrap_or_default())?;
    let options = RestoreOptions {
        target: asked.target,
        selection,
        overwrite: match asked.overwrite {
            When::Never => Overwrite::Never,
            When::IfChanged => Overwrite::IfChanged,
            When::IfNewer => Overwrite::IfNewer,
            When::Always => Overwrite::Always,
        },
        dry_run: asked.dry_run,
        verify: asked.verify,
    };

    let words = Words {
        during: "restore",
        things: "files",
        restored: if options.dry_run { "to restore" } else { "restored" },
        finishing: "making sure that everything is on the drive",
    };
    let progress = Progress::new(&app.screen, words);
    let done = op::restore(&view, &node, &options, &progress);
    let took = progress.elapsed();
    drop(progress);
    let done = done.map_err(explain)?;
    tell(app, &options, &done, took);
    Ok(match (done.failed.is_empty(), done.damaged) {
        (true, _) => Code::Done,
        (false, true) => Code::Damage,
        (false, false) => Code::Incomplete,
    })
}

fn explain(error: Error) -> Failure {
    match error.kind() {
        Kind::Interrupted => Failure::new(Code::Interrupted, "interrupted before everything was restored")
            .hint("the files that are there are whole; run the same again to restore the others"),
        _ => error.into(),
    }
}

fn tell(app: &App, options: &RestoreOptions, done: &Restore, took: Duration) {
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
            "dry_run": options.dry_run,
        }));
    }
    let verb = if options.dry_run { "would restore" } else { "restored" };
    let links = match done.symlinks {
        0 => String::new(),
        links => format!(" and {}", words::things(links, "link", "links")),
    };
    screen.tell(&format!(
        "{verb} {}{links}, {}, to {} in {}",
        words::files(done.files),
        words::bytes(done.bytes),
        names::path(&options.target),
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
