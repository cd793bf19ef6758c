//! Trees: a directory is one page of entries, or pages of pages when it is large.
//!
//! Names are bytes. They are checked here once and for all (not empty, not `.` or `..`, no `/`, no NUL, ascending and so
//! never twice in a page), so no other room meets a name that could lead out of a directory.

use super::cbor::{Decoder, Encoder, Fields};
use super::list::{ChunkRef, decode_refs, encode_refs};
use super::{damaged, unsupported};
use crate::error::Result;
use crate::id::{ChunkId, FileHash};

/// The longest name in bytes.
const MAX_NAME_LEN: usize = 255;
/// The longest target of a symbolic link in bytes.
const MAX_TARGET_LEN: usize = 65535;

/// A moment: seconds since 1970 (UTC) and nanoseconds below 10⁹ added to them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Whole seconds, negative before 1970.
    pub secs: i64,
    /// Nanoseconds since then.
    pub nanos: u32,
}

/// What is kept of an entry beside its content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// When its content last changed.
    pub mtime: Time,
    /// When its metadata last changed; serves to recognise unchanged files and is never restored.
    pub ctime: Time,
    /// Its number in its file system; serves to recognise moved files and hard links.
    pub inode: u64,
    /// Which of the source's devices it lies on, numbered from 0 in the order in which they were met.
    pub device: u64,
    /// How many names it had.
    pub links: u64,
    /// Extended attributes with their values, ascending by name; POSIX ACLs are among them.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// When it was made, where the source's file system tells; serves to recognise unchanged files and is never restored.
    pub born: Option<Time>,
    /// Why it was not read this time; then it and all below it are as an earlier snapshot has them.
    pub carried: Option<Carried>,
    /// A file whose bytes were found to be others while nothing else of it had changed, not even when it last changed:
    /// it may have decayed at the source.
    pub decayed: bool,
}

/// Why an entry of an earlier snapshot stands in a later one although it was not read then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Carried {
    /// It is there and could not be read.
    Unread,
    /// It is there and a rule leaves it out.
    Excluded,
}

impl Carried {
    fn number(self) -> u64 {
        match self {
            Self::Unread => 1,
            Self::Excluded => 2,
        }
    }

    fn from_number(number: u64) -> Result<Self> {
        match number {
            0 => Err(damaged("a field is written although it says nothing")),
            1 => Ok(Self::Unread),
            2 => Ok(Self::Excluded),
            other => Err(unsupported(format!("an entry was not read for reason {other}, which is not known here"))),
        }
    }
}

/// Which chunks make up a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// These, in order.
    Chunks(Vec<ChunkRef>),
    /// Those of the list whose top page this is.
    List(ChunkId),
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The BLAKE3 of all its bytes, made while it was read and independent of how it was cut.
        hash: FileHash,
        /// Its bytes.
        content: Content,
        /// It had holes.
        sparse: bool,
        /// It changed each time it was read, so its bytes may be of several moments.
        unsettled: bool,
    },
    /// A directory.
    Dir {
        /// Its tree.
        tree: ChunkId,
        /// Files and links below it, at any depth.
        files: u64,
        /// Bytes of the files below it, at any depth.
        bytes: u64,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, as written in it.
        target: Vec<u8>,
    },
}

/// One file, directory or link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name in its directory.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// What is kept of it beside its content.
    pub meta: Meta,
}

/// A page in a page of pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// The first name in it.
    pub first: Vec<u8>,
    /// The page.
    pub id: ChunkId,
}

/// A page of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tree {
    /// Entries, ascending by name.
    Entries(Vec<Entry>),
    /// Further pages, ascending by their first names.
    Pages {
        /// How far above the entries: its pages are of the level below, and 0 is a page of entries.
        level: u8,
        /// The pages.
        children: Vec<Child>,
    },
}

