//! The mark: a small object that says something about snapshots or sources afterwards. Nothing is ever changed by it; of
//! two that speak of the same, the newer counts.

use super::bytes::{ObjectKind, Reader, envelope};
use super::cbor::{Decoder, Encoder, Fields};
use super::tree::Time;
use super::{damaged, unsupported};
use crate::error::Result;

/// What somebody said afterwards, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Its place in the order of snapshots and marks: one more than the highest of both that its writer saw. It speaks of
    /// snapshots with lower ones.
    pub sequence: u64,
    /// When it was said.
    pub time: Time,
    /// Minutes by which local time was ahead of UTC, −1559 to 1559.
    pub offset_minutes: i16,
    /// The name of the machine on which it was said.
    pub host: String,
    /// The user who said it.
    pub user: String,
    /// Name and version of the program.
    pub program: String,
    /// What was said.
    pub says: Says,
}

/// What a mark says. A source is meant by its machine and its full path there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Says {
    /// What was recorded of a source is the past of another path.
    SourceRenamed {
        /// The machine.
        host: String,
        /// Where it was.
        path: Vec<u8>,
        /// Where it is since.
        new: Vec<u8>,
    },
    /// Nobody backs this source up any more: what is in it is neither present nor deleted.
    SourceRetired {
        /// The machine.
        host: String,
        /// Where it was.
        path: Vec<u8>,
    },
    /// It counts again.
    SourceBack {
        /// The machine.
        host: String,
        /// Where it is.
        path: Vec<u8>,
    },
}

/// The keys of a mark's fields. Those below 20 are the snapshot's.
mod key {
    pub const SEQUENCE: u64 = 1;
    pub const TIME: u64 = 2;
    pub const TIME_NANOS: u64 = 3;
    pub const OFFSET: u64 = 4;
    pub const HOST: u64 = 5;
    pub const USER: u64 = 6;
    pub const PROGRAM: u64 = 13;
    pub const SAYS: u64 = 20;
    pub const SOURCE_HOST: u64 = 21;
    pub const SOURCE_PATH: u64 = 22;
    pub const NEW_PATH: u64 = 23;
}

const RENAMED: u64 = 1;
const RETIRED: u64 = 2;
const BACK: u64 = 3;

/// What has been read of a mark so far.
#[derive(Default)]
struct Parts {
    says: u64,
    source_host: Option<String>,
    source_path: Option<Vec<u8>>,
    new_path: Option<Vec<u8>>,
}

impl Mark {
    /// The one encoding of this mark.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::after(envelope(ObjectKind::Mark).to_vec());
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
        fields.key(key::PROGRAM).text(&self.program);
        let (number, host, path, new) = match &self.says {
            Says::SourceRenamed { host, path, new } => (RENAMED, host, path, Some(new)),
            Says::SourceRetired { host, path } => (RETIRED, host, path, None),
            Says::SourceBack { host, path } => (BACK, host, path, None),
        };
        fields.key(key::SAYS).uint(number);
        fields.key(key::SOURCE_HOST).text(host);
        fields.key(key::SOURCE_PATH).bytes(path);
        if let Some(new) = new {
            fields.key(key::NEW_PATH).bytes(new);
        }
    }

    /// Reads a mark object.
    ///
    /// # Errors
    /// Damaged if it is not exactly as [`Mark::encode`] writes it; unsupported if it says something, or has a field, that
    /// is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let reader = Reader::object(bytes, ObjectKind::Mark)?;
        let mut decoder = Decoder::new(&bytes[bytes.len() - reader.len()..]);
        let says = Says::SourceBack { host: String::new(), path: Vec::new() };
        let mut mark = Self {
            sequence: 0,
            time: Time::default(),
            offset_minutes: 0,
            host: String::new(),
            user: String::new(),
            program: String::new(),
            says,
        };
        let (mut parts, mut seen) = (Parts::default(), 0_u32);
        decoder.map(|key, value| {
            seen |= 1_u32.checked_shl(key as u32).unwrap_or(0);
            mark.field(&mut parts, key, value)
        })?;
        decoder.end()?;
        let needed = [1, 2, 3, 4, 5, 6, 13, 20].iter().fold(0, |bits, key| bits | 1 << key);
        if seen & needed != needed {
            return Err(damaged("it lacks a field"));
        }
        mark.says = parts.says()?;
        Ok(mark)
    }

    fn field(&mut self, parts: &mut Parts, key: u64, value: &mut Decoder<'_>) -> Result<()> {
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
            key::PROGRAM => self.program = value.text()?.to_owned(),
            key::SAYS => {
                parts.says = value.uint()?;
                if !(RENAMED..=BACK).contains(&parts.says) {
                    return Err(unsupported(format!("it says {}, which is not known here", parts.says)));
                }
            }
            key::SOURCE_HOST => parts.source_host = Some(value.text()?.to_owned()),
            key::SOURCE_PATH => parts.source_path = Some(path(value)?),
            key::NEW_PATH => parts.new_path = Some(path(value)?),
            _ => return Err(unsupported(format!("it has a field {key} that is not known here"))),
        }
        Ok(())
    }
}

impl Parts {
    fn says(self) -> Result<Says> {
        let lacks = || damaged("it lacks a field");
        let (host, path) = (self.source_host.ok_or_else(lacks)?, self.source_path.ok_or_else(lacks)?);
        match (self.says, self.new_path) {
            (RENAMED, Some(new)) if new == path => Err(damaged("a source is renamed to itself")),
            (RENAMED, Some(new)) => Ok(Says::SourceRenamed { host, path, new }),
            (RENAMED, None) => Err(lacks()),
            (_, Some(_)) => Err(damaged("it has a field of something else")),
            (RETIRED, None) => Ok(Says::SourceRetired { host, path }),
            (_, None) => Ok(Says::SourceBack { host, path }),
        }
    }
}

fn path(value: &mut Decoder<'_>) -> Result<Vec<u8>> {
    match value.bytes()? {
        [] => Err(damaged("a path is empty")),
        path => Ok(path.to_vec()),
    }
}
