//! What is left out of a backup, and why: patterns, tag files, size, other file systems, and what belongs to this program.
//!
//! Patterns are tried against the full path of a file. A pattern leaves out what it names *below* a root: a root that was
//! named as source is never left out itself, whatever its own path matches. An excluded directory is not entered, so
//! nothing below it can be taken back with `!`. Patterns and names are compared in one form of Unicode.
//!
//! What belongs to this program is told by what it is and not by its path, so that no link, bind mount or other spelling
//! leads to it, and no pattern is needed: a folder by device and number, its own and those of a file in it; an archive that
//! is mounted by its kind of file system; what a killed restore left by its name.

use super::list::read_list;
use super::mounts;
use super::pattern::Pattern;
use super::place::Place;
use super::stat::Stat;
use super::sys::{self, Listed};
use crate::error::{Error, Kind, Result};
use crate::normal::normal;
use rustix::fs::OFlags;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The longest file of patterns, in bytes.
const LONGEST: u64 = 4 << 20;

/// What a user asked to leave out, word for word.
#[derive(Debug, Clone, Default)]
pub struct RuleSpec {
    /// Patterns; one with a leading `!` takes back what earlier ones excluded.
    pub exclude: Vec<String>,
    /// Patterns that ignore case.
    pub iexclude: Vec<String>,
    /// Files of patterns, one a line; empty lines and those that start with `#` say nothing.
    pub exclude_files: Vec<PathBuf>,
    /// Files of patterns that ignore case.
    pub iexclude_files: Vec<PathBuf>,
    /// Leave out what lies in a directory beside a `CACHEDIR.TAG` with the right signature. The directory and the tag stay.
    pub exclude_caches: bool,
    /// The same for other tag files: `NAME`, or `NAME:HEADER` for one that must start with HEADER.
    pub exclude_if_present: Vec<String>,
    /// Leave out files of more than this many bytes.
    pub exclude_larger_than: Option<u64>,
    /// Do not enter directories on another file system than the root's. The directory itself stays, empty.
    pub one_file_system: bool,
    /// Files that lie in folders of this program's own, such as an archive's header. These folders are never entered.
    pub own: Vec<PathBuf>,
    /// Which names are those of temporary files of this program.
    pub temporary: Option<fn(&[u8]) -> bool>,
}

/// A [`RuleSpec`] that has been understood. The default leaves nothing out.
#[derive(Debug, Default)]
pub struct Rules {
    exact: List,
    any_case: List,
    tags: Vec<Tag>,
    larger_than: Option<u64>,
    one_file_system: bool,
    own: Vec<OwnFolder>,
    temporary: Option<fn(&[u8]) -> bool>,
    mounted: HashSet<u64>,
}

/// A folder of this program: its device and number, and a file in it with its own.
#[derive(Debug)]
struct OwnFolder {
    folder: (u64, u64),
    name: Vec<u8>,
    file: (u64, u64),
}

/// Patterns in the order given. A `!` takes back matches of its own list only.
#[derive(Debug, Default)]
struct List {
    patterns: Vec<Pattern>,
    takes_back: bool,
}

#[derive(Debug)]
struct Tag {
    name: Vec<u8>,
    header: Vec<u8>,
}

impl Rules {
    /// Understands what was asked for, and reads the files of patterns. [`Kind::Invalid`] if a pattern makes no sense or
    /// such a file cannot be read: nothing is backed up under rules other than those that were meant.
    pub fn new(spec: &RuleSpec) -> Result<Self> {
        let mut tags = Vec::new();
        if spec.exclude_caches {
            tags.push(Tag::new("CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55")?);
        }
        for tag in &spec.exclude_if_present {
            tags.push(Tag::new(tag)?);
        }
        Ok(Self {
            exact: List::new(&spec.exclude, &spec.exclude_files, |text| normal(text).into_owned())?,
            any_case: List::new(&spec.iexclude, &spec.iexclude_files, |text| lower(&normal(text)))?,
            tags,
            larger_than: spec.exclude_larger_than,
            one_file_system: spec.one_file_system,
            own: spec.own.iter().filter_map(|file| OwnFolder::with(file)).collect(),
            temporary: spec.temporary,
            mounted: mounts::mounted_archives(),
        })
    }