impl Tree {
    /// Pages above this level are refused.
    pub const MAX_LEVEL: u8 = 8;
    /// Directories do not lie deeper below the top of a snapshot, so that readers may recurse.
    pub const MAX_DEPTH: usize = 2048;
    /// Nor has the path of a directory in a snapshot more bytes, names joined by `/`.
    pub const MAX_PATH: usize = 65535;
    /// Entries or pages in a page.
    pub const MAX_ROWS: u64 = 65536;
    /// Extended attributes of the entries of a page: a page packed small must not fill the memory.
    pub const MAX_PAGE_XATTRS: usize = 262_144;

    /// The one encoding of this page.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.array(2);
        match self {
            Self::Entries(entries) => {
                out.uint(0);
                out.array(entries.len());
                for entry in entries {
                    out.map(|fields| entry.encode(fields));
                }
            }
            Self::Pages { level, children } => {
                out.uint(u64::from(*level));
                out.array(children.len());
                for child in children {
                    out.array(2);
                    out.bytes(&child.first);
                    out.bytes(child.id.as_bytes());
                }
            }
        }
        out.into_bytes()
    }

    /// Reads a page.
    ///
    /// # Errors
    /// Damaged if it is not exactly as [`Tree::encode`] writes it or a name is not allowed; unsupported if an entry is
    /// of a kind or has a field that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != 2 {
            return Err(damaged("it is not a page of a directory"));
        }
        let level = decoder.uint()?;
        let count = decoder.array()?;
        if count > Self::MAX_ROWS {
            return Err(damaged("it has more rows than a page may have"));
        }
        let tree = if level == 0 {
            let mut entries: Vec<Entry> = Vec::new();
            let mut xattrs = 0;
            for _ in 0..count {
                let entry = Entry::decode(&mut decoder, Self::MAX_PAGE_XATTRS - xattrs)?;
                xattrs += entry.meta.xattrs.len();
                ascending(entries.last().map(|last| &last.name), &entry.name)?;
                entries.push(entry);
            }
            Self::Entries(entries)
        } else {
            let level = u8::try_from(level).ok().filter(|level| *level <= Self::MAX_LEVEL);
            let level = level.ok_or_else(|| damaged("its pages are nested too deeply"))?;
            if count == 0 {
                return Err(damaged("it is a page of no pages"));
            }
            let mut children: Vec<Child> = Vec::new();
            for _ in 0..count {
                if decoder.array()? != 2 {
                    return Err(damaged("it is not a page of a directory"));
                }
                let first = name(decoder.bytes()?)?;
                let id = ChunkId::from_bytes(decoder.bytes32()?);
                ascending(children.last().map(|last| &last.first), &first)?;
                children.push(Child { first, id });
            }
            Self::Pages { level, children }
        };
        decoder.end()?;
        Ok(tree)
    }
}

pub(super) fn name(bytes: &[u8]) -> Result<Vec<u8>> {
    let forbidden = bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.len() > MAX_NAME_LEN;
    if forbidden || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(damaged(format!("the name {:?} is not allowed", String::from_utf8_lossy(bytes))));
    }
    Ok(bytes.to_vec())
}

fn ascending(last: Option<&Vec<u8>>, next: &Vec<u8>) -> Result<()> {
    if last >= Some(next) { Err(damaged("its names are not in ascending order")) } else { Ok(()) }
}

/// The keys of an entry's fields.
mod key {
    pub const NAME: u64 = 1;
    pub const KIND: u64 = 2;
    pub const MODE: u64 = 3;
    pub const UID: u64 = 4;
    pub const GID: u64 = 5;
    pub const MTIME: u64 = 6;
    pub const MTIME_NANOS: u64 = 7;
    pub const CTIME: u64 = 8;
    pub const CTIME_NANOS: u64 = 9;
    pub const INODE: u64 = 10;
    pub const DEVICE: u64 = 11;
    pub const LINKS: u64 = 12;
    pub const XATTRS: u64 = 13;
    pub const SIZE: u64 = 14;
    pub const HASH: u64 = 15;
    pub const CHUNKS: u64 = 16;
    pub const LIST: u64 = 17;
    pub const SPARSE: u64 = 18;
    pub const UNSETTLED: u64 = 19;
    pub const TREE: u64 = 20;
    pub const FILES: u64 = 21;
    pub const BYTES: u64 = 22;
    pub const TARGET: u64 = 23;
    pub const BORN: u64 = 24;
    pub const BORN_NANOS: u64 = 25;
    pub const CARRIED: u64 = 26;
    pub const DECAYED: u64 = 27;
}

