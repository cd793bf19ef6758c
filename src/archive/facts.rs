//! Facts about files in the archive: kept by whole-file hash, beside everything that a restore needs.
//!
//! An object of them that is missing or damaged costs the facts in it until they are made again, and nothing else.

use super::{Archive, Change, check_hash, put_checked};
use crate::codec::{self, Choice};
use crate::error::{Error, Kind, Result};
use crate::format::{CaptureFacts, FactsBatch, FactsHead, MAX_FACTS_LEN, names};
use crate::id::{DerivedId, FileHash, SnapshotId};
use crate::store::Leftovers;

/// Files in one object; with it an object stays below the length that readers accept.
const BATCH: usize = 50_000;
/// What an object takes at most, in bytes.
const MAX_LEN: u64 = MAX_FACTS_LEN as u64 + 64;

/// Facts of a file, and which version of what makes them found them.
pub type Found = (FileHash, u32, CaptureFacts);

impl Archive {
    /// What a file tells about its taking, as far as is known.
    pub fn facts(&self, hash: &FileHash) -> Option<CaptureFacts> {
        Some(self.index().facts(hash).ok()??.1)
    }

    /// Goes through what is known of all files, in no order that means anything.
    ///
    /// # Errors
    /// The store's error, if the index has to be filled again.
    pub fn scan_facts(&self, visit: &mut dyn FnMut(FileHash, CaptureFacts)) -> Result<()> {
        match self.index().scan_facts(visit) {
            Err(fault) if fault.kind() == Kind::Internal => {
                self.refill(&fault.to_string())?;
                self.index().scan_facts(visit)
            }
            done => done,
        }
    }

    /// Whether this version of what makes facts has looked at the file.
    pub fn has_facts(&self, hash: &FileHash, maker: u32) -> bool {
        matches!(self.index().facts(hash), Ok(Some((by, _))) if by >= maker)
    }

    /// Whether it has looked at all files of this snapshot.
    pub fn facts_are_done(&self, snapshot: &SnapshotId, maker: u32) -> bool {
        self.index().facts_are_done(snapshot, maker)
    }

    /// Stores facts that this version found.
    ///
    /// # Errors
    /// The store's error.
    pub fn put_facts(&self, maker: u32, mut files: Vec<(FileHash, CaptureFacts)>) -> Result<()> {
        files.sort_unstable_by_key(|(hash, _)| *hash);
        files.dedup_by_key(|(hash, _)| *hash);
        for files in files.chunks(BATCH) {
            let body = FactsBatch { maker, files: files.to_vec() }.encode_body();
            let packed = codec::encode(&body, &Choice::default());
            let (codec, codec_version) = (packed.codec.number(), packed.version);
            let head = FactsHead { maker, codec, codec_version, plain_len: body.len() as u32 };
            let bytes = head.encode(&packed.bytes);
            let id = DerivedId::from_bytes(*blake3::hash(&bytes).as_bytes());
            put_checked(&**self.store(), &names::derived(&id), id.as_bytes(), &bytes)?;
            let facts: Vec<Found> = files.iter().map(|(hash, facts)| (*hash, maker, facts.clone())).collect();
            self.change(&Change { facts: &facts, derived: &[id], ..Change::default() })?;
        }
        Ok(())
    }

    /// Remembers that this version has looked at all files of this snapshot and, if so, that the index knows where all that
    /// it needs lies.
    pub fn note_done(&self, snapshot: SnapshotId, maker: u32, indexed: bool) -> Result<()> {
        let known = indexed.then_some(snapshot);
        self.change(&Change { facts_done: Some((snapshot, maker)), known, ..Change::default() })
    }

    /// Facts that the index has not merged, and the objects they are in. What cannot be read is passed over.
    pub(super) fn new_facts(&self) -> Result<(Vec<Found>, Vec<DerivedId>)> {
        let known = self.index().derived();
        let (mut facts, mut objects) = (Vec::new(), Vec::new());
        for object in self.store().list(names::DERIVED, Leftovers::Leave)? {
            let Some(id) = DerivedId::from_hex(names::last(&object.name)).filter(|id| !known.contains(id)) else {
                continue;
            };
            match self.read_facts(&id) {
                Ok(batch) => {
                    facts.extend(batch.files.into_iter().map(|(hash, found)| (hash, batch.maker, found)));
                    objects.push(id);
                }
                Err(error) => self.pass_over(object.name, error)?,
            }
        }
        Ok((facts, objects))
    }

    /// Reads an object of facts and checks it against its name.
    pub fn read_facts(&self, id: &DerivedId) -> Result<FactsBatch> {
        let name = names::derived(id);
        let bytes = self.store().get(&name, MAX_LEN)?;
        check_hash(&name, id.as_bytes(), &bytes)?;
        let decode = || {
            let (head, stored) = FactsHead::decode(&bytes)?;
            let body = codec::decode(head.codec, head.codec_version, stored, head.plain_len as usize)?;
            FactsBatch::decode_body(head.maker, &body)
        };
        decode().map_err(|error: Error| error.within(format!("reading {name}")))
    }

    /// Takes a change into the index; an index that fails is filled again.
    pub(super) fn change(&self, change: &Change<'_>) -> Result<()> {
        match self.index().apply(change) {
            Err(fault) if fault.kind() == Kind::Internal => self.refill(&fault.to_string()),
            done => done,
        }
    }
}
