//! The rooms on the way of a datum, one by one, and then the whole way out and back.
//!
//! `cargo bench --bench spine [-- NAME]`. Everything is made here from fixed seeds; files lie in the build folder, which
//! is on a real drive where the system's temporary folder may be memory. What is set up is not timed.

#![allow(clippy::big_endian_bytes)] // JPEG is written so

mod material;

use std::cell::LazyCell;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use tempfile::TempDir;

use material::{SMALL_FILE, noise, small_files};
use snapkeep::archive::{Archive, Change, Filter, Index, Packing, Parameters, Selector};
use snapkeep::chunk::{Chunk, Cutter};
use snapkeep::codec::{self, Choice};
use snapkeep::error::Result;
use snapkeep::format::{ENVELOPE_LEN, FrameHeader, Hint, PackContent, Row, SegmentPack, Time};
use snapkeep::id::{ArchiveId, ChunkId, ChunkKind, PackId};
use snapkeep::media::{self, RegionKind};
use snapkeep::op::{self, BackupOptions, Event, Observer, Overwrite, RestoreOptions, Selection};
use snapkeep::source::RuleSpec;
use snapkeep::store::{Local, Memory, Store};
use snapkeep::view::View;

const MIB: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    cut(&mut criterion);
    hash(&mut criterion);
    pack_chunks(&mut criterion);
    write_packs(&mut criterion).expect("a store in memory takes packs");
    index(&mut criterion).expect("the index lies in a folder of our own");
    whole(&mut criterion, "200 photos", PHOTOS as usize * PHOTO, &photos);
    whole(&mut criterion, "20,000 small files", 20_000 * SMALL_FILE, &|dir| small_files(dir, 20_000));
    criterion.final_summary();
}

/// Cutting as a backup does it (structure first, then content) beside plain FastCDC over the same bytes: structure must
/// not cost more than it saves.
fn cut(criterion: &mut Criterion) {
    let sizes = Parameters::default().chunker;
    let cutter = Cutter::new(sizes.min, sizes.average, sizes.max);
    let [min, average, max] = [sizes.min, sizes.average, sizes.max].map(|size| size as usize);
    let jpegs: Vec<Vec<u8>> = (0..8).map(|seed| jpeg(seed, 4 * MIB)).collect();
    let random: Vec<Vec<u8>> = (0..8).map(|seed| noise(seed, 4 * MIB)).collect();
    for (name, files) in [("jpeg", jpegs), ("random", random)] {
        let mut group = group(criterion, &format!("cut {name}"), files.iter().map(Vec::len).sum());
        group.bench_function("fastcdc alone", |b| {
            let chunks = |file| fastcdc::v2020::FastCDC::new(file, min, average, max).count();
            b.iter(|| files.iter().map(|file| chunks(black_box(file))).sum::<usize>());
        });
        group.bench_function("by content", |b| {
            b.iter(|| files.iter().map(|file| by_content(&cutter, black_box(file))).sum::<usize>());
        });
        group.bench_function("regions", |b| b.iter(|| files.iter().filter_map(|file| regions(file)).count()));
        group.bench_function("as a backup cuts", |b| {
            b.iter(|| files.iter().map(|file| by_structure(&cutter, black_box(file))).sum::<usize>());
        });
    }
}

fn regions(file: &[u8]) -> Option<Vec<media::Region>> {
    media::regions(&black_box(file)).expect("memory can be read")
}

fn by_content(cutter: &Cutter, mut bytes: &[u8]) -> usize {
    let mut chunks = 0;
    while let Some(len) = cutter.cut(bytes, true) {
        bytes = &bytes[len..];
        chunks += 1;
    }
    chunks
}

fn by_structure(cutter: &Cutter, file: &[u8]) -> usize {
    let Some(regions) = regions(file) else { return by_content(cutter, file) };
    let in_region = |region: &media::Region| match region.kind {
        RegionKind::JpegImage | RegionKind::Metadata => 1,
        RegionKind::Content => by_content(cutter, &file[region.start as usize..][..region.len as usize]),
    };
    regions.iter().map(in_region).sum()
}

fn hash(criterion: &mut Criterion) {
    for len in [2 << 10, 4 * MIB] {
        let bytes = noise(1, len);
        group(criterion, "hash", len).bench_function(format!("{len} bytes"), |b| {
            b.iter(|| ChunkId::of(ChunkKind::Data, black_box(&bytes)));
        });
    }
}

