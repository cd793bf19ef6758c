//! Pictures are made in code; the real ones beside the project are used where they are present.

mod build;
mod facts;
mod hostile;
mod photos;
mod regions;

use super::{Region, RegionKind, regions};

/// The regions of a file, having seen that they cover it.
fn cut(file: &[u8]) -> Vec<Region> {
    let found = regions(&file).expect("bytes in memory can be read").unwrap_or_default();
    assert_covers(file, &found);
    found
}

fn assert_covers(file: &[u8], found: &[Region]) {
    let mut at = 0;
    for region in found {
        assert_eq!(region.start, at, "no gap, no overlap: {found:?}");
        assert!(region.len > 0, "no empty region: {found:?}");
        at += region.len;
    }
    assert!(found.is_empty() || at == file.len() as u64, "all of it: {found:?}");
}

/// Lengths and kinds, for comparing with what a test expects.
fn shape(found: &[Region]) -> Vec<(u64, RegionKind)> {
    found.iter().map(|region| (region.len, region.kind)).collect()
}

/// The bytes of each region.
fn parts<'a>(file: &'a [u8], found: &[Region]) -> Vec<&'a [u8]> {
    found.iter().map(|region| &file[region.start as usize..region.range().end as usize]).collect()
}