const FILE: u64 = 0;
const DIR: u64 = 1;
const SYMLINK: u64 = 2;

impl Entry {
    /// What a file is by its bytes; nothing for what is empty or no file, since that is like many others.
    pub fn content(&self) -> Option<FileHash> {
        match &self.kind {
            EntryKind::File { size: 1.., hash, .. } => Some(*hash),
            _ => None,
        }
    }

    /// This entry as one of a directory that was carried forward for this reason, if it was: then so was the entry.
    pub fn below(mut self, dir: Option<Carried>) -> Self {
        self.meta.carried = dir.or(self.meta.carried);
        self
    }

    fn encode(&self, fields: &mut Fields) {
        fields.key(key::NAME).bytes(&self.name);
        fields.key(key::KIND).uint(match self.kind {
            EntryKind::File { .. } => FILE,
            EntryKind::Dir { .. } => DIR,
            EntryKind::Symlink { .. } => SYMLINK,
        });
        self.meta.encode(fields);
        match &self.kind {
            EntryKind::File { size, hash, content, sparse, unsettled } => {
                fields.key(key::SIZE).uint(*size);
                fields.key(key::HASH).bytes(hash.as_bytes());
                match content {
                    Content::Chunks(chunks) if chunks.is_empty() => {}
                    Content::Chunks(chunks) => fields.key(key::CHUNKS).bytes(&encode_refs(chunks)),
                    Content::List(id) => fields.key(key::LIST).bytes(id.as_bytes()),
                }
                if *sparse {
                    fields.key(key::SPARSE).yes();
                }
                if *unsettled {
                    fields.key(key::UNSETTLED).yes();
                }
            }
            EntryKind::Dir { tree, files, bytes } => {
                fields.key(key::TREE).bytes(tree.as_bytes());
                fields.key(key::FILES).uint(*files);
                fields.key(key::BYTES).uint(*bytes);
            }
            EntryKind::Symlink { target } => fields.key(key::TARGET).bytes(target),
        }
        self.meta.encode_end(fields);
    }

    /// An entry with so many extended attributes at most.
    fn decode(decoder: &mut Decoder<'_>, xattrs: usize) -> Result<Self> {
        let mut raw = Raw { most_xattrs: xattrs, ..Raw::default() };
        decoder.map(|key, value| raw.field(key, value))?;
        raw.entry()
    }
}

impl Meta {
    fn encode(&self, fields: &mut Fields) {
        fields.key(key::MODE).uint(u64::from(self.mode));
        let plain = |fields: &mut Fields, key, value| {
            if value != 0 {
                fields.key(key).uint(value);
            }
        };
        plain(fields, key::UID, u64::from(self.uid));
        plain(fields, key::GID, u64::from(self.gid));
        fields.key(key::MTIME).int(self.mtime.secs);
        plain(fields, key::MTIME_NANOS, u64::from(self.mtime.nanos));
        fields.key(key::CTIME).int(self.ctime.secs);
        plain(fields, key::CTIME_NANOS, u64::from(self.ctime.nanos));
        plain(fields, key::INODE, self.inode);
        plain(fields, key::DEVICE, self.device);
        plain(fields, key::LINKS, if self.links == 1 { 0 } else { self.links });
        if !self.xattrs.is_empty() {
            let out = fields.key(key::XATTRS);
            out.array(2 * self.xattrs.len());
            for (name, value) in &self.xattrs {
                out.bytes(name);
                out.bytes(value);
            }
        }
    }