fn pack_chunks(criterion: &mut Criterion) {
    let text = |len| (0u32..).flat_map(|n| format!("{n}: a photo is stored once\n").into_bytes()).take(len).collect();
    let all: [(&str, Vec<u8>); 4] = [
        ("a photo's bytes", noise(2, MIB)),
        ("text", text(MIB)),
        ("a small photo's bytes", noise(3, 2 << 10)),
        ("a small text", text(2 << 10)),
    ];
    for (name, plain) in all {
        let packed = codec::encode(&plain, &Choice::default());
        group(criterion, "encode", plain.len()).bench_function(name, |b| {
            b.iter(|| codec::encode(black_box(&plain), &Choice::default()).bytes.len());
        });
        group(criterion, "decode", plain.len()).bench_function(name, |b| {
            let number = packed.codec.number();
            b.iter(|| {
                codec::decode(number, packed.version, black_box(&packed.bytes), plain.len()).map(|back| back.len())
            });
        });
    }
}

/// Chunks into packs, parity included, with no drive in the way.
fn write_packs(criterion: &mut Criterion) -> Result<()> {
    for (name, len, count) in [("64 chunks of 1 MiB", MIB, 64), ("10,000 chunks of 2 KiB", 2 << 10, 10_000)] {
        let chunks: Vec<Vec<u8>> = (0..count).map(|seed| noise(seed, len)).collect();
        let fresh = || archive(Arc::new(Memory::new()), None);
        let write = |archive: Archive| -> Result<Archive> {
            let writer = archive.writer(Packing::default())?;
            for bytes in &chunks {
                writer.put(&Chunk::new(ChunkKind::Data, bytes), Hint::None)?;
            }
            assert_eq!(writer.finish()?.chunks, count);
            Ok(archive)
        };
        write(fresh()?)?;
        group(criterion, "write packs", chunks.iter().map(Vec::len).sum()).bench_function(name, |b| {
            b.iter_batched(fresh, |archive| archive.and_then(write), BatchSize::PerIteration);
        });
    }
    Ok(())
}

fn index(criterion: &mut Criterion) -> Result<()> {
    const CHUNKS: u64 = 100_000;
    let id = |number: u64| ChunkId::of(ChunkKind::Data, &number.to_le_bytes());
    let pack = |first: u64| {
        let row = |(offset, number)| {
            let kind = ChunkKind::Data;
            let frame = FrameHeader {
                kind,
                codec: 0,
                codec_version: 0,
                hint: Hint::None,
                stored_len: 500,
                plain_len: 500,
                id: id(number),
            };
            Row { frame, offset }
        };
        let offsets = (ENVELOPE_LEN as u32..).step_by(552);
        let rows = offsets.zip(first..first + 1000).map(row).collect();
        SegmentPack { id: PackId::from_bytes(*id(first).as_bytes()), content: PackContent::Data, rows }
    };
    let packs: Vec<SegmentPack> = (0..CHUNKS).step_by(1000).map(pack).collect();
    let fresh = || {
        let dir = folder();
        let index = Index::open(&dir.path().join("index.redb"), ArchiveId::from_bytes([7; 16])).0;
        (dir, index)
    };
    let mut group = criterion.benchmark_group("index of 100,000 chunks");
    group.throughput(Throughput::Elements(CHUNKS));
    group.bench_function("add all", |b| {
        b.iter_batched(
            fresh,
            |(dir, index)| index.apply(&Change { packs: &packs, ..Change::default() }).map(|()| (dir, index)),
            BatchSize::PerIteration,
        );
    });
    let (_dir, index) = fresh();
    index.apply(&Change { packs: &packs, ..Change::default() })?;
    assert_eq!(index.locate(&id(CHUNKS - 1))?.len(), 1);
    for (name, first) in [("find 1,000 known", 0), ("find 1,000 unknown", CHUNKS)] {
        let ids: Vec<ChunkId> = (0..1000).map(|number| id(first + number * (CHUNKS / 1000))).collect();
        group.throughput(Throughput::Elements(1000));
        group.bench_function(name, |b| {
            b.iter(|| ids.iter().map(|id| index.locate(id).map(|found| found.len())).sum::<Result<usize>>());
        });
    }
    group.finish();
    Ok(())
}

