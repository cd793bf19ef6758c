//! A folder of a snapshot as a tar or zip, unpacked by other programs than ours and compared with the source.

use crate::common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Random, SMALL, TestArchive, has_tool, jpeg, os, run, touch};
use snapkeep::archive::Parameters;

fn snap(archive: &TestArchive, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
    command.args(arguments).arg("-a").arg(archive.path()).arg("--cache-dir").arg(archive.cache());
    command.current_dir(archive.beside("")).env("TZ", "UTC").env_remove("SNAPKEEP_ARCHIVE").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Everything that a name, a time, a size or a link can be, or nearly.
fn fill(source: &Path) {
    let mut random = Random(3);
    let long = format!("{}/{}", "folder with a long name ".repeat(8), "longer still ".repeat(10));
    fs::create_dir_all(source.join(&long)).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    for name in ["a.jpg", "Köln 🌻.jpg", "two\nlines -rf $(touch x).jpg", &format!("{long}/deep.jpg")] {
        fs::write(source.join(name), jpeg(&mut random, 5000)).unwrap();
    }
    fs::write(source.join("nothing"), "").unwrap();
    fs::write(source.join("block"), [b'x'; 512]).unwrap();
    fs::hard_link(source.join("a.jpg"), source.join(&long).join("the same.jpg")).unwrap();
    symlink("a.jpg", source.join("link")).unwrap();
    symlink("/nowhere/".repeat(20), source.join("long link")).unwrap();
    fs::set_permissions(source.join("block"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(source.join("empty"), fs::Permissions::from_mode(0o500)).unwrap();
    touch(&source.join("block"), -86_400, 750_000_000);
    touch(&source.join("nothing"), 1_600_000_000, 123_456_789);
    // More than is kept in memory, nearly all of it the same.
    let mut film = vec![7; 66 << 20];
    film[40 << 20] = 8;
    fs::write(source.join("film.mov"), film).unwrap();
    touch(&source.join("empty"), 1_500_000_000, 0);
}

type Shown = BTreeMap<PathBuf, (u32, i64, i64, u64, Vec<u8>)>;

/// Everything below a folder: mode, time, names of it, and content.
fn everything(root: &Path, exact: bool) -> Shown {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for item in fs::read_dir(&dir).unwrap() {
            let path = item.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match meta.file_type() {
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                kind if kind.is_dir() => Vec::new(),
                _ => fs::read(&path).unwrap(),
            };
            // Of links and folders a zip knows less, and unpackers do as they like.
            let plain = meta.is_file();
            let (nanos, links) = if exact { (meta.mtime_nsec(), meta.nlink()) } else { (0, 0) };
            let (time, nanos) = if plain || (exact && meta.is_symlink()) { (meta.mtime(), nanos) } else { (0, 0) };
            let links = if plain { links } else { 0 };
            let mode = if plain && !exact { meta.mode() & 0o170_777 } else { meta.mode() };
            if meta.is_dir() {
                todo.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap().to_owned(), (mode, time, nanos, links, content));
        }
    }
    found
}

#[track_caller]
fn assert_same(a: &Shown, b: &Shown) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (path, was) in a {
        let is = &b[path];
        assert_eq!((was.0, was.1, was.2, was.3), (is.0, is.1, is.2, is.3), "{path:?}");
        assert!(was.4 == is.4, "{path:?} has other bytes");
    }
}

#[test]
fn a_tar_is_unpacked_to_what_was_backed_up() {
    let archive = TestArchive::on_disk(&Parameters::default());
    fill(&archive.source());
    fs::write(archive.source().join(os(b"caf\xe9.jpg")), "x").unwrap();
    let attribute = rustix::fs::setxattr(
        archive.source().join("a.jpg"),
        "user.rating",
        b"five\n\0=",
        rustix::fs::XattrFlags::empty(),
    );
    archive.backup();
    let before = everything(&archive.source(), true);
    // Into a file, and into a pipe.
    let done = snap(&archive, &["dump", "latest", "-t", "all.tar"]).output().unwrap();
    let (code, told) = said(&done);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("wrote 9 files and 2 links, "), "{told}");
    let piped = snap(&archive, &["dump", "latest:"]).output().unwrap();
    assert_eq!(piped.status.code(), Some(0));
    assert!(piped.stdout == fs::read(archive.beside("all.tar")).unwrap(), "both are the same");
    fs::create_dir(archive.beside("out")).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "-xpf", "all.tar", "-C", "out"]).current_dir(archive.beside(""));
    let unpacked = tar.output().unwrap();
    // It finds a time before 1970 remarkable.
    assert!(unpacked.status.success(), "{}", said(&unpacked).1);
    assert!(said(&unpacked).1.lines().all(|line| line.contains("implausibly old")), "{}", said(&unpacked).1);
    assert_same(&before, &everything(&archive.beside("out/source"), true));
    if attribute.is_ok() {
        let mut value = [0; 16];
        let len = rustix::fs::getxattr(archive.beside("out/source/a.jpg"), "user.rating", &mut value).unwrap();
        assert_eq!(&value[..len], b"five\n\0=");
    }
    // A folder of it keeps its last name, and nothing that is there is replaced.
    let done = snap(&archive, &["dump", "latest:source/empty", "-t", "empty.tar"]).output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    let listed = run(Command::new("tar").args(["-tf"]).arg(archive.beside("empty.tar")));
    assert_eq!(listed, b"empty/\n");
    let (code, told) = said(&snap(&archive, &["dump", "latest", "-t", "empty.tar"]).output().unwrap());
    assert!(code == Some(2) && told.contains("is there already"), "{told}");
    if has_tool("python3") {
        // Another reader, which reads it as a stream.
        let script = "import sys,tarfile\nfor m in tarfile.open(sys.argv[1],'r|'): print(m.type.decode(), m.mtime)";
        let out = run(Command::new("python3").args(["-c", script]).arg(archive.beside("all.tar")));
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), before.len() + 1);
        assert!(out.contains("0 -86399.25\n") && out.contains("0 1600000000.1234567"), "{out}");
    }
}

