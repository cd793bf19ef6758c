//! Where files are cut, and what a program that writes tags leaves as it was.
#![allow(clippy::big_endian_bytes, reason = "photo formats are big-endian")]

use std::io;

use super::super::RegionKind::{Content, JpegImage, Metadata};
use super::super::{Format, MAX_IMAGE, ReadAt, format, regions};
use super::build::*;
use super::{cut, parts, shape};

#[test]
fn a_tag_written_into_a_jpeg_costs_the_tag() {
    let exif = exif(&[0x55; 3000]);
    let image = image(1, 9000);
    let small = segment(0xee, b"Adobe\0d\0\0\0\0\x01");
    let before = jpeg(&[&jfif(), &exif, &small, &image]);
    let after = jpeg(&[&jfif(), &exif, &xmp(b'x', 2000), &small, &image]);

    let (old, new) = (cut(&before), cut(&after));
    let (jfif, exif, small, image) = (jfif().len() as u64, exif.len() as u64, small.len() as u64, image.len() as u64);
    assert_eq!(shape(&old), [(jfif + 2, Metadata), (exif, Metadata), (small, Metadata), (image, JpegImage)]);
    let known = parts(&before, &old);
    let fresh: Vec<_> = parts(&after, &new).into_iter().filter(|part| !known.contains(part)).collect();
    assert_eq!(fresh, [&xmp(b'x', 2000)[..]]);
}

#[test]
fn a_thumbnail_stays_when_the_date_before_it_changes() {
    let thumbnail = image(9, 5000);
    let tags = |fill: u8, len| exif(&[&vec![fill; len], &jpeg(&[&jfif(), &thumbnail])[..]].concat());
    let before = jpeg(&[&tags(1, 700), &image(1, 3000)]);
    let after = jpeg(&[&tags(2, 900), &image(1, 3000)]);

    let found = cut(&before);
    let headers = 2 + 10 + 700 + 2 + jfif().len() as u64;
    let image = image(1, 3000).len() as u64;
    assert_eq!(shape(&found), [(headers, Metadata), (thumbnail.len() as u64, JpegImage), (image, JpegImage)]);
    assert_eq!(parts(&before, &found)[1..], parts(&after, &cut(&after))[1..]);
}

#[test]
fn what_trails_a_jpeg_is_cut_too() {
    let (first, second) = (image(1, 3000), image(2, 2000));
    let movie = [ftyp(b"mp42"), boxed(b"mdat", &[&[7; 4000]])].concat();
    let file = jpeg(&[&first, &[0; 64], &jpeg(&[&second]), b"MotionPhoto_Data", &movie, b"trailer"]);
    assert_eq!(
        shape(&cut(&file)),
        [
            (2, Metadata),
            (first.len() as u64, JpegImage),
            (64, Content),
            (2, Metadata),
            (second.len() as u64, JpegImage),
            (16, Content),
            (ftyp(b"mp42").len() as u64 + 8, Metadata),
            (4000, Content),
            (7, Content),
        ]
    );
}

#[test]
fn the_end_of_an_image_is_found_wherever_a_block_ends() {
    // Blocks are 64 KiB: every way in which a marker can lie across their border.
    for len in (130_900..131_100).step_by(2) {
        let image = image(1, len);
        let file = jpeg(&[&image, b"rest"]);
        assert_eq!(shape(&cut(&file)), [(2, Metadata), (image.len() as u64, JpegImage), (4, Content)]);
    }
    // Coded data that is nothing but fill bytes and stuffing.
    let head = image(1, 0);
    let head = &head[..head.len() - 2];
    let file = jpeg(&[head, &[0xff, 0].repeat(70_000), &[0xff; 70_001], &[0xd9]]);
    assert_eq!(cut(&file).len(), 2);
}

