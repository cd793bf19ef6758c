//! `dump`: a folder of a snapshot as one tar or zip, or a file as it is, into a pipe or a new file.
//!
//! What is in the tar or zip is whole: each file is read and compared with its hash before its name is written, and one
//! that cannot be read is left out, named and counted. So small files are kept in memory for that, and large ones read
//! twice. Names of a snapshot lead nowhere else: none in it is `..`, and none has a slash.

mod sink;
mod tar;
mod zip;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::archive::{Budget, weight, weights};
use crate::error::{Error, Kind};
use crate::format::{Carried, Entry, EntryKind};
use crate::op::{Event, Observer};
use crate::view::{Listing, Node, View, above, false_claim, join, last_name};
use clap::ValueEnum;
use flate2::Crc;
use serde_json::json;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::wish::Wish;
use super::{cat, names, places, stop, words};
use sink::Sink;
use tar::Tar;
use zip::Zip;

/// Files up to so many bytes are kept in memory until it is known that they are whole.
const KEPT: u64 = 64 << 20;
/// No more names than so many are told that stand otherwise in a zip.
const RENAMED: usize = 20;

/// Write a folder of a snapshot as one tar or zip, or a file as it is
///
/// It goes to standard output or, with --target, into a new file. What is named keeps its last name: of
/// latest:Pictures/2019 all names begin with 2019/. What cannot be read is left out and named, and the exit code says so.
/// Files over 64 MiB are read twice, so that only what is whole is in it.
#[derive(clap::Args)]
pub struct Arguments {
    /// The snapshot, and what in it; or PATH@DATE, or PATH as the newest snapshot that has it
    #[arg(value_name = "SNAPSHOT[:PATH]|PATH@DATE|PATH")]
    what: OsString,
    /// A new file to write into; if its name ends in .zip, it will be one
    #[arg(short, long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// The sort of archive, for a single file as well [default: tar for folders]
    #[arg(long, value_name = "SORT")]
    format: Option<Sort>,
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Sort {
    /// With times, owners, permissions, attributes and hard links
    Tar,
    /// With times and permissions; for other systems
    Zip,
}

/// Endings of files that are compressed, which a tar from here is not; and the program that makes each.
const COMPRESSED: [(&str, &str); 12] = [
    ("gz", "gzip"),
    ("tgz", "gzip"),
    ("zst", "zstd"),
    ("tzst", "zstd"),
    ("xz", "xz"),
    ("txz", "xz"),
    ("bz2", "bzip2"),
    ("tbz", "bzip2"),
    ("tbz2", "bzip2"),
    ("lz", "lzip"),
    ("lz4", "lz4"),
    ("lzma", "lzma"),
];

impl Arguments {
    /// A plain tar under a name that says otherwise is opened by no program that goes by names.
    fn refuse_compressed(&self) -> Result<(), Failure> {
        let Some(target) = &self.target else { return Ok(()) };
        let Some(ending) = target.extension().and_then(|ending| ending.to_str()) else { return Ok(()) };
        let Some((_, program)) = COMPRESSED.iter().find(|(name, _)| ending.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        let (shown, plain) = (names::path(target), names::path(&tar_of(target)));
        Err(Failure::usage(format!("{shown}: a dump is not compressed, and .{ending} says that it is")).hint(format!(
            "photos hardly become smaller: name it {plain}, or pass it on: {{snap}} dump … | {program} > {shown}"
        )))
    }

    fn sort(&self) -> Sort {
        let ending = self.target.as_ref().and_then(|target| target.extension());
        let zip = ending.is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
        self.format.unwrap_or(if zip { Sort::Zip } else { Sort::Tar })
    }
}

/// The name that a plain tar would have: `g.tar` for `g.tar.gz` and `g.tgz`.
fn tar_of(target: &Path) -> PathBuf {
    let stem = target.with_extension("");
    if stem.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar")) {
        return stem;
    }
    target.with_extension("tar")
}

/// Writes it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let wish = Wish::parse(&asked.what, false)?;
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let found = wish.find(app, &archive, &filter)?.pop();
    let found = found.ok_or_else(|| Failure::new(Code::Failed, "there is nothing to write"))?;
    let view = View::new(&archive, found.id, found.snapshot);
    let node = view.find(&found.path)?;
    let plain = asked.format.is_none() && matches!(&node.entry, Some(Entry { kind: EntryKind::File { .. }, .. }));
    if asked.target.is_none() && plain {
        return cat::print(app, &view, &node, false);
    }
    if !plain {
        asked.refuse_compressed()?;
    }
    if asked.target.is_none() && app.screen.is_terminal() {
        return Err(Failure::usage("a tar or zip is nothing for a terminal")
            .hint("write it into a file: add -t FILE.tar, or pass it on: {snap} dump … | tar -x"));
    }
    if asked.target.is_none() && app.screen.is_json() {
        return Err(Failure::usage("with --json, what is dumped goes into a file").hint("add -t FILE"));
    }
    let sink = Sink::new(app, asked.target.as_deref())?;
    let words = Words { during: "dump", things: "files", restored: "written", finishing: "writing the end" };
    let progress = Progress::new(&app.screen, words);
    let mut dump = Dump { view: &view, progress: &progress, done: Done::default(), names: HashMap::new() };
    let mut sink = match (plain, asked.sort()) {
        (true, _) => dump.plain(&node, sink)?,
        (false, Sort::Tar) => dump.tree(&node, Tar::new(sink))?,
        (false, Sort::Zip) => dump.tree(&node, Zip::new(sink))?,
    };
    progress.event(Event::Finishing);
    let (done, took) = (dump.done, progress.elapsed());
    drop(progress);
    sink.finish()?;
    tell(app, asked, &done, took);
    Ok(match (done.failed, done.damaged) {
        (0, _) if done.carried == 0 => Code::Done,
        (_, true) => Code::Damage,
        (_, false) => Code::Incomplete,
    })
}

