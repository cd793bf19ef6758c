//! Any bytes as a JPEG's image and as a recompressed one: what is packed comes back, and what is broken gives an error
//! or as many bytes as were asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::codec::{self, Codec, MAX_PLAIN};
use snapkeep::error::Kind;
use snapkeep::media::{self, RegionKind};

const JPEG: (u8, u8) = (Codec::Jpeg.number(), Codec::Jpeg.version());

fuzz_target!(init: let_caught_panics_pass(), |bytes: &[u8]| {
    there_and_back(bytes);
    for region in media::regions(&bytes).expect("memory can be read").unwrap_or_default() {
        if region.kind == RegionKind::JpegImage {
            there_and_back(&bytes[region.start as usize..][..region.len as usize]);
        }
    }
    // As a stream, of the length that it claims itself, since any other is refused at once.
    let claimed = bytes.get(20..24).map_or(0, |len| u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
    unpack(bytes, (claimed as usize).saturating_sub(2));
});

fn there_and_back(image: &[u8]) {
    let Some(packed) = codec::encode_jpeg(image) else { return };
    let mut stream = packed.bytes.into_owned();
    assert!(stream.len() < image.len(), "it grew");
    let back = codec::decode(JPEG.0, JPEG.1, &stream, image.len()).expect("what was packed is unpacked");
    assert!(back == image, "another image came back");
    // The same with a few bytes broken, always the same ones for the same image.
    let mut random = blake3::Hasher::new().update(image).finalize_xof();
    let mut places = [0; 16];
    random.fill(&mut places);
    for place in places.as_chunks::<4>().0 {
        let at = u32::from_le_bytes(*place) as usize % stream.len();
        stream[at] ^= place[3] | 1;
    }
    unpack(&stream, image.len());
}

fn unpack(stream: &[u8], plain_len: usize) {
    match codec::decode(JPEG.0, JPEG.1, stream, plain_len) {
        Ok(bytes) => assert!(bytes.len() == plain_len && plain_len <= MAX_PLAIN),
        Err(error) => assert_eq!(error.kind(), Kind::Damaged),
    }
}

/// libFuzzer's hook ends the program at a panic. One inside the JPEG library is caught, and is no finding.
fn let_caught_panics_pass() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !codec::panic_is_caught() {
            end(panic);
        }
    }));
}
