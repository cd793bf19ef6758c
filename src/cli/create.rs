//! `create`: a new snapshot.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::archive::{Archive, Packing};
use crate::error::{Error, Kind, words_of};
use crate::op::{self, Backup, BackupOptions};
use crate::source::{PassedOver, RuleSpec, read_at_most, read_list};
use jiff::Zoned;
use serde::Serialize;

use super::app::App;
use super::args::split_tags;
use super::config;
use super::exit::{Code, Failure};
use super::json::SummaryObject;
use super::known::Known;
use super::places;
use super::progress::{Progress, Words};
use super::reread;
use super::{dates, names, words};

/// The longest list of names, in bytes, and how many names all lists may have.
const LONGEST_LIST: u64 = 64 << 20;
const MOST_NAMES: usize = 1 << 20;

/// Back up folders and files as a new snapshot
///
/// Files that are as the previous snapshot has them are not read again, and what the archive has is not stored again.
/// What is no longer in the source stays in the archive.
///
/// Each name in a list is a source of its own, under its last name (a~2 where another has that name): a restore puts them
/// side by side and not into the folders that they were in. A source that is not listed any more is not taken for
/// deleted. To keep folders, name the folder, and leave out what is not wanted with --exclude.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folders and files; else those of the configuration
    #[arg(value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Only say what would be stored
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Leave out what fits this pattern; may be repeated
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,
    /// Leave out what fits a pattern in this file; may be repeated
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Leave out what is in directories with a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out what is in directories with such a file, which may have to begin so; may be repeated
    #[arg(long, value_name = "NAME[:HEADER]")]
    exclude_if_present: Vec<String>,
    /// Leave out larger files; k, m, g and t are powers of 1024
    #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
    exclude_larger_than: Option<u64>,
    /// Do not enter other file systems
    #[arg(short = 'x', long)]
    one_file_system: bool,
    /// Back up what the lines of this file name, too, each as a source of its own; - is standard input; may be repeated
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// The same for names that end with a zero byte
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Words to find the snapshot by; may be repeated
    #[arg(long, value_name = "TAG[,TAG…]")]
    tag: Vec<String>,
    /// The machine's name in the snapshot [env: SNAPKEEP_HOST]
    #[arg(short = 'H', long, value_name = "NAME")]
    host: Option<String>,
    /// Something to remember about the snapshot
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Keep the snapshot for ever: forgetting never takes it
    #[arg(long)]
    keep_forever: bool,
    /// Record the source also if it is empty, on another device, or has lost or changed a large part of its files
    #[arg(long)]
    accept_loss: bool,
    /// Refuse a source of which more than this share was lost or changed, and at least 50 files [default: 25]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), conflicts_with = "accept_loss")]
    max_loss: Option<u8>,
    /// Make no snapshot if nothing has changed
    #[arg(long)]
    skip_if_unchanged: bool,
    /// Read every file, whatever the evidence that it is unchanged (restic's --force does the same)
    #[arg(short = 'f', long, alias = "force")]
    reread: bool,
    /// How hard to compress what can be compressed, 1 to 19 [default: 3]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    compression: Option<i32>,
    /// Store JPEGs in a fifth fewer bytes at once, which takes longer; `squeeze` does it later
    #[arg(long)]
    squeeze: bool,
}

/// Makes it.
pub fn run(app: &App, asked: Arguments) -> Result<Code, Failure> {
    let begun = Zoned::now();
    let mut options = options(&app.config.create, app.host(), asked, &begun)?;
    let (archive, place) = if options.dry_run { app.open_for_dry_run()? } else { app.open_or_make()? };
    refuse_inside(&place, &options.sources)?;
    options.rules.own = app.own_files(&place);

    let words = Words {
        during: "archival",
        things: "files",
        restored: "restored",
        finishing: "making sure that everything is on the drive",
    };
    let progress = Progress::new(&app.screen, words);
    let done = op::backup(&archive, &options, &progress);
    if let Ok(done) = &done {
        progress.tell_gone(done.summary.gone, done.summary.moved);
    }
    drop(progress);
    let done = done.map_err(|error| explain(error, &archive, &options))?;
    if !options.dry_run {
        Known::of(app, &archive).add(&options.sources);
    }
    tell(app, &archive, &options, &done, &begun);
    let whole = done.unread.is_empty() && done.unknown.is_empty() && done.decayed.is_empty();
    Ok(if whole { Code::Done } else { Code::Incomplete })
}

