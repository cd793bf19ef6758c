//! Storing chunks anew in a better form, and only then letting the old packs go.
//!
//! Why it is safe: a pack is removed only when each of its chunks lies in another pack that was made durable, read back
//! from the store and found whole. A snapshot names chunks and not packs, so it never notices; a reader that looks for a
//! removed pack looks again and finds the new one; and a run that counted on the old pack finds its chunks all the same.
//! So others may read and add meanwhile, and only one process at a time rewrites. A crash anywhere leaves a chunk twice.
//!
//! A repair must not run meanwhile, since each of the two removes a pack because the other one's pack has its chunks: a
//! rewriter that held `header.copy` only, while that file was lost or replaced, left `header` free between two groups of
//! packs; a repair took it, found the new pack damaged and gave it up, because the old one was whole; and the rewriter, which
//! had read the new one back before, removed the old one. So a rewriter holds `header` together with others as well, from its
//! first look to its last removal, and a repair holds every copy of the header alone.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::segments::put_segments;
use super::writer::pack;
use super::{Archive, Change, MAX_PACK_LEN, PackInfo, Packing, check_hash, read_directory, unpack_frame};
use crate::error::{Error, Kind, Result};
use crate::format::{FRAME_HEADER_LEN, FrameHeader, Hint, Row, SegmentPack, names};
use crate::id::{PackId, SegmentId};
use crate::store::{Leftovers, Lock};

/// A pack is rewritten only if that saves at least one part in so many.
const WORTH_ONE_IN: u64 = 100;

/// So many images are tried at most to tell what recompressing all would come to, from so many packs.
const MOST_TRIED: usize = 64;
const PACKS_TRIED: usize = 16;

/// Whether there is time to go on; asked before each image.
pub type InTime<'t> = dyn Fn() -> bool + Sync + 't;

/// What recompressing a few images came to, without writing anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trial {
    /// Their original bytes.
    pub plain: u64,
    /// Bytes by which they would be shorter.
    pub saved: u64,
    /// How long it took, on all cores.
    pub time: Duration,
}

/// What recompressing the images of some packs came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recompressed {
    /// Packs that were rewritten.
    pub packs: u64,
    /// Images that were recompressed.
    pub images: u64,
    /// Images that stay as they are: they cannot be recompressed.
    pub declined: u64,
    /// Images that stay as they are because the pack that they lie in would shrink by less than one part in 100.
    pub not_worth: u64,
    /// Bytes of the packs before, with their recovery data.
    pub before: u64,
    /// And of those that took their place, likewise.
    pub after: u64,
}

impl std::ops::AddAssign for Recompressed {
    fn add_assign(&mut self, more: Self) {
        self.packs += more.packs;
        self.images += more.images;
        self.declined += more.declined;
        self.not_worth += more.not_worth;
        self.before += more.before;
        self.after += more.after;
    }
}

/// Rewrites packs. There is one at a time in an archive.
pub struct Rewriter<'a> {
    archive: &'a Archive,
    /// Keeps those out who need the archive alone.
    _among: Lock,
    /// Keeps other rewriters out.
    _only: Lock,
}

impl Archive {
    /// The only rewriter. Others may read and add meanwhile.
    ///
    /// # Errors
    /// [`Kind::InUse`] if another process is rewriting or holds the archive alone, [`Kind::NoLocks`] where nobody can tell.
    pub fn rewriter(&self) -> Result<Rewriter<'_>> {
        self.headers.agree()?;
        let among = match self.try_alone() {
            Ok(alone) => {
                if self.complete()? {
                    drop(alone);
                    return self.rewriter(); // it is held by the first copy of its header
                }
                self.sweep()?;
                match alone.share() {
                    // Somebody looked just then whether it is in use; what needed it alone is done.
                    Err(error) if error.kind() == Kind::InUse => {
                        drop(alone);
                        self.lock_shared()?
                    }
                    shared => shared.map(|()| alone)?,
                }
            }
            Err(error) if error.kind() == Kind::InUse => self.lock_shared()?,
            Err(error) => return Err(error),
        };
        let only = self.hold_alone(names::HEADERS[1])?;
        Ok(Rewriter { archive: self, _among: among, _only: only })
    }
}

