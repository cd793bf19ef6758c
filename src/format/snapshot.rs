//! The snapshot object: who recorded what, when, and the tree that holds it. Writing it is the one commit.

use super::bytes::{ObjectKind, Reader, envelope};
use super::cbor::{Decoder, Encoder, Fields};
use super::tree::{Time, name};
use super::{damaged, unsupported};
use crate::error::Result;
use crate::id::{ChunkId, SnapshotId};

/// A folder or file that was backed up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its name in the snapshot: its own last name, made unique.
    pub name: Vec<u8>,
    /// Its full path on the machine it was on.
    pub path: Vec<u8>,
    /// The devices it lay on, in the order in which the walk met them.
    pub devices: Vec<Device>,
}

/// A device as the operating system numbered it when the snapshot was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device(pub u64);

/// A source entry that could not be read and is not in the snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// Its full path.
    pub path: Vec<u8>,
    /// Why, in words.
    pub why: String,
}

/// What a run found and did, in counts and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Files in the snapshot.
    pub files: u64,
    /// Directories in it.
    pub dirs: u64,
    /// Symbolic links in it.
    pub symlinks: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files that the previous snapshot did not have, under any name.
    pub new: u64,
    /// Files that differ from the previous snapshot's.
    pub changed: u64,
    /// Files that the previous snapshot had under another name.
    pub moved: u64,
    /// Files that the previous snapshot had and this one has not, under any name.
    pub gone: u64,
    /// Plain bytes of the chunks that this run added.
    pub added: u64,
    /// Bytes by which the archive's packs and their recovery data grew.
    pub stored: u64,
    /// Source entries that could not be read.
    pub unread: u64,
    /// How long the run took, in milliseconds.
    pub millis: u64,
}

/// One recorded state of the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its place in the order of snapshots: one more than the highest that its writer saw. Clocks go wrong, so this and
    /// not the time says which is newer.
    pub sequence: u64,
    /// When the run began.
    pub time: Time,
    /// Minutes by which local time was ahead of UTC, −1559 to 1559.
    pub offset_minutes: i16,
    /// The machine's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// What was backed up.
    pub sources: Vec<Source>,
    /// The tree with an entry for each source.
    pub tree: ChunkId,
    /// The snapshot that this one was compared with.
    pub parent: Option<SnapshotId>,
    /// Words to find it by, ascending.
    pub tags: Vec<String>,
    /// What the user wanted to remember about it.
    pub note: Option<String>,
    /// The patterns that were excluded, as given.
    pub excludes: Vec<String>,
    /// Name and version of the program.
    pub program: String,
    /// What the run found and did.
    pub summary: Summary,
    /// The first of the entries that could not be read; the summary counts all.
    pub unread: Vec<Unread>,
    /// It is kept for ever: whatever forgets snapshots passes it over.
    pub pinned: bool,
}

/// The keys of a snapshot's fields.
mod key {
    pub const SEQUENCE: u64 = 1;
    pub const TIME: u64 = 2;
    pub const TIME_NANOS: u64 = 3;
    pub const OFFSET: u64 = 4;
    pub const HOST: u64 = 5;
    pub const USER: u64 = 6;
    pub const SOURCES: u64 = 7;
    pub const TREE: u64 = 8;
    pub const PARENT: u64 = 9;
    pub const TAGS: u64 = 10;
    pub const NOTE: u64 = 11;
    pub const EXCLUDES: u64 = 12;
    pub const PROGRAM: u64 = 13;
    pub const SUMMARY: u64 = 14;
    pub const UNREAD: u64 = 15;
    pub const PINNED: u64 = 16;
}

impl Snapshot {
    /// At most this many unread entries are named; the summary counts all of them.
    pub const MAX_UNREAD: usize = 1000;

    /// A snapshot of this tree of which nothing else is known yet.
    pub fn of(tree: ChunkId) -> Self {
        Self {
            sequence: 0,
            time: Time::default(),
            offset_minutes: 0,
            host: String::new(),
            user: String::new(),
            sources: Vec::new(),
            tree,
            parent: None,
            tags: Vec::new(),
            note: None,
            excludes: Vec::new(),
            program: String::new(),
            summary: Summary::default(),
            unread: Vec::new(),
            pinned: false,
        }
    }

