//! Searching: by a part of a name, and by a date. Everything that fits is found at once, and then gone through.

use crate::format::Time;
use crate::id::SnapshotId;
use crate::view::above;
use jiff::Zoned;
use ratatui::crossterm::event::KeyCode;

use super::shelf::{Moment, Row, Shelf, Sort, Stop};
use super::state::{Act, State};
use crate::cli::{dates, names, words};

/// So many finds are kept; more nobody goes through.
pub const MOST: usize = 10_000;

/// Something that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Find {
    /// A snapshot on the time line.
    Moment(usize),
    /// A line of a folder of a snapshot.
    Line(SnapshotId, Vec<u8>, Vec<u8>),
}

/// What was found for a text, and at which of it one is.
#[derive(Debug)]
pub struct Found {
    text: String,
    finds: Vec<Find>,
    at: usize,
}

/// What is looked for.
struct Wanted {
    /// A part of a name, in small letters.
    part: String,
    /// A span of a camera's clock, and of the time of day here, if it is a date as well.
    taken: Option<(i64, i64)>,
    changed: Option<(Time, Time)>,
}

impl Wanted {
    fn new(text: &str) -> Self {
        let now = Zoned::now();
        let changed = dates::start_of(text, &now).zip(dates::end_of(text, &now));
        Self { part: text.to_lowercase(), taken: dates::taken(text), changed }
    }

    fn is_in(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.part)
    }

    /// By name; by when it was taken if that is known, else by when it was changed last.
    fn fits(&self, row: &Row, shelf: &dyn Shelf) -> bool {
        if self.is_in(&String::from_utf8_lossy(&row.name)) {
            return true;
        }
        if row.sort != Sort::File || (self.taken.is_none() && self.changed.is_none()) {
            return false;
        }
        let taken = row.hash.as_ref().and_then(|hash| shelf.taken(hash));
        match (taken, self.taken) {
            (Some(taken), Some((start, end))) => (start..end).contains(&taken),
            (Some(_), None) => false,
            (None, _) => self.changed.is_some_and(|(start, end)| (start..=end).contains(&row.mtime)),
        }
    }
}

impl State<'_> {
    /// Takes a key while a text to look for is being written.
    pub(super) fn write(&mut self, key: KeyCode) -> Act {
        let Some(text) = &mut self.wanted_text else { return Act::Nothing };
        match key {
            KeyCode::Esc => self.wanted_text = None,
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(char) if !char.is_control() => text.push(char),
            KeyCode::Enter => {
                let text = text.trim().to_owned();
                self.wanted_text = None;
                if !text.is_empty() {
                    return Act::Search(text);
                }
            }
            _ => {}
        }
        Act::Nothing
    }

    /// Looks for a text: on the time line among the snapshots, in a folder there and in everything below it. `stop` is
    /// asked on the way whether to look no further.
    pub fn search(&mut self, text: &str, stop: Stop<'_>) {
        self.versions = None;
        let wanted = Wanted::new(text);
        let finds = match &self.folder {
            None => self.moments_like(&wanted),
            Some(folder) => {
                let (snapshot, path) = (folder.snapshot, folder.path.clone());
                let shelf = self.shelf();
                let here = folder.list.rows.iter().filter(|row| wanted.fits(row, shelf));
                let mut finds: Vec<Find> =
                    here.map(|row| Find::Line(snapshot, path.clone(), row.name.clone())).collect();
                let below = shelf.below(&snapshot, &path, &|row| wanted.fits(row, shelf), stop);
                let Some(below) = self.take(below) else { return };
                finds.extend(below.into_iter().map(|path| {
                    let folder = above(&path).to_vec();
                    let name = path[folder.len()..].strip_prefix(b"/").unwrap_or(&path).to_vec();
                    Find::Line(snapshot, folder, name)
                }));
                finds
            }
        };
        if finds.is_empty() {
            self.found = None;
            self.message = format!("nothing here is called or dated \"{}\"", names::message(text));
            return;
        }
        self.found = Some(Found { text: text.to_owned(), finds, at: 0 });
        self.show_find();
    }

    /// The snapshot of a date, which is the newest that is not later; else those that say the text anywhere.
    fn moments_like(&self, wanted: &Wanted) -> Vec<Find> {
        let moments = self.shelf().moments();
        if let Some((_, end)) = &wanted.changed {
            let newest = moments.iter().position(|moment| moment.time <= *end);
            return newest.map(Find::Moment).into_iter().collect();
        }
        let says = |moment: &Moment| wanted.is_in(&moment.words());
        let fitting = moments.iter().enumerate().filter(|(_, moment)| says(moment));
        fitting.map(|(at, _)| Find::Moment(at)).collect()
    }

    /// The next of what was found, or the one before; after the last comes the first.
    pub(super) fn next_find(&mut self, back: bool) {
        let Some(found) = &mut self.found else {
            self.message = "press / to look for something first".to_owned();
            return;
        };
        let len = found.finds.len();
        found.at = (found.at + if back { len - 1 } else { 1 }) % len;
        self.show_find();
    }

    fn show_find(&mut self) {
        let Some(found) = &self.found else { return };
        let (text, at, len) = (names::message(&found.text), found.at, found.finds.len());
        self.versions = None;
        match found.finds[at].clone() {
            Find::Moment(at) => {
                self.folder = None;
                self.moments.go(at);
            }
            Find::Line(snapshot, path, name) => {
                let here = self.folder.as_ref().is_some_and(|one| one.snapshot == snapshot && one.path == path);
                if !here {
                    self.open(snapshot, path, Some(&name));
                } else if let Some(folder) = &mut self.folder
                    && let Some(at) = folder.list.rows.iter().position(|row| row.name == name)
                {
                    folder.list.go(at);
                }
            }
        }
        if self.message.is_empty() {
            let many = if len >= MOST { "at least " } else { "" };
            let at = words::count(at as u64 + 1);
            self.message = format!("{at} of {many}{} for \"{text}\"; n goes to the next", words::count(len as u64));
        }
    }
}
