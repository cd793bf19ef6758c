//! Looking at packs: each is asked for what it holds, and held against its name where every byte is read.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use super::content::{Contents, Pieces};
use super::{Check, Damage, Share, VerifyOptions, now};
use crate::archive::{
    Archive, MAX_PACK_LEN, MAX_PARITY_LEN, StopCheck, directory_of, frame_at, read_directory, readable, restored,
    rows_of, unpack_frame,
};
use crate::error::{Error, Kind, Result};
use crate::format::{FRAME_HEADER_LEN, FrameHeader, Row, SegmentPack, names};
use crate::id::{ChunkId, ChunkKind, PackId};
use crate::op::{Event, Observer, check_stop};
use crate::parity::Parity;
use crate::store::Object;

/// So many packs are read at once, each by all cores, before what was read is written down and the next are chosen.
const GROUP: usize = 4;
/// Or fewer, if they have more bytes than this together.
const GROUP_BYTES: u64 = 128 << 20;
/// What is unpacked of a pack's chunks is kept until their files are hashed, up to so many bytes.
const MOST_UNPACKED: usize = 40 << 20;

/// Looks at packs, and remembers what it saw of each.
pub(super) struct Looker<'a> {
    pub(super) archive: &'a Archive,
    pub(super) observer: &'a dyn Observer,
    pub(super) options: VerifyOptions,
    pub(super) started: Instant,
    /// What was seen, by the object's name.
    pub(super) seen: HashMap<String, Looked>,
    /// Whole files, where data are read.
    pub(super) contents: Contents,
    /// Whether every pack was read that was there.
    pub(super) read_all: bool,
    /// It has looked before.
    pub(super) looks_again: bool,
}

fn in_time(options: &VerifyOptions, started: Instant) -> bool {
    options.time.is_none_or(|time| started.elapsed() < time)
}

