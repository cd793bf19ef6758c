//! Small files of every kind, laid out as cameras do it.
#![allow(clippy::big_endian_bytes, reason = "photo formats are big-endian")]

/// A marker segment of a JPEG.
pub fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len() + 2).unwrap();
    [&[0xff, marker], &len.to_be_bytes()[..], content].concat()
}

/// Tables, a frame and `len` bytes of coded data with stuffing and restarts in them, up to EOI.
pub fn image(seed: u8, len: usize) -> Vec<u8> {
    let mut made = segment(0xdb, &[seed; 65]);
    made.extend(segment(0xc0, &[8, 0, 120, 0, 160, 1, 1, 0x11, 0]));
    made.extend(segment(0xc4, &[0; 29]));
    made.extend(segment(0xda, &[1, 1, 0, 0, 63, 0]));
    let mut state = u32::from(seed) + 1;
    for i in 0..len / 2 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match i % 50 {
            7 => made.extend([0xff, 0x00]),
            31 => made.extend([0xff, 0xd0 + (i % 8) as u8]),
            _ => made.extend([(state >> 24) as u8 & 0x7f, (state >> 16) as u8 & 0x7f]),
        }
    }
    made.extend([0xff, 0xd9]);
    made
}

/// SOI and parts.
pub fn jpeg(parts: &[&[u8]]) -> Vec<u8> {
    [&[0xff, 0xd8][..], &parts.concat()].concat()
}

pub fn jfif() -> Vec<u8> {
    segment(0xe0, b"JFIF\0\x01\x01\0\0\x48\0\x48\0\0")
}

pub fn xmp(fill: u8, len: usize) -> Vec<u8> {
    segment(0xe1, &[&b"http://ns.adobe.com/xap/1.0/\0"[..], &vec![fill; len]].concat())
}

/// An EXIF segment that holds `tiff`.
pub fn exif(tiff: &[u8]) -> Vec<u8> {
    segment(0xe1, &[&b"Exif\0\0"[..], tiff].concat())
}

