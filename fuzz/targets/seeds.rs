//! Not a target: writes bytes that the targets can begin from into a folder for each, below `$SEEDS`. It is built as a
//! target because everything here is built with the same flags.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use libfuzzer_sys::fuzz_target;
use snapkeep::archive::{Archive, Packing, Parameters, find_frames, unpack_frame};
use snapkeep::codec;
use snapkeep::format::{Chunker, Time, names};
use snapkeep::id::ChunkKind;
use snapkeep::op::{BackupOptions, Event, Observer, backup};
use snapkeep::source::RuleSpec;
use snapkeep::store::{Leftovers, Memory, Store};

#[path = "../../tests/common/picture.rs"]
mod picture;

fuzz_target!(init: write_and_end(), |_bytes: &[u8]| {});

fn write_and_end() {
    write().expect("seeds are written");
    std::process::exit(0);
}

fn write() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var_os("SEEDS").ok_or("$SEEDS names no folder")?);
    let seed = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(root.join(target))?;
        fs::write(root.join(target).join(name), bytes)
    };

    let source = root.join("source");
    fs::create_dir_all(source.join("album"))?;
    for (number, (width, height)) in [(16, 16), (64, 48), (160, 120)].into_iter().enumerate() {
        let photo = picture::photo(number as u64, width, height);
        seed("regions", &format!("photo{number}"), &photo)?;
        seed("jpeg_codec", &format!("photo{number}"), &photo)?;
        fs::write(source.join(format!("album/{number}.jpg")), picture::tag(&photo, 3, "a day at the lake"))?;
        for (colours, progressive) in [(1, false), (1, true), (3, false), (3, true)] {
            let image = picture::image(width, height, colours, progressive);
            let stream = codec::encode_jpeg(&image).ok_or("an image was declined")?;
            seed("jpeg_codec", &format!("image{number}-{colours}-{progressive}"), &image)?;
            seed("jpeg_codec", &format!("stream{number}-{colours}-{progressive}"), &stream.bytes)?;
        }
    }
    fs::write(source.join("notes.txt"), "what happened in 2019\n".repeat(200))?;

    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let chunker = Chunker { min: 256, average: 1024, max: 4096 };
    Archive::create(&*store, &Parameters { chunker, pack_size: 1 << 16, parity_permille: 100 }, 0)?;
    let archive = Archive::open(store.clone(), None, Arc::new(|_| {}))?;
    backup(&archive, &options(&source), &Quiet::default())?;
    let mut objects = Vec::new();
    for folder in [names::SNAPSHOTS, names::SEGMENTS, names::PARITY, names::PACKS] {
        objects.extend(store.list(folder, Leftovers::Leave)?);
    }
    for object in objects {
        let bytes = store.get(&object.name, object.len)?;
        let (folder, name) = object.name.split_once('/').ok_or("an object lies in no folder")?;
        let name = name.replace('/', "-");
        match folder {
            names::SNAPSHOTS => seed("snapshot_decode", &name, &bytes)?,
            names::SEGMENTS => seed("segment_decode", &name, &bytes)?,
            names::PARITY => {
                seed("header", &name, &bytes)?;
                seed("parity_mend", &name, &[&[0][..], &bytes].concat())?;
            }
            _ => {
                seed("pack_frames", &name, &bytes)?;
                for row in find_frames(&bytes).iter().filter(|row| row.frame.kind == ChunkKind::Tree) {
                    let frame = &bytes[row.offset as usize..][..row.frame_len() as usize];
                    let tree = unpack_frame(row.frame.kind, &row.frame.id, frame)?;
                    seed("tree_decode", &row.frame.id.to_hex(), &tree)?;
                }
            }
        }
    }
    seed("header", "header", &store.get(names::HEADERS[0], 768)?)?;
    // What these targets take is made of single bytes: see how each reads them.
    for (number, name) in [&b"album"[..], b"..", b"a/b", b"CON", b"\x1b[31m", b"b\0c"].into_iter().enumerate() {
        let part = [&[4, number as u8][..], name, &[number as u8, 1, 2, 1]].concat();
        seed("restore_path", &number.to_string(), &[&[3, 5][..], &part, &part, &part].concat())?;
        seed("redb_open", &number.to_string(), &[&[40 * number as u8][..], name, &part].concat())?;
        seed("chunker", &number.to_string(), &[&[number as u8, 9, 30][..], &part.repeat(50)].concat())?;
    }
    for (number, steps) in [[0, 3, 7, 1, 2, 7, 17, 12, 10, 11], [0, 1, 7, 16, 19, 15, 12, 3, 8, 18]].iter().enumerate()
    {
        let chosen = steps.iter().flat_map(|step| [*step, 40, 3, 7, 90, 1]).collect::<Vec<u8>>();
        seed("model", &number.to_string(), &chosen)?;
    }
    Ok(fs::remove_dir_all(source)?)
}

fn options(source: &Path) -> BackupOptions {
    BackupOptions {
        sources: vec![source.to_owned()],
        rules: RuleSpec::default(),
        host: "host".to_owned(),
        user: "user".to_owned(),
        tags: vec!["tag".to_owned()],
        note: Some("note".to_owned()),
        time: Time { secs: 1_700_000_000, nanos: 5 },
        offset_minutes: 60,
        program: "program".to_owned(),
        dry_run: false,
        skip_if_unchanged: false,
        packing: Packing::default(),
        force: false,
        pinned: false,
        max_loss: None,
    }
}

/// Hears nothing and never stops.
#[derive(Default)]
struct Quiet(AtomicBool);

impl Observer for Quiet {
    fn event(&self, _: Event<'_>) {}

    fn stop(&self) -> &AtomicBool {
        &self.0
    }
}
