//! The browser with a shelf of two snapshots, without a terminal.

use std::cell::RefCell;

use crate::error::{Error, Kind};
use crate::format::Time;
use crate::id::FileHash;

use super::*;
use crate::cli::browse::shelf::{Moment, Stop};

/// A source `src` with a folder `src/2019`, from which `b.jpg` is gone since the second snapshot.
struct Fake {
    moments: Vec<Moment>,
    listed: RefCell<usize>,
}

pub fn id(number: u8) -> SnapshotId {
    SnapshotId::from_bytes([number; 32])
}

fn fake() -> Fake {
    let moment = |number: u8| Moment {
        id: id(number),
        time: Time { secs: i64::from(number) * 86_400, nanos: 0 },
        host: "laptop".to_owned(),
        files: 2,
        bytes: 2000,
        new: 1,
        changed: 0,
        moved: 0,
        gone: 0,
        tags: Vec::new(),
        note: (number == 1).then(|| "before organising".to_owned()),
        sources: vec![b"/home/anna/src".to_vec()],
    };
    Fake { moments: vec![moment(2), moment(1)], listed: RefCell::new(0) }
}

fn row(snapshot: u8, path: &str, sort: Sort, gone: bool) -> Row {
    let thing = Thing { snapshot: id(snapshot), path: path.as_bytes().to_vec() };
    let name = path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
    let gone = gone.then(Time::default);
    Row { name, sort, size: 1000, mtime: Time::default(), hash: None, gone, source: None, thing }
}

impl Shelf for Fake {
    fn moments(&self) -> &[Moment] {
        &self.moments
    }

    fn list(&self, snapshot: &SnapshotId, path: &[u8]) -> Result<(Vec<Row>, bool)> {
        *self.listed.borrow_mut() += 1;
        let number = snapshot.as_bytes()[0];
        let rows = match path {
            b"" => vec![row(number, "src", Sort::Folder, false)],
            b"src" => vec![row(number, "src/a.txt", Sort::File, false), row(number, "src/2019", Sort::Folder, false)],
            b"src/2019" if number == 1 => {
                vec![row(1, "src/2019/a.jpg", Sort::File, false), row(1, "src/2019/b.jpg", Sort::File, false)]
            }
            b"src/2019" => vec![row(2, "src/2019/a.jpg", Sort::File, false)],
            _ => return Err(Error::new(Kind::NotFound, "looking", "it is not there\x1b[2J")),
        };
        Ok((rows, true))
    }

    fn gone(&self, path: &[u8]) -> Result<Vec<Row>> {
        let found = (path == b"src/2019").then(|| row(1, "src/2019/b.jpg", Sort::File, true));
        Ok(found.into_iter().collect())
    }

    fn history(&self, path: &[u8]) -> Result<Vec<Version>> {
        let version = |number: u8| Version {
            since: Time::default(),
            what: "changed".to_owned(),
            size: 1,
            thing: Some(Thing { snapshot: id(number), path: path.to_vec() }),
        };
        Ok(vec![version(2), version(1)])
    }

    fn below(
        &self,
        snapshot: &SnapshotId,
        path: &[u8],
        fits: &dyn Fn(&Row) -> bool,
        stop: Stop<'_>,
    ) -> Result<Vec<Vec<u8>>> {
        let rows = if path == b"src" && !stop() { self.list(snapshot, b"src/2019")?.0 } else { Vec::new() };
        Ok(rows.into_iter().filter(fits).map(|row| row.thing.path).collect())
    }

    fn taken(&self, _: &FileHash) -> Option<i64> {
        None
    }
}

fn keys(state: &mut State<'_>, keys: &str) -> Act {
    let mut act = Act::Nothing;
    for key in keys.chars() {
        act = state.press(match key {
            '>' => KeyCode::Enter,
            '<' => KeyCode::Left,
            '!' => KeyCode::Esc,
            '~' => KeyCode::Backspace,
            key => KeyCode::Char(key),
        });
    }
    act
}

fn names_of(state: &State<'_>) -> Vec<String> {
    let rows = &state.folder.as_ref().expect("a folder").list.rows;
    rows.iter().map(|row| String::from_utf8_lossy(&row.name).into_owned()).collect()
}

#[test]
fn one_goes_in_and_comes_out_where_one_was() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    keys(&mut state, ">>");
    assert_eq!(names_of(&state), ["2019", "a.txt"], "folders come first");
    keys(&mut state, ">");
    assert_eq!(state.folder.as_ref().map(|folder| folder.path.as_slice()), Some(b"src/2019".as_slice()));
    assert_eq!(*shelf.listed.borrow(), 3, "a folder is read when it is looked at");
    keys(&mut state, "<");
    assert_eq!(state.folder.as_ref().expect("a folder").list.cursor, 0);
    keys(&mut state, "<<");
    assert!(state.folder.is_none());
    assert_eq!(keys(&mut state, "q"), Act::Quit);
}

