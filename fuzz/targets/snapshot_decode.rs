//! Any bytes as a snapshot: refused, or written again as the very same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::format::Snapshot;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(snapshot) = Snapshot::decode(bytes) {
        assert!(snapshot.encode() == bytes, "it has two encodings");
    }
});