/// What the flags say, else the environment, else the configuration.
fn options(config: &config::Create, host: String, asked: Arguments, begun: &Zoned) -> Result<BackupOptions, Failure> {
    let limit = config.exclude_larger_than.as_deref();
    let limit = limit.map(|size| words::parse_size_of("exclude-larger-than", size)).transpose()?;
    let both = |config: &[String], flags: Vec<String>| config.iter().cloned().chain(flags).collect();
    let files = |config: &[PathBuf], flags: Vec<PathBuf>| config.iter().cloned().chain(flags).collect();
    let rules = RuleSpec {
        exclude: both(&config.exclude, asked.exclude),
        iexclude: both(&config.iexclude, asked.iexclude),
        exclude_files: files(&config.exclude_file, asked.exclude_file),
        iexclude_files: files(&config.iexclude_file, asked.iexclude_file),
        exclude_caches: config.exclude_caches || asked.exclude_caches,
        exclude_if_present: both(&config.exclude_if_present, asked.exclude_if_present),
        exclude_larger_than: asked.exclude_larger_than.or(limit),
        one_file_system: config.one_file_system || asked.one_file_system,
        ..RuleSpec::default()
    };
    let mut sources = asked.sources;
    for list in &asked.files_from {
        sources.extend(lines(&names_in(list)?));
    }
    for list in &asked.files_from_raw {
        sources.extend(named(names_in(list)?.split(|byte| *byte == 0)));
    }
    if sources.len() > MOST_NAMES {
        return Err(Failure::usage(format!("more than {} names of sources", words::count(MOST_NAMES as u64)))
            .hint("name the folders that they lie in"));
    }
    if sources.is_empty() && asked.files_from.is_empty() && asked.files_from_raw.is_empty() {
        sources.clone_from(&config.sources);
    }
    if sources.is_empty() {
        return Err(Failure::usage("nothing to back up is named")
            .hint("name folders or files, as in {snap} create ~/Pictures, or write them into the configuration file"));
    }
    let tags = if asked.tag.is_empty() { &config.tag } else { &asked.tag };
    let mut tags: Vec<String> = tags.iter().flat_map(|tags| split_tags(tags)).collect();
    tags.sort_unstable();
    tags.dedup();
    Ok(BackupOptions {
        sources,
        rules,
        host: asked.host.unwrap_or(host),
        user: places::user_name(),
        tags,
        note: asked.note,
        time: dates::stored(begun.timestamp()),
        offset_minutes: (begun.offset().seconds() / 60) as i16,
        program: concat!("snapkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        dry_run: asked.dry_run,
        skip_if_unchanged: config.skip_if_unchanged || asked.skip_if_unchanged,
        packing: Packing {
            level: asked.compression.or(config.compression).unwrap_or(3),
            images: asked.squeeze || config.squeeze,
        },
        force: asked.reread,
        pinned: asked.keep_forever,
        max_loss: if asked.accept_loss { None } else { Some(asked.max_loss.or(config.max_loss).unwrap_or(25)) },
    })
}

fn names_in(list: &Path) -> Result<Vec<u8>, Failure> {
    let read = if list == Path::new("-") {
        read_at_most(std::io::stdin().lock(), LONGEST_LIST)
    } else {
        read_list(list, LONGEST_LIST)
    };
    read.map_err(|error| {
        Failure::usage(format!("reading the names in {}: {}", names::path(list), words_of(&error)))
            .hint("give a file with the names, or - and pass them on: … | {snap} create --files-from -")
    })
}

/// Names, one a line; empty lines and those that begin with # say nothing.
fn lines(bytes: &[u8]) -> Vec<PathBuf> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    named(lines.filter(|line| !line.starts_with(b"#")))
}

fn named<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<PathBuf> {
    // One too many is enough to refuse them.
    names.filter(|name| !name.is_empty()).take(MOST_NAMES + 1).map(|name| places::path_of(name.to_vec())).collect()
}

/// An archive cannot be a source of itself: each run would store what the one before has stored. One that only lies in a
/// source is left out by the walk.
fn refuse_inside(archive: &Path, sources: &[PathBuf]) -> Result<(), Failure> {
    let Ok(archive) = archive.canonicalize() else { return Ok(()) };
    // Many sources lie in few folders, and where those are is asked once.
    let mut folders: HashMap<PathBuf, Option<PathBuf>> = HashMap::new();
    for source in sources {
        let Ok(whole) = std::path::absolute(source) else { continue };
        let real = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) if !whole.is_symlink() => {
                let folder = folders.entry(parent.to_owned()).or_insert_with(|| parent.canonicalize().ok());
                folder.as_ref().map(|folder| folder.join(name))
            }
            _ => whole.canonicalize().ok(),
        };
        if real.is_some_and(|real| real.starts_with(&archive)) {
            return Err(Failure::usage(format!("{} is in the archive itself", source.display())));
        }
    }
    Ok(())
}

