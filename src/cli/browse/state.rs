//! What the browser shows and what each key does to that. It draws nothing and asks nobody but the shelf.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::error::Result;
use crate::id::SnapshotId;
use crate::view::above;
use ratatui::crossterm::event::KeyCode;

use super::search::Found;
use super::shelf::{Row, Shelf, Sort, Thing, Version};
use crate::cli::{dates, names, words};

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

    /// With the cursor on this line.
    #[cfg(test)]
    pub fn of(rows: Vec<T>, cursor: usize) -> Self {
        Self { rows, cursor, top: 0 }
    }

    /// The line under the cursor.
    pub fn current(&self) -> Option<&T> {
        self.rows.get(self.cursor)
    }

    pub(super) fn go(&mut self, to: usize) {
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
    /// To look for this, which may take a while.
    Search(String),
}

/// The browser.
pub struct State<'a> {
    shelf: &'a dyn Shelf,
    /// The time line, by position.
    pub moments: List<usize>,
    pub folder: Option<Folder>,
    pub versions: Option<Versions>,
    pub question: Option<Question>,
    /// What is to be looked for, while it is being written.
    pub wanted_text: Option<String>,
    pub(super) found: Option<Found>,
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
            wanted_text: None,
            found: None,
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
        if self.wanted_text.is_some() {
            return self.write(key);
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
            KeyCode::Char('/') => self.wanted_text = Some(String::new()),
            KeyCode::Char('n') => self.next_find(false),
            KeyCode::Char('N') => self.next_find(true),
            _ => {}
        }
        Act::Nothing
    }

    /// Takes an answer of the shelf; what went wrong is shown.
    pub(super) fn take<T>(&mut self, answer: Result<T>) -> Option<T> {
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
    pub(super) fn open(&mut self, snapshot: SnapshotId, path: Vec<u8>, name: Option<&[u8]>) {
        let rows = self.shelf.list(&snapshot, &path);
        let Some((mut rows, whole)) = self.take(rows) else { return };
        if !whole {
            self.message = "some names here are damaged and not shown; snap verify tells more".to_owned();
        }
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
mod tests;
