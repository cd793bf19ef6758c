//! One suite of questions, asked of every store: objects appear whole or not at all, are never replaced, and what is not
//! an object is no one's business.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use snapkeep::error::{Error, Kind};
use snapkeep::store::{Leftovers, Local, LockMode, Memory, Object, Put, Store};
use tempfile::TempDir;

fn kind<T>(result: Result<T, Error>) -> Kind {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => error.kind(),
    }
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.name.as_str()).collect()
}

/// Asks the same of every store; each time a fresh one.
fn every_store(ask: fn(&dyn Store)) {
    ask(&Memory::new());
    let dir = TempDir::new().unwrap();
    let fresh = Local::new(dir.path().join("not/yet/there"));
    fresh.make_place().unwrap();
    ask(&fresh);
    let dir = TempDir::new().unwrap();
    ask(&Local::new(dir.path()));
}

#[test]
fn an_object_is_what_was_put_and_stays_so() {
    every_store(|store| {
        assert_eq!(store.len("packs/ab/one").unwrap(), None);
        assert_eq!(store.put_new("packs/ab/one", &[b"some", b"", b" bytes"]).unwrap(), Put::Written);
        assert_eq!(store.get("packs/ab/one", 100).unwrap(), b"some bytes");
        assert_eq!(store.len("packs/ab/one").unwrap(), Some(10));
        assert_eq!(store.put_new("packs/ab/one", &[b"ten bytes!"]).unwrap(), Put::Existed, "of the same length");
        assert_eq!(kind(store.put_new("packs/ab/one", &[b"other"])), Kind::Exists, "of another length");
        assert_eq!(kind(store.put_new("packs/ab/one", &[])), Kind::Exists);
        assert_eq!(store.get("packs/ab/one", 10).unwrap(), b"some bytes", "nothing was replaced");
        assert_eq!(store.put_new("nothing", &[]).unwrap(), Put::Written);
        assert_eq!(store.get("nothing", 0).unwrap(), b"");
        assert_eq!(store.put_new("nothing", &[b""]).unwrap(), Put::Existed);
        let long = vec![7; 3 << 20];
        assert_eq!(store.put_new("long", &[&long[..1], &long[1..]]).unwrap(), Put::Written);
        assert_eq!(store.get("long", 3 << 20).unwrap(), long);
        assert!(store.confirms_writes() && !store.place().is_empty());
    });
}

#[test]
fn what_is_read_is_bounded_and_exact() {
    every_store(|store| {
        store.put_new("a/b", &[b"0123456789"]).unwrap();
        assert_eq!(kind(store.get("a/b", 9)), Kind::Damaged, "longer than the limit");
        assert_eq!(kind(store.get("a/c", 9)), Kind::Missing);
        assert_eq!(kind(store.get("c/b", 9)), Kind::Missing);
        assert_eq!(store.get_range("a/b", 3, 4).unwrap(), b"3456");
        assert_eq!(store.get_range("a/b", 0, 10).unwrap(), b"0123456789");
        assert_eq!(store.get_range("a/b", 10, 0).unwrap(), b"");
        for (offset, len) in [(0, 11), (9, 2), (10, 1), (11, 1), (1 << 40, 1)] {
            assert_eq!(kind(store.get_range("a/b", offset, len)), Kind::Damaged, "{len} from {offset}");
        }
        assert_eq!(kind(store.get_range("a/c", 0, 1)), Kind::Missing);
        let named = store.get("a/c", 9).unwrap_err().to_string();
        assert!(named.contains("a/c"), "an error names the object: {named}");
    });
}