    /// Whether a directory is a folder of this program, at this path from the directory `at`.
    pub(super) fn is_own_folder(&self, at: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> bool {
        let is_there = |own: &OwnFolder| {
            let file = [path, b"/", &own.name].concat();
            sys::stat(at, sys::os(&file)).is_ok_and(|file| (file.dev, file.ino) == own.file)
        };
        // Where numbers are made up, something else may have the folder's; the file in it settles that.
        self.own.iter().any(|own| own.folder == (stat.dev, stat.ino) && is_there(own))
    }

    /// What `name` in the directory `parent`, which is open as `dir`, is to this program, if anything.
    pub(super) fn own(&self, dir: BorrowedFd<'_>, parent: &Place, name: &[u8], stat: &Stat) -> Option<&'static str> {
        if stat.kind != super::Kind::Dir {
            return self.temporary.is_some_and(|is_ours| is_ours(name)).then_some("what an unfinished restore left");
        }
        if stat.dev != parent.dev && self.mounted.contains(&stat.dev) {
            return Some("an archive that is mounted");
        }
        self.is_own_folder(dir, name, stat).then_some("a folder of this program")
    }

    /// Whether the patterns leave out `name` in the directory `parent`.
    pub(super) fn exclude_name(&self, parent: &Place, name: &[u8]) -> bool {
        let name = &*normal(name);
        self.exact.excludes(parent, name, &parent.hits, Place::matched)
            || (!self.any_case.patterns.is_empty()
                && self.any_case.excludes(parent, &lower(name), self.any_case_hits(parent), |place| &place.lower))
    }

    pub(super) fn exclude_stat(&self, stat: &Stat) -> bool {
        stat.kind == super::Kind::File && self.larger_than.is_some_and(|limit| stat.size > limit)
    }

    /// Whether a directory may be entered in a walk whose root lies on the device `root_dev`.
    pub(super) fn may_enter(&self, stat: &Stat, root_dev: u64) -> bool {
        !self.one_file_system || stat.dev == root_dev
    }

    /// If tag files say that a directory's content is to be left out: those tag files, which stay. `names` is sorted.
    pub(super) fn tags_of<'r>(&'r self, dir: BorrowedFd<'_>, names: &[Listed]) -> Vec<&'r [u8]> {
        let present =
            |tag: &&Tag| names.binary_search_by(|listed| (*listed.name).cmp(&tag.name)).is_ok() && tag.is_right(dir);
        self.tags.iter().filter(present).map(|tag| tag.name.as_slice()).collect()
    }

    /// The place of the walk's root, with its parents up to the file system's root.
    pub(super) fn place_of_root(&self, root: &Path, stat: &Stat) -> std::io::Result<Place> {
        let whole = std::path::absolute(root)?;
        let mut names = Vec::new();
        for component in whole.components() {
            match component {
                Component::Normal(name) => names.push(name.as_bytes()),
                Component::ParentDir => drop(names.pop()),
                _ => {}
            }
        }
        let mut place = Place::default();
        for name in names {
            place = self.place(Some(Arc::new(place)), name, None);
        }
        (place.dev, place.ino) = (stat.dev, stat.ino);
        Ok(place)
    }

    /// The place of the directory `name` in `parent`, below the walk's root.
    pub(super) fn place_below(&self, parent: &Arc<Place>, name: &[u8], stat: &Stat) -> Place {
        self.place(Some(Arc::clone(parent)), name, Some(stat))
    }

    fn place(&self, parent: Option<Arc<Place>>, name: &[u8], stat: Option<&Stat>) -> Place {
        let matched = normal(name);
        let lower = if self.any_case.patterns.is_empty() { Box::default() } else { lower(&matched).into() };
        let mut hits = Vec::new();
        if let Some(parent) = parent.as_deref() {
            // Above the root only what takes back counts.
            let counts = |pattern: &Pattern| stat.is_some() || pattern.negated;
            if self.exact.takes_back || self.any_case.takes_back {
                hits.extend(self.exact.hits(parent, &matched, &parent.hits, Place::matched, counts));
                hits.extend(self.any_case.hits(
                    parent,
                    &lower,
                    self.any_case_hits(parent),
                    |place| &place.lower,
                    counts,
                ));
            }
        }
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + usize::from(stat.is_some()));
        let (dev, ino) = stat.map_or((0, 0), |stat| (stat.dev, stat.ino));
        let normal = match matched {
            Cow::Owned(normal) => Some(normal.into()),
            Cow::Borrowed(_) => None,
        };
        Place { parent, name: name.into(), normal, lower, hits, dev, ino, depth }
    }

    /// Of a place's hits, those of the patterns that ignore case.
    fn any_case_hits<'p>(&self, place: &'p Place) -> &'p [bool] {
        place.hits.get(self.exact.patterns.len()..).unwrap_or_default()
    }
}