    /// The fields whose keys come after those of the content.
    fn encode_end(&self, fields: &mut Fields) {
        if let Some(born) = self.born {
            fields.key(key::BORN).int(born.secs);
            if born.nanos != 0 {
                fields.key(key::BORN_NANOS).uint(u64::from(born.nanos));
            }
        }
        if let Some(carried) = self.carried {
            fields.key(key::CARRIED).uint(carried.number());
        }
        if self.decayed {
            fields.key(key::DECAYED).yes();
        }
    }
}

/// An entry's fields while they are read, before it is known which of them belong together.
#[derive(Default)]
struct Raw {
    name: Option<Vec<u8>>,
    kind: Option<u64>,
    mode: Option<u32>,
    mtime: Option<i64>,
    ctime: Option<i64>,
    meta: Meta,
    size: Option<u64>,
    hash: Option<FileHash>,
    content: Option<Content>,
    sparse: bool,
    unsettled: bool,
    tree: Option<ChunkId>,
    files: Option<u64>,
    bytes: Option<u64>,
    target: Option<Vec<u8>>,
    /// How many extended attributes it may have.
    most_xattrs: usize,
}

impl Raw {
    fn field(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<()> {
        match key {
            key::NAME => self.name = Some(name(value.bytes()?)?),
            key::KIND => self.kind = Some(value.uint()?),
            key::MODE => {
                self.mode = Some(value.u32()?).filter(|mode| *mode <= 0o7777);
                self.mode.ok_or_else(|| damaged("its permissions are out of bounds"))?;
            }
            key::UID => self.meta.uid = owner(value)?,
            key::GID => self.meta.gid = owner(value)?,
            key::MTIME => self.mtime = Some(value.int()?),
            key::MTIME_NANOS => self.meta.mtime.nanos = nanos(value)?,
            key::CTIME => self.ctime = Some(value.int()?),
            key::CTIME_NANOS => self.meta.ctime.nanos = nanos(value)?,
            key::INODE => self.meta.inode = nonzero(value.uint()?)?,
            key::DEVICE => self.meta.device = nonzero(value.uint()?)?,
            key::LINKS => {
                self.meta.links = nonzero(value.uint()?)?;
                if self.meta.links == 1 {
                    return Err(damaged("a field is written although it says nothing"));
                }
            }
            key::XATTRS => self.meta.xattrs = xattrs(value, self.most_xattrs)?,
            key::SIZE => self.size = Some(value.uint()?),
            key::HASH => self.hash = Some(FileHash::from_bytes(value.bytes32()?)),
            key::CHUNKS => {
                let chunks = decode_refs(value.bytes()?)?;
                if chunks.is_empty() {
                    return Err(damaged("a field is written although it says nothing"));
                }
                self.content = Some(Content::Chunks(chunks));
            }
            key::LIST => {
                if self.content.is_some() {
                    return Err(damaged("a file has two lists of chunks"));
                }
                self.content = Some(Content::List(ChunkId::from_bytes(value.bytes32()?)));
            }
            key::SPARSE => self.sparse = value.yes()?,
            key::UNSETTLED => self.unsettled = value.yes()?,
            key::TREE => self.tree = Some(ChunkId::from_bytes(value.bytes32()?)),
            key::FILES => self.files = Some(value.uint()?),
            key::BYTES => self.bytes = Some(value.uint()?),
            key::TARGET => self.target = Some(target(value.bytes()?)?),
            key::BORN => self.meta.born = Some(Time { secs: value.int()?, nanos: 0 }),
            key::BORN_NANOS => {
                let born = self.meta.born.as_mut().ok_or_else(|| damaged("nanoseconds of no time"))?;
                born.nanos = nanos(value)?;
            }
            key::CARRIED => self.meta.carried = Some(Carried::from_number(value.uint()?)?),
            key::DECAYED => self.meta.decayed = value.yes()?,
            _ => return Err(unsupported(format!("an entry has a field {key} that is not known here"))),
        }
        Ok(())
    }

    fn entry(mut self) -> Result<Entry> {
        let lacks = || damaged("an entry lacks a field");
        let kind = self.kind.ok_or_else(lacks)?;
        if self.meta.links == 0 {
            self.meta.links = 1;
        }
        self.meta.mode = self.mode.ok_or_else(lacks)?;
        self.meta.mtime.secs = self.mtime.ok_or_else(lacks)?;
        self.meta.ctime.secs = self.ctime.ok_or_else(lacks)?;
        let marked = self.sparse || self.unsettled || self.meta.decayed;
        let file = self.size.is_some() || self.hash.is_some() || self.content.is_some() || marked;
        let dir = self.tree.is_some() || self.files.is_some() || self.bytes.is_some();
        let mixed = (file && kind != FILE) || (dir && kind != DIR) || (self.target.is_some() && kind != SYMLINK);
        if mixed {
            return Err(damaged("an entry has fields that do not belong together"));
        }
        let kind = match kind {
            FILE => {
                let size = self.size.ok_or_else(lacks)?;
                let content = self.content.unwrap_or(Content::Chunks(Vec::new()));
                if let Content::Chunks(chunks) = &content
                    && chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>() != size
                {
                    return Err(damaged("a file's chunks do not add up to its length"));
                }
                if size == 0 && matches!(content, Content::List(_)) {
                    return Err(damaged("an empty file has a list of chunks"));
                }
                let hash = self.hash.ok_or_else(lacks)?;
                EntryKind::File { size, hash, content, sparse: self.sparse, unsettled: self.unsettled }
            }
            DIR => EntryKind::Dir {
                tree: self.tree.ok_or_else(lacks)?,
                files: self.files.ok_or_else(lacks)?,
                bytes: self.bytes.ok_or_else(lacks)?,
            },
            SYMLINK => EntryKind::Symlink { target: self.target.ok_or_else(lacks)? },
            other => return Err(unsupported(format!("an entry is of kind {other}, which is not known here"))),
        };
        Ok(Entry { name: self.name.ok_or_else(lacks)?, kind, meta: self.meta })
    }
}

fn nonzero(value: u64) -> Result<u64> {
    if value == 0 { Err(damaged("a field is written although it says nothing")) } else { Ok(value) }
}

/// All ones is nobody's number: systems take it for "leave it as it is".
fn owner(value: &mut Decoder<'_>) -> Result<u32> {
    match nonzero(value.u32()?.into())? as u32 {
        u32::MAX => Err(damaged("the number of an owner is out of bounds")),
        number => Ok(number),
    }
}

fn target(bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.is_empty() || bytes.len() > MAX_TARGET_LEN || bytes.contains(&0) {
        return Err(damaged("what a symbolic link points to is not allowed"));
    }
    Ok(bytes.to_vec())
}

fn nanos(value: &mut Decoder<'_>) -> Result<u32> {
    match nonzero(value.uint()?)? {
        nanos @ ..1_000_000_000 => Ok(nanos as u32),
        _ => Err(damaged("a time has too many nanoseconds")),
    }
}

fn xattrs(value: &mut Decoder<'_>, most: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let items = value.array()?;
    if items / 2 > most as u64 {
        return Err(damaged("it has more extended attributes than a page may have"));
    }
    if items == 0 || items % 2 != 0 {
        return Err(damaged("extended attributes come in pairs"));
    }
    let mut xattrs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for _ in 0..items / 2 {
        let name = value.bytes()?.to_vec();
        if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains(&0) {
            return Err(damaged("the name of an extended attribute is not allowed"));
        }
        ascending(xattrs.last().map(|last| &last.0), &name)?;
        xattrs.push((name, value.bytes()?.to_vec()));
    }
    Ok(xattrs)
}
