//! The browser on a terminal: plain text, drawn with nothing but bold, dim and reverse, so that it is the same without
//! colours. Only the lines that fit are looked at. Names reach the terminal escaped.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::{dates, names, words};
use super::shelf::{Moment, Row, Sort, Version};
use super::state::State;

const HELP: [&str; 17] = [
    "up, down, page up, page down, home, end   go through the lines (also j, k, g, G)",
    "enter or right    open a snapshot or folder; of a file, its versions",
    "left or escape    go back",
    "[ and ]           the same folder in an older or newer snapshot",
    "d                 show what is gone from the source, too; it has an x before it",
    "v                 what happened to the file or folder under the cursor",
    "space             mark it for a restore, or no longer",
    "u                 unmark everything",
    "r                 restore what is marked, or what is under the cursor, into a new folder",
    "q                 quit",
    "",
    "A date behind a photo with \"taken\" is its camera's; other dates are of the last change.",
    "A restore goes into a folder that is new or empty, and never replaces anything. One thing",
    "keeps its name there, several keep their paths, and what is of several snapshots comes",
    "into a folder for each of them.",
    "",
    "Any key closes this.",
];

/// Draws what there is to see.
pub fn draw(frame: &mut Frame<'_>, state: &mut State<'_>) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    if width == 0 || height == 0 {
        return;
    }
    let mut line = |at: usize, text: &str, style: Style| {
        if at < height {
            let row = Rect::new(area.x, area.y + at as u16, area.width, 1);
            frame.render_widget(Paragraph::new(Line::styled(fit(text, width), style)), row);
        }
    };
    let (bold, plain) = (Style::new().add_modifier(Modifier::BOLD), Style::new());
    line(0, &state.title(), bold);
    // The title, the message and the keys have a line each.
    let page = height.saturating_sub(3);
    state.height = page;
    if state.help {
        HELP.iter().take(page).enumerate().for_each(|(at, text)| line(at + 1, text, plain));
    } else {
        for (at, (text, style)) in lines(state, page, width).into_iter().enumerate().take(page) {
            line(at + 1, &text, style);
        }
    }
    match &state.question {
        Some(question) => {
            let what = words::things(state.wanted().len() as u64, "thing", "things");
            let asked = format!("restore {what} into: ");
            // The end of a long path is what is being written.
            let room = width.saturating_sub(asked.width() + 1);
            line(height.saturating_sub(2), &format!("{asked}{}_", tail(&names::message(&question.target), room)), bold);
            line(height - 1, "enter restore   escape call it off", plain);
        }
        None => {
            line(height.saturating_sub(2), &state.message, bold);
            line(height - 1, keys(state), Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

fn keys(state: &State<'_>) -> &'static str {
    match (&state.versions, &state.folder) {
        (Some(_), _) => "space mark  r restore  left back  ? help  q quit",
        (None, Some(_)) => "enter open  space mark  r restore  v versions  d gone  [ ] time  ? help  q quit",
        (None, None) => "enter open  ? help  q quit",
    }
}

/// The lines that fit on a page.
fn lines(state: &mut State<'_>, page: usize, width: usize) -> Vec<(String, Style)> {
    let shelf = state.shelf();
    let marked = |state: &State<'_>, thing: Option<&super::shelf::Thing>| thing.is_some_and(|one| state.is_marked(one));
    let mut found = Vec::new();
    let nothing = |text: &str| vec![(format!("  {text}"), Style::new().add_modifier(Modifier::DIM))];
    if let Some(mut versions) = state.versions.take() {
        let cursor = versions.list.cursor;
        for (at, version) in versions.list.window(page) {
            let is_marked = marked(state, version.thing.as_ref());
            found.push((prefix(at == cursor, is_marked, false) + &of_version(version), style(at == cursor, false)));
        }
        state.versions = Some(versions);
        return if found.is_empty() { nothing("nothing is known of its past") } else { found };
    }
    if let Some(mut folder) = state.folder.take() {
        let cursor = folder.list.cursor;
        for (at, row) in folder.list.window(page) {
            let taken = row.hash.as_ref().and_then(|hash| shelf.taken(hash));
            let gone = row.gone.is_some();
            let before = prefix(at == cursor, marked(state, Some(&row.thing)), gone);
            let room = width.saturating_sub(before.len());
            found.push((before + &of_row(row, taken, room), style(at == cursor, gone)));
        }
        state.folder = Some(folder);
        return if found.is_empty() { nothing("the folder is empty") } else { found };
    }
    let cursor = state.moments.cursor;
    for (at, moment) in state.moments.window(page) {
        let text = prefix(at == cursor, false, false) + &of_moment(&shelf.moments()[*moment]);
        found.push((text, style(at == cursor, false)));
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

fn of_moment(moment: &Moment) -> String {
    let told = [(moment.new, "new"), (moment.changed, "changed"), (moment.moved, "moved"), (moment.gone, "gone")];
    let told = told.iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> = told.map(|(number, what)| format!("{} {what}", words::count(*number))).collect();
    let (date, host) = (dates::minute(moment.time), names::message(&moment.host));
    let sources: Vec<String> = moment.sources.iter().map(|name| names::escape(name)).collect();
    format!(
        "{date}  {host:10}  {:>9} files  {:>9}  {}  {}",
        words::count(moment.files),
        words::bytes(moment.bytes),
        told.join(", "),
        sources.join(", ")
    )
}

fn of_row(row: &Row, taken: Option<i64>, width: usize) -> String {
    let (date, word) = match (row.gone, taken) {
        (_, Some(taken)) => (dates::camera(taken).chars().take(16).collect(), "taken"),
        (Some(last), None) if row.sort == Sort::Folder => (dates::minute(last), "last"),
        _ => (dates::minute(row.mtime), ""),
    };
    // On a narrow terminal the name counts most.
    let size = words::bytes(row.size);
    let after = match width {
        60.. => format!("  {size:>9}  {date:16} {word:5}"),
        30.. => format!("  {size:>9}"),
        _ => String::new(),
    };
    let slash = if row.sort == Sort::Folder { "/" } else { "" };
    let room = width.saturating_sub(after.width());
    let name = fit(&format!("{}{slash}", names::escape(&row.name)), room);
    format!("{name}{}{after}", " ".repeat(room.saturating_sub(name.width())))
}

fn of_version(version: &Version) -> String {
    format!("{}  {:>9}  {}", dates::minute(version.since), words::bytes(version.size), names::message(&version.what))
}

/// A text in so many columns; what does not fit is left out, which a `~` tells.
fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        out.push(char);
    }
    if width > 0 {
        out.push('~');
    }
    out
}

/// The end of a text in so many columns.
fn tail(text: &str, width: usize) -> String {
    let mut used = 0;
    let fits = |char: &char| {
        used += char.width().unwrap_or(0);
        used <= width
    };
    let end: Vec<char> = text.chars().rev().take_while(fits).collect();
    end.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapkeep::format::Time;
    use snapkeep::id::SnapshotId;

    use super::super::shelf::Thing;

    fn row(name: &[u8]) -> Row {
        let thing = Thing { snapshot: SnapshotId::from_bytes([1; 32]), path: name.to_vec() };
        let (sort, mtime) = (Sort::File, Time { secs: 0, nanos: 0 });
        Row { name: name.to_vec(), sort, size: 4_200_000, mtime, hash: None, gone: None, thing }
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
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("photo", 5), "photo");
        assert_eq!(fit("photos", 5), "phot~");
        assert_eq!(fit("写真", 3), "写~");
        assert_eq!(fit("photo", 0), "");
        assert_eq!(tail("/home/anna", 5), "/anna");
    }
}
