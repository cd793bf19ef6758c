//! What is packed comes back, and nothing that is stored can make the library do harm. Most JPEGs here are made by hand.

#[path = "../../../tests/common/picture.rs"]
mod picture;

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{MAX_PLAIN, decode as decode_any};
use super::*;
use crate::error::Kind;
use picture::image;

fn unpack(stored: &[u8], plain_len: usize) -> Result<Vec<u8>> {
    decode_any(Codec::Jpeg.number(), Codec::Jpeg.version(), stored, plain_len)
}

fn refused(stored: &[u8], plain_len: usize) -> String {
    let error = unpack(stored, plain_len).expect_err("must be refused");
    assert_eq!(error.kind(), Kind::Damaged);
    error.to_string()
}

#[test]
fn images_shrink_and_come_back() {
    for (width, height) in [(16, 16), (17, 9), (640, 8), (8, 640), (333, 222)] {
        for colours in [1, 3] {
            for progressive in [false, true] {
                let image = image(width, height, colours, progressive);
                let packed = encode_jpeg(&image).expect("packed");
                assert!(packed.bytes.len() < image.len());
                assert_eq!((packed.codec, packed.version), (Codec::Jpeg, 1));
                assert_eq!(unpack(&packed.bytes, image.len()).expect("unpacked"), image);
            }
        }
    }
}

#[test]
fn what_is_no_image_is_declined() {
    let good = image(64, 64, 3, false);
    assert!(encode_jpeg(&good).is_some());
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let frame = 2 + 67 + 2; // where the frame's length stands
    assert_eq!(good[frame - 2..frame], [0xff, 0xc0]);
    for bad in [
        vec![],
        END.to_vec(),
        b"some text".to_vec(),
        [&START[..], &good].concat(),
        good[..good.len() - 2].to_vec(),
        good[1..].to_vec(),
        with(frame - 1, &[0xc9]),                   // arithmetic coding
        with(frame - 1, &[0xc3]),                   // lossless
        with(frame + 2, &[12]),                     // twelve bits
        with(frame + 3, &[0, 0]),                   // no height
        with(frame + 3, &[0xff, 0xff, 0xff, 0xff]), // dimensions that the data cannot fill
        with(frame + 7, &[4]),                      // four colours
        with(frame + 9, &[0x41]),                   // strange sampling
        [&good[..frame - 2], &good[frame - 2..frame + 17].repeat(2), &good[frame + 17..]].concat(), // two frames
    ] {
        assert!(encode_jpeg(&bad).is_none(), "{:02x?}…", &bad[..bad.len().min(90)]);
    }
    // Noise where the scan was: whatever the library thinks of it, nothing wrong comes out.
    for seed in 0..50u8 {
        let mut noisy = good.clone();
        let from = good.len() / 2;
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut noisy[from..good.len() - 2]);
        if let Some(packed) = encode_jpeg(&noisy) {
            assert_eq!(unpack(&packed.bytes, noisy.len()).expect("unpacked"), noisy);
        }
    }
}

/// What version 1 wrote on the day it was made: must be read for ever.
const GOLDEN: &str = "
    cf84015a010000004d535b010000833a000000001c02000020010000789ca590355442611886bf1f8cab3880892e1e3b260373f10857b93a
    e9b5ddecd8ecd8ecd8ecd8c47633b0260373b30527157332a9e5e71f38c4ccb37cdf79cfb3bc2f43b32204801f40025c3bc17bc0a3800f42
    84048015e00f0437b00671b80e8e4ece948b2b8f0872be299699852f8b2170f7f0f4f2f611fafa0504060587848685474446c7c48ae2e213
    12939253c5123a2d5dca646466b339b979f9058545c525a565e5159555d535b575f50d8d4dcd2dad6ded1d9d5ddd3dbd7dfd038343c323a3
    63e3139353d333b2d9b9f985c5a5e595d5b5f50df9e6d6f6ceeefec1a1e2e8f8e4f4ecfce2f2eafae6f6ee5ea97a7c7a56bfbcbebd7f7c7e
    fffcfefd6bb43abd01ab804264b114c88aa28161c8abb6a92865c51c72b0d208c9ff61c8434d500087002d9a515aac36b9a23bc0cff07eaf
    1c8b18da6fcdbfd688290b034b231d2275fc7cbed8ffd9ce73278ab394a6e3f8b2de4eaae2e9713f42728ce8c17336d02637129a6677f05c
    2ac0eab5e3600c5dcd5e6ca4388fbd334f9840a2b8a15ce40c186f748c6be1b2f7cc82474ec14c3bd2fb0ce7472562a9fc60af35f141acef
    86060cdb9ed72258f400ce010000