fn explain(error: Error, archive: &Archive, options: &BackupOptions) -> Failure {
    let away = || away(archive, options).len() == options.sources.len();
    match error.kind() {
        Kind::Source if away() => Failure::from(error).hint(
            "is the drive with the source connected, and is the path written right? if the folder was moved, say {snap} source \
             rename OLD NEW, and if it is gone for good, {snap} source retire OLD",
        ),
        Kind::Interrupted => Failure::new(Code::Interrupted, "interrupted; there is no new snapshot")
            .hint("what was stored is kept and will not be stored again: run the same again to go on"),
        _ => error.into(),
    }
}

#[derive(Serialize)]
struct SummaryMessage {
    message_type: &'static str,
    #[serde(flatten)]
    summary: SummaryObject,
    files_kept_unreadable: u64,
    files_kept_excluded: u64,
    folders_of_unknown_past: u64,
    data_read: u64,
    backup_start: String,
    backup_end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    dry_run: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decayed: Vec<serde_json::Value>,
}

fn tell(app: &App, archive: &Archive, options: &BackupOptions, done: &Backup, begun: &Zoned) {
    let screen = &app.screen;
    if screen.is_json() {
        let end = Zoned::now();
        return screen.json(&SummaryMessage {
            message_type: "summary",
            summary: SummaryObject::new(&done.summary),
            files_kept_unreadable: done.kept.unread,
            files_kept_excluded: done.kept.excluded,
            folders_of_unknown_past: done.unknown.len() as u64,
            data_read: done.read,
            backup_start: dates::rfc3339_local(options.time),
            backup_end: dates::rfc3339_local(dates::stored(end.timestamp().max(begun.timestamp()))),
            snapshot_id: done.id.map(|id| id.to_hex()),
            parent: done.parent.map(|id| id.to_hex()),
            dry_run: options.dry_run,
            decayed: reread::decayed_objects(&done.decayed),
        });
    }
    sentences(options, done).iter().for_each(|line| screen.tell(line));
    reread::decayed(app, &done.decayed);
    if screen.verbose() > 0 {
        for (path, why) in &done.passed_over {
            screen.tell(&format!("passed over {}: it is {}", names::path(path), what(*why)));
        }
    }
    if done.kept.excluded > 0 {
        screen.tell(&format!("{} left out by rules now: kept as they were", words::count(done.kept.excluded)));
    }
    let decayed = done.decayed.len() as u64;
    if decayed > 0 {
        screen.warn(&format!(
            "the bytes of {} have changed while nothing else has, as when a drive decays; the archive has both versions",
            words::files(decayed)
        ));
    }
    let unread = done.unread.len() as u64;
    if unread > 0 || done.kept.unread > 0 {
        screen.warn(&unreadable(unread, done.kept.unread));
    }
    let unknown = done.unknown.len() as u64;
    if unknown > 0 {
        screen.warn(&format!(
            "the archive is damaged: the last state of {} in it cannot be read, and what is there was read anew; {}",
            words::things(unknown, "folder", "folders"),
            "`{snap} verify` and `{snap} repair` tell and mend the rest".replace("{snap}", screen.name())
        ));
    }
    let away = if unread > 0 { away(archive, options) } else { Vec::new() };
    if let Some(first) = away.first() {
        let what = match away.len() {
            1 => format!("the whole source {} is", names::path(first)),
            more => format!("{} whole sources, {} among them, are", words::count(more as u64), names::path(first)),
        };
        screen.warn(&format!(
            "{what} not there, and what the archive has stays: is the drive connected? if a source was moved, say \
             `{program} source rename OLD NEW`, and if it is gone for good, `{program} source retire OLD`",
            program = screen.name()
        ));
    }
    tell_nested(app, options);
}

/// What could not be read: places of which a folder is one, and the files of earlier snapshots that stand in for them.
fn unreadable(places: u64, kept: u64) -> String {
    let mut told =
        format!("{} could not be read, or not whole; the reasons are above", words::things(places, "place", "places"));
    if kept > 0 {
        let are = words::things(
            kept,
            "file or link in them is kept as it was",
            "files and links in them are kept as they were",
        );
        let _ = write!(told, " (a folder counts once); {are}");
    }
    told
}