#[test]
fn a_listing_is_of_all_depths_and_ascending() {
    every_store(|store| {
        assert_eq!(store.list("packs", Leftovers::Leave).unwrap(), []);
        let put =
            ["packs/ab/2", "packs/ab/10", "packs/a", "packs/ab-c", "packs/b/x/y", "packsnot/1", "header", "packs/ab.1"];
        for (len, name) in put.iter().enumerate() {
            store.put_new(name, &[&vec![0; len]]).unwrap();
        }
        let found = store.list("packs", Leftovers::Leave).unwrap();
        let ascending: BTreeSet<&str> = put.into_iter().filter(|name| name.starts_with("packs/")).collect();
        assert_eq!(names(&found), Vec::from_iter(ascending));
        assert!(found.iter().all(|object| put[object.len as usize] == object.name), "each with its length");
        assert_eq!(names(&store.list("packs/ab", Leftovers::Remove).unwrap()), ["packs/ab/10", "packs/ab/2"]);
    });
}

#[test]
fn what_is_deleted_is_gone_and_only_that() {
    every_store(|store| {
        store.put_new("a/1", &[b"one"]).unwrap();
        store.put_new("a/2", &[b"two"]).unwrap();
        store.delete("a/1").unwrap();
        assert_eq!(store.len("a/1").unwrap(), None);
        assert_eq!(kind(store.get("a/1", 9)), Kind::Missing);
        assert_eq!(kind(store.delete("a/1")), Kind::Missing);
        assert_eq!(names(&store.list("a", Leftovers::Leave).unwrap()), ["a/2"]);
        assert_eq!(store.put_new("a/1", &[b"another"]).unwrap(), Put::Written, "its name is free again");
        store.confirm("a/1").unwrap();
        assert_eq!(kind(store.confirm("a/3")), Kind::Missing);
    });
}

#[test]
fn an_object_is_renamed_to_a_name_that_is_free() {
    every_store(|store| {
        store.put_new("a/1", &[b"one"]).unwrap();
        store.put_new("a/2", &[b"two"]).unwrap();
        assert_eq!(kind(store.rename("a/1", "a/2")), Kind::Exists);
        assert_eq!(kind(store.rename("a/3", "a/4")), Kind::Missing);
        store.rename("a/1", "b/c/1").unwrap();
        assert_eq!(store.len("a/1").unwrap(), None);
        assert_eq!((store.get("b/c/1", 9).unwrap(), store.get("a/2", 9).unwrap()), (b"one".to_vec(), b"two".to_vec()));
        assert!(store.answers("a/2") && !store.answers("a/1"));
    });
}

#[test]
fn a_damaged_object_is_replaced_whatever_it_was() {
    every_store(|store| {
        store.put_new("packs/ab/one", &[b"damaged"]).unwrap();
        store.replace("packs/ab/one", &[b"as it ", b"was"]).unwrap();
        assert_eq!(store.get("packs/ab/one", 100).unwrap(), b"as it was");
        store.replace("packs/ab/one", &[]).unwrap();
        assert_eq!(store.len("packs/ab/one").unwrap(), Some(0));
        store.replace("packs/cd/two", &[b"new"]).unwrap();
        assert_eq!(store.get("packs/cd/two", 3).unwrap(), b"new", "also where nothing is");
        assert_eq!(names(&store.list("packs", Leftovers::Leave).unwrap()), ["packs/ab/one", "packs/cd/two"]);
    });
}

#[test]
fn names_that_lead_anywhere_else_are_refused() {
    every_store(|store| {
        for name in
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", ".tmp-1", "a/.b", "a b", "a\\b", "a\0", "ä", "a:b"]
        {
            assert_eq!(kind(store.put_new(name, &[b"x"])), Kind::Internal, "{name:?}");
            assert_eq!(kind(store.replace(name, &[b"x"])), Kind::Internal, "{name:?}");
            assert_eq!(kind(store.get(name, 1)), Kind::Internal, "{name:?}");
            assert_eq!(kind(store.get_range(name, 0, 1)), Kind::Internal, "{name:?}");
            assert_eq!(kind(store.len(name)), Kind::Internal, "{name:?}");
            if !name.is_empty() {
                assert_eq!(kind(store.list(name, Leftovers::Leave)), Kind::Internal, "{name:?}");
            }
            assert_eq!(kind(store.delete(name)), Kind::Internal, "{name:?}");
            assert_eq!(kind(store.confirm(name)), Kind::Internal, "{name:?}");
            assert_eq!(kind(store.lock(name, LockMode::Shared)), Kind::Internal, "{name:?}");
        }
    });
}