#[test]
fn a_progressive_image_with_several_scans_is_one_region() {
    let scan = [segment(0xda, &[1, 1, 0, 0, 63, 0]), vec![0x12, 0xff, 0x00, 0x34]].concat();
    let tables = [segment(0xdb, &[0; 65]), segment(0xfe, b"in between"), segment(0xc2, &[8, 0, 1, 0, 1, 1, 1, 17, 0])];
    let image = [&tables.concat()[..], &scan, &segment(0xc4, &[0; 29]), &scan, &[0xff, 0xd9]].concat();
    let file = jpeg(&[&jfif(), &image]);
    assert_eq!(shape(&cut(&file)), [(2 + jfif().len() as u64, Metadata), (image.len() as u64, JpegImage)]);
}

#[test]
fn an_image_that_is_cut_short_too_long_or_lossless_is_no_jpeg_image() {
    let head = [jfif(), xmp(b' ', 2000)].concat();
    let whole = jpeg(&[&head, &image(1, 9000)]);
    let headers = 2 + jfif().len() as u64;
    for (file, rest) in [
        (whole[..whole.len() - 1].to_vec(), image(1, 9000).len() as u64 - 1),
        (jpeg(&[&head, &image(1, MAX_IMAGE as usize)]), image(1, MAX_IMAGE as usize).len() as u64),
        (jpeg(&[&head, &segment(0xc3, &[8, 0, 1, 0, 1, 1, 1, 17, 0]), &image(1, 90)]), 13 + image(1, 90).len() as u64),
    ] {
        let xmp = xmp(b' ', 2000).len() as u64;
        assert_eq!(shape(&cut(&file)), [(headers, Metadata), (xmp, Metadata), (rest, Content)]);
    }
}

#[test]
fn a_png_keeps_its_pixels_apart_from_its_text() {
    let before = png(&[&chunk(b"IDAT", &[1; 3000]), &chunk(b"IDAT", &[2; 500])]);
    let after = png(&[&chunk(b"iTXt", &[b'x'; 2000]), &chunk(b"IDAT", &[1; 3000]), &chunk(b"IDAT", &[2; 500])]);
    assert_eq!(shape(&cut(&before)), [(33, Metadata), (3524, Content), (12, Metadata)]);
    assert_eq!(shape(&cut(&after)), [(33, Metadata), (2012, Metadata), (3524, Content), (12, Metadata)]);
}

#[test]
fn a_moov_that_moves_and_grows_leaves_the_rest() {
    let mdat = boxed(b"mdat", &[&[7; 5000]]);
    let before = [ftyp(b"qt  "), boxed(b"wide", &[]), mdat.clone(), moov(&[])].concat();
    let after = [ftyp(b"qt  "), moov(&[&boxed(b"udta", &[&[1; 1500]])]), mdat].concat();
    let trak = 84 + 8 + 8 + 2000;
    assert_eq!(shape(&cut(&before)), [(36, Metadata), (5000, Content), (116, Metadata), (trak + 8, Metadata)]);
    assert_eq!(
        shape(&cut(&after)),
        [(20 + 116, Metadata), (trak + 8, Metadata), (1508, Metadata), (8, Metadata), (5000, Content)]
    );
}

#[test]
fn a_box_may_have_a_long_size_or_none() {
    let long = [b"\0\0\0\x01mdat", &[0, 0, 0, 0, 0, 0, 0x10, 0x10][..], &[7; 4096]].concat();
    let open = [b"\0\0\0\0mdat", &[7; 5000][..]].concat();
    let beyond = [b"\0\0\xff\xffmdat", &[7; 5000][..]].concat();
    let start = ftyp(b"mp42").len() as u64;
    assert_eq!(shape(&cut(&[ftyp(b"mp42"), long].concat())), [(start + 16, Metadata), (4096, Content)]);
    assert_eq!(shape(&cut(&[ftyp(b"mp42"), open].concat())), [(start + 8, Metadata), (5000, Content)]);
    assert_eq!(shape(&cut(&[ftyp(b"mp42"), beyond].concat())), [(start + 8, Metadata), (5000, Content)]);
}

#[test]
fn the_tags_of_a_heic_lie_apart_from_its_pictures() {
    let (before, after) = (heic(&camera_tiff()), heic(&[&camera_tiff()[..], b"more"].concat()));
    let (old, new) = (cut(&before), cut(&after));
    let tags = camera_tiff().len() as u64 + 4;
    // The header of mdat lies with the small boxes before it.
    assert_eq!(shape(&old)[1..], [(3000, Content), (tags, Metadata), (9000, Content)]);
    assert_eq!(shape(&new)[1..], [(3000, Content), (tags + 4, Metadata), (9000, Content)]);
}