/// A folder's whole way into an archive on a drive, once more with nothing changed, and back.
fn whole(criterion: &mut Criterion, name: &str, bytes: usize, make: &dyn Fn(&Path) -> io::Result<()>) {
    // Made only if a benchmark that needs it was asked for.
    let source = LazyCell::new(|| {
        let source = folder();
        make(source.path()).expect("files can be made in the build folder");
        source
    });
    let kept = LazyCell::new(|| Kept::new(source.path()).and_then(Kept::first).expect("a first backup"));

    group(criterion, "first backup", bytes).bench_function(name, |b| {
        let source = source.path();
        b.iter_batched(|| Kept::new(source), |kept| kept.and_then(Kept::first), BatchSize::PerIteration);
    });
    group(criterion, "nothing changed", bytes).bench_function(name, |b| {
        let kept = &*kept;
        b.iter(|| assert!(kept.backup().is_ok_and(|done| done.unchanged)));
    });
    group(criterion, "restore", bytes).bench_function(name, |b| {
        let kept = &*kept;
        b.iter_batched(folder, |target| kept.restore(target.path()).map(|()| target), BatchSize::PerIteration);
    });
}

/// A source and its archive.
struct Kept {
    source: PathBuf,
    archive: Archive,
    _dir: TempDir,
}

impl Kept {
    fn new(source: &Path) -> Result<Self> {
        let dir = folder();
        let archive = archive(Arc::new(Local::new(dir.path().join("archive"))), Some(&dir.path().join("cache")))?;
        Ok(Self { source: source.to_owned(), archive, _dir: dir })
    }

    fn first(self) -> Result<Self> {
        let done = self.backup()?;
        assert!(done.summary.new == done.summary.files && done.unread.is_empty());
        Ok(self)
    }

    fn backup(&self) -> Result<op::Backup> {
        let options = BackupOptions {
            sources: vec![self.source.clone()],
            rules: RuleSpec::default(),
            host: "bench".to_owned(),
            user: "bench".to_owned(),
            tags: Vec::new(),
            note: None,
            time: Time { secs: 1_800_000_000, nanos: 0 },
            offset_minutes: 0,
            program: "bench".to_owned(),
            dry_run: false,
            skip_if_unchanged: false,
            packing: Packing::default(),
            force: false,
            pinned: false,
            max_loss: None,
        };
        op::backup(&self.archive, &options, &Quiet::default())
    }

    fn restore(&self, target: &Path) -> Result<()> {
        let (id, snapshot) = self.archive.find(&Selector::Latest(0), &Filter::default())?;
        let view = View::new(&self.archive, id, snapshot);
        let (selection, overwrite) = (Selection::default(), Overwrite::Never);
        let options = RestoreOptions {
            target: target.to_owned(),
            selection,
            overwrite,
            dry_run: false,
            verify: false,
            setuid: false,
        };
        let done = op::restore(&view, &view.find(b"")?, &options, &Quiet::default())?;
        assert!(done.failed.is_empty() && done.files == view.snapshot().summary.files);
        Ok(())
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

fn archive(store: Arc<dyn Store>, cache: Option<&Path>) -> Result<Archive> {
    Archive::create(&*store, &Parameters::default(), 0)?;
    Archive::open(store, cache, Arc::new(|_| {}))
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder can be written to")
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, bytes: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group
}

const PHOTOS: u64 = 200;
const PHOTO: usize = 700 << 10;

fn photos(dir: &Path) -> io::Result<()> {
    for number in 0..PHOTOS {
        let album = dir.join(format!("album {}", number / 20));
        fs::create_dir_all(&album)?;
        fs::write(album.join(format!("IMG_{number:04}.JPG")), jpeg(number, PHOTO))?;
    }
    Ok(())
}

/// A file built as a camera's JPEG is, of about `len` bytes: EXIF, tables, and coded data that means nothing.
fn jpeg(seed: u64, len: usize) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        let len = body.len() + 2;
        file.extend_from_slice(&[0xff, marker, (len >> 8) as u8, len as u8]);
        file.extend_from_slice(body);
    };
    segment(0xe1, &[b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", &noise(seed, 12_000)[..]].concat());
    segment(0xdb, &[1; 65]);
    segment(0xc0, &[8, 16, 0, 16, 0, 1, 1, 0x11, 0]);
    segment(0xc4, &[0; 29]);
    segment(0xda, &[1, 1, 0, 0, 63, 0]);
    for byte in noise(!seed, len) {
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
    file.extend_from_slice(&[0xff, 0xd9]);
    file
}
