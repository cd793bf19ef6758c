//! What the browser shows and what each key does to that. It draws nothing and asks nobody but the shelf.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ratatui::crossterm::event::KeyCode;
use snapkeep::error::Result;
use snapkeep::id::SnapshotId;
use snapkeep::view::above;

use super::super::{dates, names, words};
use super::shelf::{Row, Shelf, Sort, Thing, Version};

/// Lines with a cursor.
#[derive(Debug, Default)]
pub struct List<T> {
    pub rows: Vec<T>,
    pub cursor: usize,
    top: usize,
}

impl<T> List<T> {
    fn new(rows: Vec<T>) -> Self {
        Self { rows, cursor: 0, top: 0 }
    }

    /// The line under the cursor.
    pub fn current(&self) -> Option<&T> {
        self.rows.get(self.cursor)
    }

    fn go(&mut self, to: usize) {
        self.cursor = to.min(self.rows.len().saturating_sub(1));
    }

    /// The lines that fit into so many, with their positions; the cursor is among them.
    pub fn window(&mut self, height: usize) -> impl Iterator<Item = (usize, &T)> {
        let height = height.max(1);
        self.top = self.top.clamp(self.cursor.saturating_sub(height - 1), self.cursor);
        self.top = self.top.min(self.rows.len().saturating_sub(height));
        self.rows.iter().enumerate().skip(self.top).take(height)
    }
}

/// A folder of a snapshot.
#[derive(Debug)]
pub struct Folder {
    pub snapshot: SnapshotId,
    pub path: Vec<u8>,
    pub list: List<Row>,
}

/// What happened to a file or folder.
#[derive(Debug)]
pub struct Versions {
    pub path: Vec<u8>,
    pub list: List<Version>,
}

/// What is asked for a folder to restore into.
#[derive(Debug)]
pub struct Question {
    pub target: String,
}

/// What a key leads to outside.
#[derive(PartialEq, Eq, Debug)]
pub enum Act {
    Nothing,
    Quit,
    Restore(Vec<Thing>, PathBuf),
}

/// The browser.
pub struct State<'a> {
    shelf: &'a dyn Shelf,
    /// The time line, by position.
    pub moments: List<usize>,
    pub folder: Option<Folder>,
    pub versions: Option<Versions>,
    pub question: Option<Question>,
    pub help: bool,
    /// Whether what is gone is shown, too.
    pub with_gone: bool,
    pub marked: BTreeSet<Thing>,
    /// What there is to say.
    pub message: String,
    /// Lines on a page.
    pub height: usize,
    /// The folder to restore into that is proposed.
    pub proposal: String,
}

impl<'a> State<'a> {
    pub fn new(shelf: &'a dyn Shelf, proposal: String) -> Self {
        Self {
            shelf,
            moments: List::new((0..shelf.moments().len()).collect()),
            folder: None,
            versions: None,
            question: None,
            help: false,
            with_gone: false,
            marked: BTreeSet::new(),
            message: String::new(),
            height: 20,
            proposal,
        }
    }

