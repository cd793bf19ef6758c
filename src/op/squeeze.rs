//! Squeezing: storing the images of JPEGs in fewer bytes, without losing a bit.
//!
//! It is work for when the machine has time: it may be stopped at any moment and goes on where it stopped. What has been
//! tried without gain is not tried again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Event, Observer};
use crate::archive::{Archive, PackInfo, Recompressed, Sizes, Trial};
use crate::error::Result;

/// Old packs are let go whenever so many of their bytes have been rewritten; a run that is killed loses no more work.
const GROUP: u64 = 256 << 20;
/// And where the time is limited, so that what comes after it has run out takes little.
const SHORT_GROUP: u64 = 64 << 20;
/// For so long is tried what there would be to gain.
const TRIAL: Duration = Duration::from_secs(2);

/// How long to squeeze.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqueezeOptions {
    /// Stop after this long, before the next image.
    pub time: Option<Duration>,
    /// Only say what there is to do.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Squeeze {
    /// What was done.
    pub done: Recompressed,
    /// Original bytes of images that are left to try.
    pub left: u64,
    /// How many these are.
    pub images_left: u64,
    /// What all chunks of the archive add up to now.
    pub sizes: Sizes,
    /// What a trial came to, if nothing was to be done: all that is left gains about as much, as fast.
    pub trial: Trial,
    /// Whether it stopped before everything was tried.
    pub stopped: bool,
}

impl Squeeze {
    /// What recompressing all that is left would save, in bytes with their recovery data, and how long it would take; none
    /// if nothing could be tried.
    pub fn foretold(&self, parity_permille: u16) -> Option<(u64, Duration)> {
        let Trial { plain, saved, time } = self.trial;
        let times = |what: u64| (u128::from(self.left) * u128::from(what)).checked_div(u128::from(plain));
        let saved = times(saved + saved * u64::from(parity_permille) / 1000)?;
        let millis = times(u64::try_from(time.as_millis()).ok()?)?;
        Some((u64::try_from(saved).ok()?, Duration::from_millis(u64::try_from(millis).ok()?)))
    }
}

/// Recompresses the images in the archive that have not been tried yet.
///
/// # Errors
/// [`crate::error::Kind::InUse`] if another process is at it; the store's error. In any case nothing is lost.
pub fn squeeze(archive: &Archive, options: &SqueezeOptions, observer: &dyn Observer) -> Result<Squeeze> {
    let todo: Vec<PackInfo> = archive.known_packs().into_iter().filter(|pack| pack.sizes.images_left > 0).collect();
    let bytes = todo.iter().map(|pack| pack.sizes.images_left).sum();
    let images = todo.iter().map(|pack| pack.sizes.count_left).sum();
    observer.event(Event::Begin { files: images, bytes });
    let mut outcome = Squeeze::default();
    if options.dry_run {
        outcome.trial = archive.try_recompressing(&todo, TRIAL)?;
    } else if !todo.is_empty() {
        let started = Instant::now();
        let may_go_on = || {
            let in_time = options.time.is_none_or(|time| started.elapsed() < time);
            in_time && !observer.stop().load(Ordering::Relaxed)
        };
        let tried = |pack: &PackInfo| {
            observer.event(Event::Advance { files: pack.sizes.count_left, bytes: pack.sizes.images_left });
            may_go_on()
        };
        let rewriter = archive.rewriter()?;
        let group = if options.time.is_some() { SHORT_GROUP } else { GROUP };
        for group in groups(&todo, group) {
            if !may_go_on() {
                break;
            }
            outcome.done += rewriter.recompress(group, &may_go_on, &tried)?;
        }
        outcome.stopped = !may_go_on();
        observer.event(Event::Finishing);
        outcome.done += rewriter.tidy_segments()?;
    }
    for pack in archive.known_packs() {
        outcome.sizes += pack.sizes;
    }
    outcome.left = outcome.sizes.images_left;
    outcome.images_left = outcome.sizes.count_left;
    outcome.stopped &= outcome.left > 0;
    Ok(outcome)
}

/// Neighbours of about so many bytes.
fn groups(packs: &[PackInfo], most: u64) -> Vec<&[PackInfo]> {
    let mut size = 0;
    let full = |pack: &PackInfo, _: &PackInfo| {
        size += pack.len;
        let goes_on = size < most;
        if !goes_on {
            size = 0;
        }
        goes_on
    };
    packs.chunk_by(full).collect()
}
