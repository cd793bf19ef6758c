//! Looking at packs: each is asked for what it holds, and held against its name where every byte is read.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rayon::prelude::*;

use super::{Check, Damage, Share, VerifyOptions, now};
use crate::archive::{MAX_PACK_LEN, directory_of, find_frames, read_directory, readable, restored, unpack_frame};
use crate::error::{Kind, Result};
use crate::format::{SegmentPack, names};
use crate::id::{ChunkId, PackId};
use crate::op::{Event, check_stop};
use crate::parity::Parity;
use crate::store::Object;

/// So many packs are read, by all cores, before the next is chosen and what was read is written down.
const GROUP: usize = 16;

impl Check<'_> {
    /// Looks at every pack, and learns which chunks are held.
    pub(super) fn packs(&mut self, options: &VerifyOptions) -> Result<HashMap<PackId, SegmentPack>> {
        let objects = self.objects(names::PACKS)?;
        let order =
            if options.read_data { chosen(&objects, options.share, &self.archive.verified()) } else { Vec::new() };
        let bytes = order.iter().map(|at| objects[*at].len).sum();
        self.observer.event(Event::Begin { files: objects.len() as u64, bytes });
        let started = Instant::now();
        let in_time = || options.time.is_none_or(|time| started.elapsed() < time);
        let mut packs = HashMap::new();
        let mut rest: HashSet<usize> = (0..objects.len()).collect();
        for group in order.chunks(GROUP) {
            let read = |at: &usize| -> Result<_> {
                let looked = if in_time() { Some(self.pack(&objects[*at], true)?) } else { None };
                Ok((*at, looked))
            };
            let looked: Vec<(usize, Option<Looked>)> = group.par_iter().map(read).collect::<Result<_>>()?;
            let mut whole = Vec::new();
            for (at, looked) in looked {
                let Some(looked) = looked else { continue };
                rest.remove(&at);
                if looked.damage.is_empty() {
                    self.found.bytes_read += objects[at].len;
                    whole.extend(PackId::from_hex(names::last(&objects[at].name)));
                }
                self.seen(&objects[at], looked, &mut packs);
            }
            self.archive.set_verified(&whole, now())?;
        }
        let look = |at: usize| Ok((at, self.pack(&objects[at], false)?));
        let looked: Vec<(usize, Looked)> = rest.into_par_iter().map(look).collect::<Result<_>>()?;
        for (at, looked) in looked {
            self.seen(&objects[at], looked, &mut packs);
        }
        Ok(packs)
    }

    /// Takes in what a look at a pack found.
    fn seen(&mut self, object: &Object, looked: Looked, packs: &mut HashMap<PackId, SegmentPack>) {
        self.found.objects += 1;
        self.found.bytes += object.len;
        if looked.mendable {
            self.mendable.insert(object.name.clone());
        }
        if looked.mendable || looked.damage.is_empty() {
            self.whole.extend(names::parity_of(&object.name));
        }
        if looked.damage.is_empty() {
            self.untold.extend(looked.pack.as_ref().map(|pack| pack.id));
        }
        for why in looked.damage {
            self.damaged(object.name.clone(), why);
        }
        self.held.extend(looked.held);
        self.held_mended.extend(looked.mended);
        self.found.damage.extend(looked.parity);
        packs.extend(looked.pack.map(|pack| (pack.id, pack)));
    }

    fn pack(&self, object: &Object, read_data: bool) -> Result<Looked> {
        check_stop(self.observer)?;
        let id = PackId::from_hex(names::last(&object.name)).filter(|id| names::pack(id) == object.name);
        let Some(id) = id else {
            return Ok(Looked::only_damage("its name is not that of a pack".to_owned()));
        };
        let looked = if read_data { self.read_pack(&id, object) } else { self.look_at_pack(&id, object) };
        self.observer.event(Event::Advance { files: 1, bytes: if read_data { object.len } else { 0 } });
        let mut looked = match looked {
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) => {
                Looked::only_damage(error.to_string())
            }
            done => done?,
        };
        if !looked.damage.is_empty() {
            self.look_at_mended(&id, &mut looked)?;
        }
        Ok(looked)
    }

    /// What a damaged or missing pack holds once it is mended.
    fn look_at_mended(&self, id: &PackId, looked: &mut Looked) -> Result<()> {
        let mended = restored(&**self.archive.store(), &names::pack(id), id.as_bytes(), MAX_PACK_LEN);
        match mended.and_then(|mended| directory_of(id, &mended.bytes)) {
            Ok(pack) => {
                looked.mendable = true;
                looked.mended.extend(pack.rows.iter().map(|row| row.frame.id));
                looked.pack = Some(pack);
                Ok(())
            }
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Missing | Kind::Unsupported) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A pack's directory.
    fn look_at_pack(&self, id: &PackId, object: &Object) -> Result<Looked> {
        match read_directory(&**self.archive.store(), id, object.len) {
            Ok(pack) => {
                let held = pack.rows.iter().map(|row| row.frame.id).collect();
                Ok(Looked { held, pack: Some(pack), ..Looked::default() })
            }
            // What its frames hold is told by reading them.
            Err(error) if error.kind() == Kind::Damaged => {
                let mut looked = self.read_pack(id, object)?;
                looked.damage = vec![error.to_string()];
                Ok(looked)
            }
            Err(error) => Err(error),
        }
    }

    /// Every byte of a pack, and every frame in it.
    fn read_pack(&self, id: &PackId, object: &Object) -> Result<Looked> {
        let (bytes, unread) = readable(&**self.archive.store(), &object.name, MAX_PACK_LEN)?;
        let mut looked = Looked { parity: self.look_at_parity(id.as_bytes(), &bytes)?, ..Looked::default() };
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
                find_frames(&bytes)
            }
            Err(error) => return Err(error),
        };
        for row in rows {
            let start = row.offset as usize;
            let frame = bytes.get(start..start + row.frame_len() as usize).unwrap_or_default();
            match unpack_frame(row.frame.kind, &row.frame.id, frame) {
                Ok(_) => looked.held.push(row.frame.id),
                Err(error) => looked.damage.push(format!("the frame at {start}: {error}")),
            }
        }
        if !looked.damage.is_empty() {
            // A directory may be whole and wrong: what it does not tell of is there all the same.
            for row in find_frames(&bytes) {
                let start = row.offset as usize;
                let frame = bytes.get(start..start + row.frame_len() as usize).unwrap_or_default();
                if unpack_frame(row.frame.kind, &row.frame.id, frame).is_ok() {
                    looked.held.push(row.frame.id);
                }
            }
        }
        Ok(looked)
    }

    /// What is wrong with the recovery data of an object with these bytes, if there are any.
    pub(super) fn look_at_parity(&self, id: &[u8; 32], bytes: &[u8]) -> Result<Option<Damage>> {
        let name = names::parity(id);
        let read = self.archive.store().get(&name, MAX_PACK_LEN).and_then(|stored| Parity::from_bytes(&stored));
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

    /// A segment and a pack's directory say something else of the pack: its frames tell which of them is right.
    pub(super) fn differs(&mut self, segment: &str, pack: String) -> Result<()> {
        let len = self.archive.store().len(&pack)?.unwrap_or_default();
        let looked = self.pack(&Object { name: pack.clone(), len }, true)?;
        self.held.extend(looked.held);
        self.held_mended.extend(looked.mended);
        if looked.damage.is_empty() {
            self.mendable(segment.to_owned(), format!("what it says of {pack} is not so"));
        }
        for why in looked.damage {
            if looked.mendable {
                self.mendable.insert(pack.clone());
            }
            self.damaged(pack.clone(), why);
        }
        Ok(())
    }

    pub(super) fn missing_pack(&mut self, id: &PackId) -> Result<()> {
        let name = names::pack(id);
        let mut looked = Looked::only_damage("it is missing".to_owned());
        self.look_at_mended(id, &mut looked)?;
        self.held_mended.extend(looked.mended);
        if looked.mendable {
            self.whole.insert(names::parity(id.as_bytes()));
            self.mendable.insert(name.clone());
        }
        self.damaged(name, "it is missing");
        Ok(())
    }
}

/// Which packs are read, in their order: those that were not read for longest come first.
fn chosen(objects: &[Object], share: Share, verified: &HashMap<PackId, i64>) -> Vec<usize> {
    let id = |at: &usize| PackId::from_hex(names::last(&objects[*at].name));
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by_key(|at| id(at).and_then(|id| verified.get(&id)));
    let all: u64 = objects.iter().map(|object| object.len).sum();
    let room = match share {
        Share::All => return order,
        Share::Part { number, of } => {
            let part = |at: &usize| id(at).map_or(0, |id| u64::from_le_bytes(first_eight(id.as_bytes()))) % of.max(1);
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

fn first_eight(id: &[u8; 32]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&id[..8]);
    first
}

/// What a look at one pack found.
#[derive(Default)]
struct Looked {
    damage: Vec<String>,
    /// Whether it can be mended.
    mendable: bool,
    /// Damage of its recovery data.
    parity: Option<Damage>,
    /// Chunks that are whole in it.
    held: Vec<ChunkId>,
    /// Chunks that are in it once it is mended.
    mended: Vec<ChunkId>,
    pack: Option<SegmentPack>,
}

impl Looked {
    fn only_damage(why: String) -> Self {
        Self { damage: vec![why], ..Self::default() }
    }
}