/// One step of a path that is being matched: its last name, which has no place yet, or a directory above.
#[derive(Clone, Copy)]
enum Step<'p> {
    Last,
    Above(&'p Place),
}

impl List {
    fn new(texts: &[String], files: &[PathBuf], prepare: impl Fn(&[u8]) -> Vec<u8>) -> Result<Self> {
        let mut patterns = Vec::new();
        let mut add = |text: &[u8], place: &str| {
            let invalid = |why| {
                Error::new(
                    Kind::Invalid,
                    format!("understanding the pattern '{}'{place}", String::from_utf8_lossy(text)),
                    why,
                )
            };
            patterns.push(Pattern::new(&prepare(text)).map_err(invalid)?);
            Ok(())
        };
        for text in texts {
            add(text.as_bytes(), "")?;
        }
        for file in files {
            let content = read_list(file, LONGEST).map_err(|cause| {
                Error::caused(Kind::Invalid, format!("reading patterns from {}", file.display()), cause)
            })?;
            let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
            for line in content.split(|&b| b == b'\n').map(<[u8]>::trim_ascii) {
                if !line.is_empty() && !line.starts_with(b"#") {
                    add(line, &format!(" in {}", file.display()))?;
                }
            }
        }
        let takes_back = patterns.iter().any(|pattern| pattern.negated);
        Ok(Self { patterns, takes_back })
    }

    fn excludes(&self, parent: &Place, name: &[u8], above: &[bool], named: impl Fn(&Place) -> &[u8]) -> bool {
        if !self.takes_back {
            return self.patterns.iter().any(|pattern| ends_at(pattern, parent, name, &named));
        }
        let mut excluded = false;
        for (pattern, hit) in self.patterns.iter().zip(self.hits(parent, name, above, named, |_| true)) {
            if hit {
                excluded = !pattern.negated;
            }
        }
        excluded
    }

    /// For each pattern, whether it matches `name` in `parent` or, by `above`, something above it.
    fn hits(
        &self,
        parent: &Place,
        name: &[u8],
        above: &[bool],
        named: impl Fn(&Place) -> &[u8],
        counts: impl Fn(&Pattern) -> bool,
    ) -> impl Iterator<Item = bool> {
        self.patterns.iter().enumerate().map(move |(at, pattern)| {
            above.get(at).is_some_and(|&hit| hit) || (counts(pattern) && ends_at(pattern, parent, name, &named))
        })
    }
}

/// Whether the pattern matches a run of names that ends with `name` in `parent`.
fn ends_at(pattern: &Pattern, parent: &Place, name: &[u8], named: impl Fn(&Place) -> &[u8]) -> bool {
    // The file system's root has no name and is no step of a path.
    fn step(place: &Place) -> Option<Step<'_>> {
        place.parent.is_some().then_some(Step::Above(place))
    }
    pattern.ends_at(
        Step::Last,
        |at| match at {
            Step::Last => name,
            Step::Above(place) => named(place),
        },
        |at| match at {
            Step::Last => step(parent),
            Step::Above(place) => place.parent.as_deref().and_then(step),
        },
    )
}

impl OwnFolder {
    /// The folder that this file is in. What is not there is nothing to leave out.
    fn with(file: &Path) -> Option<Self> {
        let stat = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino()));
        let folder = stat(file.parent()?).ok()?;
        Some(Self { folder, name: file.file_name()?.as_bytes().to_vec(), file: stat(file).ok()? })
    }
}

impl Tag {
    fn new(text: &str) -> Result<Self> {
        let (name, header) = text.split_once(':').unwrap_or((text, ""));
        if name.is_empty() || name.contains('/') {
            return Err(Error::new(
                Kind::Invalid,
                format!("understanding the tag file '{text}'"),
                "it needs a plain file name",
            ));
        }
        Ok(Self { name: name.into(), header: header.into() })
    }

    /// Whether the tag file in `dir` starts as it should. One that cannot be read is no tag: rather too much is kept.
    fn is_right(&self, dir: BorrowedFd<'_>) -> bool {
        if self.header.is_empty() {
            return true;
        }
        let mut start = vec![0; self.header.len()];
        sys::open(dir, sys::os(&self.name), 0, OFlags::empty())
            .and_then(|tag| File::from(tag).read_exact(&mut start))
            .is_ok_and(|()| start == self.header)
    }
}

/// Lower case of what is text; other bytes stay.
pub(super) fn lower(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut lowered = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        lowered.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        lowered.extend_from_slice(chunk.invalid());
    }
    lowered
}