/// Sources that are not there at all, of those that the archive knows of this machine.
fn away<'o>(archive: &Archive, options: &'o BackupOptions) -> Vec<&'o Path> {
    let missing = options.sources.iter().filter(|source| std::fs::symlink_metadata(source).is_err());
    let mut missing: Vec<&Path> = missing.map(PathBuf::as_path).collect();
    if !missing.is_empty() {
        let snapshots = archive.snapshots();
        let of_here = snapshots.iter().filter(|(_, snapshot)| snapshot.host == options.host);
        let known: HashSet<&[u8]> =
            of_here.flat_map(|(_, snapshot)| &snapshot.sources).map(|source| source.path.as_slice()).collect();
        let path = |source: &Path| op::source_path(source).map(|path| places::bytes_of(path.as_os_str()).into_owned());
        missing.retain(|source| path(source).is_ok_and(|path| known.contains(path.as_slice())));
    }
    missing
}

/// Says of sources that lie in others that what is in them is listed and counted twice.
fn tell_nested(app: &App, options: &BackupOptions) {
    let mut whole: Vec<PathBuf> = options.sources.iter().filter_map(|source| op::source_path(source).ok()).collect();
    whole.sort();
    whole.dedup();
    let (mut nested, mut above) = (Vec::new(), None::<&PathBuf>);
    for source in &whole {
        match above {
            // By names, a folder comes just before all that is in it.
            Some(above) if source.starts_with(above) => nested.push((source, above)),
            _ => above = Some(source),
        }
    }
    let Some((inner, outer)) = nested.first() else { return };
    let others = match nested.len() - 1 {
        0 => String::new(),
        others => format!(", and {} as well", words::things(others as u64, "other source", "other sources")),
    };
    app.screen.remark(&format!(
        "{} lies in {}{others}: what is in both is stored once, and listed and counted under each",
        names::path(inner),
        names::path(outer)
    ));
}

/// What something is that was passed over.
fn what(why: PassedOver) -> &'static str {
    match why {
        PassedOver::Special(what) | PassedOver::Own(what) => what,
        PassedOver::OtherFileSystem => "on another file system",
    }
}