impl Rewriter<'_> {
    /// Recompresses the images in these packs, as far as it pays. `in_time` is asked before each image, and `go_on` after
    /// each pack; what was done until then is brought to its end. A pack that is damaged is passed over, with a notice.
    ///
    /// # Errors
    /// The store's error; then every old pack is still there.
    pub fn recompress(
        &self,
        packs: &[PackInfo],
        in_time: &InTime<'_>,
        go_on: &dyn Fn(&PackInfo) -> bool,
    ) -> Result<Recompressed> {
        let writer = self.archive.writer(images())?;
        let (mut old, mut settled) = (Vec::new(), Vec::new());
        let mut done = Recompressed::default();
        for info in packs {
            if let Some((pack, frames)) = self.read(info, in_time)? {
                let count = |outcome| frames.iter().filter(|frame| frame.outcome == outcome).count() as u64;
                let saved: u64 = frames.iter().map(|frame| frame.saved).sum();
                let all_tried = count(Outcome::Untried) == 0;
                if saved == 0 || saved < info.len / WORTH_ONE_IN {
                    settled.extend(all_tried.then_some(info.id));
                    if all_tried {
                        done.declined += count(Outcome::Declined);
                        done.not_worth += count(Outcome::Smaller);
                    }
                } else {
                    done.declined += count(Outcome::Declined);
                    for frame in &frames {
                        writer.add(frame.header, &frame.stored)?;
                    }
                    done += Recompressed {
                        packs: 1,
                        images: count(Outcome::Smaller),
                        before: info.len + self.parity_len(&info.id)?,
                        ..Recompressed::default()
                    };
                    old.push(pack);
                }
            }
            if !go_on(info) {
                break;
            }
        }
        let written = writer.finish()?;
        for id in &written.packs {
            done.after += self.check(id)? + self.parity_len(id)?;
        }
        done.after += self.segments_len(&written.segments)?;
        self.remove(&old, &written.packs, &settled)?;
        Ok(done)
    }

    fn segments_len(&self, ids: &[SegmentId]) -> Result<u64> {
        ids.iter().map(|id| Ok(self.archive.store().len(&names::segment(id))?.unwrap_or(0))).sum()
    }

    /// A pack and its frames in their new form; or none if it is damaged, gone, or holds what is not known here.
    fn read(&self, info: &PackInfo, in_time: &InTime<'_>) -> Result<Option<(SegmentPack, Vec<Moved>)>> {
        let name = names::pack(&info.id);
        let store = self.archive.store();
        let read = store.get(&name, MAX_PACK_LEN).and_then(|bytes| {
            check_hash(&name, info.id.as_bytes(), &bytes)?;
            let pack = read_directory(&**store, &info.id, info.len)?;
            let frames = recompress(self.archive, &pack, &bytes, in_time)
                .map_err(|error| error.within(format!("rewriting {name}")))?;
            Ok((pack, frames))
        });
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::Unsupported | Kind::Missing) => {
                self.archive.pass_over(name, error)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a new pack back from the store.
    fn check(&self, id: &PackId) -> Result<u64> {
        let name = names::pack(id);
        let bytes = self.archive.store().get(&name, MAX_PACK_LEN)?;
        check_hash(&name, id.as_bytes(), &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// What the recovery data of a pack take.
    fn parity_len(&self, id: &PackId) -> Result<u64> {
        Ok(self.archive.store().len(&names::parity(id.as_bytes()))?.unwrap_or(0))
    }

    /// Removes packs whose chunks all lie in new ones.
    fn remove(&self, old: &[SegmentPack], new: &[PackId], settled: &[PackId]) -> Result<()> {
        let store = self.archive.store();
        for pack in old {
            for row in &pack.rows {
                let is_new = |place: &super::Location| place.pack != pack.id && new.contains(&place.pack);
                if !self.archive.locate(&row.frame.id)?.iter().any(is_new) {
                    let doing = format!("removing {}", names::pack(&pack.id));
                    return Err(Error::new(Kind::Internal, doing, format!("chunk {} lies nowhere else", row.frame.id)));
                }
            }
        }
        for pack in old {
            // The recovery data first: as long as the pack is there, the next run finds both, and removes what is left.
            let parity = names::parity(pack.id.as_bytes());
            if store.len(&parity)?.is_some() {
                store.delete(&parity)?;
            }
            store.delete(&names::pack(&pack.id))?;
        }
        self.archive.index().apply(&Change { gone_packs: old, settled, ..Change::default() })
    }

    /// Replaces segments that tell of packs that are gone by one that tells of the others. For the end of the work, since it
    /// costs as much as the segments are long.
    ///
    /// # Errors
    /// The store's error; segments are only hints, so nothing depends on it. Returns what segments took before and after.
    pub fn tidy_segments(&self) -> Result<Recompressed> {
        let present = self.archive.present_packs(Leftovers::Leave)?;
        let (mut kept, mut gone, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        for id in self.archive.index().segments() {
            let segment = match self.archive.read_segment(&id) {
                Ok(segment) => segment,
                Err(error) => {
                    self.archive.pass_over(names::segment(&id), error)?;
                    continue;
                }
            };
            let (there, missing): (Vec<_>, Vec<_>) =
                segment.packs.into_iter().partition(|pack| present.contains_key(&pack.id));
            if !missing.is_empty() {
                kept.extend(there);
                gone.extend(missing);
                replaced.push(id);
            }
        }
        if replaced.is_empty() {
            return Ok(Recompressed::default());
        }
        let store = self.archive.store();
        let before = self.segments_len(&replaced)?;
        let mut segments = Vec::new();
        if !kept.is_empty() {
            kept.sort_unstable_by_key(|pack| pack.id);
            kept.dedup_by_key(|pack| pack.id);
            segments = put_segments(&**store, &kept)?;
        }
        for id in &replaced {
            store.delete(&names::segment(id))?;
        }
        self.archive.index().apply(&Change {
            segments: &segments,
            gone_segments: &replaced,
            gone_packs: &gone,
            ..Change::default()
        })?;
        Ok(Recompressed { before, after: self.segments_len(&segments)?, ..Recompressed::default() })
    }
}

/// A frame on its way from one pack to another.
struct Moved {
    header: FrameHeader,
    stored: Vec<u8>,
    /// Bytes by which it is shorter now.
    saved: u64,
    outcome: Outcome,
}

/// What came of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was not to be recompressed.
    AsItWas,
    /// It was recompressed.
    Smaller,
    /// It was tried, and stays as it is.
    Declined,
    /// There was no time left to try it.
    Untried,
}

fn images() -> Packing {
    Packing { images: true, ..Packing::default() }
}

/// Whether it is an image that recompression has not been tried on.
fn is_untried(frame: &FrameHeader) -> bool {
    frame.hint == Hint::Image && frame.codec != crate::codec::Codec::Jpeg.number()
}

impl Archive {
    /// Tries what recompressing the images in these packs would come to, on some of them from all over, for about so long.
    /// Nothing is written. What is damaged is left out.
    ///
    /// # Errors
    /// The store's error.
    pub fn try_recompressing(&self, packs: &[PackInfo], most: Duration) -> Result<Trial> {
        let mut frames = Vec::new();
        for info in spread(packs, PACKS_TRIED) {
            let rows = match read_directory(&**self.store(), &info.id, info.len) {
                Ok(pack) => pack.rows,
                Err(error) if error.kind().is_of_an_object() => continue,
                Err(error) => return Err(error),
            };
            let images: Vec<_> = rows.into_iter().filter(|row| is_untried(&row.frame)).collect();
            let bytes: u64 = images.iter().map(|row| u64::from(row.frame.plain_len)).sum();
            // No image shrinks by more than a third, and a pack that shrinks too little stays as it is.
            if bytes / 3 >= info.len / WORTH_ONE_IN {
                frames.extend(spread_by_bytes(&images, MOST_TRIED / PACKS_TRIED).map(|row| (info.id, *row)));
            }
        }
        let begun = Instant::now();
        let each = frames.par_iter().enumerate().map(|(number, (pack_id, row))| {
            if number > 0 && begun.elapsed() >= most {
                return Ok((0, 0));
            }
            let _room = self.unpacking(row.frame_len() + u64::from(row.frame.plain_len));
            let frame = self.store().get_range(&names::pack(pack_id), u64::from(row.offset), row.frame_len() as usize);
            match frame.and_then(|frame| Ok(unpack_frame(row.frame.kind, &row.frame.id, &frame)?.into_owned())) {
                Ok(plain) => {
                    let (encoded, hint) = pack(&plain, Hint::Image, &images());
                    let shorter = u64::from(row.frame.stored_len).saturating_sub(encoded.bytes.len() as u64);
                    Ok((plain.len() as u64, if hint == Hint::Image { shorter } else { 0 }))
                }
                Err(error) if error.kind().is_of_an_object() => Ok((0, 0)),
                Err(error) => Err(error),
            }
        });
        let tried: Vec<(u64, u64)> = each.collect::<Result<_>>()?;
        let (plain, saved) = tried.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Ok(Trial { plain, saved, time: begun.elapsed() })
    }
}

/// So many of them, or all, evenly spread.
fn spread<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = all.len().min(most);
    (0..count).filter_map(move |number| all.get(number * all.len() / count.max(1)))
}

/// So many of them at most, each as likely to be taken as it is long: a few large ones make up most of the bytes.
fn spread_by_bytes(images: &[Row], most: usize) -> impl Iterator<Item = &Row> {
    let all: u64 = images.iter().map(|row| u64::from(row.frame.plain_len)).sum();
    let step = (all / most as u64).max(1);
    let (mut passed, mut next) = (0, step / 2);
    images.iter().filter(move |row| {
        passed += u64::from(row.frame.plain_len);
        let taken = passed > next;
        while next < passed {
            next += step;
        }
        taken
    })
}

/// The frames of a pack, the images among them recompressed, on all cores.
fn recompress(archive: &Archive, old: &SegmentPack, bytes: &[u8], in_time: &InTime<'_>) -> Result<Vec<Moved>> {
    let each = old.rows.par_iter().map(|row| {
        let start = row.offset as usize;
        let frame = bytes.get(start..start + row.frame_len() as usize).unwrap_or_default();
        let kept = |outcome| {
            let stored = frame.get(FRAME_HEADER_LEN..).unwrap_or_default().to_vec();
            Moved { header: row.frame, stored, saved: 0, outcome }
        };
        // Every byte of the pack has been held against its name.
        if !in_time() {
            return Ok(kept(if is_untried(&row.frame) { Outcome::Untried } else { Outcome::AsItWas }));
        }
        let _room = archive.unpacking(row.frame.plain_len.into());
        let plain = unpack_frame(row.frame.kind, &row.frame.id, frame)?;
        if !is_untried(&row.frame) {
            return Ok(kept(Outcome::AsItWas));
        }
        let (encoded, hint) = pack(&plain, Hint::Image, &images());
        let header = FrameHeader {
            codec: encoded.codec.number(),
            codec_version: encoded.version,
            hint,
            stored_len: encoded.bytes.len() as u32,
            ..row.frame
        };
        let saved = u64::from(row.frame.stored_len).saturating_sub(u64::from(header.stored_len));
        let outcome = if hint == Hint::Image { Outcome::Smaller } else { Outcome::Declined };
        Ok(Moved { header, stored: encoded.bytes.into_owned(), saved, outcome })
    });
    each.collect()
}