impl Looker<'_> {
    /// Whether every byte of this object was read and is right, or it is a pack that is no longer there.
    pub(super) fn was_read(&self, name: &str) -> bool {
        match self.seen.get(name) {
            Some(looked) => looked.read && looked.is_whole(),
            // Of everything but packs and their recovery data, every byte is read each time.
            None => !name.starts_with(names::PARITY),
        }
    }

    /// Looks at every pack that it has not seen whole.
    pub(super) fn look(&mut self, objects: &[Object]) -> Result<()> {
        let there: HashSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
        let was_read = self.seen.iter().filter(|(_, looked)| looked.read && !looked.is_whole());
        let again: HashSet<String> = was_read.map(|(name, _)| name.clone()).collect();
        self.seen.retain(|name, looked| there.contains(name.as_str()) && looked.is_whole());
        let new: Vec<&Object> = objects.iter().filter(|object| !self.seen.contains_key(&object.name)).collect();
        let options = self.options;
        let order = match std::mem::replace(&mut self.looks_again, true) {
            _ if !options.read_data => Vec::new(),
            false => self.chosen(&new),
            // What was found damaged is read once more, and what took another's place if all is to be read.
            true => (0..new.len()).filter(|at| self.read_all || again.contains(&new[*at].name)).collect(),
        };
        let bytes = order.iter().map(|at| new[*at].len).sum();
        self.observer.event(Event::Begin { files: new.len() as u64, bytes });
        let mut rest: HashSet<usize> = (0..new.len()).collect();
        let (mut left, mut began) = (order.as_slice(), false);
        while !left.is_empty() && (!again.is_empty() || in_time(&options, self.started)) {
            let mut bytes = 0;
            let fits = |at: &&usize| {
                bytes += new[**at].len;
                bytes <= GROUP_BYTES
            };
            // Where the time is limited, each pack is read by all cores, and the first one to its end in any case.
            let most = if options.time.is_some() { 1 } else { GROUP };
            let first = !std::mem::replace(&mut began, true);
            let count = left.iter().take(most).take_while(fits).count().max(1);
            let (group, rest_of_order) = left.split_at(count);
            left = rest_of_order;
            let read = |at: &usize| -> Result<_> {
                let goes_on = || first || !again.is_empty() || in_time(&options, self.started);
                let Some((looked, pieces)) = self.pack(new[*at], Some(&goes_on))? else { return Ok(None) };
                let whole = pieces.as_ref().map(|pieces| self.contents.within(pieces, self.observer.stop()));
                Ok(Some((*at, looked, pieces, whole.unwrap_or_default())))
            };
            let looked: Vec<_> = group.par_iter().map(read).collect::<Result<_>>()?;
            let mut whole = Vec::new();
            for (at, looked, pieces, files) in looked.into_iter().flatten() {
                rest.remove(&at);
                if looked.damage.is_empty() && !looked.gone {
                    whole.extend(PackId::from_hex(names::last(&new[at].name)));
                }
                if let Some(pieces) = &pieces {
                    self.contents.take(pieces, files);
                }
                self.seen.insert(new[at].name.clone(), looked);
            }
            self.archive.set_verified(&whole, now())?;
        }
        self.read_all &= rest.is_empty();
        let glance = |at: usize| Ok((at, self.glance(new[at])?));
        let looked: Vec<(usize, Option<Looked>)> = rest.into_par_iter().map(glance).collect::<Result<_>>()?;
        for (at, looked) in looked {
            // Those that must be read whole one after the other: each may be as long as memory bears.
            let looked = match looked {
                Some(looked) => Some(looked),
                None => self.pack(new[at], None)?.map(|(looked, _)| looked),
            };
            self.seen.extend(looked.map(|looked| (new[at].name.clone(), looked)));
        }
        Ok(())
    }

    /// A pack's directory, if nothing is wrong with it.
    fn glance(&self, object: &Object) -> Result<Option<Looked>> {
        check_stop(self.observer)?;
        let id = PackId::from_hex(names::last(&object.name)).filter(|id| names::pack(id) == object.name);
        let Some(id) = id else { return Ok(None) };
        match read_directory(&**self.archive.store(), &id, object.len) {
            Ok(pack) => {
                self.observer.event(Event::Advance { files: 1, bytes: 0 });
                Ok(Some(Looked { pack: Some(pack), ..Looked::default() }))
            }
            Err(error) if error.kind().is_of_an_object() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which packs are read, in their order: where all are, as they were written, so that files come in one piece; else
    /// those that were not read for longest come first.
    fn chosen(&self, objects: &[&Object]) -> Vec<usize> {
        let VerifyOptions { share, time, .. } = self.options;
        let written = self.archive.known_packs();
        let written: HashMap<PackId, usize> = written.iter().enumerate().map(|(at, pack)| (pack.id, at)).collect();
        let verified = self.archive.verified();
        let id = |at: &usize| PackId::from_hex(names::last(&objects[*at].name));
        let mut order: Vec<usize> = (0..objects.len()).collect();
        order.sort_by_key(|at| id(at).and_then(|id| written.get(&id)));
        if share == Share::All && time.is_none() {
            return order;
        }
        order.sort_by_key(|at| id(at).and_then(|id| verified.get(&id)));
        let all: u64 = objects.iter().map(|object| object.len).sum();
        let room = match share {
            Share::All => return order,
            Share::Part { number, of } => {
                let part =
                    |at: &usize| id(at).map_or(0, |id| u64::from_le_bytes(first_eight(id.as_bytes()))) % of.max(1);
                order.retain(|at| part(at) + 1 == number);
                return order;
            }
            Share::Percent(percent) => (all as f64 * percent / 100.0).ceil() as u64,
            Share::Bytes(bytes) => bytes,
        };
        let mut taken = 0;
        let within = order.iter().take_while(|at| {
            let fits = taken < room;
            taken += objects[**at].len;
            fits
        });
        let count = within.count();
        order.truncate(count);
        order
    }

    /// A pack's directory; or every byte of it, as long as there is time for that: else nothing.
    fn pack(&self, object: &Object, read: Option<&GoesOn<'_>>) -> Result<Option<(Looked, Option<PackPieces>)>> {
        check_stop(self.observer)?;
        let id = PackId::from_hex(names::last(&object.name)).filter(|id| names::pack(id) == object.name);
        let Some(id) = id else {
            return Ok(Some((Looked::only_damage("its name is not that of a pack".to_owned()), None)));
        };
        let check = || check_stop(self.observer);
        let Some((looked, pieces)) = look_at(self.archive, &id, object, read, &check)? else { return Ok(None) };
        self.observer.event(Event::Advance { files: 1, bytes: if read.is_some() { object.len } else { 0 } });
        Ok(Some((looked, pieces)))
    }
}

/// Whether there is time to go on.
type GoesOn<'g> = dyn Fn() -> bool + Sync + 'g;

/// A pack's directory, or every byte of it; nothing if the time for that has run out.
fn look_at(
    archive: &Archive,
    id: &PackId,
    object: &Object,
    read: Option<&GoesOn<'_>>,
    check: &StopCheck<'_>,
) -> Result<Option<(Looked, Option<PackPieces>)>> {
    let looked = match read {
        Some(goes_on) => match read_pack(archive, id, object, goes_on, check) {
            Ok(None) => return Ok(None),
            read => read.map(Option::unwrap_or_default).map(|(looked, pieces)| (looked, Some(pieces))),
        },
        None => look_at_pack(archive, id, object, check).map(|looked| (looked, None)),
    };
    let (mut looked, pieces) = match looked {
        // It was listed a moment ago: whoever stores its chunks anew has removed it.
        Err(error) if error.kind() == Kind::Missing && archive.store().len(&object.name)?.is_none() => {
            (Looked { gone: true, ..Looked::default() }, None)
        }
        Err(error) if error.kind().is_of_an_object() => (Looked::only_damage(error.to_string()), None),
        done => done?,
    };
    // What is damaged is read once more to mend it, and not kept meanwhile; its files are read at the end.
    let pieces = pieces.filter(|_| looked.damage.is_empty());
    if !looked.damage.is_empty() {
        look_at_mended(archive, id, &mut looked)?;
    }
    looked.read = read.is_some();
    Ok(Some((looked, pieces)))
}

/// A pack's directory.
fn look_at_pack(archive: &Archive, id: &PackId, object: &Object, check: &StopCheck<'_>) -> Result<Looked> {
    match read_directory(&**archive.store(), id, object.len) {
        Ok(pack) => Ok(Looked { pack: Some(pack), ..Looked::default() }),
        // What its frames hold is told by reading them.
        Err(error) if error.kind() == Kind::Damaged => {
            let (mut looked, _) = read_pack(archive, id, object, &|| true, check)?.unwrap_or_default();
            if !looked.damage.is_empty() {
                looked.damage = vec![error.to_string()];
            }
            Ok(looked)
        }
        Err(error) => Err(error),
    }
}

/// Every byte of a pack, and every frame in it; nothing if the time for that has run out.
fn read_pack(
    archive: &Archive,
    id: &PackId,
    object: &Object,
    goes_on: &GoesOn<'_>,
    check: &StopCheck<'_>,
) -> Result<Option<(Looked, PackPieces)>> {
    let (bytes, unread) = readable(&**archive.store(), &object.name, MAX_PACK_LEN)?;
    let parity = look_at_parity(archive, id.as_bytes(), &bytes)?;
    let mut looked = Looked { parity, ..Looked::default() };
    if let Some(error) = unread {
        looked.damage.push(error.to_string());
    } else if blake3::hash(&bytes).as_bytes() != id.as_bytes() {
        looked.damage.push("its bytes do not match its name".to_owned());
    }
    let directory = directory_of(id, &bytes);
    let rows = match directory {
        Ok(pack) => {
            let rows = pack.rows.clone();
            looked.pack = Some(pack);
            rows
        }
        Err(error) if error.kind() == Kind::Damaged => {
            looked.damage.push(error.to_string());
            rows_of(id, &bytes, None, check)?
        }
        Err(error) => return Err(error),
    };
    let room = AtomicUsize::new(MOST_UNPACKED);
    let unpacked = rows.par_iter().map(|row| {
        if !goes_on() {
            return Err(Error::interrupted());
        }
        let (start, frame) = (row.offset as usize, frame_at(&bytes, row).unwrap_or_default());
        let _room = archive.unpacking(row.frame.plain_len.into());
        let plain = unpack_frame(row.frame.kind, &row.frame.id, frame)?;
        if plain.len() != row.frame.plain_len as usize {
            let why = "the directory of its pack tells another length";
            return Err(Error::new(Kind::Damaged, "unpacking it", why));
        }
        Ok(match plain {
            _ if row.frame.kind != ChunkKind::Data => Piece::None,
            Cow::Borrowed(_) => Piece::Stored(start + FRAME_HEADER_LEN..start + frame.len()),
            Cow::Owned(plain) => {
                let take = |room: usize| room.checked_sub(plain.len());
                let fits = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
                if fits { Piece::Unpacked(plain) } else { Piece::None }
            }
        })
    });
    let unpacked: Vec<Result<Piece>> = unpacked.collect();
    let ran_out = |piece: &Result<Piece>| piece.as_ref().is_err_and(|error| error.kind() == Kind::Interrupted);
    if unpacked.iter().any(ran_out) {
        return Ok(None);
    }
    let mut pieces = PackPieces { bytes, order: Vec::new(), pieces: HashMap::new() };
    for (Row { frame, offset }, piece) in rows.iter().copied().zip(unpacked) {
        match piece {
            Ok(piece) => {
                looked.held.push(frame);
                if !matches!(piece, Piece::None) {
                    pieces.order.push(frame.id);
                    pieces.pieces.insert(frame.id, piece);
                }
            }
            Err(error) => looked.damage.push(format!("the frame at {offset}: {error}")),
        }
    }
    if looked.damage.is_empty() {
        looked.held = Vec::new(); // its directory says the same
    } else {
        // A directory may be whole and wrong: what it does not tell of is there all the same.
        let known: HashSet<(u32, ChunkId)> = rows.iter().map(|row| (row.offset, row.frame.id)).collect();
        let more = rows_of(id, &pieces.bytes, None, check)?;
        for row in more.into_iter().filter(|row| !known.contains(&(row.offset, row.frame.id))) {
            check()?;
            let frame = frame_at(&pieces.bytes, &row).unwrap_or_default();
            if unpack_frame(row.frame.kind, &row.frame.id, frame).is_ok() {
                looked.held.push(row.frame);
            }
        }
    }
    Ok(Some((looked, pieces)))
}

/// A chunk of a pack that was read.
enum Piece {
    /// It is not kept.
    None,
    /// It lies there as it is.
    Stored(std::ops::Range<usize>),
    Unpacked(Vec<u8>),
}

/// The chunks of a pack that was read.
#[derive(Default)]
struct PackPieces {
    bytes: Vec<u8>,
    order: Vec<ChunkId>,
    pieces: HashMap<ChunkId, Piece>,
}

impl Pieces for PackPieces {
    fn get(&self, id: &ChunkId) -> Option<&[u8]> {
        match self.pieces.get(id)? {
            Piece::None => None,
            Piece::Stored(range) => self.bytes.get(range.clone()),
            Piece::Unpacked(bytes) => Some(bytes),
        }
    }

    fn ids(&self) -> impl Iterator<Item = &ChunkId> {
        self.order.iter()
    }
}

impl Check<'_> {
    /// Takes in what was seen of every pack, and so learns which chunks are held.
    pub(super) fn packs(&mut self, objects: &[Object]) {
        for object in objects {
            let Some(looked) = self.seen.get(&object.name).filter(|looked| !looked.gone) else { continue };
            self.found.objects += 1;
            self.found.bytes += object.len;
            self.found.bytes_read += if looked.read && looked.damage.is_empty() { object.len } else { 0 };
            if looked.mendable {
                self.mendable.insert(object.name.clone());
            }
            if looked.mendable || looked.damage.is_empty() {
                self.whole.extend(names::parity_of(&object.name));
            }
            for why in &looked.damage {
                self.damaged(object.name.clone(), why.clone());
            }
            looked.held.iter().for_each(|frame| self.held.add(frame));
            self.found.damage.extend(looked.parity.clone());
            let Some(pack) = &looked.pack else { continue };
            self.packs.insert(pack.id, pack);
            let frames = pack.rows.iter().map(|row| &row.frame);
            if looked.damage.is_empty() {
                self.untold.insert(pack.id);
                frames.for_each(|frame| self.held.add(frame));
            } else if looked.mendable {
                frames.for_each(|frame| self.held_mended.add(frame));
            }
        }
    }

    /// A segment and a pack's directory say something else of the pack: its frames tell which of them is right.
    pub(super) fn differs(&mut self, segment: &str, id: &PackId) -> Result<()> {
        let name = names::pack(id);
        let len = self.archive.store().len(&name)?.unwrap_or_default();
        let all: &GoesOn<'_> = &|| true;
        let (object, observer) = (Object { name: name.clone(), len }, self.observer);
        let looked = look_at(self.archive, id, &object, Some(all), &|| check_stop(observer))?;
        let (looked, _) = looked.unwrap_or_default();
        looked.held.iter().for_each(|frame| self.held.add(frame));
        if let Some(pack) = &looked.pack {
            let frames = pack.rows.iter().map(|row| &row.frame);
            if looked.damage.is_empty() {
                frames.for_each(|frame| self.held.add(frame));
            } else if looked.mendable {
                frames.for_each(|frame| self.held_mended.add(frame));
            }
        }
        if looked.damage.is_empty() && !looked.gone {
            self.mendable(segment.to_owned(), format!("what it says of {name} is not so"));
        }
        if looked.mendable {
            self.mendable.insert(name.clone());
        }
        for why in looked.damage {
            self.damaged(name.clone(), why);
        }
        Ok(())
    }

    /// Chunks that a segment tells of in a damaged pack, which no whole pack has: readers find them by what it tells,
    /// and so they are held if they are whole there.
    pub(super) fn held_as_told(&mut self, told: &SegmentPack) -> Result<()> {
        let name = names::pack(&told.id);
        for row in &told.rows {
            if self.held.holds_frame(&row.frame) {
                continue;
            }
            check_stop(self.observer)?;
            let _room = self.archive.unpacking(row.frame_len() + u64::from(row.frame.plain_len));
            let read = self.archive.store().get_range(&name, row.offset.into(), row.frame_len() as usize);
            match read.and_then(|frame| unpack_frame(row.frame.kind, &row.frame.id, &frame).map(drop)) {
                Ok(()) => self.held.add(&row.frame),
                Err(error) if error.kind().is_of_an_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn missing_pack(&mut self, id: &PackId) -> Result<()> {
        let name = names::pack(id);
        let mut looked = Looked::only_damage("it is missing".to_owned());
        look_at_mended(self.archive, id, &mut looked)?;
        if looked.mendable {
            looked.pack.iter().flat_map(|pack| &pack.rows).for_each(|row| self.held_mended.add(&row.frame));
            self.whole.insert(names::parity(id.as_bytes()));
            self.mendable.insert(name.clone());
        }
        self.damaged(name, "it is missing");
        Ok(())
    }
}

/// What a damaged or missing pack holds once it is mended.
fn look_at_mended(archive: &Archive, id: &PackId, looked: &mut Looked) -> Result<()> {
    let mended = restored(&**archive.store(), &names::pack(id), id.as_bytes(), MAX_PACK_LEN);
    match mended.and_then(|mended| directory_of(id, &mended.bytes)) {
        Ok(pack) => {
            looked.mendable = true;
            looked.pack = Some(pack);
            Ok(())
        }
        Err(error) if error.kind().is_of_an_object() => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is wrong with the recovery data of an object with these bytes, if there are any.
pub(super) fn look_at_parity(archive: &Archive, id: &[u8; 32], bytes: &[u8]) -> Result<Option<Damage>> {
    let name = names::parity(id);
    let read = archive.store().get(&name, MAX_PARITY_LEN).and_then(|stored| Parity::from_bytes(&stored));
    let why = match read {
        Ok(parity) if !parity.is_whole() => "some of it is damaged".to_owned(),
        Ok(parity) if blake3::hash(bytes).as_bytes() == id && !parity.fits(bytes) => {
            "it is the recovery data of something else".to_owned()
        }
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == Kind::Missing => return Ok(None), // told at the end, if it should be there
        Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Unsupported) => error.to_string(),
        Err(error) => return Err(error),
    };
    Ok(Some(Damage { object: name, why, mendable: false }))
}

fn first_eight(id: &[u8; 32]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&id[..8]);
    first
}

/// What a look at one pack found.
#[derive(Default)]
pub(super) struct Looked {
    damage: Vec<String>,
    /// Whether it can be mended.
    mendable: bool,
    /// Damage of its recovery data.
    parity: Option<Damage>,
    /// Frames that are whole in it, if not all are that its directory names.
    held: Vec<FrameHeader>,
    /// Its directory: that of the mended one where it is damaged and can be mended.
    pub(super) pack: Option<SegmentPack>,
    /// It was listed, and removed before it was looked at.
    pub(super) gone: bool,
    /// Every byte was read.
    read: bool,
}

impl Looked {
    fn only_damage(why: String) -> Self {
        Self { damage: vec![why], ..Self::default() }
    }

    /// Whether another look would find the same.
    fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.parity.is_none() && !self.gone
    }
}
