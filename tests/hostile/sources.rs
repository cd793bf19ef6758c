//! What is backed up may be hostile, too: photos and videos that lie about themselves, and a configuration that nobody wrote
//! with care. And what a repair takes from another archive is believed no more than anything else.
#![allow(clippy::big_endian_bytes)] // cameras write so

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use snapkeep::archive::store_entries;
use snapkeep::format::{
    FrameHeader, Hint, PackContent, Row, encode_frame_header, encode_pack_end, encode_pack_start, names,
};
use snapkeep::id::{ChunkId, ChunkKind, PackId};
use snapkeep::store::{Leftovers, Local, Store};

use super::attack::{Attack, file};
use crate::common::contents;

/// A box of an ISO file that says it has so many bytes.
fn boxed(len: u32, kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], kind, content].concat()
}

fn long_boxed(len: u64, kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&1_u32.to_be_bytes()[..], kind, &len.to_be_bytes(), content].concat()
}

/// A TIFF whose directories have these entries (tag, type, count, value) and lead to `next`.
fn tiff(entries: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend(next.to_le_bytes());
    bytes
}

fn jpeg(segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    for (marker, content) in segments {
        bytes.extend([0xff, *marker]);
        bytes.extend((content.len() as u16 + 2).to_be_bytes());
        bytes.extend(content);
    }
    bytes
}

