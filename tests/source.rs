//! The walk of a source and the reading of its files, on real directories. Tests that need more than the machine at hand
//! allows say so loudly and pass.

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat};
use snapkeep::error::Kind as ErrorKind;
use snapkeep::source::{Kind, Node, PassedOver, RuleSpec, Rules, Scan, SourceFile, Time, read_link, scan, xattrs};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A folder with these files in it; each holds its own path. A path that ends with '/' is a folder.
fn tree(paths: &[&str]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for path in paths {
        let full = dir.path().join(path);
        fs::create_dir_all(if path.ends_with('/') { &full } else { full.parent().unwrap() }).unwrap();
        if !path.ends_with('/') {
            fs::write(full, path).unwrap();
        }
    }
    dir
}

fn walk(root: &Path, spec: &RuleSpec) -> Scan {
    scan(root, &Rules::new(spec).unwrap(), &|_, _| {}, &AtomicBool::new(false)).unwrap()
}

fn everything(root: &Path) -> Scan {
    walk(root, &RuleSpec::default())
}

/// The paths below a node, in the order in which they stand; folders end with '/'.
fn paths(node: &Node) -> Vec<String> {
    fn add(node: &Node, above: &str, found: &mut Vec<String>) {
        for child in &node.children {
            let slash = if child.stat.kind == Kind::Dir { "/" } else { "" };
            let path = format!("{above}{}{slash}", String::from_utf8_lossy(&child.name));
            found.push(path.clone());
            add(child, &path, found);
        }
    }
    let mut found = Vec::new();
    add(node, "", &mut found);
    found
}

fn kept(files: &[&str], spec: RuleSpec) -> Vec<String> {
    paths(&walk(tree(files).path(), &spec).node)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.into()).collect()
}

#[test]
fn a_walk_finds_everything_in_the_order_of_the_bytes() {
    let files = ["b/2.jpg", "b/10.jpg", "a.jpg", "Z.jpg", "ä.jpg", ".hidden/x", "b/.y"];
    let dir = tree(&files);
    fs::create_dir(dir.path().join("empty")).unwrap();
    symlink("nowhere", dir.path().join("link")).unwrap();
    let found = everything(dir.path());
    assert_eq!(
        paths(&found.node),
        [".hidden/", ".hidden/x", "Z.jpg", "a.jpg", "b/", "b/.y", "b/10.jpg", "b/2.jpg", "empty/", "link", "ä.jpg"]
    );
    assert_eq!((found.files, found.dirs, found.links, found.excluded), (7, 4, 1, 0));
    assert_eq!(found.bytes, files.concat().len() as u64);
    assert!(found.failures.is_empty() && found.passed_over.is_empty());
    assert_eq!(&*found.node.name, dir.path().file_name().unwrap().as_bytes());
}