#[test]
fn what_is_gone_appears_when_asked_for_and_can_be_restored() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    keys(&mut state, ">>>");
    assert_eq!(names_of(&state), ["a.jpg"]);
    keys(&mut state, "d");
    assert_eq!(names_of(&state), ["a.jpg", "b.jpg"]);
    keys(&mut state, "G r");
    assert_eq!(state.wanted(), [Thing { snapshot: id(1), path: b"src/2019/b.jpg".to_vec() }]);
    let act = keys(&mut state, "~~~here>");
    assert_eq!(act, Act::Restore(state.wanted(), PathBuf::from("here")));
    keys(&mut state, "d");
    assert_eq!(names_of(&state), ["a.jpg"]);
    assert_eq!(state.marked.len(), 1, "what is marked stays marked");
    keys(&mut state, "u");
    assert!(state.marked.is_empty());
}

#[test]
fn a_restore_is_asked_for_and_can_be_called_off() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    assert_eq!(keys(&mut state, "r"), Act::Nothing);
    assert!(state.question.is_none() && !state.message.is_empty(), "nothing is marked");
    keys(&mut state, ">>r");
    assert_eq!(state.question.as_ref().map(|question| question.target.as_str()), Some("out"));
    assert_eq!(keys(&mut state, "q"), Act::Nothing, "a letter is part of the answer");
    assert_eq!(keys(&mut state, "~~~~~~>"), Act::Nothing, "nowhere is no folder");
    keys(&mut state, "!");
    assert!(state.question.is_none());
}

#[test]
fn the_same_folder_is_seen_in_other_snapshots() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    keys(&mut state, ">>>[");
    assert_eq!(names_of(&state), ["a.jpg", "b.jpg"]);
    assert_eq!(state.moments.cursor, 1, "the time line follows");
    keys(&mut state, "[");
    assert!(state.message.contains("no older"), "{}", state.message);
    keys(&mut state, "]");
    assert_eq!(names_of(&state), ["a.jpg"]);
}

#[test]
fn a_version_of_a_file_can_be_marked() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    keys(&mut state, ">>>>");
    assert_eq!(state.versions.as_ref().map(|versions| versions.list.rows.len()), Some(2));
    keys(&mut state, "j <");
    assert!(state.versions.is_none());
    assert_eq!(state.wanted(), [Thing { snapshot: id(1), path: b"src/2019/a.jpg".to_vec() }]);
}

#[test]
fn what_is_looked_for_is_found_by_name_and_by_date_and_gone_through() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    let search = |state: &mut State<'_>, text: &str| {
        assert_eq!(keys(state, &format!("/{text}>")), Act::Search(text.to_owned()));
        state.search(text, &|| false);
        state.message.clone()
    };
    let under_cursor = |state: &State<'_>| state.wanted().remove(0).path;
    // On the time line: what a snapshot says, and the newest that is not later than a date.
    assert!(search(&mut state, "ORGANISING").starts_with("1 of 1"), "{}", state.message);
    assert_eq!(state.moments.cursor, 1);
    search(&mut state, "1970-01-03");
    assert_eq!(state.moments.cursor, 0);
    search(&mut state, "1970-01-02");
    assert_eq!(state.moments.cursor, 1);
    assert!(search(&mut state, "1969").contains("nothing"), "{}", state.message);
    // In a folder: there, and in what is below it.
    keys(&mut state, ">>");
    assert!(search(&mut state, "A.").starts_with("1 of 2"), "{}", state.message);
    assert_eq!(under_cursor(&state), b"src/a.txt");
    keys(&mut state, "n");
    assert_eq!(under_cursor(&state), b"src/2019/a.jpg");
    keys(&mut state, "n");
    assert_eq!(under_cursor(&state), b"src/a.txt", "after the last comes the first");
    keys(&mut state, "N");
    assert_eq!(under_cursor(&state), b"src/2019/a.jpg");
    // A date of a file counts as well; all of these are of 1970.
    assert!(search(&mut state, "1970-01").starts_with("1 of 2"), "{}", state.message);
    assert!(search(&mut state, "1971").contains("nothing here"), "{}", state.message);
    // What is being written can be called off, and letters of it are no keys.
    assert_eq!(keys(&mut state, "/q"), Act::Nothing);
    assert_eq!(keys(&mut state, "!"), Act::Nothing);
    assert!(state.wanted_text.is_none());
    assert_eq!(keys(&mut state, "q"), Act::Quit);
}

#[test]
fn what_goes_wrong_is_said_in_one_harmless_line() {
    let shelf = fake();
    let mut state = State::new(&shelf, "out".to_owned());
    state.open(id(1), b"nowhere".to_vec(), None);
    assert!(state.message.contains("it is not there\\x1B[2J"), "{}", state.message);
    assert!(state.folder.is_none());
}

#[test]
fn the_cursor_is_always_among_the_lines_that_are_drawn() {
    let mut list = List::new((0..5000).collect::<Vec<_>>());
    let seen = |list: &mut List<i32>| list.window(20).map(|(at, _)| at).collect::<Vec<_>>();
    assert_eq!(seen(&mut list), (0..20).collect::<Vec<_>>());
    list.go(25);
    assert_eq!(seen(&mut list), (6..26).collect::<Vec<_>>());
    list.go(usize::MAX);
    assert_eq!(seen(&mut list), (4980..5000).collect::<Vec<_>>());
    list.go(4985);
    assert_eq!(seen(&mut list), (4980..5000).collect::<Vec<_>>());
    list.go(3);
    assert_eq!(seen(&mut list), (3..23).collect::<Vec<_>>());
    assert_eq!(list.window(0).count(), 1);
}