#[test]
fn a_tiff_keeps_strips_and_previews_apart() {
    let ((before, at), (after, _)) = (tiff("a"), tiff("a longer comment"));
    let preview = image(3, 4000).len() as u64;
    // The strips and the byte of padding between them, then the marker that begins the preview.
    let expected = [(at[0].into(), Metadata), (6002, Content), (2, Metadata), (preview, JpegImage)];
    assert_eq!(shape(&cut(&before)), expected);
    assert_eq!(parts(&before, &cut(&before))[1..], parts(&after, &cut(&after))[1..]);
}

#[test]
fn a_tiff_whose_parts_overlap_is_left_alone() {
    let (mut file, at) = tiff("a");
    let entry = file.windows(4).position(|window| window == at[1].to_be_bytes()).unwrap();
    file[entry..entry + 4].copy_from_slice(&(at[0] + 10).to_be_bytes());
    assert_eq!(regions(&file.as_slice()).unwrap(), None);
}

#[test]
fn a_raf_gives_its_jpeg() {
    let inner = jpeg(&[&image(1, 3000)]);
    let image = image(1, 3000).len() as u64;
    assert_eq!(
        shape(&cut(&raf(&inner))),
        [(148, Metadata), (2, Metadata), (image, JpegImage), (52, Metadata), (5000, Content)]
    );
}

#[test]
fn what_is_not_known_has_no_regions() {
    for file in [&b""[..], b"\xff", b"hello", b"\xff\xd8\xff", b"MM\0*\0\0\0\x08", b"\0\0\0\x14ftyp", &[0; 4000]] {
        assert_eq!(regions(&file).unwrap(), None, "{file:?}");
    }
}

#[test]
fn the_content_says_what_a_file_is() {
    let kinds: Vec<_> = all().iter().map(|file| format(&file.as_slice()).unwrap()).collect();
    use Format::*;
    assert_eq!(kinds, [Jpeg, Jpeg, Png, Heif, Mp4, Quicktime, Tiff, Tiff, Raf, Cr3]);
    let raw = |entries: &[(u16, Value<'_>)]| [TIFF, &directory(8, entries, 0)].concat();
    for (file, kind) in [
        (raw(&[(0x00fe, Value::Long(1)), (0x010f, Value::Text("NIKON CORPORATION")), (0x014a, Value::Long(9))]), Nef),
        (raw(&[(0x010f, Value::Text("NIKON CORPORATION"))]), Tiff),
        (raw(&[(0x010f, Value::Text("SONY")), (0xc634, Value::Long(9))]), Arw),
        (raw(&[(0x010f, Value::Text("SONY")), (0xc612, Value::Bytes(&[1, 4, 0, 0]))]), Dng),
        (b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0".to_vec(), Cr2),
        (b"IIRO\x08\0\0\0".to_vec(), Orf),
        (b"IIU\0\x18\0\0\0".to_vec(), Rw2),
    ] {
        assert_eq!(format(&file.as_slice()).unwrap(), kind);
    }
    assert!(Nef.is_raw() && Nef.is_photo() && !Nef.is_video() && Mp4.is_video() && !Other.is_photo());
}

/// A drive that stops answering at some byte.
struct Failing<'a>(&'a [u8], u64);

impl ReadAt for Failing<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset + buf.len() as u64 > self.1 {
            return Err(io::Error::other("unplugged"));
        }
        self.0.read_at(offset, buf)
    }
}

#[test]
fn a_read_error_is_never_taken_for_an_odd_file() {
    let file = jpeg(&[&jfif(), &image(1, 200_000), &jpeg(&[&image(2, 90_000)])]);
    assert!(regions(&Failing(&file, file.len() as u64)).unwrap().is_some());
    for good in (0..file.len() as u64).step_by(10_000) {
        assert_eq!(regions(&Failing(&file, good)).unwrap_err().to_string(), "unplugged");
    }
}
