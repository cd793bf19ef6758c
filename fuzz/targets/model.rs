//! Any sequence of what people do with an archive, against plain copies of every snapshot: see `tests/common/model.rs`.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/model.rs"]
mod model;
#[path = "../../tests/common/picture.rs"]
mod picture;

/// More would take too long for a fuzzer.
const STEPS: usize = 24;

fuzz_target!(|bytes: &[u8]| {
    let root = PathBuf::from(format!("/dev/shm/snapkeep-fuzz-model-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    let mut model = model::Model::new(&root);
    let mut rest = bytes.iter();
    let mut choose = |end: u64| {
        let mut next = || rest.next().copied().unwrap_or_default();
        let number = u64::from(u32::from_le_bytes([next(), if end > 256 { next() } else { 0 }, 0, 0]));
        number % end
    };
    for _ in 0..STEPS.min(bytes.len()) {
        model.step(&mut choose);
    }
    model.end();
    let _ = std::fs::remove_dir_all(&root);
});
