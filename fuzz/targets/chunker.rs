//! Any bytes are cut: the chunks cover them exactly, are as long as they may be, lie where the published algorithm puts them,
//! and do not depend on how much of the file is seen at once. Regions of a file are cut each on its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::chunk::Cutter;
use snapkeep::media;

fuzz_target!(|bytes: &[u8]| {
    let Some(([scale, window, stretch], rest)) = bytes.split_first_chunk() else { return };
    let min = 64_u32 << (scale % 3);
    let (average, max) = (min * 4, min * 16);
    let cutter = Cutter::new(min, average, max);
    // A few bytes make long content: as they are, and again and again with a twist.
    let times = 1 + usize::from(*stretch) % 32;
    let content: Vec<u8> =
        (0..times).flat_map(|turn| rest.iter().map(move |byte| byte.wrapping_mul(1 + 2 * turn as u8))).collect();
    let whole = cut(&cutter, &content, content.len().max(1), (min, max));
    let reference: Vec<usize> = if content.is_empty() {
        Vec::new()
    } else {
        fastcdc::v2020::FastCDC::new(&content, min as usize, average as usize, max as usize)
            .map(|chunk| chunk.offset + chunk.length)
            .collect()
    };
    assert!(whole == reference, "it is not the published algorithm");
    let seen = max as usize + usize::from(*window) * 7;
    assert!(cut(&cutter, &content, seen, (min, max)) == whole, "cuts depend on the window");
    if let Ok(Some(regions)) = media::regions(&rest) {
        let mut end = 0;
        for region in regions {
            let range = region.range();
            assert!(range.start == end && range.end > range.start, "regions lie end to end");
            let part = &rest[range.start as usize..range.end as usize];
            cut(&cutter, part, part.len(), (min, max));
            end = range.end;
        }
        assert!(end == rest.len() as u64, "regions cover the file");
    }
});

/// Where chunks end when so many bytes are seen at once.
fn cut(cutter: &Cutter, content: &[u8], window: usize, (min, max): (u32, u32)) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < content.len() {
        let end = content.len().min(at + window);
        let len = cutter.cut(&content[at..end], end == content.len()).expect("enough is seen");
        let last = at + len == content.len();
        assert!(len > 0 && len <= max as usize && (last || len >= min as usize), "a chunk of {len} bytes");
        at += len;
        ends.push(at);
    }
    assert!(at == content.len());
    ends
}