/// Photos and videos that are none, by name.
fn liars() -> Vec<(String, Vec<u8>)> {
    let ftyp = boxed(20, b"ftyp", b"heic\0\0\0\0mif1");
    let nested = |kind: &[u8; 4], depth: u32| {
        let mut content = vec![0; 16];
        for _ in 0..depth {
            content = boxed(content.len() as u32 + 8, kind, &content);
        }
        [&ftyp[..], &content].concat()
    };
    // A directory that is its own next one, its own EXIF directory and its own list of directories.
    let looped = tiff(&[(0x8769, 4, 1, 8), (0x014a, 4, u32::MAX, 8), (0x8825, 4, 1, 8), (0x010f, 2, u32::MAX, 0)], 8);
    let exif = |tiff: &[u8]| [b"Exif\0\0", tiff].concat();
    let mut found = vec![
        ("box-of-4-gb.heic", [&ftyp[..], &boxed(u32::MAX, b"meta", &[0; 64])].concat()),
        ("box-of-2-64.mov", [&ftyp[..], &long_boxed(u64::MAX, b"mdat", &[1; 64])].concat()),
        ("box-to-the-end.mp4", [&ftyp[..], &boxed(0, b"moov", &boxed(u32::MAX, b"trak", &[0; 64]))].concat()),
        ("box-of-nothing.mp4", [&ftyp[..], &boxed(7, b"moov", &[0; 4096])].concat()),
        ("boxes-of-nothing.mp4", [&ftyp[..], &boxed(8, b"free", &[]).repeat(200_000)].concat()),
        ("nested.heic", nested(b"meta", 5_000)),
        ("nested.mov", nested(b"moov", 5_000)),
        ("looped.tif", looped.clone()),
        ("looped.nef", [&looped[..], &[0; 4096]].concat()),
        ("looped.jpg", jpeg(&[(0xe1, exif(&looped))])),
        ("many-directories.jpg", jpeg(&vec![(0xe1, exif(&tiff(&[(0x8769, 4, 1, 8)], 8))); 5_000])),
        ("entries.tif", tiff(&vec![(0x0111, 4, u32::MAX, u32::MAX); 60_000], u32::MAX)),
        ("comments.jpg", jpeg(&vec![(0xfe, vec![b'x'; 65_000]); 60])),
        ("4-gb-chunk.png", [b"\x89PNG\r\n\x1a\n".as_slice(), &boxed(u32::MAX, b"IDAT", &[0; 64])].concat()),
        ("chunks.png", [b"\x89PNG\r\n\x1a\n".as_slice(), &boxed(0, b"tEXt", &[0; 4]).repeat(100_000)].concat()),
        (
            "65535x65535.jpg",
            jpeg(&[
                (0xc0, vec![8, 255, 255, 255, 255, 3, 1, 0x44, 0, 2, 0x11, 0, 3, 0x11, 0]),
                (0xda, vec![3, 1, 0, 2, 0, 3, 0, 0, 63, 0]),
            ]),
        ),
    ];
    found.push(("raf.raf", [b"FUJIFILMCCD-RAW ".as_slice(), &[0xff; 200]].concat()));
    found.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// Loss guarded against: one photo out of a damaged card that ends the backup of all others.
#[test]
fn photos_that_lie_about_themselves_are_backed_up_like_any_other() {
    let attack = Attack::new();
    let photos = attack.path("photos");
    fs::create_dir(&photos).unwrap();
    for (name, bytes) in liars() {
        fs::write(photos.join(name), bytes).unwrap();
    }
    // What has brought other programs down.
    let fuzzed = Path::new("/work/shared/photos/fuzzed");
    for item in fs::read_dir(fuzzed).into_iter().flatten().flatten().take(100) {
        fs::copy(item.path(), photos.join(item.file_name())).unwrap();
    }
    for arguments in
        [&["create", "photos"][..], &["create", "photos", "--squeeze"], &["squeeze"], &["verify", "--read-data"]]
    {
        let done = attack.attempt(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        assert!(!done.err.chars().any(|char| char.is_control() && char != '\n'), "{:?}", done.err);
    }
    assert_eq!(attack.attempt(&["ls", "latest", "--recursive", "--photos", "--json"]).code, 0);
    assert_eq!(attack.attempt(&["restore", "latest:photos", "-t", "into"]).code, 0);
    assert!(contents(&attack.path("into/photos")) == contents(&photos), "every byte is as it was");
}

/// The configuration is read by every command, so whatever lies there must not keep it from telling what is wrong.
#[test]
fn a_configuration_of_any_kind_is_refused_in_a_sentence() {
    let attack = Attack::of(|writer| vec![file(writer, "photo", b"photo")]);
    let config = attack.path("home/.config/snapkeep/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let put = |bytes: &[u8]| fs::write(&config, bytes).unwrap();
    let cases: [(&str, Vec<u8>); 12] = [
        ("no UTF-8", b"default = \"\xff\xfe\"\n".to_vec()),
        ("escapes", b"\x1b[2J = 1\n".to_vec()),
        ("an escape in a key", b"\"\\u001b[2J\\u202e\" = 1\n".to_vec()),
        ("nested arrays", [b"default = ".as_slice(), &[b'['; 100_000]].concat()),
        ("nested tables", [b"[".as_slice(), &b"a.".repeat(100_000), b"a]\n"].concat()),
        ("nested inline tables", [b"default = ".as_slice(), &b"{a=".repeat(50_000)].concat()),
        ("wrong types", b"default = 7\n".to_vec()),
        ("a table as a list", b"[create]\nsources = { a = 1 }\n".to_vec()),
        ("a number beyond all", b"[create]\ncompression = 99999999999999999999999\n".to_vec()),
        ("a home in a home", b"[archives]\na = \"~~/~\"\n".to_vec()),
        ("the same twice", b"default = \"a\"\ndefault = \"b\"\n".to_vec()),
        ("too long", vec![b'#'; 3 << 20]),
    ];
    for (about, bytes) in cases {
        put(&bytes);
        for arguments in [&["list"][..], &["list", "--json"]] {
            let done = attack.attempt(arguments);
            assert_eq!(done.code, 2, "{about}: {done:?}");
            assert!(done.err.contains("config"), "{about}: {done:?}");
            assert!(!done.err.chars().any(|char| char.is_control() && char != '\n'), "{about}: {:?}", done.err);
            assert!(done.err.len() < 20_000, "{about}: {} bytes", done.err.len());
        }
    }
    fs::remove_file(&config).unwrap();
    for target in ["/dev/zero", "config.toml", "/"] {
        symlink(target, &config).unwrap();
        assert_eq!(attack.attempt(&["list"]).code, 2, "{target}");
        fs::remove_file(&config).unwrap();
    }
    // A pipe to which nobody writes kept every command waiting for ever.
    pipe(&config);
    for arguments in [&["list"][..], &["create", "photos"], &["completions", "bash"], &["mount", "m"]] {
        let done = attack.attempt(arguments);
        let needs_none = arguments[0] == "completions";
        assert_eq!(done.code, if needs_none { 0 } else { 2 }, "{done:?}");
        assert!(needs_none || done.err.contains("it is a named pipe and not a file"), "{done:?}");
    }
    fs::remove_file(&config).unwrap();
    // An archive that is named by its own name, and paths that lead round in circles, are just not there.
    put(b"default = \"a\"\n[archives]\na = \"~/../home/./a\"\nb = \"/proc/self/root/proc/self/root\"\n");
    let mut command = attack.command(&["list", "-a", "b"]);
    assert_eq!(command.output().unwrap().status.code(), Some(10));
}

fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, mknodat};
    mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
}

/// Lists of names and patterns that never end filled the memory, and those to which nobody wrote were waited for.
#[test]
fn lists_that_do_not_end_are_refused_and_pipes_of_a_shell_are_read() {
    let attack = Attack::of(|writer| vec![file(writer, "photo", b"photo")]);
    fs::create_dir(attack.path("photos")).unwrap();
    fs::write(attack.path("photos/a.jpg"), "a").unwrap();
    fs::write(attack.path("photos/b.tmp"), "b").unwrap();
    pipe(&attack.path("pipe"));
    fs::write(attack.path("many"), "a\n".repeat(2 << 20)).unwrap();
    let lists = ["--files-from", "--files-from-raw", "--exclude-file", "--iexclude-file"];
    for (option, list) in lists.iter().flat_map(|option| ["pipe", "/dev/zero", "/dev/tty"].map(|list| (*option, list)))
    {
        let done = attack.attempt(&["create", "photos", option, list]);
        assert_eq!(done.code, 2, "{option} {list}: {done:?}");
        let why = if list == "pipe" { "it is a named pipe and not a file" } else { list };
        assert!(done.err.contains(why), "{option} {list}: {done:?}");
    }
    let done = attack.attempt(&["create", "--files-from", "many"]);
    assert!(done.code == 2 && done.err.contains("more than 1,048,576 names"), "{done:?}");
    let shell = |line: &str| {
        let command = attack.command(&["-c", line]);
        let mut bash = std::process::Command::new("bash");
        bash.args(command.get_args()).current_dir(command.get_current_dir().unwrap()).env("PATH", "/usr/bin:/bin");
        bash.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("SNAP", command.get_program());
        bash.stdin(std::process::Stdio::null()).output().unwrap()
    };
    for line in [
        "yes | \"$SNAP\" create --files-from -",
        "\"$SNAP\" create --files-from-raw /dev/stdin < /dev/zero",
        "\"$SNAP\" create photos --exclude-file <(yes)",
    ] {
        let done = shell(line);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && said.contains("it is too long: more than "), "{line}: {said}");
    }
    for line in [
        "echo photos/a.jpg | \"$SNAP\" create --files-from -",
        "\"$SNAP\" create --files-from <(sleep 0.2; echo photos/a.jpg)",
        "\"$SNAP\" create photos --exclude-file <(sleep 0.2; echo '*.tmp') --iexclude-file /dev/null",
    ] {
        let done = shell(line);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(0), "{line}: {said}");
        let listed = attack.attempt(&["ls", "latest", "--recursive"]);
        let listed = String::from_utf8_lossy(&listed.out).into_owned();
        assert!(listed.contains("a.jpg") && !listed.contains("b.tmp"), "{line}: {listed}");
    }
}