/// What came of it, in plain words.
fn sentences(options: &BackupOptions, done: &Backup) -> Vec<String> {
    let summary = &done.summary;
    // Photos that have another name are news only where there are some.
    let moved = match summary.moved {
        0 => String::new(),
        moved => format!("{} moved, ", words::count(moved)),
    };
    let mut counts = format!(
        "{} new, {} changed, {moved}{} no longer in the source (still in the archive), {} unreadable",
        words::count(summary.new),
        words::count(summary.changed),
        words::count(summary.gone),
        match summary.unread {
            0 => "0".to_owned(),
            unread => words::things(unread, "place", "places"),
        }
    );
    let number =
        |wanted: fn(&PassedOver) -> bool| done.passed_over.iter().filter(|(_, why)| wanted(why)).count() as u64;
    let special = number(|why| matches!(why, PassedOver::Special(_)));
    if special > 0 {
        let others = words::things(special, "socket, pipe or device", "sockets, pipes or devices");
        let _ = write!(counts, ", {others} passed over");
    }
    let elsewhere = number(|why| *why == PassedOver::OtherFileSystem);
    if elsewhere > 0 {
        let folders = words::things(elsewhere, "folder", "folders");
        let _ = write!(counts, ", {folders} on another file system not entered");
    }
    let head = match (&done.id, done.parent) {
        (Some(id), _) => format!("snapshot {} saved", id.short()),
        (None, _) if options.dry_run => "dry run, nothing was stored".to_owned(),
        (None, Some(parent)) => {
            format!("nothing has changed since snapshot {}, so there is no new one", parent.short())
        }
        (None, None) => "there is no new snapshot".to_owned(),
    };
    let mut size = format!("{}, {} in the source", words::files(summary.files), words::bytes(summary.bytes));
    if options.dry_run {
        let _ = write!(size, "; {} in new and changed files would be read", words::bytes(done.read));
    } else {
        let took = words::duration(std::time::Duration::from_millis(summary.millis));
        // What the archive's folder grows by besides, such as by the snapshot itself, is little and not known here.
        let _ = match (summary.added, summary.stored) {
            (0, 0) => write!(size, "; no new data, in {took}"),
            (added, stored) => {
                let (added, stored) = (words::bytes(added), words::bytes(stored));
                write!(size, "; {added} of new data, stored as {stored} with its recovery data, in {took}")
            }
        };
    }
    vec![format!("{head}: {counts}"), size]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Summary;
    use crate::id::SnapshotId;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn asked(line: &[&str]) -> Arguments {
        Line::try_parse_from(["create"].iter().chain(line)).unwrap_or_else(|error| panic!("{error}")).arguments
    }

    fn understood(config: &config::Create, line: &[&str]) -> Result<BackupOptions, Failure> {
        options(
            config,
            config.host.clone().unwrap_or_default(),
            asked(line),
            &"2024-06-15T12:30:45[Europe/Berlin]".parse().expect("a time"),
        )
    }

    #[test]
    fn flags_come_before_the_configuration_and_exclusions_add_up() {
        let config = config::Create {
            sources: vec!["/configured".into()],
            exclude: vec!["*.tmp".to_owned()],
            tag: vec!["daily".to_owned()],
            host: Some("laptop".to_owned()),
            exclude_larger_than: Some("1g".to_owned()),
            compression: Some(9),
            ..config::Create::default()
        };
        let plain = understood(&config, &[]).expect("options");
        assert_eq!(plain.sources, [Path::new("/configured")]);
        assert_eq!((plain.packing.level, plain.host.as_str(), plain.tags), (9, "laptop", vec!["daily".to_owned()]));
        assert_eq!(plain.rules.exclude_larger_than, Some(1 << 30));
        assert_eq!(plain.offset_minutes, 120);
        let line = ["/a", "--exclude", "*.bak", "--tag", "b,a", "--tag", "a", "-H", "desk", "--compression", "1", "-x"];
        let flags = understood(&config, &line).expect("options");
        assert_eq!(flags.sources, [Path::new("/a")]);
        assert_eq!(flags.rules.exclude, ["*.tmp", "*.bak"]);
        assert_eq!(flags.tags, ["a", "b"]);
        assert_eq!((flags.packing.level, flags.host.as_str(), flags.rules.one_file_system), (1, "desk", true));
    }

    #[test]
    fn nothing_to_back_up_is_a_usage_error_with_a_hint() {
        let failure = understood(&config::Create::default(), &[]).expect_err("nothing is named");
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.hint.is_some());
    }

    #[test]
    fn lists_name_sources() {
        let dir = tempfile::tempdir().expect("a folder");
        let (plain, raw) = (dir.path().join("plain"), dir.path().join("raw"));
        std::fs::write(&plain, "/a b \n\n# no\n/c\r\n").expect("a file");
        std::fs::write(&raw, b"/d\ne\0#f\0").expect("a file");
        let line =
            ["/z", "--files-from", plain.to_str().expect("text"), "--files-from-raw", raw.to_str().expect("text")];
        let options = understood(&config::Create::default(), &line).expect("options");
        let expected: Vec<&Path> = ["/z", "/a b ", "/c", "/d\ne", "#f"].map(Path::new).to_vec();
        assert_eq!(options.sources, expected);
    }

    #[test]
    fn an_archive_is_no_source_of_itself() {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = dir.path().join("photos [1]/archive");
        std::fs::create_dir_all(archive.join("packs")).expect("a folder");
        std::os::unix::fs::symlink(&archive, dir.path().join("link")).expect("a link");
        let refused = |path: &str| refuse_inside(&archive, &[dir.path().join(path)]).is_err();
        assert!(!refused("") && !refused("photos [1]") && !refused("photos [1]/other") && !refused("nothing"));
        for inside in ["photos [1]/archive", "photos [1]/archive/packs", "link", "link/packs", "link/."] {
            assert!(refused(inside), "{inside}");
        }
    }

    #[test]
    fn the_end_is_told_in_plain_words() {
        let options = understood(&config::Create::default(), &["/a"]).expect("options");
        let summary = Summary {
            files: 18_032,
            bytes: 61_200_000_000,
            new: 4211,
            changed: 12,
            gone: 7,
            added: 1_300_000_000,
            stored: 1_200_000_000,
            millis: 42_000,
            ..Summary::default()
        };
        let id = SnapshotId::from_bytes([0x1f; 32]);
        let (unread, passed_over, kept, decayed) = (Vec::new(), Vec::new(), op::Kept::default(), Vec::new());
        let mut done = Backup {
            id: Some(id),
            summary,
            parent: None,
            read: 0,
            unread,
            unknown: Vec::new(),
            kept,
            passed_over,
            unchanged: false,
            decayed,
        };
        let expected = [
            "snapshot 1f1f1f1f saved: 4,211 new, 12 changed, 7 no longer in the source (still in the archive), 0 unreadable",
            "18,032 files, 61.2 GB in the source; 1.3 GB of new data, stored as 1.2 GB with its recovery data, in 42 s",
        ];
        assert_eq!(sentences(&options, &done), expected);
        (done.id, done.parent) = (None, Some(id));
        let first = &sentences(&options, &done)[0];
        assert!(first.starts_with("nothing has changed since snapshot 1f1f1f1f, so there is no new one: "), "{first}");
    }
}