";

fn golden_image() -> Vec<u8> {
    image(24, 16, 1, false)
}

#[test]
fn the_golden_stream_is_read() {
    let digits: Vec<u8> = GOLDEN.chars().filter_map(|hex| Some(hex.to_digit(16)? as u8)).collect();
    let stored: Vec<u8> = digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect();
    assert_eq!(unpack(&stored, golden_image().len()).expect("version 1 is read for ever"), golden_image());
}

#[test]
fn the_encoder_writes_what_it_wrote() {
    // The library is pinned because an other version of it may write other bytes, which older programs may be unable
    // to read (it has happened: its 0.5.5). If this fails after an update: read its changes, decode these streams with the
    // old version, give the codec a new version number if it cannot, and only then write down the new hash.
    let mut hasher = blake3::Hasher::new();
    for (width, height, colours, progressive) in [(24, 16, 1, false), (333, 222, 3, false), (333, 222, 3, true)] {
        let stream = encode_jpeg(&image(width, height, colours, progressive)).expect("packed").bytes;
        // The zlib library is free to find a shorter form of the header, so it is unpacked, and lengths are left out.
        let packed = u32::from_le_bytes(stream[24..28].try_into().expect("four bytes")) as usize;
        let mut header = Vec::new();
        flate2::read::ZlibDecoder::new(&stream[28..28 + packed]).read_to_end(&mut header).expect("a header");
        hasher.update(&stream[..24]).update(&header).update(&stream[28 + packed..stream.len() - 4]);
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), "6858e7a4f27b6bf80edeade9680500f82e8fd4e2888bfed816f10e7b1f9ad1b1");
}

/// A stream around a header of our own making, followed by nothing.
fn stream(header: &[u8], plain_len: u32) -> Vec<u8> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(header).expect("to memory");
    let packed = packer.finish().expect("to memory");
    let mut out = vec![0xcf, 0x84, 1, b'Z', 1, 0, 0, 0, b'M', b'S', 0, 0, 0, 0, 0x83, 58, 0, 0, 0, 0];
    out.extend((plain_len + 2).to_le_bytes());
    out.extend((packed.len() as u32).to_le_bytes());
    out.extend(packed);
    out.extend(b"CMP");
    let len = out.len() as u32 + 4;
    out.extend(len.to_le_bytes());
    out
}

#[test]
fn claims_are_checked_before_memory_is_taken() {
    const LEN: u32 = 60_000;
    let part = [&b"HH\x01\0\0"[..], &LEN.to_le_bytes(), &[0; 10]].concat();
    let tables = |image: &[u8]| [&b"HDR"[..], &(image.len() as u32).to_le_bytes(), image].concat();
    let good = image(333, 222, 3, false);
    let scan = good.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan") + 14;
    let mut huge = good[..scan].to_vec();
    huge[74..78].fill(0xff); // 65,535 by 65,535 in three colours: 25 GB of coefficients
    let many_scans = [&good[..scan], &good[scan - 14..scan].repeat(100)].concat();

    // The header that all others are variations of is let through; it fails later, having no data.
    let plain = [tables(&good[..scan]), part.clone()].concat();
    assert_eq!(limits::stream_fits(&stream(&plain, LEN), LEN as usize), Ok(()));
    refused(&stream(&plain, LEN), LEN as usize);
    for (what, header) in [
        ("nothing", vec![]),
        ("a huge image", [tables(&huge), part.clone()].concat()),
        ("tables of 4 GB", [&b"HDR\xff\xff\xff\xff"[..], &good[..scan], &part].concat()),
        ("a tail of 4 GB", [&plain[..], b"GRB\xff\xff\xff\xff"].concat()),
        ("restart errors of 4 GB", [&plain[..], b"FRS\xff\xff\xff\xff"].concat()),
        ("restarts of 16 GB", [&plain[..], b"CRS\xff\xff\xff\xff"].concat()),
        ("headers of 64 MB", [&plain[..], &vec![0; 64 << 20]].concat()),
        ("no part", tables(&good[..scan])),
        ("two parts", [&plain[..], &part].concat()),
        ("255 parts in one", [&plain[..], b"HH\xff", &[0; 255 * 16]].concat()),
        ("a part that starts late", [&tables(&good[..scan])[..], b"HH\x01\x01\0", &[0; 14]].concat()),
        ("a part of 4 GB", [&tables(&good[..scan])[..], b"HH\x01\0\0\xff\xff\xff\xff", &[0; 10]].concat()),
        ("a hundred scans", [tables(&many_scans), part.clone()].concat()),
    ] {
        assert!(limits::stream_fits(&stream(&header, LEN), LEN as usize).is_err(), "{what}");
        refused(&stream(&header, LEN), LEN as usize);
    }
    // The same, said in the uncompressed header.
    let good = encode_jpeg(&good).map(|packed| (packed.bytes.into_owned(), good.len())).expect("packed");
    for (at, bytes) in [(20, [0xff; 4]), (24, [0xff; 4]), (4, [16, 0, 0, 0]), (14, [0x80, 58, 0, 0]), (0, [0; 4])] {
        let mut lying = good.0.clone();
        lying[at..at + 4].copy_from_slice(&bytes);
        refused(&lying, good.1);
    }
    for wrong in [0, 1, good.1 - 1, good.1 + 1, MAX_PLAIN] {
        refused(&good.0, wrong);
    }
}