    pub fn shelf(&self) -> &'a dyn Shelf {
        self.shelf
    }

    /// Does what a key stands for.
    pub fn press(&mut self, key: KeyCode) -> Act {
        self.message.clear();
        if self.help {
            self.help = false;
            return Act::Nothing;
        }
        if self.question.is_some() {
            return self.answer(key);
        }
        match key {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Char('?') => self.help = true,
            KeyCode::Up | KeyCode::Char('k') => self.step(|at, _| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.step(|at, _| at + 1),
            KeyCode::PageUp => self.step(|at, page| at.saturating_sub(page)),
            KeyCode::PageDown => self.step(|at, page| at + page),
            KeyCode::Home | KeyCode::Char('g') => self.step(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.step(|_, _| usize::MAX),
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.enter(),
            KeyCode::Left | KeyCode::Backspace | KeyCode::Esc | KeyCode::Char('h') => self.leave(),
            KeyCode::Char(' ') => self.mark(),
            KeyCode::Char('u') => {
                self.marked.clear();
                self.message = "nothing is marked any more".to_owned();
            }
            KeyCode::Char('d') => self.toggle_gone(),
            KeyCode::Char('v') => self.show_versions(),
            KeyCode::Char('[') => self.walk(1),
            KeyCode::Char(']') => self.walk(-1),
            KeyCode::Char('r') => self.ask(),
            _ => {}
        }
        Act::Nothing
    }

    /// Takes an answer of the shelf; what went wrong is shown.
    fn take<T>(&mut self, answer: Result<T>) -> Option<T> {
        answer.map_err(|error| self.message = names::message(&error.to_string())).ok()
    }

    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        let page = self.height.max(1);
        match (&mut self.versions, &mut self.folder) {
            (Some(versions), _) => versions.list.go(to(versions.list.cursor, page)),
            (None, Some(folder)) => folder.list.go(to(folder.list.cursor, page)),
            (None, None) => self.moments.go(to(self.moments.cursor, page)),
        }
    }

    fn enter(&mut self) {
        if self.versions.is_some() {
            return;
        }
        match &self.folder {
            None => {
                let Some(moment) = self.moments.current().map(|at| &self.shelf.moments()[*at]) else { return };
                self.open(moment.id, Vec::new(), None);
            }
            Some(folder) => match folder.list.current() {
                Some(row) if row.sort == Sort::Folder => {
                    let Thing { snapshot, path } = row.thing.clone();
                    self.open(snapshot, path, None);
                }
                Some(_) => self.show_versions(),
                None => {}
            },
        }
    }

    /// Shows a folder, with the cursor on this name.
    fn open(&mut self, snapshot: SnapshotId, path: Vec<u8>, name: Option<&[u8]>) {
        let rows = self.shelf.list(&snapshot, &path);
        let Some(mut rows) = self.take(rows) else { return };
        if self.with_gone
            && let gone = self.shelf.gone(&path)
            && let Some(gone) = self.take(gone)
        {
            let known: BTreeSet<Vec<u8>> = rows.iter().map(|row| row.name.clone()).collect();
            rows.extend(gone.into_iter().filter(|row| !known.contains(&row.name)));
        }
        // Folders first, and names in their order.
        rows.sort_by(|a, b| (a.sort != Sort::Folder, &a.name).cmp(&(b.sort != Sort::Folder, &b.name)));
        let mut list = List::new(rows);
        let at = name.and_then(|name| list.rows.iter().position(|row| row.name == name));
        list.go(at.unwrap_or(0));
        self.folder = Some(Folder { snapshot, path, list });
    }

    fn leave(&mut self) {
        if self.versions.take().is_some() {
            return;
        }
        let Some(Folder { snapshot, path, .. }) = &self.folder else { return };
        if path.is_empty() {
            self.folder = None;
            return;
        }
        let (snapshot, path) = (*snapshot, path.clone());
        let above = above(&path);
        let name = path[above.len()..].strip_prefix(b"/").unwrap_or(&path[above.len()..]);
        self.open(snapshot, above.to_vec(), Some(name));
        if !self.message.is_empty() {
            // A path as it was at the source leads out of the snapshot above the source.
            self.message.clear();
            self.open(snapshot, Vec::new(), None);
        }
    }

    /// The same folder in the next snapshot back in time, or forth.
    fn walk(&mut self, by: isize) {
        let moments = self.shelf.moments();
        let Some(folder) = &self.folder else { return self.step(|at, _| at.saturating_add_signed(by)) };
        let name = folder.list.current().map(|row| row.name.clone());
        let path = folder.path.clone();
        let at = moments.iter().position(|moment| moment.id == folder.snapshot);
        let mut next = at;
        while let Some(at) = next.and_then(|at| at.checked_add_signed(by)).filter(|at| *at < moments.len()) {
            next = Some(at);
            if self.shelf.list(&moments[at].id, &path).is_ok() {
                self.moments.go(at);
                return self.open(moments[at].id, path, name.as_deref());
            }
        }
        let way = if by > 0 { "older" } else { "newer" };
        self.message = format!("no {way} snapshot has this folder");
    }

    fn toggle_gone(&mut self) {
        self.with_gone = !self.with_gone;
        let said = if self.with_gone { "what is gone is shown, too" } else { "what is gone is hidden" };
        if let Some(folder) = &self.folder {
            let name = folder.list.current().map(|row| row.name.clone());
            self.open(folder.snapshot, folder.path.clone(), name.as_deref());
        }
        if self.message.is_empty() {
            self.message = said.to_owned();
        }
    }

    fn show_versions(&mut self) {
        let Some(folder) = &self.folder else { return };
        let Some(row) = folder.list.current() else { return };
        let path = row.thing.path.clone();
        let history = self.shelf.history(&path);
        if let Some(rows) = self.take(history) {
            self.versions = Some(Versions { path, list: List::new(rows) });
        }
    }

    /// What is under the cursor, if it can be restored.
    fn under_cursor(&self) -> Option<Thing> {
        match (&self.versions, &self.folder) {
            (Some(versions), _) => versions.list.current()?.thing.clone(),
            (None, Some(folder)) => Some(folder.list.current()?.thing.clone()),
            (None, None) => None,
        }
    }

    fn mark(&mut self) {
        match self.under_cursor() {
            None if self.folder.is_none() => self.message = "open a snapshot first, and mark what is in it".to_owned(),
            None => self.message = "there is nothing of it to restore".to_owned(),
            Some(thing) => {
                if !self.marked.remove(&thing) {
                    self.marked.insert(thing);
                }
                self.step(|at, _| at + 1);
            }
        }
    }

    fn ask(&mut self) {
        if self.marked.is_empty() && self.under_cursor().is_none() {
            self.message = "nothing is marked".to_owned();
            return;
        }
        self.question = Some(Question { target: self.proposal.clone() });
    }

    /// What is to be restored: what is marked, or else what is under the cursor.
    pub fn wanted(&self) -> Vec<Thing> {
        if self.marked.is_empty() {
            self.under_cursor().into_iter().collect()
        } else {
            self.marked.iter().cloned().collect()
        }
    }

    fn answer(&mut self, key: KeyCode) -> Act {
        let Some(question) = &mut self.question else { return Act::Nothing };
        match key {
            KeyCode::Esc => {
                self.question = None;
                self.message = "nothing was restored".to_owned();
            }
            KeyCode::Backspace => drop(question.target.pop()),
            KeyCode::Char(char) if !char.is_control() => question.target.push(char),
            KeyCode::Enter if !question.target.trim().is_empty() => {
                let target = PathBuf::from(question.target.trim());
                self.question = None;
                return Act::Restore(self.wanted(), target);
            }
            _ => {}
        }
        Act::Nothing
    }

    /// Where the browser is, in words.
    pub fn title(&self) -> String {
        let moment = |id: &SnapshotId| {
            let found = self.shelf.moments().iter().find(|moment| moment.id == *id);
            found.map_or_else(
                || id.short(),
                |moment| format!("{} {}", dates::minute(moment.time), names::message(&moment.host)),
            )
        };
        let place = match (&self.versions, &self.folder) {
            (Some(versions), _) => format!("the past of {}", names::escape(&versions.path)),
            (None, Some(folder)) => format!("{}  {}/", moment(&folder.snapshot), names::escape(&folder.path)),
            (None, None) => words::things(self.moments.rows.len() as u64, "snapshot", "snapshots"),
        };
        match self.marked.len() {
            0 => place,
            number => format!("{place}  ({} marked)", words::count(number as u64)),
        }
    }

    /// Whether a thing is marked.
    pub fn is_marked(&self, thing: &Thing) -> bool {
        self.marked.contains(thing)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use snapkeep::error::{Error, Kind};
    use snapkeep::format::Time;
    use snapkeep::id::FileHash;

    use super::super::shelf::Moment;
    use super::*;

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
            sources: vec![b"src".to_vec()],
            files: 2,
            bytes: 2000,
            new: 1,
            changed: 0,
            moved: 0,
            gone: 0,
        };
        Fake { moments: vec![moment(2), moment(1)], listed: RefCell::new(0) }
    }

    fn row(snapshot: u8, path: &str, sort: Sort, gone: bool) -> Row {
        let thing = Thing { snapshot: id(snapshot), path: path.as_bytes().to_vec() };
        let name = path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        let gone = gone.then(Time::default);
        Row { name, sort, size: 1000, mtime: Time::default(), hash: None, gone, thing }
    }

    impl Shelf for Fake {
        fn moments(&self) -> &[Moment] {
            &self.moments
        }

        fn list(&self, snapshot: &SnapshotId, path: &[u8]) -> Result<Vec<Row>> {
            *self.listed.borrow_mut() += 1;
            let number = snapshot.as_bytes()[0];
            match path {
                b"" => Ok(vec![row(number, "src", Sort::Folder, false)]),
                b"src" => {
                    Ok(vec![row(number, "src/a.txt", Sort::File, false), row(number, "src/2019", Sort::Folder, false)])
                }
                b"src/2019" if number == 1 => {
                    Ok(vec![row(1, "src/2019/a.jpg", Sort::File, false), row(1, "src/2019/b.jpg", Sort::File, false)])
                }
                b"src/2019" => Ok(vec![row(2, "src/2019/a.jpg", Sort::File, false)]),
                _ => Err(Error::new(Kind::NotFound, "looking", "it is not there\x1b[2J")),
            }
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
}
