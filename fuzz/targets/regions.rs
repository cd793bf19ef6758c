//! Any bytes as a file: the regions cover it exactly, and its facts are read without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::media::{self, MAX_IMAGE, RegionKind};

fuzz_target!(|bytes: &[u8]| {
    if let Some(regions) = media::regions(&bytes).expect("memory can be read") {
        let mut at = 0;
        for region in regions {
            assert_eq!(region.start, at, "a gap or an overlap");
            assert!(region.len > 0, "an empty region");
            assert!(region.kind != RegionKind::JpegImage || region.len <= MAX_IMAGE, "too long an image");
            at += region.len;
        }
        assert_eq!(at, bytes.len() as u64, "the regions end elsewhere");
    }
    let format = media::format(&bytes).expect("memory can be read");
    _ = media::facts(&bytes, format);
});