#[test]
fn a_zip_is_unpacked_to_what_was_backed_up() {
    if !has_tool("python3") {
        return;
    }
    let archive = TestArchive::on_disk(&Parameters::default());
    fill(&archive.source());
    fs::write(archive.source().join("back\\slash.jpg"), "x").unwrap();
    touch(&archive.source().join("block"), 1_234_567_891, 0);
    archive.backup();
    fs::remove_file(archive.source().join("back\\slash.jpg")).unwrap();
    let before = everything(&archive.source(), false);
    let (code, told) = said(&snap(&archive, &["dump", "latest:source", "-t", "all.zip"]).output().unwrap());
    assert_eq!(code, Some(3), "a name with a backslash is left out: {told}");
    assert!(told.contains("back\\\\slash.jpg: a zip cannot hold") && told.contains("1 file or folder"), "{told}");
    let piped = snap(&archive, &["dump", "latest:source", "--format", "zip"]).output().unwrap();
    assert!(piped.stdout == fs::read(archive.beside("all.zip")).unwrap(), "both are the same");
    let script = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  print(sum(not i.is_dir() for i in z.infolist()))";
    let checked = run(Command::new("python3").args(["-c", script]).arg(archive.beside("all.zip")));
    assert_eq!(String::from_utf8_lossy(&checked).trim(), "10");
    let there = Command::new("unzip").arg("-v").output().is_ok();
    if !there {
        has_tool("unzip");
        return;
    }
    let mut unzip = Command::new("unzip");
    // It leaves control characters out of names unless told.
    unzip.args(["-^", "-q", "-o", "all.zip", "-d", "out"]).current_dir(archive.beside("")).env("LC_ALL", "C.UTF-8");
    let unpacked = unzip.output().unwrap();
    assert!(unpacked.status.success() && unpacked.stderr.is_empty(), "{}", said(&unpacked).1);
    assert_same(&before, &everything(&archive.beside("out/source"), false));
}