#[test]
fn what_the_file_system_says_of_a_file_is_what_is_recorded() {
    let dir = tree(&["a", "twin"]);
    let path = dir.path().join("a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    let before_the_epoch = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    fs::File::open(&path).unwrap().set_modified(before_the_epoch).unwrap();
    fs::hard_link(&path, dir.path().join("b")).unwrap();

    let found = everything(dir.path());
    let [a, b, twin] = found.node.children.as_slice() else { panic!("{:?}", found.node) };
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((a.stat.mode, a.stat.uid, a.stat.gid, a.stat.size), (0o4751, meta.uid(), meta.gid(), 1));
    assert_eq!(a.stat.mtime, Time { secs: -2, nanos: 500_000_000 });
    assert_eq!((a.stat.dev, a.stat.ino, a.stat.nlink), (meta.dev(), meta.ino(), 2));
    assert_eq!(a.stat, b.stat);
    assert_ne!(a.stat.ino, twin.stat.ino);
}

#[test]
fn a_file_with_holes_is_known_as_one() {
    let dir = tree(&["full"]);
    fs::File::create(dir.path().join("holes")).unwrap().write_all_at(b"end", 10 << 20).unwrap();
    fs::write(dir.path().join("full"), vec![1; 1 << 16]).unwrap();
    fs::File::open(dir.path().join("full")).unwrap().sync_all().unwrap();
    let found = everything(dir.path());
    assert_eq!(found.node.children.iter().map(|node| node.stat.sparse).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_folder_of_many_files_is_shared_out_and_still_in_order() {
    let dir = TempDir::new().unwrap();
    for n in 0..3_500 {
        fs::write(dir.path().join(format!("{n}.jpg")), "x").unwrap();
        if n % 500 == 0 {
            fs::create_dir(dir.path().join(format!("{n}"))).unwrap();
            fs::write(dir.path().join(format!("{n}/inside")), "x").unwrap();
        }
    }
    let most = AtomicUsize::new(0);
    let tick = |files: u64, _| {
        most.fetch_max(files as usize, Relaxed);
    };
    let found = scan(dir.path(), &Rules::default(), &tick, &AtomicBool::new(false)).unwrap();
    assert_eq!((found.files, found.dirs), (3_507, 8));
    assert_eq!(most.into_inner(), 3_507);
    assert!(found.node.children.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(paths(&found.node).iter().filter(|path| path.ends_with("0/inside")).count(), 7);
}

#[test]
fn names_that_are_not_text_are_kept_byte_for_byte() {
    let dir = TempDir::new().unwrap();
    let name = OsStr::from_bytes(b"m\xfcnchen \n\x1b[31m.jpg");
    fs::write(dir.path().join(name), "x").unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff\xfe.tmp")), "x").unwrap();
    let found = walk(dir.path(), &RuleSpec { iexclude: strings(&["*.TMP"]), ..Default::default() });
    assert_eq!((found.node.children.len(), found.excluded), (1, 1));
    assert_eq!(&*found.node.children[0].name, name.as_bytes());
}

#[test]
fn links_are_recorded_and_never_followed_below_the_root() {
    let dir = tree(&["real/photo"]);
    symlink("real", dir.path().join("link")).unwrap();
    symlink("..", dir.path().join("real/up")).unwrap();
    symlink("self", dir.path().join("self")).unwrap();
    let found = everything(dir.path());
    assert_eq!(paths(&found.node), ["link", "real/", "real/photo", "real/up", "self"]);
    assert_eq!(read_link(&dir.path().join("real/up")).unwrap(), b"..");
    assert!(read_link(&dir.path().join("real/photo")).is_err());
    // The link's own path as root: the folder behind it. A link to no folder: the link.
    assert_eq!(paths(&everything(&dir.path().join("link")).node), ["photo", "up"]);
    assert_eq!(everything(&dir.path().join("self")).node.stat.kind, Kind::Symlink);
    let file = everything(&dir.path().join("real/photo"));
    assert_eq!((file.files, file.dirs, &*file.node.name), (1, 0, &b"photo"[..]));
}

#[test]
fn a_root_that_cannot_be_used_is_an_error_of_the_source() {
    let dir = TempDir::new().unwrap();
    let stop = AtomicBool::new(false);
    let error = scan(&dir.path().join("gone"), &Rules::default(), &|_, _| {}, &stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.to_string().contains("gone"), "{error}");
    let error = scan(Path::new("/dev/null"), &Rules::default(), &|_, _| {}, &stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
}

#[test]
fn a_walk_can_be_stopped() {
    let dir = tree(&["a", "b/c"]);
    let stop = AtomicBool::new(false);
    let error = scan(dir.path(), &Rules::default(), &|_, _| stop.store(true, Relaxed), &stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn pipes_and_sockets_are_passed_over_and_told() {
    let dir = tree(&["a"]);
    mknodat(CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let found = everything(dir.path());
    assert_eq!(paths(&found.node), ["a"]);
    assert_eq!(
        found.passed_over,
        [
            (dir.path().join("pipe"), PassedOver::Special("fifo")),
            (dir.path().join("socket"), PassedOver::Special("socket"))
        ]
    );
}

#[test]
fn a_pipe_or_link_in_the_place_of_a_file_neither_hangs_nor_leads_elsewhere() {
    let dir = tree(&["a"]);
    let stat = everything(dir.path()).node.children[0].stat;
    mknodat(CWD, dir.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlink("a", dir.path().join("link")).unwrap();
    for bad in ["pipe", "link", "gone", "."] {
        let failure = SourceFile::open(&dir.path().join(bad), &stat).unwrap_err();
        assert_eq!(failure.path, dir.path().join(bad));
        assert!(failure.to_string().starts_with("opening "), "{failure}");
    }
}

#[test]
fn reading_gives_all_bytes_and_notices_a_change() {
    let dir = tree(&["a"]);
    let path = dir.path().join("a");
    let content: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(&path, &content).unwrap();
    let stat = everything(dir.path()).node.children[0].stat;
    let mut file = SourceFile::open(&path, &stat).unwrap();
    let mut read = Vec::new();
    let mut buf = vec![0; 250_000];
    loop {
        let n = file.read(&mut buf).unwrap();
        read.extend_from_slice(&buf[..n]);
        if n < buf.len() {
            break;
        }
    }
    assert!(read == content);
    assert_eq!(file.read(&mut buf).unwrap(), 0);
    file.read_at(599_990, &mut buf[..10]).unwrap();
    assert_eq!(buf[..10], content[599_990..]);
    assert!(file.unchanged_since(&stat));
    assert_eq!(file.stat().unwrap().size, 600_000);

    // Written in place, same size and mtime: the time of the last change of any sort gives it away.
    std::thread::sleep(Duration::from_millis(20));
    let writer = fs::File::options().write(true).open(&path).unwrap();
    writer.write_all_at(b"!", 0).unwrap();
    writer.set_modified(SystemTime::UNIX_EPOCH + Duration::new(stat.mtime.secs as u64, stat.mtime.nanos)).unwrap();
    assert_eq!(file.stat().unwrap().mtime, stat.mtime);
    assert!(!file.unchanged_since(&stat));
}

#[test]
fn a_file_that_ends_too_early_or_cannot_be_read_is_a_failure_and_never_a_shorter_photo() {
    let dir = tree(&["a"]);
    let path = dir.path().join("a");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let stat = everything(dir.path()).node.children[0].stat;
    let mut file = SourceFile::open(&path, &stat).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(50_000).unwrap();
    let failure = file.read(&mut vec![0; 100_000]).unwrap_err();
    assert!(failure.to_string().contains("ended before its 100000 bytes"), "{failure}");
    assert!(file.read_at(40_000, &mut [0; 20_000]).is_err());

    // The first page of this process is never mapped: reading there is an error that root gets, too.
    let mut memory = SourceFile::open(Path::new("/proc/self/mem"), &stat).unwrap();
    let failure = memory.read(&mut [0; 10]).unwrap_err();
    assert_eq!(failure.cause.raw_os_error(), Some(5), "{failure}");
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let dir = tree(&["folder/a"]);
    let file = dir.path().join("folder/a");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for path in [&file, &dir.path().join("folder")] {
        let times = fs::FileTimes::new().set_accessed(long_ago).set_modified(SystemTime::now());
        fs::File::open(path).unwrap().set_times(times).unwrap();
    }
    let found = everything(dir.path());
    let mut opened = SourceFile::open(&file, &found.node.children[0].children[0].stat).unwrap();
    assert_eq!(opened.read(&mut [0; 100]).unwrap(), 8);
    assert_eq!(fs::metadata(&file).unwrap().accessed().unwrap(), long_ago);
    assert_eq!(fs::metadata(dir.path().join("folder")).unwrap().accessed().unwrap(), long_ago);
}

#[test]
fn extended_attributes_are_read_sorted_and_not_through_links() {
    let dir = tree(&["a"]);
    let path = dir.path().join("a");
    let big = vec![b'v'; 3_000];
    for (name, value) in [("user.z", &b"\0\xff"[..]), ("user.a", &big), ("user.empty", b"")] {
        if let Err(why) = rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty()) {
            eprintln!("SKIPPED: no user attributes on this file system: {why}");
            return;
        }
    }
    symlink("a", dir.path().join("link")).unwrap();
    let of_a = xattrs(&path).values;
    let user: Vec<_> = of_a.iter().filter(|(name, _)| name.starts_with(b"user.")).cloned().collect();
    let expected = [("user.a", &big[..]), ("user.empty", b""), ("user.z", b"\0\xff")];
    assert_eq!(user, expected.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())));
    let stat = everything(dir.path()).node.children[0].stat;
    assert_eq!(SourceFile::open(&path, &stat).unwrap().xattrs().values, of_a);
    assert!(xattrs(&dir.path().join("link")).values.iter().all(|(name, _)| !name.starts_with(b"user.")));
    assert_eq!(xattrs(Path::new("/proc/self/status")).values, []);
    assert!(xattrs(&dir.path().join("gone")).failure.is_some());
}

#[test]
fn excludes_keep_what_they_do_not_name() {
    let files = ["a.tmp", "b.jpg", "cache/x", "sub/cache/y", "sub/c.TMP", "sub/cached"];
    let spec = RuleSpec { exclude: strings(&["*.tmp", "cache"]), ..Default::default() };
    assert_eq!(kept(&files, spec), ["b.jpg", "sub/", "sub/c.TMP", "sub/cached"]);
    let spec = RuleSpec { iexclude: strings(&["*.tmp", "SUB/cache"]), ..Default::default() };
    assert_eq!(kept(&files, spec), ["b.jpg", "cache/", "cache/x", "sub/", "sub/cached"]);
    let spec = RuleSpec { iexclude: strings(&["ÄRGER*"]), ..Default::default() };
    assert_eq!(kept(&["ärger.jpg", "arger.jpg"], spec), ["arger.jpg"]);
}

#[test]
fn a_leading_slash_means_the_file_systems_root() {
    let dir = tree(&["a/x", "b/a/x"]);
    let root = fs::canonicalize(dir.path()).unwrap();
    let spec = RuleSpec { exclude: vec![format!("{}/a", root.display()), "/x".into()], ..Default::default() };
    assert_eq!(paths(&walk(&root, &spec).node), ["b/", "b/a/", "b/a/x"]);
    // A path with detours is the same path.
    let spec = RuleSpec { exclude: vec![format!("{}/b/**/x", root.display())], ..Default::default() };
    assert_eq!(paths(&walk(&root.join("a/.././b"), &spec).node), ["a/"]);
}

#[test]
fn an_exclamation_mark_takes_back_what_is_still_in_reach() {
    let files = ["a/keep/x", "a/lose/x", "b.jpg", "b.tmp", "a/c.tmp"];
    let spec = RuleSpec { exclude: strings(&["a/*", "!a/keep", "*.tmp", "!b.tmp"]), ..Default::default() };
    assert_eq!(kept(&files, spec), ["a/", "a/keep/", "a/keep/x", "b.jpg", "b.tmp"]);
    // Of an excluded folder nothing is in reach.
    let spec = RuleSpec { exclude: strings(&["a", "!a/keep"]), ..Default::default() };
    assert_eq!(kept(&files, spec), ["b.jpg", "b.tmp"]);
    // Each list takes back its own only; later ones win.
    let spec = RuleSpec {
        exclude: strings(&["!b.tmp", "*.jpg"]),
        iexclude: strings(&["A", "!B.*", "B.TMP"]),
        ..Default::default()
    };
    assert_eq!(kept(&files, spec), [""; 0]);
}

#[test]
fn a_root_is_never_left_out_for_its_own_path() {
    let dir = tree(&["cache/photos/cache/x", "cache/photos/y"]);
    let spec = RuleSpec { exclude: strings(&["cache", "photos"]), ..Default::default() };
    assert_eq!(paths(&walk(&dir.path().join("cache/photos"), &spec).node), ["y"]);
    let spec = RuleSpec { exclude: strings(&["*", "!photos"]), ..Default::default() };
    assert_eq!(paths(&walk(&dir.path().join("cache/photos"), &spec).node), ["cache/", "cache/x", "y"]);
}

#[test]
fn patterns_come_from_files_too_and_wrong_ones_are_refused() {
    let dir = tree(&["src/a.tmp", "src/b.bak", "src/#c", "src/d"]);
    let list = dir.path().join("patterns");
    fs::write(&list, "\u{feff}# what is not wanted\r\n\r\n  *.tmp  \r\n*.BAK\n\\#*\n").unwrap();
    let spec = RuleSpec { exclude_files: vec![list.clone()], ..Default::default() };
    assert_eq!(paths(&walk(&dir.path().join("src"), &spec).node), ["b.bak", "d"]);
    let spec = RuleSpec { iexclude_files: vec![list.clone()], ..Default::default() };
    assert_eq!(paths(&walk(&dir.path().join("src"), &spec).node), ["d"]);

    fs::write(&list, "ok\n[a\n").unwrap();
    let bad = [
        RuleSpec { exclude_files: vec![list], ..Default::default() },
        RuleSpec { exclude_files: vec![dir.path().join("gone")], ..Default::default() },
        RuleSpec { exclude: strings(&["[z-"]), ..Default::default() },
        RuleSpec { exclude_if_present: strings(&["a/b"]), ..Default::default() },
        RuleSpec { exclude_if_present: strings(&[":x"]), ..Default::default() },
    ];
    for spec in bad {
        assert_eq!(Rules::new(&spec).unwrap_err().kind(), ErrorKind::Invalid, "{spec:?}");
    }
}

#[test]
fn a_cache_is_known_by_its_signature_and_keeps_its_tag() {
    let dir = tree(&["real/x", "real/sub/y", "fake/x", "linked/x"]);
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# by a test";
    fs::write(dir.path().join("real/CACHEDIR.TAG"), tag).unwrap();
    fs::write(dir.path().join("fake/CACHEDIR.TAG"), "Signature: something else, and quite as long as it").unwrap();
    symlink("../real/CACHEDIR.TAG", dir.path().join("linked/CACHEDIR.TAG")).unwrap();
    let found = walk(dir.path(), &RuleSpec { exclude_caches: true, ..Default::default() });
    let tag = |folder: &str| format!("{folder}/CACHEDIR.TAG");
    let expected = ["fake/", &tag("fake"), "fake/x", "linked/", &tag("linked"), "linked/x", "real/", &tag("real")];
    assert_eq!(paths(&found.node), expected);
    assert_eq!(found.excluded, 2);
}

#[test]
fn other_tag_files_work_by_name_or_by_how_they_start() {
    let files = [".nobackup", "a/x", "a/.nobackup", "b/tag", "b/x"];
    let spec = |tag: &str| RuleSpec { exclude_if_present: strings(&[tag]), ..Default::default() };
    assert_eq!(kept(&files[1..], spec(".nobackup")), ["a/", "a/.nobackup", "b/", "b/tag", "b/x"]);
    assert_eq!(kept(&files, spec(".nobackup")), [".nobackup"]);
    assert_eq!(kept(&files[1..], spec("tag:b/t")), ["a/", "a/.nobackup", "a/x", "b/", "b/tag"]);
    assert_eq!(kept(&files[3..], spec("tag:other")), ["b/", "b/tag", "b/x"]);
}

#[test]
fn files_above_a_size_can_be_left_out() {
    let spec = RuleSpec { exclude_larger_than: Some(6), ..Default::default() };
    assert_eq!(kept(&["bigdir/x", "12345", "123456", "1234567"], spec), ["12345", "123456", "bigdir/"]);
}

#[test]
fn other_file_systems_are_not_entered_if_so_asked() {
    let dev = |path: &str| fs::metadata(path).map(|meta| meta.dev()).ok();
    let Some(inner) = ["/dev/shm", "/dev/pts"].iter().find(|path| dev(path).is_some() && dev(path) != dev("/dev"))
    else {
        eprintln!("SKIPPED: no file system is mounted below /dev");
        return;
    };
    let found = walk(Path::new("/dev"), &RuleSpec { one_file_system: true, ..Default::default() });
    assert!(found.passed_over.contains(&(inner.into(), PassedOver::OtherFileSystem)), "{:?}", found.passed_over);
    let node = found.node.children.iter().find(|node| inner.as_bytes().ends_with(&node.name)).unwrap();
    assert_eq!((node.stat.kind, node.children.len()), (Kind::Dir, 0));
}

#[test]
fn a_folder_that_may_not_be_entered_is_named_and_the_rest_is_found() {
    const INSIDE: &str = "SNAPKEEP_TEST_UNREADABLE";
    if let Some(root) = std::env::var_os(INSIDE) {
        let root = Path::new(&root);
        let found = everything(root);
        assert_eq!(paths(&found.node), ["open/", "open/x", "shut/", "z"]);
        let [failure] = found.failures.as_slice() else { panic!("{:?}", found.failures) };
        assert_eq!((failure.path.clone(), failure.during), (root.join("shut"), "entering"));
        assert_eq!(failure.cause.kind(), std::io::ErrorKind::PermissionDenied);
        return;
    }
    let dir = tree(&["open/x", "shut/y", "z"]);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root may enter anything, so this test runs itself again as nobody.
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "a_folder_that_may_not_be_entered_is_named_and_the_rest_is_found"]).env(INSIDE, dir.path());
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        again.uid(65534).gid(65534);
    }
    match again.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(why) => eprintln!("SKIPPED: this test cannot run as another user: {why}"),
    }
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// A chain of folders, each with a small one beside the next, whose path grows far beyond what the system takes at once.
fn deep(root: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, root, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&at, "aside", Mode::RWXU).unwrap();
        mkdirat(&at, "further", Mode::RWXU).unwrap();
        at = openat(&at, "further", flags, Mode::empty()).unwrap();
    }
    let file = openat(&at, "photo", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(&file, b"at the end").unwrap();
    symlinkat("photo", &at, "link").unwrap();
}

#[test]
fn a_tree_deeper_than_any_path_or_stack_is_walked_with_few_open_files() {
    const DEPTH: usize = 10_000;
    // In memory if possible: a disk takes a minute for this.
    let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    deep(&root, DEPTH);
    let most = Mutex::new(0);
    let tick = |_, _| {
        let mut most = most.lock().unwrap();
        *most = fs::read_dir("/proc/self/fd").map_or(0, |open| open.count()).max(*most);
    };
    let mut found = scan(&root, &Rules::default(), &tick, &AtomicBool::new(false)).unwrap();
    assert_eq!((found.files, found.links, found.dirs), (1, 1, 2 * DEPTH as u64 + 1));
    assert!(found.failures.is_empty(), "{:?}", found.failures.first());
    // Other tests of this process have some open as well.
    assert!(most.into_inner().unwrap() < 300);

    let mut path = root.clone();
    let mut children = std::mem::take(&mut found.node.children);
    while let Some(mut next) = children.into_iter().find(|node| &*node.name == b"further") {
        path.push("further");
        children = std::mem::take(&mut next.children);
        if let [link, photo] = children.as_slice()
            && &*link.name == b"link"
        {
            let mut file = SourceFile::open(&path.join("photo"), &photo.stat).unwrap();
            let mut buf = [0; 20];
            assert_eq!(file.read(&mut buf).unwrap(), 10);
            assert_eq!(&buf[..10], b"at the end");
            assert_eq!(read_link(&path.join("link")).unwrap(), b"photo");
            assert!(xattrs(&path.join("photo")).values.iter().all(|(name, _)| !name.starts_with(b"user.")));
        }
    }
    assert_eq!(path.components().count(), root.components().count() + DEPTH);
    // The standard library's own removal recurses.
    assert!(Command::new("rm").arg("-rf").arg(&root).status().unwrap().success());
}