/// What a tag says.
pub enum Value<'a> {
    Short(u16),
    Long(u32),
    Longs(&'a [u32]),
    Text(&'a str),
    Fractions(&'a [(u32, u32)]),
    Bytes(&'a [u8]),
    Byte(u8),
}

/// A big-endian directory at the offset `at`, its longer values behind it.
pub fn directory(at: u32, entries: &[(u16, Value<'_>)], next: u32) -> Vec<u8> {
    let mut made = u16::try_from(entries.len()).unwrap().to_be_bytes().to_vec();
    let mut values = Vec::new();
    let values_at = at + 2 + 12 * entries.len() as u32 + 4;
    for (tag, value) in entries {
        let (kind, count, mut bytes) = match value {
            Value::Short(n) => (3_u16, 1, n.to_be_bytes().to_vec()),
            Value::Long(n) => (4, 1, n.to_be_bytes().to_vec()),
            Value::Longs(all) => (4, all.len(), all.iter().flat_map(|n| n.to_be_bytes()).collect()),
            Value::Text(text) => (2, text.len() + 1, [text.as_bytes(), &[0]].concat()),
            Value::Fractions(all) => {
                let bytes = all.iter().flat_map(|(a, b)| [a.to_be_bytes(), b.to_be_bytes()].concat()).collect();
                (5, all.len(), bytes)
            }
            Value::Bytes(bytes) => (7, bytes.len(), bytes.to_vec()),
            Value::Byte(byte) => (1, 1, vec![*byte]),
        };
        made.extend(tag.to_be_bytes());
        made.extend(kind.to_be_bytes());
        made.extend((count as u32).to_be_bytes());
        if bytes.len() > 4 {
            made.extend((values_at + values.len() as u32).to_be_bytes());
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            values.extend(bytes);
        } else {
            bytes.resize(4, 0);
            made.extend(bytes);
        }
    }
    made.extend(next.to_be_bytes());
    made.extend(values);
    made
}

pub const TIFF: &[u8] = b"MM\0*\0\0\0\x08";

/// A camera's tags: what, when, where.
pub fn camera_tiff() -> Vec<u8> {
    let note = [b"Apple iOS\0\0\x01MM", &directory(14, &[(0x11, Value::Text("0F3A5C2E-LIVE"))], 0)[..]].concat();
    let first = |exif, gps| {
        directory(
            8,
            &[
                (0x010f, Value::Text("Apple")),
                (0x0110, Value::Text("iPhone 12")),
                (0x0112, Value::Short(6)),
                (0x8769, Value::Long(exif)),
                (0x8825, Value::Long(gps)),
            ],
            0,
        )
    };
    let exif_at = 8 + first(0, 0).len() as u32;
    let exif = directory(
        exif_at,
        &[
            (0x9003, Value::Text("2021:07:31 18:05:09")),
            (0x9011, Value::Text("+02:00")),
            (0x927c, Value::Bytes(&note)),
            (0x9291, Value::Text("25")),
        ],
        0,
    );
    let gps_at = exif_at + exif.len() as u32;
    let gps = directory(
        gps_at,
        &[
            (1, Value::Text("S")),
            (2, Value::Fractions(&[(33, 1), (30, 1), (36, 1)])),
            (3, Value::Text("E")),
            (4, Value::Fractions(&[(18, 1), (15, 1), (0, 1)])),
            (5, Value::Byte(1)),
            (6, Value::Fractions(&[(25, 2)])),
        ],
        0,
    );
    [TIFF, &first(exif_at, gps_at), &exif, &gps].concat()
}

/// A chunk of a PNG; nobody here looks at its checksum.
pub fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes()[..], name, content, &[0; 4]].concat()
}

pub fn png(chunks: &[&[u8]]) -> Vec<u8> {
    let head = chunk(b"IHDR", &[0, 0, 0, 64, 0, 0, 0, 48, 8, 2, 0, 0, 0]);
    [b"\x89PNG\r\n\x1a\n", &head[..], &chunks.concat(), &chunk(b"IEND", b"")].concat()
}

/// A box of an ISO file.
pub fn boxed(name: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    [&(content.len() as u32 + 8).to_be_bytes()[..], name, &content].concat()
}

pub fn ftyp(brand: &[u8; 4]) -> Vec<u8> {
    boxed(b"ftyp", &[brand, &[0; 4], brand])
}

/// A movie's header and its one track, made 2020-02-29 12:00:00 UTC and 2.5 s long.
pub fn moov(more: &[&[u8]]) -> Vec<u8> {
    let created = (2_082_844_800_u32 + 1_582_977_600).to_be_bytes();
    let mvhd =
        boxed(b"mvhd", &[&[0; 4], &created, &created, &600_u32.to_be_bytes(), &1500_u32.to_be_bytes(), &[0; 80]]);
    let tkhd = boxed(b"tkhd", &[&[0; 76], &[7, 128, 0, 0], &[4, 56, 0, 0]]);
    let table = boxed(b"mdia", &[&[3; 2000]]);
    let trak = boxed(b"trak", &[&tkhd, &table]);
    boxed(b"moov", &[&mvhd, &trak, &more.concat()])
}

/// QuickTime's tags.
pub fn quicktime_meta(tags: &[(&str, &str)]) -> Vec<u8> {
    let names: Vec<_> = tags.iter().map(|(name, _)| boxed(b"mdta", &[name.as_bytes()])).collect();
    let values: Vec<_> = tags
        .iter()
        .zip(1_u32..)
        .map(|((_, value), i)| {
            let data = boxed(b"data", &[&[0, 0, 0, 1, 0, 0, 0, 0], value.as_bytes()]);
            boxed(&i.to_be_bytes(), &[&data])
        })
        .collect();
    let keys = boxed(b"keys", &[&[0; 4], &(tags.len() as u32).to_be_bytes(), &names.concat()]);
    boxed(b"meta", &[&boxed(b"hdlr", &[&[0; 24]]), &keys, &boxed(b"ilst", &[&values.concat()])])
}

/// A HEIC with a picture, the tags, and another picture in its `mdat`; the second one is the larger.
pub fn heic(tags: &[u8]) -> Vec<u8> {
    let tags = [&[0, 0, 0, 0][..], tags].concat();
    let parts: [(&[u8; 4], &[u8]); 3] = [(b"hvc1", &[5; 3000]), (b"Exif", &tags), (b"hvc1", &[6; 9000])];
    let meta = |mdat: u32| {
        let entry = |(i, (kind, _)): (u16, &(&[u8; 4], &[u8]))| {
            boxed(b"infe", &[&[2, 0, 0, 0], &i.to_be_bytes(), &[0, 0], &kind[..], &[0]])
        };
        let entries: Vec<_> = (1_u16..).zip(&parts).flat_map(entry).collect();
        let mut places = vec![1, 0, 0, 0, 0x44, 0, 0, 3];
        let mut at = mdat;
        for (i, (_, bytes)) in (1_u16..).zip(&parts) {
            places.extend(i.to_be_bytes());
            places.extend([0, 0, 0, 0, 0, 1]);
            places.extend(at.to_be_bytes());
            places.extend((bytes.len() as u32).to_be_bytes());
            at += bytes.len() as u32;
        }
        let sizes = [(512_u32, 512_u32), (4032, 3024)]
            .map(|(width, height)| boxed(b"ispe", &[&[0; 4], &width.to_be_bytes(), &height.to_be_bytes()]));
        let properties = boxed(b"iprp", &[&boxed(b"ipco", &[&sizes.concat()])]);
        boxed(
            b"meta",
            &[
                &[0; 4],
                &boxed(b"hdlr", &[&[0; 24]]),
                &boxed(b"iinf", &[&[0, 0, 0, 0, 0, 3], &entries]),
                &properties,
                &boxed(b"iloc", &[&places]),
            ],
        )
    };
    let ftyp = ftyp(b"heic");
    let at = (ftyp.len() + meta(0).len() + 8) as u32;
    let payload: Vec<_> = parts.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    [ftyp, meta(at), boxed(b"mdat", &[&payload])].concat()
}

/// A TIFF with two strips that follow each other and an embedded JPEG; and where those three begin.
pub fn tiff(comment: &str) -> (Vec<u8>, [u32; 3]) {
    let preview = jpeg(&[&image(3, 4000)]);
    let make = |offsets: [u32; 3]| {
        directory(
            8,
            &[
                (0x0100, Value::Long(1000)),
                (0x0101, Value::Long(700)),
                (0x010e, Value::Text(comment)),
                (0x0111, Value::Longs(&offsets[..2])),
                (0x0117, Value::Longs(&[3001, 3000])),
                (0x0201, Value::Long(offsets[2])),
                (0x0202, Value::Long(preview.len() as u32)),
            ],
            0,
        )
    };
    let first = 8 + make([0; 3]).len() as u32;
    // The second strip begins at an even offset.
    let offsets = [first, first + 3002, first + 6002];
    let strips = [&[1; 3001][..], &[0], &[2; 3000]].concat();
    ([TIFF, &make(offsets), &strips, &preview].concat(), offsets)
}

/// A RAF whose JPEG is `jpeg`.
pub fn raf(jpeg: &[u8]) -> Vec<u8> {
    let mut made = b"FUJIFILMCCD-RAW 0201".to_vec();
    made.resize(148, 0);
    let data = 148 + jpeg.len() as u32 + 52;
    for (i, number) in [148, jpeg.len() as u32, data - 52, 52, data, 5000].into_iter().enumerate() {
        made[84 + 4 * i..][..4].copy_from_slice(&number.to_be_bytes());
    }
    made.extend(jpeg);
    made.extend([9; 52]);
    made.extend([8; 5000]);
    made
}

/// A Canon raw file with its tags in three boxes.
pub fn cr3() -> Vec<u8> {
    let first = [TIFF, &directory(8, &[(0x010f, Value::Text("Canon")), (0x0110, Value::Text("EOS R5"))], 0)].concat();
    let exif = [
        TIFF,
        &directory(
            8,
            &[(0x9003, Value::Text("2022:12:24 20:00:01")), (0xa002, Value::Long(8192)), (0xa003, Value::Long(5464))],
            0,
        ),
    ]
    .concat();
    let name = b"\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48";
    let uuid = boxed(b"uuid", &[name, &boxed(b"CMT1", &[&first]), &boxed(b"CMT2", &[&exif])]);
    [ftyp(b"crx "), boxed(b"moov", &[&uuid]), boxed(b"mdat", &[&[4; 4000]])].concat()
}

/// One of each.
pub fn all() -> Vec<Vec<u8>> {
    let camera = camera_tiff();
    let thumbnail = exif(&[&camera[..], &jpeg(&[&image(9, 5000)])].concat());
    let movie = [ftyp(b"mp42"), boxed(b"mdat", &[&[7; 3000]]), moov(&[])].concat();
    let tags = quicktime_meta(&[
        ("com.apple.quicktime.creationdate", "2019-06-01T09:00:30-0330"),
        ("com.apple.quicktime.location.ISO6709", "+48.1374+011.5755+519.0/"),
        ("com.apple.quicktime.content.identifier", "0F3A5C2E-LIVE"),
    ]);
    vec![
        jpeg(&[&jfif(), &thumbnail, &xmp(b' ', 2000), &image(1, 8000)]),
        jpeg(&[&image(1, 3000), &jpeg(&[&image(2, 2000)]), &movie]),
        png(&[&chunk(b"eXIf", &camera), &chunk(b"IDAT", &[1; 3000]), &chunk(b"tEXt", b"Title\0x")]),
        heic(&camera),
        movie,
        [ftyp(b"qt  "), moov(&[&tags]), boxed(b"mdat", &[&[7; 3000]])].concat(),
        tiff("a scan").0,
        camera,
        raf(&jpeg(&[&exif(&camera_tiff()), &image(1, 3000)])),
        cr3(),
    ]
}