/// Two packs whose ids begin alike, written at once into a new archive: the second found that the folder which it was about
/// to make was there, took that for the object, and the backup failed.
#[test]
fn of_many_who_put_the_same_name_one_writes() {
    every_store(|store| {
        let put = |byte: u8| store.put_new("packs/ab/one", &[&[byte; 5000]]).unwrap();
        let done: Vec<Put> = std::thread::scope(|scope| {
            let each: Vec<_> = (0..8).map(|byte| scope.spawn(move || put(byte))).collect();
            each.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(done.iter().filter(|put| **put == Put::Written).count(), 1);
        let bytes = store.get("packs/ab/one", 5000).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "it is of one of them alone");
        assert_eq!(done[bytes[0] as usize], Put::Written, "and of the one who was told so");
        assert_eq!(store.list("packs", Leftovers::Leave).unwrap().len(), 1);
    });
}

#[test]
fn what_others_leave_in_a_folder_is_left_alone_and_not_listed() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path());
    store.put_new("packs/ab/one", &[b"x"]).unwrap();
    let foreign = [".DS_Store", "._one", "my photo.jpg", "ä.jpg", ".Trash-1000", "one copy"];
    for name in foreign {
        fs::write(dir.path().join("packs/ab").join(name), "y").unwrap();
    }
    use std::os::unix::ffi::OsStrExt;
    let latin1 = std::ffi::OsStr::from_bytes(b"m\xfcnchen");
    fs::write(dir.path().join("packs/ab").join(latin1), "y").unwrap();
    fs::create_dir(dir.path().join("packs/.hidden")).unwrap();
    fs::write(dir.path().join("packs/.hidden/two"), "y").unwrap();
    for leftovers in [Leftovers::Leave, Leftovers::Remove] {
        assert_eq!(names(&store.list("packs", leftovers).unwrap()), ["packs/ab/one"]);
    }
    assert_eq!(fs::read_dir(dir.path().join("packs/ab")).unwrap().count(), foreign.len() + 2);
}

#[test]
fn leftovers_are_removed_only_when_asked() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path());
    store.put_new("packs/ab/one", &[b"x"]).unwrap();
    let leftovers = [dir.path().join("packs/.tmp-0123456789abcdef"), dir.path().join("packs/ab/.tmp-00")];
    let bystanders = [dir.path().join(".tmp-other"), dir.path().join("packs/ab/tmp-1")];
    for path in leftovers.iter().chain(&bystanders) {
        fs::write(path, "half").unwrap();
    }
    fs::create_dir(dir.path().join("packs/.tmp-folder")).unwrap();
    store.list("packs", Leftovers::Leave).unwrap();
    assert!(leftovers.iter().all(|path| path.exists()));
    let listed = store.list("packs", Leftovers::Remove).unwrap();
    assert_eq!(names(&listed), ["packs/ab/one", "packs/ab/tmp-1"]);
    assert!(leftovers.iter().all(|path| !path.exists()));
    assert!(bystanders.iter().all(|path| path.exists()), "outside the folder, or of another name");
    assert!(dir.path().join("packs/.tmp-folder").exists(), "never a folder");
}