#[test]
fn a_broken_stream_gives_an_error_or_as_many_bytes() {
    // A stream has no check sum: wrong bytes of the right length are for the caller's hash to find.
    let images = [image(64, 48, 3, false), image(64, 48, 1, true)];
    for image in &images {
        let good = encode_jpeg(image).expect("packed").bytes.into_owned();
        let check = |broken: &[u8]| match unpack(broken, image.len()) {
            Ok(bytes) => assert_eq!(bytes.len(), image.len()),
            Err(error) => assert_eq!(error.kind(), Kind::Damaged),
        };
        for len in 0..good.len() {
            refused(&good[..len], image.len());
        }
        refused(&[&good[..], b"x"].concat(), image.len());
        for at in 0..good.len() {
            for change in [1, 0x80, 0xff] {
                let mut broken = good.clone();
                broken[at] ^= change;
                check(&broken);
            }
        }
        let mut random = blake3::Hasher::new().finalize_xof();
        for _ in 0..2000 {
            let mut broken = good.clone();
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            for [a, b, change, _] in bytes.as_chunks::<4>().0 {
                let at = usize::from(u16::from_le_bytes([*a, *b])) % broken.len();
                broken[at] = *change;
            }
            check(&broken);
        }
    }
}

/// The image of a JPEG file: from the first segment that is neither application data nor comment to the last end marker.
fn image_of(file: &[u8]) -> Option<&[u8]> {
    let mut at = file.starts_with(&START).then_some(2)?;
    while let [0xff, 0xe0..=0xef | 0xfe, high, low] = *file.get(at..at + 4)? {
        at += 2 + (usize::from(high) << 8 | usize::from(low));
    }
    let end = file.windows(2).rposition(|pair| pair == END)? + 2;
    file.get(at..end)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/photos").join(folder);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

#[test]
fn nothing_wrong_comes_of_files_that_broke_other_programs() {
    for path in files("fuzzed") {
        let file = fs::read(&path).unwrap_or_default();
        for image in [Some(&file[..]), file.get(2..), image_of(&file)].into_iter().flatten() {
            let mut ended = image.to_vec();
            ended.extend(END);
            for image in [image, &ended] {
                if let Some(packed) = encode_jpeg(image) {
                    assert_eq!(unpack(&packed.bytes, image.len()).expect("unpacked"), image, "{}", path.display());
                }
            }
            // The same bytes as a stream, with a beginning that looks right.
            _ = unpack(image, image.len());
        }
    }
}

#[test]
fn real_photos_shrink_and_come_back() {
    let mut tried = 0;
    for path in files("jpeg").into_iter().step_by(5) {
        let file = fs::read(&path).unwrap_or_default();
        let Some(image) = image_of(&file).filter(|image| image.len() < 600_000) else { continue };
        if let Some(packed) = encode_jpeg(image) {
            tried += 1;
            assert!(packed.bytes.len() < image.len());
            assert_eq!(unpack(&packed.bytes, image.len()).expect("unpacked"), image, "{}", path.display());
        }
    }
    assert!(tried > 0 || files("jpeg").is_empty());
}

#[test]
fn a_panic_is_known_to_be_caught_only_while_the_library_works() {
    assert!(!panic_is_caught());
    let result = quietly(|| -> std::result::Result<(), _> {
        assert!(panic_is_caught());
        panic!("as the library might");
    });
    assert!(result.is_err() && !panic_is_caught());
}