    /// The one encoding of this snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::after(envelope(ObjectKind::Snapshot).to_vec());
        out.map(|fields| self.fields(fields));
        out.into_bytes()
    }

    fn fields(&self, fields: &mut Fields) {
        fields.key(key::SEQUENCE).uint(self.sequence);
        fields.key(key::TIME).int(self.time.secs);
        fields.key(key::TIME_NANOS).uint(u64::from(self.time.nanos));
        fields.key(key::OFFSET).int(i64::from(self.offset_minutes));
        fields.key(key::HOST).text(&self.host);
        fields.key(key::USER).text(&self.user);
        let out = fields.key(key::SOURCES);
        out.array(self.sources.len());
        for source in &self.sources {
            out.array(3);
            out.bytes(&source.name);
            out.bytes(&source.path);
            out.array(source.devices.len());
            for Device(number) in &source.devices {
                out.uint(*number);
            }
        }
        fields.key(key::TREE).bytes(self.tree.as_bytes());
        if let Some(parent) = &self.parent {
            fields.key(key::PARENT).bytes(parent.as_bytes());
        }
        texts(fields, key::TAGS, &self.tags);
        if let Some(note) = &self.note {
            fields.key(key::NOTE).text(note);
        }
        texts(fields, key::EXCLUDES, &self.excludes);
        fields.key(key::PROGRAM).text(&self.program);
        let out = fields.key(key::SUMMARY);
        let numbers = self.summary.numbers();
        out.array(numbers.len());
        for number in numbers {
            out.uint(number);
        }
        if !self.unread.is_empty() {
            let out = fields.key(key::UNREAD);
            out.array(2 * self.unread.len());
            for unread in &self.unread {
                out.bytes(&unread.path);
                out.text(&unread.why);
            }
        }
        if self.pinned {
            fields.key(key::PINNED).yes();
        }
    }

    /// Reads a snapshot object.
    ///
    /// # Errors
    /// Damaged if it is not exactly as [`Snapshot::encode`] writes it; unsupported if it has a field that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let reader = Reader::object(bytes, ObjectKind::Snapshot)?;
        let mut decoder = Decoder::new(&bytes[bytes.len() - reader.len()..]);
        let mut snapshot = Self::of(ChunkId::from_bytes([0; 32]));
        let mut seen = 0_u32;
        decoder.map(|key, value| {
            seen |= 1_u32.checked_shl(key as u32).unwrap_or(0);
            snapshot.field(key, value)
        })?;
        decoder.end()?;
        let needed = [1, 2, 3, 4, 5, 6, 7, 8, 13, 14].iter().fold(0, |bits, key| bits | 1 << key);
        if seen & needed != needed {
            return Err(damaged("it lacks a field"));
        }
        Ok(snapshot)
    }

    fn field(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<()> {
        match key {
            key::SEQUENCE => self.sequence = value.uint()?,
            key::TIME => self.time.secs = value.int()?,
            key::TIME_NANOS => {
                self.time.nanos = value.u32()?;
                if self.time.nanos >= 1_000_000_000 {
                    return Err(damaged("a time has too many nanoseconds"));
                }
            }
            key::OFFSET => {
                let offset = i16::try_from(value.int()?).ok().filter(|minutes| minutes.abs() < 26 * 60);
                self.offset_minutes = offset.ok_or_else(|| damaged("its time zone is out of bounds"))?;
            }
            key::HOST => self.host = value.text()?.to_owned(),
            key::USER => self.user = value.text()?.to_owned(),
            key::SOURCES => {
                for _ in 0..value.array()? {
                    self.sources.push(source(value)?);
                }
                let mut names: Vec<&[u8]> = self.sources.iter().map(|source| source.name.as_slice()).collect();
                names.sort_unstable();
                if names.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(damaged("two sources have one name"));
                }
            }
            key::TREE => self.tree = ChunkId::from_bytes(value.bytes32()?),
            key::PARENT => self.parent = Some(SnapshotId::from_bytes(value.bytes32()?)),
            key::TAGS => self.tags = read_texts(value)?,
            key::NOTE => self.note = Some(value.text()?.to_owned()),
            key::EXCLUDES => self.excludes = read_texts(value)?,
            key::PROGRAM => self.program = value.text()?.to_owned(),
            key::SUMMARY => {
                let mut numbers = Summary::default().numbers();
                if value.array()? != numbers.len() as u64 {
                    return Err(unsupported("its summary has numbers that are not known here"));
                }
                for number in &mut numbers {
                    *number = value.uint()?;
                }
                self.summary = Summary::of(numbers);
            }
            key::UNREAD => {
                let items = value.array()?;
                if items == 0 || items % 2 != 0 {
                    return Err(damaged("unread entries come in pairs"));
                }
                for _ in 0..items / 2 {
                    self.unread.push(Unread { path: value.bytes()?.to_vec(), why: value.text()?.to_owned() });
                }
            }
            key::PINNED => self.pinned = value.yes()?,
            _ => return Err(unsupported(format!("it has a field {key} that is not known here"))),
        }
        Ok(())
    }
}

fn source(value: &mut Decoder<'_>) -> Result<Source> {
    if value.array()? != 3 {
        return Err(damaged("a source has three parts"));
    }
    let (name, path) = (name(value.bytes()?)?, value.bytes()?.to_vec());
    let mut devices = Vec::new();
    for _ in 0..value.array()? {
        devices.push(Device(value.uint()?));
    }
    if devices.is_empty() {
        return Err(damaged("a source lies on no device"));
    }
    Ok(Source { name, path, devices })
}

fn texts(fields: &mut Fields, key: u64, texts: &[String]) {
    if !texts.is_empty() {
        let out = fields.key(key);
        out.array(texts.len());
        texts.iter().for_each(|text| out.text(text));
    }
}

fn read_texts(value: &mut Decoder<'_>) -> Result<Vec<String>> {
    let count = value.array()?;
    if count == 0 {
        return Err(damaged("a field is written although it says nothing"));
    }
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(value.text()?.to_owned());
    }
    Ok(texts)
}

impl Summary {
    /// In the order in which they are stored.
    fn numbers(&self) -> [u64; 12] {
        [
            self.files,
            self.dirs,
            self.symlinks,
            self.bytes,
            self.new,
            self.changed,
            self.moved,
            self.gone,
            self.added,
            self.stored,
            self.unread,
            self.millis,
        ]
    }

    fn of(numbers: [u64; 12]) -> Self {
        let [files, dirs, symlinks, bytes, new, changed, moved, gone, added, stored, unread, millis] = numbers;
        Self { files, dirs, symlinks, bytes, new, changed, moved, gone, added, stored, unread, millis }
    }
}