/// What a shell runs at each start must not depend on what an archive says.
#[test]
fn completions_and_the_manual_say_the_same_whatever_archive_there_is() {
    let attack = Attack::of(|writer| vec![file(writer, "$(touch x); `id`\n", b"evil")]);
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let with = attack.snap(arguments);
        let without = attack.command(arguments).env_remove("SNAPKEEP_ARCHIVE").output().unwrap();
        assert_eq!((with.code, &with.out), (0, &without.stdout), "{arguments:?}");
        assert!(!String::from_utf8_lossy(&with.out).contains("touch x"));
    }
}

/// A pack in which a frame says that it is this chunk and holds other bytes.
fn forged(id: ChunkId, stored: &[u8]) -> Vec<u8> {
    let mut bytes = encode_pack_start(PackContent::Data).to_vec();
    let len = stored.len() as u32;
    let frame = FrameHeader {
        kind: ChunkKind::Data,
        codec: 0,
        codec_version: 0,
        hint: Hint::None,
        stored_len: len,
        plain_len: len,
        id,
    };
    let row = Row { frame, offset: bytes.len() as u32 };
    bytes.extend(encode_frame_header(&frame));
    bytes.extend(stored);
    let end = bytes.len() as u32;
    encode_pack_end(&[row], end, &mut bytes);
    bytes
}

