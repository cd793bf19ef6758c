//! Names of entries.

use super::attack::{Attack, dir_of, file};

#[test]
fn names_that_lead_out_of_the_target_are_refused_and_their_neighbours_are_restored() {
    let long = [b'x'; 256];
    let names = [&b""[..], b".", b"..", b"../outside/letter", b"/etc/x", b"a/b", b"a\0b", b"/", &long];
    for name in names {
        for is_dir in [false, true] {
            let attack = Attack::of(|writer| {
                let bad = match is_dir {
                    true => dir_of(writer, name, vec![file(writer, "letter", b"evil")]),
                    false => file(writer, name, b"evil"),
                };
                let good = dir_of(writer, "good", vec![file(writer, "photo", b"photo")]);
                vec![dir_of(writer, "bad", vec![bad]), good]
            });
            let done = attack.restore();
            assert_eq!(done.code, 14, "{name:?}: {done:?}");
            assert!(!attack.restored().values().any(|bytes| bytes == b"evil"), "{name:?}");
            for command in [&["ls", "latest", "--recursive"][..], &["verify"], &["cat", "latest:s/bad/letter"]] {
                assert_eq!(attack.snap(command).code, 14, "{name:?}: {command:?}");
            }
            assert_eq!(attack.snap(&["restore", "latest:s/good", "-t", "into"]).code, 0, "{name:?}");
            assert_eq!(attack.restored()[&b"good/photo"[..]], b"photo");
        }
    }
}

#[test]
fn names_that_mean_something_elsewhere_are_plain_names_here() {
    let mut names = [
        &b"..\\..\\outside\\letter"[..],
        b"C:",
        b"C:\\x",
        b"CON",
        b"a:stream",
        b"-rf",
        b"nul.txt",
        b"x.",
        b"~",
        b"$HOME",
        b"%2e%2e",
    ];
    names.sort_unstable();
    let attack = Attack::of(|writer| names.iter().map(|name| file(writer, name, name)).collect());
    let done = attack.restore();
    assert_eq!(done.code, 0, "{done:?}");
    for name in names {
        assert_eq!(attack.restored()[&[b"s/", name].concat()], name);
    }
}

#[test]
fn names_that_are_there_twice_or_out_of_order_are_refused() {
    for names in [["a", "a"], ["b", "a"]] {
        let attack = Attack::of(|writer| names.map(|name| file(writer, name, b"evil")).to_vec());
        assert_eq!(attack.restore().code, 14);
        assert!(!attack.restored().values().any(|bytes| bytes == b"evil"));
    }
}

#[test]
fn names_that_look_alike_stay_two_files() {
    // Two cases, and an accent composed and apart.
    let names = ["A", "CAFE\u{301}", "CAFÉ", "a"];
    let attack = Attack::of(|writer| names.map(|name| file(writer, name, name.as_bytes())).to_vec());
    assert_eq!(attack.restore().code, 0);
    for name in names {
        assert_eq!(attack.restored()[format!("s/{name}").as_bytes()], name.as_bytes());
    }
}
