//! What the index keeps of packs and chunks, as rows of fixed length.

use std::collections::{BTreeMap, HashMap, HashSet};

use redb::ReadableTable;

use super::Change;
use crate::codec::Codec;
use crate::format::{FrameHeader, Hint, PackContent, Row, SegmentPack};
use crate::id::{ChunkId, ChunkKind, ID_LEN, PackId};

pub(super) const CHUNK_KEY: usize = ID_LEN + 4;
pub(super) const CHUNK_VALUE: usize = 16;
pub(super) const PACK_VALUE: usize = ID_LEN + 2 + 8 * 8;

/// Where a chunk lies, as far as the index knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// The length that the pack must have, in bytes.
    pub pack_len: u64,
    /// The frame in it.
    pub row: Row,
}

/// A pack that the index knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackInfo {
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub len: u64,
    /// What it holds.
    pub content: PackContent,
    /// What its chunks add up to.
    pub sizes: Sizes,
    /// No segment tells of it yet, so it may not even be durable.
    pub loose: bool,
    /// This program has written it here. What is said of others was read from the drive and may be anything.
    pub sure: bool,
}

/// A pack's row says that it is loose, and that it is sure.
const LOOSE: u8 = 1;
const SURE: u8 = 2;

/// What chunks add up to, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Original bytes of all chunks.
    pub plain: u64,
    /// Stored bytes of all chunks.
    pub stored: u64,
    /// Original bytes of recompressed images.
    pub images_plain: u64,
    /// Stored bytes of recompressed images.
    pub images_stored: u64,
    /// Original bytes of images that recompression has not been tried on.
    pub images_left: u64,
    /// How many images are recompressed.
    pub images: u64,
    /// How many images recompression has not been tried on.
    pub count_left: u64,
}

impl Sizes {
    fn of(rows: &[Row]) -> Self {
        let mut sizes = Self::default();
        for FrameHeader { codec, hint, stored_len, plain_len, .. } in rows.iter().map(|row| row.frame) {
            let (plain, stored) = (u64::from(plain_len), u64::from(stored_len));
            sizes.plain += plain;
            sizes.stored += stored;
            if codec == Codec::Jpeg.number() {
                sizes.images_plain += plain;
                sizes.images_stored += stored;
                sizes.images += 1;
            } else if hint == Hint::Image {
                sizes.images_left += plain;
                sizes.count_left += 1;
            }
        }
        sizes
    }

    /// In the order in which they are kept in a row.
    fn numbers(&self) -> [u64; 7] {
        let Self { plain, stored, images_plain, images_stored, images_left, images, count_left } = *self;
        [plain, stored, images_plain, images_stored, images_left, images, count_left]
    }
}

impl std::ops::AddAssign for Sizes {
    fn add_assign(&mut self, more: Self) {
        self.plain += more.plain;
        self.stored += more.stored;
        self.images_plain += more.images_plain;
        self.images_stored += more.images_stored;
        self.images_left += more.images_left;
        self.images += more.images;
        self.count_left += more.count_left;
    }
}

/// The packs that are known, by their number in the index and by their id.
pub(super) struct Packs {
    pub(super) packs: BTreeMap<u32, PackInfo>,
    pub(super) numbers: HashMap<PackId, u32>,
}

impl Packs {
    pub(super) fn read(
        table: &impl ReadableTable<u32, &'static [u8; PACK_VALUE]>,
    ) -> std::result::Result<Self, redb::StorageError> {
        let mut found = Self { packs: BTreeMap::new(), numbers: HashMap::new() };
        for item in table.iter()? {
            let (number, value) = item?;
            let pack = pack_of(value.value())
                .ok_or_else(|| redb::StorageError::Corrupted("a pack's row makes no sense".to_owned()))?;
            found.numbers.insert(pack.id, number.value());
            found.packs.insert(number.value(), pack);
        }
        Ok(found)
    }

    /// These packs, with nothing left to recompress.
    pub(super) fn settle(&self, packs: &[PackId]) -> Vec<(u32, PackInfo)> {
        let known = packs.iter().filter_map(|id| self.numbers.get(id));
        let settled = known.filter_map(|number| Some((*number, *self.packs.get(number)?)));
        settled
            .map(|(number, pack)| {
                (number, PackInfo { sizes: Sizes { images_left: 0, count_left: 0, ..pack.sizes }, ..pack })
            })
            .collect()
    }

    pub(super) fn next(&self) -> u32 {
        self.packs.last_key_value().map_or(0, |(number, _)| number + 1)
    }
}

pub(super) type Rows = Vec<([u8; CHUNK_KEY], [u8; CHUNK_VALUE])>;

/// What a change adds.
#[derive(Default)]
pub(super) struct NewRows {
    /// The packs that are not known yet with their numbers, those that are loose no longer, and those that are sure now.
    pub(super) packs: Vec<(u32, PackInfo)>,
    /// Their chunks in the order in which inserting is fast.
    pub(super) rows: Rows,
    /// Packs of which something was said before that may be anything.
    pub(super) anew: HashSet<u32>,
}