/// Loss guarded against: a photo that is lost here and "mended" with somebody else's bytes, for ever.
#[test]
fn a_repair_takes_no_wrong_byte_from_another_archive() {
    let attack = Attack::of(|writer| vec![file(writer, "other", b"another"), file(writer, "photo", b"the true photo")]);
    let store = Local::new(attack.path("archive"));
    let packs = store.list(names::PACKS, Leftovers::Leave).unwrap();
    let is_data = |name: &str| fs::read(attack.path("archive").join(name)).unwrap()[10] == 0;
    let data: Vec<_> = packs.into_iter().map(|pack| pack.name).filter(|name| is_data(name)).collect();
    // Another archive has the lost packs under their names, with other bytes in them, and a pack with a frame that lies.
    let other = Attack::of(|writer| vec![file(writer, "evil", b"evil")]);
    let id = ChunkId::of(ChunkKind::Data, b"the true photo");
    let pack = forged(id, b"the evil photo");
    let named = PackId::from_bytes(*blake3::hash(&pack).as_bytes());
    Local::new(other.path("archive")).put_new(&names::pack(&named), &[&pack]).unwrap();
    for name in &data {
        let theirs = other.path("archive").join(name);
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(theirs, &pack).unwrap();
        fs::remove_file(attack.path("archive").join(name)).unwrap();
        fs::remove_file(attack.path("archive").join(name.replace("packs", "parity"))).unwrap();
    }
    let from = other.path("archive");
    let from = from.to_str().unwrap();
    let done = attack.attempt(&["repair", "--from", from]);
    assert_eq!(done.code, 14, "{done:?}");
    let done = attack.attempt(&["restore", "latest", "-t", "into"]);
    assert_eq!(done.code, 14, "{done:?}");
    let restored = attack.restored();
    assert!(
        !restored.contains_key(&b"s/photo"[..]) && !restored.contains_key(&b"s/other"[..]),
        "{:?}",
        restored.keys()
    );
    // With the right bytes there, in whatever pack, it is mended; bombs beside them do no harm.
    let third = Attack::of(|writer| vec![file(writer, "other", b"another"), file(writer, "x", b"the true photo")]);
    third.snapshot(|writer| store_entries(writer, super::bombs::levels(writer, Vec::new(), 2, |_| 0)).unwrap());
    let done = attack.attempt(&["repair", "--from", third.path("archive").to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(attack.attempt(&["restore", "latest", "-t", "into"]).code, 0);
    assert_eq!(attack.restored()[&b"s/photo"[..]], b"the true photo");
}
