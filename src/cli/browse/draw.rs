//! The browser on a terminal: plain text, drawn with nothing but bold, dim and reverse, so that it is the same without
//! colours. Only the lines that fit are looked at. Names reach the terminal escaped.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::shelf::{Row, Sort, Version};
use super::state::{List, State};
use super::wrap::{fit, wrap};
use crate::cli::{dates, names, words};

/// How far the further lines of a long text stand in.
const INDENT: usize = 6;

const HELP: [&str; 14] = [
    "up, down, page up, page down, home, end   go through the lines (also j, k, g, G)",
    "enter or right    open a snapshot or folder; of a file, its versions",
    "left or escape    go back",
    "[ and ]           the same folder in an older or newer snapshot",
    "/ then n, N       look for a part of a name, or a date, here and below",
    "d                 show what is gone from the source, too; it has an x before it",
    "v                 what happened to the file or folder under the cursor",
    "space             mark it for a restore, or no longer",
    "u                 unmark everything",
    "r                 restore what is marked, or under the cursor, into a new folder",
    "q                 quit",
    "",
    "A date behind a photo with \"taken\" is its camera's; other dates are of the last change.",
    "A restore goes into a folder that is new or empty, and never replaces anything. One thing \
     keeps its name there, several keep their paths, and what is of several snapshots comes \
     into a folder for each of them.",
];

/// Draws what there is to see. What is long is cut, but for the line under the cursor and for what is said: those take as
/// many lines as they need.
pub fn draw(frame: &mut Frame<'_>, state: &mut State<'_>) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    let (bold, plain) = (Style::new().add_modifier(Modifier::BOLD), Style::new());
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    // Neither the title nor what is said takes more than a third of the terminal.
    let most = (height / 3).max(1);
    let whole = |text: &str| wrap(text, width, 2).into_iter().take(most);
    let head: Vec<(String, Style)> = whole(&state.title()).map(|line| (line, bold)).collect();
    let said = match (&state.question, &state.wanted_text) {
        (Some(question), _) => {
            let what = words::things(state.wanted().len() as u64, "thing", "things");
            format!("restore {what} into: {}_", names::message(&question.target))
        }
        (None, Some(text)) => format!("look for: {}_", names::message(text)),
        (None, None) if state.help => "Any key closes this.".to_owned(),
        (None, None) => state.message.clone(),
    };
    let foot = wrap(&said, width, 2);
    // The end is where one writes.
    let foot = foot[foot.len() - foot.len().min(most)..].iter().map(|line| (line.clone(), bold));
    let keys = match (&state.question, &state.wanted_text) {
        (Some(_), _) => (fit("enter restore   escape call it off", width), plain),
        (None, Some(_)) => {
            (fit("a part of a name, or a date: 2019, 2019-07   enter look   escape leave it", width), plain)
        }
        (None, None) => (keys(state, width), reversed),
    };
    let foot: Vec<(String, Style)> = foot.chain([keys]).collect();
    let page = height.saturating_sub(head.len() + foot.len());
    state.height = page;
    let body = if state.help {
        let whole = |text: &&str| wrap(text, width, if text.contains("   ") { 18 } else { 0 });
        HELP.iter().flat_map(whole).map(|text| (text, plain)).collect()
    } else {
        lines(state, page, width)
    };
    let mut rows = head;
    rows.extend(body.into_iter().take(page));
    rows.resize(height.saturating_sub(foot.len()), (String::new(), plain));
    rows.extend(foot);
    for (at, (text, style)) in rows.into_iter().take(height).enumerate() {
        let row = Rect::new(area.x, area.y + at as u16, area.width, 1);
        frame.render_widget(Paragraph::new(Line::styled(text, style)), row);
    }
}

/// The keys that do something here, as many as fit; how to learn of the others and how to leave are always among them.
fn keys(state: &State<'_>, width: usize) -> String {
    let some: &[&str] = match (&state.versions, &state.folder) {
        (Some(_), _) => &["space mark", "r restore", "left back"],
        (None, Some(_)) => &["enter open", "space mark", "r restore", "v versions", "/ find", "d gone", "[ ] time"],
        (None, None) => &["enter open", "/ find"],
    };
    let with = |number: usize| [&some[..number], &["? help", "q quit"]].concat().join("  ");
    let most = (0..=some.len()).rev().map(with).find(|line| line.width() <= width);
    most.unwrap_or_else(|| fit("q quit", width))
}

