//! Any damage of the index file: the answers are the same as without it, and nothing panics through.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use snapkeep::archive::{Archive, Packing, Parameters};
use snapkeep::chunk::Chunk;
use snapkeep::format::Hint;
use snapkeep::id::{ChunkId, ChunkKind};
use snapkeep::store::{Memory, Store};

struct Sound {
    store: Arc<dyn Store>,
    index: Vec<u8>,
    cache: PathBuf,
    path: PathBuf,
    chunks: BTreeMap<ChunkId, Vec<u8>>,
}

static SOUND: OnceLock<Sound> = OnceLock::new();

fn sound() -> Sound {
    let cache = PathBuf::from(format!("/dev/shm/snapkeep-fuzz-index-{}", std::process::id()));
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let id = Archive::create(&*store, &Parameters::default(), 0).expect("an archive");
    let archive = Archive::open(store.clone(), Some(&cache), Arc::new(|_| {})).expect("it opens");
    let mut chunks = BTreeMap::new();
    for run in 0..3_u32 {
        let writer = archive.writer(Packing::default()).expect("a writer");
        for number in 0..40_u32 {
            let bytes = [run.to_le_bytes(), number.to_le_bytes()].concat();
            let chunk = Chunk::new(ChunkKind::Data, &bytes);
            writer.put(&chunk, Hint::None).expect("it is put");
            chunks.insert(chunk.id(), bytes.clone());
        }
        writer.finish().expect("it is written");
    }
    drop(archive);
    let place = std::fs::read_dir(cache.join(id.to_hex())).expect("it has a folder").next();
    let path = place.expect("one place").expect("it is listed").path().join("index.redb");
    let index = fs::read(&path).expect("the index");
    Sound { store, index, cache, path, chunks }
}

fuzz_target!(|bytes: &[u8]| {
    // The index catches its database's panics; the fuzzer's hook would end the program before.
    std::panic::set_hook(Box::new(|_| {}));
    let done = std::panic::catch_unwind(|| check(bytes));
    if done.is_err() {
        std::process::abort();
    }
});

fn check(bytes: &[u8]) {
    let sound = SOUND.get_or_init(sound);
    let mut index = sound.index.clone();
    match bytes.split_first() {
        // The first bytes say where, the rest what.
        Some((0..=200, rest)) => {
            for change in rest.chunks_exact(4) {
                let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % index.len();
                index[at] ^= change[3];
            }
        }
        Some((201..=220, rest)) => index.truncate(rest.len() * 97 % index.len()),
        Some((_, rest)) => index = rest.to_vec(),
        None => {}
    }
    fs::write(&sound.path, index).expect("it is written");
    let archive = Archive::open(sound.store.clone(), Some(&sound.cache), Arc::new(|_| {})).expect("it opens");
    for (id, bytes) in &sound.chunks {
        assert!(archive.reader().get(ChunkKind::Data, id).expect("it is there") == *bytes);
    }
    assert!(archive.locate(&ChunkId::from_bytes([7; 32])).expect("an answer").is_empty());
}
