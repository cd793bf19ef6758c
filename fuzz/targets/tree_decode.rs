//! Any bytes as a tree: refused, or written again as the very same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::format::Tree;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tree) = Tree::decode(bytes) {
        assert!(tree.encode() == bytes, "it has two encodings");
    }
});