/// The lines that fit on a page. The one under the cursor is shown whole, and so few others less.
fn lines(state: &mut State<'_>, page: usize, width: usize) -> Vec<(String, Style)> {
    let shelf = state.shelf();
    let marked = |state: &State<'_>, thing: Option<&super::shelf::Thing>| thing.is_some_and(|one| state.is_marked(one));
    let nothing = |text: &str| vec![(format!("  {text}"), Style::new().add_modifier(Modifier::DIM))];
    if let Some(mut versions) = state.versions.take() {
        let text = |state: &State<'_>, version: &Version, cursor: bool| {
            prefix(cursor, marked(state, version.thing.as_ref()), false) + &of_version(version)
        };
        let cursor = versions.list.current().map(|version| wrap(&text(state, version, true), width, INDENT));
        let found = arranged(&mut versions.list, cursor, page, |version| {
            (fit(&text(state, version, false), width), style(false, false))
        });
        state.versions = Some(versions);
        return if found.is_empty() { nothing("nothing is known of its past") } else { found };
    }
    if let Some(mut folder) = state.folder.take() {
        let taken = |row: &Row| row.hash.as_ref().and_then(|hash| shelf.taken(hash));
        let before = |state: &State<'_>, row: &Row, cursor: bool| {
            prefix(cursor, marked(state, Some(&row.thing)), row.gone.is_some())
        };
        let cursor = folder.list.current().map(|row| {
            let before = before(state, row, true);
            whole_row(&before, row, taken(row), width)
        });
        let found = arranged(&mut folder.list, cursor, page, |row| {
            let before = before(state, row, false);
            let room = width.saturating_sub(before.len());
            (before + &of_row(row, taken(row), room), style(false, row.gone.is_some()))
        });
        state.folder = Some(folder);
        return if found.is_empty() { nothing("the folder is empty") } else { found };
    }
    let text = |at: usize, cursor: bool| prefix(cursor, false, false) + &shelf.moments()[at].words();
    let cursor = state.moments.current().map(|at| wrap(&text(*at, true), width, INDENT));
    arranged(&mut state.moments, cursor, page, |at| (fit(&text(*at, false), width), style(false, false)))
}

/// The lines around the cursor, which has these of its own.
fn arranged<T>(
    list: &mut List<T>,
    cursor: Option<Vec<String>>,
    page: usize,
    line: impl Fn(&T) -> (String, Style),
) -> Vec<(String, Style)> {
    let mut own = cursor.unwrap_or_default();
    own.truncate(page.max(1));
    let at = list.cursor;
    let mut found = Vec::new();
    for (position, item) in list.window(page.saturating_sub(own.len().saturating_sub(1))) {
        if position == at {
            found.extend(own.iter().map(|text| (text.clone(), style(true, false))));
        } else {
            found.push(line(item));
        }
    }
    found
}

fn style(cursor: bool, gone: bool) -> Style {
    match (cursor, gone) {
        (true, _) => Style::new().add_modifier(Modifier::REVERSED),
        (false, true) => Style::new().add_modifier(Modifier::DIM),
        (false, false) => Style::new(),
    }
}

fn prefix(cursor: bool, marked: bool, gone: bool) -> String {
    let sign = |on: bool, sign: char| if on { sign } else { ' ' };
    format!("{}{}{} ", sign(cursor, '>'), sign(marked, '*'), sign(gone, 'x'))
}

/// A line of a folder with all of its name, in as many lines as that takes.
fn whole_row(before: &str, row: &Row, taken: Option<i64>, width: usize) -> Vec<String> {
    let room = width.saturating_sub(before.len());
    let (name, after) = (name(row), columns(row, taken, room));
    if name.width() + after.width() <= room {
        return vec![before.to_owned() + &of_row(row, taken, room)];
    }
    // On a narrow terminal this is where size and date can be seen.
    wrap(&format!("{before}{name}{}", columns(row, taken, usize::MAX).trim_end()), width, INDENT)
}

fn of_row(row: &Row, taken: Option<i64>, width: usize) -> String {
    let after = columns(row, taken, width);
    let room = width.saturating_sub(after.width());
    let name = fit(&name(row), room);
    format!("{name}{}{after}", " ".repeat(room.saturating_sub(name.width())))
}