/// What cannot be read must not look as if it were there: a photo that is half of zeros would be found out years later.
#[test]
fn what_is_damaged_is_left_out_and_named() {
    let archive = TestArchive::on_disk(&SMALL);
    let (source, mut random) = (archive.source(), Random(8));
    let mut photos = BTreeMap::new();
    for number in 0..40 {
        let photo = jpeg(&mut random, 9000);
        fs::write(source.join(format!("{number}.jpg")), &photo).unwrap();
        photos.insert(format!("{number}.jpg"), photo);
    }
    archive.backup();
    // One pack is gone, and with it its recovery data.
    let objects = archive.objects();
    let size = |name: &&String| fs::metadata(&objects[*name]).unwrap().len();
    let largest = objects.keys().filter(|name| name.starts_with("packs/")).max_by_key(size).unwrap();
    let id = largest.rsplit('/').next().unwrap();
    for (_, path) in objects.iter().filter(|(name, _)| name.contains(id)) {
        fs::remove_file(path).unwrap();
    }
    for (format, unpack) in [("tar", "tar -xf"), ("zip", "python3 -m zipfile -e")] {
        if !has_tool(unpack.split(' ').next().unwrap()) {
            continue;
        }
        let (file, out) = (format!("all.{format}"), archive.beside(format));
        let done = snap(&archive, &["dump", "latest:source", "-t", &file]).output().unwrap();
        let (code, told) = said(&done);
        assert_eq!(code, Some(14), "{told}");
        fs::create_dir(&out).unwrap();
        let mut command = Command::new("sh");
        let into = if format == "tar" { "-C tar" } else { "zip" };
        run(command.arg("-c").arg(format!("{unpack} {file} {into}")).current_dir(archive.beside("")));
        let mut left_out = 0;
        for (name, photo) in &photos {
            match fs::read(out.join("source").join(name)) {
                Ok(bytes) => assert!(bytes == *photo, "{name} is whole if it is there"),
                Err(_) => {
                    left_out += 1;
                    assert!(told.contains(&format!("source/{name}: ")), "{name} is named: {told}");
                }
            }
        }
        assert!(left_out > 0 && left_out < photos.len(), "{left_out}");
        assert!(told.contains(&format!("{left_out} file")), "{told}");
    }
    // A single file that cannot be read leaves nothing behind.
    let lost = photos.keys().find(|name| !archive.beside("tar/source").join(name).exists()).unwrap();
    let done = snap(&archive, &["dump", &format!("latest:source/{lost}"), "-t", "one.jpg"]).output().unwrap();
    assert_eq!(done.status.code(), Some(14));
    let left: Vec<_> = fs::read_dir(archive.beside("")).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("one.jpg")), "{left:?}");
}

#[test]
fn a_file_is_written_as_it_is_and_whoever_hangs_up_is_no_success() {
    let archive = TestArchive::on_disk(&SMALL);
    let photo = jpeg(&mut Random(1), 300_000);
    fs::write(archive.source().join("a.jpg"), &photo).unwrap();
    archive.backup();
    let done = snap(&archive, &["dump", "latest:source/a.jpg", "-t", "b.jpg"]).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", said(&done).1);
    assert!(fs::read(archive.beside("b.jpg")).unwrap() == photo);
    let (code, told) = said(&snap(&archive, &["dump", "latest", "--json"]).output().unwrap());
    assert!(code == Some(2) && told.contains("-t FILE"), "{told}");
    let told = snap(&archive, &["dump", "latest", "-t", "all.tar", "--json", "-q"]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["files"], &told["failed"]), (&1.into(), &0.into()));
    let piped = snap(&archive, &["dump", "latest:source/a.jpg"]).output().unwrap();
    assert!(piped.stdout == photo, "in a pipe as well");
    let mut dump = snap(&archive, &["dump", "latest"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(dump.stdout.take());
    let ended = dump.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended).1);
    for (target, why) in [("not/there.tar", "is the folder there?"), ("..", "no name for a file")] {
        let (code, told) = said(&snap(&archive, &["dump", "latest", "-t", target]).output().unwrap());
        assert!(code != Some(0) && told.contains(why), "{told}");
    }
}
