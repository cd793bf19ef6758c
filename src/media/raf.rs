//! Regions of a Fujifilm RAF: its header says where the full-size JPEG and the sensor's data lie.

use std::io;

use super::bytes::{Window, be};
use super::cuts::Cuts;
use super::{RegionKind, jpeg};

/// Where the header keeps the offset and length of the JPEG, of the tags, and of the sensor's data.
const DIRECTORY: u64 = 84;

/// Cuts a RAF file; leaves it whole if the header names parts that are not there or not in order.
pub(super) fn cut(window: &mut Window<'_>, cuts: &mut Cuts) -> io::Result<()> {
    let Some((jpeg_start, jpeg_len)) = jpeg_range(window)? else { return Ok(()) };
    let Some(rest) = window.array::<16>(DIRECTORY + 8)? else { return Ok(()) };
    let jpeg_end = jpeg_start + jpeg_len;
    let tags = be(&rest[..4]);
    let data = be(&rest[8..12]);
    if jpeg_end > data || data > window.len() || tags > data {
        return Ok(());
    }
    cuts.to(jpeg_start, RegionKind::Metadata);
    jpeg::cut_within(window, cuts, jpeg_end)?;
    cuts.to(data, if data - jpeg_end <= 1 << 20 { RegionKind::Metadata } else { RegionKind::Content });
    Ok(())
}

/// Offset and length of the JPEG, which also holds the capture facts.
pub(super) fn jpeg_range(window: &mut Window<'_>) -> io::Result<Option<(u64, u64)>> {
    let Some(head) = window.array::<8>(DIRECTORY)? else { return Ok(None) };
    let (start, len) = (be(&head[..4]), be(&head[4..]));
    Ok((start >= DIRECTORY + 24 && len > 0 && start + len <= window.len()).then_some((start, len)))
}