fn name(row: &Row) -> String {
    let slash = if row.sort == Sort::Folder { "/" } else { "" };
    let source = row.source.as_ref().map(|path| format!("  from {}", names::escape(path))).unwrap_or_default();
    format!("{}{slash}{source}", names::escape(&row.name))
}

/// Size and date, as far as there is room. On a narrow terminal the name counts most.
fn columns(row: &Row, taken: Option<i64>, width: usize) -> String {
    let (date, word) = match (row.gone, taken) {
        (_, Some(taken)) => (dates::camera(taken).chars().take(16).collect(), "taken"),
        (Some(last), None) if row.sort == Sort::Folder => (dates::minute(last), "last"),
        _ => (dates::minute(row.mtime), ""),
    };
    let size = words::bytes(row.size);
    match width {
        60.. => format!("  {size:>9}  {date:16} {word:5}"),
        30.. => format!("  {size:>9}"),
        _ => String::new(),
    }
}

fn of_version(version: &Version) -> String {
    format!("{}  {:>9}  {}", dates::minute(version.since), words::bytes(version.size), names::message(&version.what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Time;
    use crate::id::SnapshotId;

    use crate::cli::browse::shelf::Thing;

    fn row(name: &[u8]) -> Row {
        let thing = Thing { snapshot: SnapshotId::from_bytes([1; 32]), path: name.to_vec() };
        let (sort, mtime) = (Sort::File, Time { secs: 0, nanos: 0 });
        Row { name: name.to_vec(), sort, size: 4_200_000, mtime, hash: None, gone: None, source: None, thing }
    }

    #[test]
    fn a_line_is_as_wide_as_the_terminal_whatever_the_name() {
        for name in [
            "a.jpg",
            &"long".repeat(60),
            "Sommer in Köln 🌻.jpg",
            "写真写真写真写真写真写真写真写真写真写真写真写真写真.jpg",
        ] {
            let line = of_row(&row(name.as_bytes()), Some(1_563_127_401), 76);
            assert!((75..=76).contains(&line.width()), "{line:?} is {} wide", line.width());
            assert!(line.contains("2019-07-14 18:03 taken"), "{line}");
        }
    }

    #[test]
    fn on_a_narrow_terminal_the_name_is_what_stays() {
        let line = |width| of_row(&row(b"IMG_20190714_180321.jpg"), None, width);
        assert_eq!(line(40), "IMG_20190714_180321.jpg           4.2 MB");
        assert_eq!(line(10), "IMG_20190~");
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let line = of_row(&row(b"\x1b[2J\xe9\n.jpg"), None, 76);
        assert!(line.starts_with("\\x1B[2J\\xE9\\n.jpg"), "{line}");
        assert!(!line.contains(char::is_control));
    }

    #[test]
    fn the_line_under_the_cursor_shows_all_of_its_name() {
        let name = format!("{} at the sea.jpg", "a very long name ".repeat(8));
        for width in [12, 40, 80] {
            let lines = whole_row(">   ", &row(name.as_bytes()), None, width);
            assert!(lines.len() > 1 && lines.iter().all(|line| line.width() <= width), "{lines:?}");
            let bare = |text: &str| text.replace(' ', "");
            let shown = bare(&lines.concat());
            assert!(shown.contains(&bare(&name)) && shown.contains("4.2MB"), "{shown}");
        }
        let source = Row { sort: Sort::Folder, source: Some(b"/home/anna/\x1bPictures".to_vec()), ..row(b"Pictures") };
        let line = whole_row(">   ", &source, None, 80).concat();
        assert!(line.starts_with(">   Pictures/  from /home/anna/\\x1BPictures"), "{line}");
    }

    #[test]
    fn the_lines_around_a_long_one_leave_it_room() {
        for (cursor, page) in [(0, 5), (50, 5), (99, 5), (99, 1), (99, 2)] {
            let mut list = List::of((0..100).collect::<Vec<_>>(), cursor);
            let own = vec!["> a".to_owned(), "  b".to_owned(), "  c".to_owned()];
            let lines = arranged(&mut list, Some(own), page, |number| (number.to_string(), Style::new()));
            assert!(
                lines.len() <= page && lines.iter().any(|(text, _)| text == "> a"),
                "{cursor} of {page}: {lines:?}"
            );
            assert!(page < 3 || lines.iter().any(|(text, _)| text == "  c"), "{lines:?}");
        }
    }
}