fn tell(app: &App, asked: &Arguments, done: &Done, took: std::time::Duration) {
    // Standard output is the archive itself, unless it goes into a file.
    if let Some(target) = &asked.target {
        if app.screen.is_json() {
            let target = target.to_string_lossy();
            app.screen.json(&json!({
                "message_type": "summary", "files": done.files, "links": done.links, "bytes": done.bytes,
                "failed": done.failed, "target": target,
            }));
        }
        let (files, bytes) = (words::files_and_links(done.files, done.links), words::bytes(done.bytes));
        let took = words::duration(took);
        app.screen.tell(&format!("wrote {files}, {bytes}, to {} in {took}", names::path(target)));
    }
    for (path, shown) in &done.renamed {
        app.screen.remark(&format!(
            "{} stands as {} in it, since names in a zip are UTF-8; a tar keeps names as they are",
            names::escape(path),
            names::escape(shown)
        ));
    }
    if done.renamed_more > 0 {
        app.screen.remark(&format!("and {} more names", words::count(done.renamed_more)));
    }
    if done.carried > 0 {
        let carried = words::files(done.carried);
        app.screen.warn(&format!(
            "{carried} could not be read when this snapshot was taken, and are as an earlier one has them"
        ));
    }
    if done.failed > 0 {
        let failed = words::things(done.failed, "file or folder", "files and folders");
        app.screen.warn(&format!("{failed} could not be written and left out; the reasons are above"));
    }
}

/// What came of it.
#[derive(Default)]
struct Done {
    files: u64,
    /// Symbolic links.
    links: u64,
    bytes: u64,
    failed: u64,
    damaged: bool,
    /// Names that stand in it otherwise, and how many more than are kept here.
    renamed: Vec<(Vec<u8>, Vec<u8>)>,
    renamed_more: u64,
    /// Files as an earlier snapshot has them, since they could not be read.
    carried: u64,
}

/// Where a tree can be written to.
trait Pack {
    /// Why a name or an entry cannot stand in it, if it cannot.
    fn refuses(&self, path: &[u8], entry: &Entry) -> Option<&'static str>;
    /// How a path stands in it.
    fn name<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        Cow::Borrowed(path)
    }
    /// Another name of a file that it has; false if it knows no such thing.
    fn link(&mut self, path: &[u8], entry: &Entry, to: &[u8]) -> Result<bool, Failure>;
    /// Begins an entry: a directory, a link, or a file of which so many bytes with this sum will follow.
    fn begin(&mut self, path: &[u8], entry: &Entry, size: u64, sum: u32) -> Result<(), Failure>;
    /// Bytes of the file that was begun.
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    /// The file that was begun is complete.
    fn end(&mut self) -> Result<(), Failure>;
    /// Everything is in it.
    fn close(self) -> Result<Sink, Failure>;
}