/// What an interrupted write of the header left lay beside it for ever.
#[test]
fn of_the_top_folder_only_its_own_objects_are_listed_and_tidied() {
    every_store(|store| {
        store.put_new("header", &[b"x"]).unwrap();
        store.put_new("packs/ab/one", &[b"x"]).unwrap();
        assert_eq!(names(&store.list("", Leftovers::Remove).unwrap()), ["header"]);
    });
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path());
    fs::create_dir(dir.path().join("others")).unwrap();
    let leftover = dir.path().join(".tmp-0123456789abcdef");
    let bystanders = [".tmp-other", ".tmp-0123456789abcdefg", "others/.tmp-0123456789abcdef"];
    fs::write(&leftover, "half").unwrap();
    bystanders.iter().for_each(|name| fs::write(dir.path().join(name), "mine").unwrap());
    store.list("", Leftovers::Leave).unwrap();
    assert!(leftover.exists());
    store.list("", Leftovers::Remove).unwrap();
    assert!(!leftover.exists());
    assert!(bystanders.iter().all(|name| dir.path().join(name).exists()), "they may be anybody's");
}

#[test]
fn a_put_leaves_nothing_beside_the_object() {
    let dir = TempDir::new().unwrap();
    let store = Local::new(dir.path());
    store.put_new("a/one", &[b"x"]).unwrap();
    store.put_new("a/one", &[b"y"]).unwrap();
    store.put_new("a/one", &[b"longer"]).unwrap_err();
    let left: Vec<_> = fs::read_dir(dir.path().join("a")).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, ["one"]);
}

#[test]
fn a_name_that_is_a_link_or_folder_is_not_written_through() {
    let dir = TempDir::new().unwrap();
    let outside = dir.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    let store = Local::new(dir.path().join("store"));
    store.make_place().unwrap();
    store.put_new("a/one", &[b"x"]).unwrap();
    std::os::unix::fs::symlink(&outside, dir.path().join("store/a/link")).unwrap();
    std::os::unix::fs::symlink(Path::new("nowhere"), dir.path().join("store/a/dangling")).unwrap();
    fs::create_dir(dir.path().join("store/a/folder")).unwrap();
    for name in ["a/link", "a/dangling", "a/folder"] {
        assert!(!matches!(store.put_new(name, &[b"longer than mine"]), Ok(Put::Written)), "{name}");
    }
    assert_eq!(fs::read(outside).unwrap(), b"mine");
    assert!(!dir.path().join("store/a/nowhere").exists());
}

#[test]
fn whoever_needs_the_store_alone_gets_it_alone() {
    let dir = TempDir::new().unwrap();
    // Two instances, as two processes would have: a lock belongs to an open file.
    let (one, two) = (Local::new(dir.path()), Local::new(dir.path()));
    assert_eq!(kind(one.lock("header", LockMode::Shared)), Kind::Missing, "there must be something to hold");
    one.put_new("header", &[b"x"]).unwrap();

    let shared = one.lock("header", LockMode::Shared).unwrap();
    let shared_too = two.lock("header", LockMode::Shared).unwrap();
    assert_eq!(kind(two.lock("header", LockMode::Exclusive)), Kind::InUse);
    drop(shared_too);
    assert_eq!(kind(two.lock("header", LockMode::Exclusive)), Kind::InUse, "the other still holds it");
    drop(shared);

    let alone = two.lock("header", LockMode::Exclusive).unwrap();
    assert_eq!(kind(one.lock("header", LockMode::Shared)), Kind::InUse);
    assert_eq!(kind(one.lock("header", LockMode::Exclusive)), Kind::InUse);
    alone.share().unwrap();
    let beside = one.lock("header", LockMode::Shared).unwrap();
    assert_eq!(kind(one.lock("header", LockMode::Exclusive)), Kind::InUse);
    drop((alone, beside));
    one.lock("header", LockMode::Exclusive).unwrap();
    assert_eq!(one.get("header", 1).unwrap(), b"x", "holding changes nothing");
}

#[test]
fn a_lock_in_memory_is_of_something_that_is_there() {
    let store = Memory::new();
    assert_eq!(kind(store.lock("header", LockMode::Shared)), Kind::Missing);
    store.put_new("header", &[b"x"]).unwrap();
    store.lock("header", LockMode::Exclusive).unwrap().share().unwrap();
}
