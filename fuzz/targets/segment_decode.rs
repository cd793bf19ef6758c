//! Any bytes as a segment: refused, or written again as the very same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::format::Segment;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(segment) = Segment::decode(bytes) {
        assert!(segment.encode() == bytes, "it has two encodings");
    }
});