struct Dump<'a> {
    view: &'a View<'a>,
    progress: &'a Progress<'a>,
    done: Done,
    /// The first name of each file that has several.
    names: HashMap<File, Vec<u8>>,
}

/// What names of one file have in common: the first name of the path, device, number, and hash.
type File = (Vec<u8>, u64, u64, Vec<u8>);

/// Why a file was not written: it cannot be read, or nothing can be written any more.
enum Trouble {
    Unread(Error),
    Failed(Failure),
}

impl Dump<'_> {
    fn stopped(&self) -> Result<(), Failure> {
        if stop::flag().load(Ordering::Relaxed) {
            return Err(Failure::new(Code::Interrupted, "interrupted; what was written is not complete"));
        }
        Ok(())
    }

    fn trouble(&mut self, path: &[u8], why: &str) {
        self.done.failed += 1;
        let path = places::path_of(path.to_vec());
        self.progress.event(Event::Trouble { path: &path, why });
    }

    fn unread(&mut self, path: &[u8], error: &Error) {
        self.done.damaged |= matches!(error.kind(), Kind::Damaged | Kind::Missing);
        self.trouble(path, &error.to_string());
    }

    /// A file as it is.
    fn plain(&mut self, node: &Node, mut sink: Sink) -> Result<Sink, Failure> {
        let size = node.entry.as_ref().map_or(0, size_of);
        self.progress.event(Event::Begin { files: 1, bytes: size });
        self.read(node, true, &mut |bytes| sink.write(bytes)).map_err(|trouble| match trouble {
            Trouble::Unread(error) => error.into(),
            Trouble::Failed(failure) => failure,
        })?;
        self.count(size);
        Ok(sink)
    }

    /// Everything below a place, and the place itself unless it is the top.
    fn tree<P: Pack>(&mut self, node: &Node, mut pack: P) -> Result<Sink, Failure> {
        let top = match above(&node.path) {
            [] => 0,
            above => above.len() + 1,
        };
        let (files, bytes) = self.totals(node);
        self.progress.event(Event::Begin { files, bytes });
        let mut budget = Budget::new(self.view.reader().archive());
        let held = |node: &Node| node.path.len() as u64 + node.entry.as_ref().map_or(0, weight);
        let mut todo = Vec::new();
        let mut next = Some(node.clone());
        while let Some(node) = next.take().or_else(|| todo.pop().inspect(|node| budget.release(held(node)))) {
            self.stopped()?;
            let shown = node.path.get(top..).unwrap_or_default().to_vec();
            if let Some(entry) = &node.entry
                && !self.entry(&node, entry, &shown, &mut pack)?
            {
                continue;
            }
            if !node.is_dir() {
                continue;
            }
            let listed = self.view.list_within(&mut budget, &node).and_then(|listing| {
                let Listing { entries, .. } = &listing;
                let paths = entries.len() as u64 * node.path.len() as u64;
                let names: u64 = entries.iter().map(|entry| entry.name.len() as u64 + 1).sum();
                let more = weights(entries) + paths + names;
                budget.hold(more, &node.path).inspect_err(|_| budget.release(more))?;
                Ok(listing)
            });
            match listed {
                Ok(Listing { entries, gaps }) => {
                    gaps.iter().for_each(|gap| self.unread(&shown, &gap.error));
                    if gaps.is_empty()
                        && let Some(wrong) = node.entry.as_ref().and_then(|dir| false_claim(dir, &entries))
                    {
                        self.done.damaged = true;
                        self.trouble(&shown, &wrong.why);
                    }
                    let below = entries.into_iter().rev();
                    todo.extend(below.map(|entry| Node { path: join(&node.path, &entry.name), entry: Some(entry) }));
                }
                Err(error) => self.unread(&shown, &error),
            }
        }
        pack.close()
    }

    /// Files and bytes ahead; nothing of it is wrong if they are not known.
    fn totals(&self, node: &Node) -> (u64, u64) {
        let of = |entry: &Entry| match entry.kind {
            EntryKind::Dir { files, bytes, .. } => (files, bytes),
            EntryKind::File { size, .. } => (1, size),
            EntryKind::Symlink { .. } => (0, 0),
        };
        match &node.entry {
            Some(entry) => of(entry),
            None => self
                .view
                .list(node)
                .unwrap_or_default()
                .iter()
                .map(of)
                .fold((0, 0), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1))),
        }
    }

    /// One entry; whether it is there now.
    fn entry<P: Pack>(&mut self, node: &Node, entry: &Entry, path: &[u8], pack: &mut P) -> Result<bool, Failure> {
        if let Some(why) = pack.refuses(path, entry) {
            self.trouble(path, why);
            return Ok(false);
        }
        // A folder's other name is told once, and not for all that is in it.
        if let Cow::Owned(_) = pack.name(last_name(path)) {
            match self.done.renamed.len() {
                ..RENAMED => self.done.renamed.push((path.to_vec(), pack.name(path).into_owned())),
                _ => self.done.renamed_more += 1,
            }
        }
        let EntryKind::File { hash, size, .. } = &entry.kind else {
            pack.begin(path, entry, 0, 0)?;
            pack.end()?;
            if matches!(entry.kind, EntryKind::Symlink { .. }) {
                self.done.links += 1;
                // What lies ahead counts links among files, as folders do.
                self.progress.event(Event::Advance { files: 1, bytes: 0 });
            }
            return Ok(true);
        };
        self.done.carried += u64::from(entry.meta.carried == Some(Carried::Unread));
        let first = || path.split(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let linked =
            (entry.meta.links > 1).then(|| (first(), entry.meta.device, entry.meta.inode, hash.as_bytes().to_vec()));
        if let Some(first) = linked.as_ref().and_then(|key| self.names.get(key))
            && pack.link(path, entry, first)?
        {
            self.count(*size);
            self.progress.event(Event::Advance { files: 0, bytes: *size });
            return Ok(true);
        }
        match self.file(node, entry, path, *size, pack) {
            Ok(()) => {}
            Err(Trouble::Unread(error)) => {
                self.unread(path, &error);
                return Ok(false);
            }
            Err(Trouble::Failed(failure)) => return Err(failure),
        }
        self.count(*size);
        if let Some(key) = linked {
            self.names.entry(key).or_insert_with(|| path.to_vec());
        }
        Ok(true)
    }

    /// A file, once it is known that it is whole.
    fn file<P: Pack>(
        &mut self,
        node: &Node,
        entry: &Entry,
        path: &[u8],
        size: u64,
        pack: &mut P,
    ) -> Result<(), Trouble> {
        let (mut sum, mut kept, small) = (Crc::new(), Vec::new(), size <= KEPT);
        let read = self.read(node, small, &mut |bytes| {
            sum.update(bytes);
            if small {
                kept.extend_from_slice(bytes);
            }
            Ok(())
        });
        read?;
        pack.begin(path, entry, size, sum.sum()).map_err(Trouble::Failed)?;
        if small {
            pack.bytes(&kept).map_err(Trouble::Failed)?;
        } else {
            self.read(node, true, &mut |bytes| pack.bytes(bytes)).map_err(|trouble| match trouble {
                // It was whole a moment ago. Its name is written, so what follows cannot be told from it any more.
                Trouble::Unread(error) => Trouble::Failed(error.into()),
                failed => failed,
            })?;
        }
        pack.end().map_err(Trouble::Failed)
    }

    /// Reads a file; its bytes count as progress if they are read for the last time.
    fn read(&self, node: &Node, last: bool, take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Trouble> {
        let mut failed = None;
        let read = self.view.read(node, &mut |bytes| {
            let taken = self.stopped().and_then(|()| take(bytes));
            if last {
                self.progress.event(Event::Advance { files: 0, bytes: bytes.len() as u64 });
            }
            taken.map_err(|failure| {
                failed = Some(failure);
                Error::interrupted()
            })
        });
        match (read, failed) {
            (_, Some(failure)) => Err(Trouble::Failed(failure)),
            (Err(error), None) => Err(Trouble::Unread(error)),
            (Ok(()), None) => Ok(()),
        }
    }

    fn count(&mut self, size: u64) {
        self.done.files += 1;
        self.done.bytes = self.done.bytes.saturating_add(size);
        self.progress.event(Event::Advance { files: 1, bytes: 0 });
    }
}

fn size_of(entry: &Entry) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    }
}
