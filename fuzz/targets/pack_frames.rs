//! Any bytes as a pack: its directory and its frames, found without one, lie inside it and do not overlap; whatever is
//! unpacked from them is what its name says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::archive::{find_frames, unpack_frame};
use snapkeep::format::{DIRECTORY_ROW_LEN, ENVELOPE_LEN, Row, TRAILER_LEN, decode_directory, decode_trailer};
use snapkeep::id::ChunkId;

fuzz_target!(|bytes: &[u8]| {
    let rows = find_frames(bytes);
    lie_inside(&rows, bytes.len());
    for row in rows {
        let frame = &bytes[row.offset as usize..][..row.frame_len() as usize];
        if let Ok(plain) = unpack_frame(row.frame.kind, &row.frame.id, frame) {
            assert_eq!(ChunkId::of(row.frame.kind, &plain), row.frame.id);
        }
    }
    // The directory of a whole pack, and any bytes as one whose check sum fits.
    if let Some((rest, trailer)) = bytes.split_at_checked(bytes.len().saturating_sub(TRAILER_LEN))
        && let Ok((frames_end, count, hash)) = decode_trailer(trailer, bytes.len() as u64)
        && let Some(start) = rest.len().checked_sub(count as usize * DIRECTORY_ROW_LEN)
        && let Ok(rows) = decode_directory(&rest[start..], frames_end, &hash)
    {
        lie_inside(&rows, start);
    }
    let end = bytes.get(..4).map_or(0, |end| u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    let directory = bytes.get(4..).unwrap_or_default();
    if let Ok(rows) = decode_directory(directory, end, blake3::hash(directory).as_bytes()) {
        lie_inside(&rows, end as usize);
    }
});

fn lie_inside(rows: &[Row], end: usize) {
    let mut at = ENVELOPE_LEN as u64;
    for row in rows {
        assert!(u64::from(row.offset) >= at, "frames overlap");
        at = u64::from(row.offset) + row.frame_len();
    }
    assert!(rows.is_empty() || at <= end as u64, "a frame ends outside");
}
