//! Files made to do harm: none may stop the program, run for long, eat memory, or be cut wrongly.
#![allow(clippy::big_endian_bytes, reason = "photo formats are big-endian")]

use std::cell::Cell;
use std::io;

use super::super::{ReadAt, facts, format, regions};
use super::assert_covers;
use super::build::*;

/// Runs everything that reads a file; the entry for a fuzzer, too.
pub fn read_all(file: &[u8]) {
    let found = regions(&file).expect("bytes in memory can be read");
    assert_eq!(found, regions(&file).expect("and again"));
    assert_covers(file, &found.unwrap_or_default());
    let told = facts(&file, format(&file).expect("bytes in memory can be read")).unwrap_or_default();
    for text in [told.make, told.model, told.content_id].into_iter().flatten() {
        assert!(text.len() <= 256 && !text.chars().any(char::is_control), "{text:?}");
    }
}

/// A xorshift generator, so that a failure comes back.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

#[test]
fn twenty_thousand_damaged_files_are_read_calmly() {
    let files = all();
    let mut random = Random(0x05ee_d0ff_11e5);
    for _ in 0..20_000 {
        let mut file = files[random.below(files.len())].clone();
        for _ in 0..=random.below(6) {
            // Most harm is done in the headers.
            let reach = if random.below(3) == 0 { file.len() } else { file.len().min(600) };
            let at = random.below(reach);
            match random.below(6) {
                0 => file.truncate(at),
                1 => drop(file.splice(at..at, [0xff, 0xd8, 0xff].into_iter().take(random.below(4)))),
                2 => drop(file.drain(at..(at + random.below(64)).min(file.len()))),
                3 => {
                    let extreme = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.below(6)];
                    let end = (at + 1 + random.below(4)).min(file.len());
                    file[at..end].fill(extreme);
                }
                _ if at < file.len() => file[at] = random.below(256) as u8,
                _ => {}
            }
        }
        read_all(&file);
    }
}

/// Counts the bytes that are read.
struct Counting<'a>(&'a [u8], Cell<u64>);

impl ReadAt for Counting<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.1.set(self.1.get() + buf.len() as u64);
        self.0.read_at(offset, buf)
    }
}

/// How many bytes are read for the regions and for the facts.
fn work(file: &[u8]) -> (u64, u64) {
    let count = |run: &dyn Fn(&Counting<'_>)| {
        let counting = Counting(file, Cell::new(0));
        run(&counting);
        counting.1.get()
    };
    let kind = format(&file).unwrap();
    (count(&|file| drop(regions(file))), count(&|file| drop(facts(file, kind))))
}

#[test]
fn work_is_bounded_whatever_a_file_claims() {
    // Directories that name each other, all of the same bytes: gathered, they would be hundreds of megabytes.
    let pointers: Vec<_> = (0..1000).map(|i| (0x8769, Value::Long(12_100 + 4 * i))).collect();
    let mut bomb = [TIFF, &directory(8, &pointers, 0)].concat();
    bomb.resize(2 << 20, 0x40);
    // Half a million strips, each far from the last.
    let offsets: Vec<_> = (0..16_000).map(|i| 200_000 + 2000 * (i % 800)).collect();
    let strips = [(0x0111, Value::Longs(&offsets)), (0x0117, Value::Longs(&offsets))];
    let mut strips = [TIFF, &directory(8, &strips, 0)].concat();
    strips.resize(2 << 20, 0);
    // Items of no bytes whose number is the largest that fits.
    let iloc = [&[1, 0, 0, 0, 0, 0, 0xff, 0xff][..], &[0, 1, 0, 0, 0, 0, 0xff, 0xff].repeat(100_000)].concat();
    let meta = boxed(b"meta", &[&[0; 4], &boxed(b"iinf", &[&[0; 6]]), &boxed(b"iloc", &[&iloc])]);
    let items = [ftyp(b"heic"), meta].concat();
    // A great many small boxes, and pictures that begin and never end.
    let boxes = [ftyp(b"mp42"), boxed(b"free", &[]).repeat(200_000)].concat();
    let starts = jpeg(&[&image(1, 100), &[0xff, 0xd8, 0xff, 0xdb, 0, 4, 0, 0].repeat(200_000)]);
    for file in [bomb, strips, items, boxes, starts] {
        let (cutting, telling) = work(&file);
        assert!(cutting <= 4 * file.len() as u64 + (1 << 20), "{cutting} of {}", file.len());
        assert!(telling <= 9 << 20, "{telling} of {}", file.len());
        read_all(&file);
    }
}

#[test]
fn an_ordinary_photo_is_read_once() {
    let file = jpeg(&[&exif(&camera_tiff()), &xmp(b' ', 3000), &image(1, 4 << 20)]);
    let (cutting, telling) = work(&file);
    assert!(cutting < file.len() as u64 + (1 << 20), "{cutting}");
    assert!(telling < 1 << 20, "{telling}");
}