pub(super) fn new_rows(change: &Change<'_>, known: &Packs) -> NewRows {
    let told = !change.segments.is_empty();
    let (mut seen, own): (HashSet<PackId>, HashSet<&PackId>) = (HashSet::new(), change.sure.iter().collect());
    let (mut infos, mut rows, mut anew) = (Vec::new(), Rows::new(), HashSet::new());
    let mut next = known.next();
    for pack in change.packs.iter().filter(|pack| seen.insert(pack.id)) {
        let sure = own.contains(&pack.id);
        let number = match known.numbers.get(&pack.id) {
            Some(number) => match known.packs.get(number) {
                Some(info) if sure && !info.sure => {
                    anew.insert(*number);
                    *number
                }
                Some(info) if told && info.loose => *number,
                _ => continue,
            },
            None => {
                next += 1;
                next - 1
            }
        };
        let sizes = Sizes::of(&pack.rows);
        let (id, len, content, loose) = (pack.id, pack.len(), pack.content, !told);
        infos.push((number, PackInfo { id, len, content, sizes, loose, sure }));
        rows.extend(pack.rows.iter().map(|row| (chunk_key(&row.frame.id, number), chunk_value(row))));
    }
    rows.sort_unstable();
    NewRows { packs: infos, rows, anew }
}

/// The number of the pack that a chunk's row is about.
pub(super) fn number_of(key: &[u8; CHUNK_KEY]) -> Option<u32> {
    key[ID_LEN..].try_into().ok().map(u32::from_le_bytes)
}

/// The numbers of these packs, and the keys of their chunks.
pub(super) fn gone_rows(packs: &[SegmentPack], known: &HashMap<PackId, u32>) -> Vec<(u32, Vec<[u8; CHUNK_KEY]>)> {
    let known = packs.iter().filter_map(|pack| Some((*known.get(&pack.id)?, pack)));
    let keys = |number: u32, pack: &SegmentPack| {
        pack.rows.iter().map(|row| chunk_key(&row.frame.id, number)).collect::<Vec<_>>()
    };
    known.map(|(number, pack)| (number, keys(number, pack))).collect()
}

pub(super) fn chunk_key(id: &ChunkId, pack: u32) -> [u8; CHUNK_KEY] {
    let mut key = [0; CHUNK_KEY];
    key[..ID_LEN].copy_from_slice(id.as_bytes());
    key[ID_LEN..].copy_from_slice(&pack.to_le_bytes());
    key
}

/// What a chunk's row says, unless it makes no sense, and the number of its pack: a higher one was written later.
pub(super) fn location(
    packs: &BTreeMap<u32, PackInfo>,
    id: &ChunkId,
    key: &[u8; CHUNK_KEY],
    value: &[u8; CHUNK_VALUE],
) -> Option<(u32, Location)> {
    let number = number_of(key)?;
    let pack = packs.get(&number)?;
    let field = |at: usize| Some(u32::from_le_bytes(value[at..at + 4].try_into().ok()?));
    let frame = FrameHeader {
        id: *id,
        kind: ChunkKind::from_number(value[12])?,
        codec: value[13],
        codec_version: value[14],
        hint: Hint::from_number(value[15]),
        stored_len: field(4)?,
        plain_len: field(8)?,
    };
    let row = Row { frame, offset: field(0)? };
    Some((number, Location { pack: pack.id, pack_len: pack.len, row }))
}

fn chunk_value(row: &Row) -> [u8; CHUNK_VALUE] {
    let mut value = [0; CHUNK_VALUE];
    value[..4].copy_from_slice(&row.offset.to_le_bytes());
    value[4..8].copy_from_slice(&row.frame.stored_len.to_le_bytes());
    value[8..12].copy_from_slice(&row.frame.plain_len.to_le_bytes());
    let FrameHeader { kind, codec, codec_version, hint, .. } = row.frame;
    value[12..].copy_from_slice(&[kind.number(), codec, codec_version, hint.number()]);
    value
}

pub(super) fn pack_value(pack: &PackInfo) -> [u8; PACK_VALUE] {
    let mut value = [0; PACK_VALUE];
    value[..ID_LEN].copy_from_slice(pack.id.as_bytes());
    value[ID_LEN] = pack.content as u8;
    value[ID_LEN + 1] = if pack.loose { LOOSE } else { 0 } | if pack.sure { SURE } else { 0 };
    let numbers = std::iter::once(pack.len).chain(pack.sizes.numbers());
    for (field, number) in value[ID_LEN + 2..].chunks_exact_mut(8).zip(numbers) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    value
}

fn pack_of(value: &[u8; PACK_VALUE]) -> Option<PackInfo> {
    let id = PackId::from_bytes(value[..ID_LEN].try_into().ok()?);
    let (fields, _) = value[ID_LEN + 2..].as_chunks::<8>();
    let [len, plain, stored, images_plain, images_stored, images_left, images, count_left] =
        <[[u8; 8]; 8]>::try_from(fields).ok()?.map(u64::from_le_bytes);
    let sizes = Sizes { plain, stored, images_plain, images_stored, images_left, images, count_left };
    let (content, flags) = (PackContent::from_number(value[ID_LEN])?, value[ID_LEN + 1]);
    Some(PackInfo { id, len, content, sizes, loose: flags & LOOSE != 0, sure: flags & SURE != 0 })
}
