//! The archive as a folder: what other programs see in a real mount.
#![cfg(target_os = "linux")]

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::{Known, Random, SMALL, TestArchive, album, contents, has_tool, plain_copy, run, touch};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use snapkeep::archive::Parameters;

/// Whether something can be mounted here. Where it cannot, that is said loudly; a machine without the device is the one
/// thing for which even the checks on every commit pass without.
pub fn can_mount() -> bool {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        eprintln!("SKIPPED: /dev/fuse cannot be opened ({error}), so mounting was NOT tested");
        return false;
    }
    rustix::process::geteuid().is_root() || has_tool("fusermount3")
}

/// An archive that is mounted.
pub struct Mount {
    program: Option<Child>,
    dir: PathBuf,
    said: PathBuf,
}

impl Mount {
    pub fn of(archive: &TestArchive) -> Self {
        Self::with(archive, &[])
    }

    fn with(archive: &TestArchive, more: &[&str]) -> Self {
        let (dir, said) = (archive.beside("mounted"), archive.beside("said"));
        fs::create_dir_all(&dir).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
        command.arg("mount").arg(&dir).arg("-a").arg(archive.path()).arg("--cache-dir").arg(archive.cache()).args(more);
        command.env("TZ", "UTC").env_remove("SNAPKEEP_ARCHIVE").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(fs::File::create(&said).unwrap());
        let mut program = command.spawn().unwrap();
        let mut out = BufReader::new(program.stdout.take().unwrap());
        let mut told = String::new();
        while !told.contains("to end it") {
            let more = out.read_line(&mut told).unwrap();
            assert_ne!(more, 0, "it is not mounted: {told}{}", fs::read_to_string(&said).unwrap());
        }
        assert!(told.contains("latest, snapshots, deleted"), "{told}");
        Self { program: Some(program), dir, said }
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.starts_with("snapkeep ") && line.contains(self.dir.to_str().unwrap()))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.program.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the program has ended.
    fn wait(&mut self) -> ExitStatus {
        let (mut program, begun) = (self.program.take().unwrap(), Instant::now());
        loop {
            if let Some(status) = program.try_wait().unwrap() {
                return status;
            }
            if begun.elapsed() > Duration::from_secs(30) {
                self.program = Some(program);
                panic!("it does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it told of troubles.
    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    fn unmount_from_outside(&self) {
        let root = rustix::process::geteuid().is_root();
        let (tool, flags): (_, &[&str]) = if root { ("umount", &[]) } else { ("fusermount3", &["-u"]) };
        run(Command::new(tool).args(flags).arg(&self.dir));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            self::kill(&program, Signal::TERM);
            std::thread::sleep(Duration::from_millis(300));
            self::kill(&program, Signal::KILL);
            let _ = program.wait();
        }
    }
}

fn kill(program: &Child, signal: Signal) {
    let _ = kill_process(Pid::from_child(program), signal);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// In what two folders differ, as rsync and find see it. Folders are not asked how many names they have.
fn assert_shown(source: &Path, shown: &Path) {
    if has_tool("rsync") {
        let slash = |path: &Path| path.join("").into_os_string();
        let found = run(Command::new("rsync").args(["-naicHX", "--delete"]).arg(slash(source)).arg(slash(shown)));
        assert!(found.is_empty(), "{}", String::from_utf8_lossy(&found));
    }
    let list = |root: &Path| {
        let mut find = Command::new("find");
        find.current_dir(root).args([".", "(", "-type", "d", "-printf", "d %m %U:%G %T@ %P\\n", ")"]);
        find.args(["-o", "-printf", "%y %m %U:%G %s %T@ %n %P -> %l\\n"]);
        let found = String::from_utf8_lossy(&run(&mut find)).into_owned();
        found.lines().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let (is, should) = (list(shown), list(source));
    let differ: Vec<_> = is.symmetric_difference(&should).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(contents(source) == contents(shown), "some bytes differ");
}

/// A source with what sources have: many files in a folder, a film of many chunks, links, odd names, modes and times.
fn fill(source: &Path) {
    album(source, 1);
    let mut random = Random(7);
    fs::write(source.join("film.mov"), random.bytes(400_000)).unwrap();
    fs::hard_link(source.join("film.mov"), source.join("2019/the same film.mov")).unwrap();
    fs::write(source.join(common::os(b"caf\xe9 \n.jpg")), common::jpeg(&mut random, 5000)).unwrap();
    fs::create_dir(source.join("many")).unwrap();
    for number in 0..1500 {
        fs::write(source.join(format!("many/{number:05}.txt")), number.to_string()).unwrap();
    }
    let old = source.join("2019/notes.txt");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o640)).unwrap();
    touch(&old, -86_400, 123_456_789);
    touch(&source.join("2020"), 1_600_000_000, 987_654_321);
}

#[test]
fn what_is_shown_is_what_was_backed_up() {
    if !can_mount() {
        return;
    }
    let archive = TestArchive::on_disk(&SMALL);
    fill(&archive.source());
    let with_xattrs = rustix::fs::setxattr(
        archive.source().join("film.mov"),
        "user.rating",
        b"five",
        rustix::fs::XattrFlags::empty(),
    );
    let before = archive.beside("before");
    plain_copy(&archive.source(), &before);
    archive.backup();
    let lost: BTreeMap<_, _> = ["2019/img0.jpg", "2019/best", "2020/img2.jpg"]
        .map(|path| (path, fs::symlink_metadata(archive.source().join(path)).unwrap()))
        .into();
    let photo = fs::read(archive.source().join("2020/img2.jpg")).unwrap();
    lost.keys().for_each(|path| fs::remove_file(archive.source().join(path)).unwrap());
    fs::rename(archive.source().join("2020/img1.jpg"), archive.source().join("moved.jpg")).unwrap();
    archive.backup();

    let mount = Mount::of(&archive);
    assert_eq!(names(&mount.dir), ["deleted", "latest", "snapshots"]);
    assert_shown(&archive.source(), &mount.at("latest/source"));
    let snapshots = names(&mount.at("snapshots"));
    assert_eq!(snapshots.len(), 2);
    assert_shown(&before, &mount.at("snapshots").join(&snapshots[0]).join("source"));
    assert_shown(&archive.source(), &mount.at("snapshots").join(&snapshots[1]).join("source"));
    assert_eq!(names(&mount.at("latest/source/many")).len(), 1500);
    if with_xattrs.is_ok() {
        let mut value = [0; 16];
        let len = rustix::fs::getxattr(mount.at("latest/source/film.mov"), "user.rating", &mut value).unwrap();
        assert_eq!(&value[..len], b"five");
    }
    let inode = |path: &str| fs::symlink_metadata(mount.at(path)).unwrap().ino();
    assert_eq!(inode("latest/source/film.mov"), inode("latest/source/2019/the same film.mov"));

    // What is gone is shown where it was, as it was; what has only moved is not gone.
    assert_eq!(names(&mount.at("deleted")), ["source"]);
    assert_eq!(names(&mount.at("deleted/source")), ["2019", "2020"]);
    assert_eq!(names(&mount.at("deleted/source/2019")), ["best", "img0.jpg"]);
    assert_eq!(names(&mount.at("deleted/source/2020")), ["img2.jpg"]);
    for (path, was) in lost {
        let is = fs::symlink_metadata(mount.at("deleted/source").join(path)).unwrap();
        assert_eq!(
            (is.len(), is.mode(), is.mtime(), is.mtime_nsec()),
            (was.len(), was.mode(), was.mtime(), was.mtime_nsec())
        );
    }
    assert_eq!(fs::read(mount.at("deleted/source/2020/img2.jpg")).unwrap(), photo);
    assert_eq!(fs::read_link(mount.at("deleted/source/2019/best")).unwrap(), Path::new("img0.jpg"));
    assert_eq!(mount.said(), "");
}

#[test]
fn any_piece_of_a_file_can_be_read_in_any_order() {
    if !can_mount() {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    let bytes = Random(3).bytes(3_000_000);
    fs::write(archive.source().join("film.mov"), &bytes).unwrap();
    archive.backup();
    let mount = Mount::of(&archive);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (path, bytes) = (mount.at("latest/source/film.mov"), &bytes);
            scope.spawn(move || {
                let (file, mut random) = (fs::File::open(path).unwrap(), Random(seed));
                for _ in 0..100 {
                    let offset = random.below(bytes.len() as u64 + 5000);
                    let mut buffer = vec![0; 1 + random.below(300_000) as usize];
                    let mut got = 0;
                    while let more @ 1.. = file.read_at(&mut buffer[got..], offset + got as u64).unwrap() {
                        got += more;
                    }
                    let from = bytes.len().min(offset as usize);
                    assert_eq!(buffer[..got], bytes[from..bytes.len().min(from + buffer.len())]);
                }
            });
        }
    });
    let mut whole = Vec::new();
    fs::File::open(mount.at("latest/source/film.mov")).unwrap().read_to_end(&mut whole).unwrap();
    assert!(whole == bytes);
}

#[test]
fn nothing_can_be_changed() {
    if !can_mount() {
        return;
    }
    let known = Known::new();
    let mount = Mount::of(&known.archive);
    let photo = mount.at("latest/source/2020/img0.jpg");
    let refused = |done: io::Result<()>| assert_eq!(done.unwrap_err().raw_os_error(), Some(Errno::ROFS.raw_os_error()));
    refused(fs::write(&photo, "x"));
    refused(fs::write(mount.at("latest/new.jpg"), "x"));
    refused(fs::OpenOptions::new().append(true).open(&photo).map(drop));
    refused(fs::remove_file(&photo));
    refused(fs::create_dir(mount.at("new")));
    refused(fs::rename(&photo, mount.at("latest/source/2020/other.jpg")));
    refused(fs::set_permissions(&photo, fs::Permissions::from_mode(0o777)));
    refused(std::os::unix::fs::symlink("x", mount.at("latest/link")));
    assert_eq!(contents(&mount.at("latest/source")), known.held[1].1);
}

#[test]
fn programs_that_were_set_to_run_as_somebody_else_are_not_shown_so() {
    if !can_mount() {
        return;
    }
    let archive = TestArchive::new(&SMALL);
    fs::write(archive.source().join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(archive.source().join("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    archive.backup();
    let mount = Mount::of(&archive);
    assert_eq!(fs::metadata(mount.at("latest/source/tool")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn it_ends_when_asked_in_any_way() {
    if !can_mount() {
        return;
    }
    let known = Known::new();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut mount = Mount::of(&known.archive);
        assert!(mount.is_mounted());
        mount.signal(signal);
        assert_eq!(mount.wait().code(), Some(0), "{signal:?}: {}", mount.said());
        assert!(!mount.is_mounted());
        assert_eq!(names(&mount.dir), [""; 0]);
    }
    let mut mount = Mount::of(&known.archive);
    mount.unmount_from_outside();
    assert_eq!(mount.wait().code(), Some(0), "{}", mount.said());
    assert!(!mount.is_mounted());
}

#[test]
fn who_is_still_reading_may_read_to_the_end() {
    if !can_mount() {
        return;
    }
    let known = Known::new();
    let mut mount = Mount::of(&known.archive);
    let mut film = fs::File::open(mount.at("latest/source/film.mov")).unwrap();
    mount.signal(Signal::INT);
    let begun = Instant::now();
    while mount.is_mounted() || !mount.said().contains("still reading") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", mount.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut bytes = Vec::new();
    film.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, known.held[1].1[b"film.mov".as_slice()]);
    drop(film);
    assert_eq!(mount.wait().code(), Some(0));
}

#[test]
fn damage_costs_the_files_that_it_hits_and_no_other() {
    if !can_mount() {
        return;
    }
    let archive = TestArchive::new(&Parameters { parity_permille: 0, ..SMALL });
    album(&archive.source(), 1);
    archive.backup();
    let packs = archive.objects_in("packs/");
    let (_, pack) = packs.iter().max_by_key(|(_, path)| fs::metadata(path).unwrap().len()).unwrap();
    let middle = fs::metadata(pack).unwrap().len() / 2;
    common::flip(pack, middle * 8);
    let hit: Vec<PathBuf> = archive.verify(true).affected.iter().map(|file| common::os(&file.path).into()).collect();
    assert!(!hit.is_empty());

    let mount = Mount::of(&archive);
    let mut unreadable = Vec::new();
    for (path, bytes) in contents_but_errors(&mount.at("latest")) {
        match bytes {
            Ok(bytes) => assert_eq!(bytes, fs::read(archive.source().parent().unwrap().join(&path)).unwrap()),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()), "{}: {error}", path.display());
                unreadable.push(path);
            }
        }
    }
    assert_eq!(unreadable, hit);
    for path in &hit {
        let said = mount.said();
        assert_eq!(said.matches(&format!("latest/{}", path.display())).count(), 1, "named once: {said}");
    }
}

/// Every file, with its bytes or why there are none, by path.
fn contents_but_errors(root: &Path) -> Vec<(PathBuf, io::Result<Vec<u8>>)> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let item = item.unwrap();
            if item.file_type().unwrap().is_dir() {
                todo.push(item.path());
            } else if item.file_type().unwrap().is_file() {
                found.push((item.path().strip_prefix(root).unwrap().to_owned(), fs::read(item.path())));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn an_archive_that_goes_away_is_an_error_and_not_the_end() {
    if !can_mount() {
        return;
    }
    let known = Known::new();
    let mut mount = Mount::of(&known.archive);
    let film = mount.at("latest/source/film.mov");
    assert!(fs::metadata(&film).is_ok());
    let away = known.archive.beside("away");
    fs::rename(known.archive.path(), &away).unwrap();
    assert_eq!(fs::read(&film).unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    assert_eq!(fs::read(&film).unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
    assert_eq!(mount.said().matches("does not answer").count(), 1, "{}", mount.said());
    fs::rename(&away, known.archive.path()).unwrap();
    assert_eq!(fs::read(&film).unwrap(), known.held[1].1[b"film.mov".as_slice()]);
    mount.signal(Signal::INT);
    assert_eq!(mount.wait().code(), Some(0));
}

#[test]
fn only_the_snapshots_that_were_asked_for_are_shown() {
    if !can_mount() {
        return;
    }
    let known = Known::new();
    let mount = Mount::with(&known.archive, &["--host", "here"]);
    assert_eq!(names(&mount.at("snapshots")).len(), 2);
    drop(mount);
    let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
    command.arg("mount").arg(known.archive.beside("mounted")).args(["--host", "elsewhere", "-a"]);
    let refused = command.arg(known.archive.path()).arg("--cache-dir").arg(known.archive.cache()).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no snapshot to show"));
}

/// An album that was shared with an ACL looked shared with nobody, and with `--allow-other` open to its whole group.
#[test]
fn attributes_and_acls_are_those_that_were_recorded() {
    if !can_mount() || !has_tool("setfacl") || !has_tool("getfacl") {
        return;
    }
    let archive = TestArchive::on_disk(&SMALL);
    let photo = archive.source().join("photo.jpg");
    fs::write(&photo, "x").unwrap();
    fs::create_dir(archive.source().join("album")).unwrap();
    run(Command::new("setfacl").args(["-m", "u:1234:rw,g::---,g:4321:r"]).arg(&photo));
    run(Command::new("setfacl").args(["-d", "-m", "u:1234:rx"]).arg(archive.source().join("album")));
    let plain = rustix::fs::XattrFlags::empty();
    let root = rustix::process::geteuid().is_root();
    rustix::fs::setxattr(&photo, "user.rating", b"five", plain).unwrap();
    if root {
        rustix::fs::setxattr(&photo, "trusted.note", b"x", plain).unwrap();
        // What lets a program bind low ports.
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rustix::fs::setxattr(&photo, "security.capability", &capability, plain).unwrap();
    }
    let acls = |dir: &Path| {
        let mut getfacl = Command::new("getfacl");
        getfacl.args(["-n", "-R", "--omit-header", "."]).current_dir(dir);
        String::from_utf8(run(&mut getfacl)).unwrap()
    };
    let before = acls(&archive.source());
    assert!(before.contains("user:1234:rw-") && before.contains("default:user:1234:r-x"), "{before}");
    archive.backup();
    for flags in [&[][..], &["--allow-other"]] {
        if !flags.is_empty() && !root {
            eprintln!("SKIPPED: only root may show a mount to others everywhere, so that was NOT tested");
            continue;
        }
        let mount = Mount::with(&archive, flags);
        let shown = mount.at("latest/source");
        assert_eq!(acls(&shown), before);
        let mut names = vec![0; 1000];
        let len = rustix::fs::listxattr(shown.join("photo.jpg"), &mut names).unwrap();
        let names = String::from_utf8(names[..len].to_vec()).unwrap();
        assert!(names.contains("user.rating\0") && names.contains("trusted.note\0") == root, "{names:?}");
        assert!(!names.contains("security.capability"), "nothing has powers here: {names:?}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_made_and_goes_away_again() {
    if !can_mount() {
        return;
    }
    let known = Known::new();
    let snap = |dir: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
        command.arg("mount").arg(dir).arg("-a").arg(known.archive.path());
        command.arg("--cache-dir").arg(known.archive.cache()).args(more);
        command.env("TZ", "UTC").env_remove("SNAPKEEP_ARCHIVE").stdin(Stdio::null()).stdout(Stdio::piped());
        command
    };
    for (signal, left) in [(Signal::INT, false), (Signal::TERM, true)] {
        if left && !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root may unmount lazily, so a folder in use was NOT tested");
            continue;
        }
        let dir = known.archive.beside("made for it");
        let mut program = snap(&dir, &[]).spawn().unwrap();
        let mut out = BufReader::new(program.stdout.take().unwrap());
        let mut told = String::new();
        while !told.contains("to end it") {
            assert_ne!(out.read_line(&mut told).unwrap(), 0, "it is not mounted: {told}");
        }
        assert_eq!(names(&dir), ["deleted", "latest", "snapshots"]);
        if left {
            // Somebody unmounts it and uses the folder before it ends: then it stays, with what is in it.
            let read = fs::File::open(dir.join("latest/source/2020/img0.jpg")).unwrap();
            run(Command::new("umount").args(["-l"]).arg(&dir));
            fs::write(dir.join("mine"), "x").unwrap();
            drop(read);
        } else {
            kill(&program, signal);
        }
        assert_eq!(program.wait().unwrap().code(), Some(0));
        assert_eq!(dir.exists(), left);
    }
    // Nothing is made for what cannot be shown, nor above the folder.
    for (dir, more, code) in [("other", &["--host", "nobody"][..], 1), ("not/there", &[], 2)] {
        let dir = known.archive.beside(dir);
        let refused = snap(&dir, more).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(refused.status.code(), Some(code), "{}", String::from_utf8_lossy(&refused.stderr));
        assert!(!dir.exists() && !known.archive.beside("not").exists());
    }
}
