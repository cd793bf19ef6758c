//! Completion of snapshots and of what is in them, asked for by the scripts of `completions` at each press of the key.
//!
//! It answers from the archive, quickly and silently: what goes wrong is nothing to complete. Names of an archive are
//! hostile, and what is completed becomes part of a command; so a name that is not plain visible text is never offered,
//! and every character of the others that a shell could act on is quoted.

mod line;
mod scripts;

use std::ffi::OsString;
use std::sync::Arc;

use crate::archive::{Archive, Filter, Selector};
use crate::format::EntryKind;
use crate::view::{Sources, View};
use clap::{ArgAction, Command};
use jiff::Zoned;

use super::app::App;
use super::exit::Failure;
use super::screen::{Screen, Wishes};
use super::selector::Asked;
use super::{args, dates, names, places};
use line::{Line, Shell, Word};
pub use scripts::script;

/// What the scripts say to ask for words. It is no command for people and stands in no help.
const VERB: &str = "complete-word";
/// As many words are offered as somebody can look through.
const MOST: usize = 2000;
/// So many of the newest snapshots are named by how far they lie back.
const BACK: usize = 9;

/// Answers a script, if one has asked.
pub fn answer(name: &'static str, arguments: &[OsString]) -> bool {
    let Some([verb, shell, line, rest @ ..]) = arguments.get(1..) else { return false };
    if verb != VERB {
        return false;
    }
    let Some(shell) = shell.to_str().and_then(Shell::named) else { return true };
    let line = places::bytes_of(line);
    let breaks = rest.first().map(|breaks| breaks.to_string_lossy().into_owned()).unwrap_or_default();
    let screen = Arc::new(Screen::new(name, Wishes { json: false, quiet: true, verbose: 0, no_progress: true }));
    if let Some(line) = Line::read(&line) {
        let words = words(name, &screen, &line).unwrap_or_default();
        for word in words.iter().filter_map(|word| line.completed(word, shell, &breaks)).take(MOST) {
            screen.line(&word);
        }
    }
    let _ = screen.finish();
    true
}

/// The words that the last word of a line may become: what it keeps of itself, and how it goes on.
fn words(name: &'static str, screen: &Arc<Screen>, line: &Line) -> Option<Vec<Word>> {
    let archive = wanted(&args::grammar(name), line)?;
    let mut arguments: Vec<OsString> = [name, "list", "-q"].map(OsString::from).to_vec();
    if let Some(archive) = archive {
        arguments.push("-a".into());
        arguments.push(places::Places::of_user().expand(&places::path_of(archive)).into());
    }
    let (global, _) = args::parse(name, &arguments).ok()?;
    let app = App::new(Arc::clone(screen), global).ok()?;
    let archive = app.open().ok()?;
    let typed = line.last();
    match things(&archive, typed, &app.host()) {
        Ok(found) if !found.is_empty() => Some(found),
        _ => Some(snapshots(&archive, typed)),
    }
}

/// Whether a snapshot is wanted where the line ends; then the archive that it names, if it names one.
fn wanted(grammar: &Command, line: &Line) -> Option<Option<Vec<u8>>> {
    let last = line.last();
    if last.starts_with(b"-") {
        return None;
    }
    let (mut command, mut places, mut archive) = (None, 0_usize, None);
    let mut words = line.before().iter();
    while let Some(word) = words.next() {
        let text = String::from_utf8_lossy(word).into_owned();
        let here = command.unwrap_or(grammar);
        if let Some(value) = text.strip_prefix("--archive=") {
            archive = Some(value.as_bytes().to_vec());
        } else if text.starts_with('-') {
            if takes_value(grammar, &text) || takes_value(here, &text) {
                // Where its value is being written, no snapshot is.
                let value = words.next()?;
                if ["-a", "--archive"].contains(&text.as_str()) {
                    archive = Some(value.clone());
                }
            }
            if text == "--deleted" {
                return None;
            }
        } else if command.is_none() {
            command = Some(grammar.find_subcommand(&text)?);
        } else {
            places += 1;
        }
    }
    let most = match command?.get_name() {
        "ls" | "restore" | "cat" | "dump" => 1,
        "diff" => 2,
        _ => return None,
    };
    (places < most).then_some(archive)
}

/// Whether an option is followed by its value.
fn takes_value(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|argument| {
        let named = match option.strip_prefix("--") {
            Some(long) => argument.get_long() == Some(long),
            None => argument.get_short().is_some_and(|short| option.ends_with(short)),
        };
        named && matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
    })
}

/// What is in a snapshot, for a word that names one and has a colon behind it.
fn things(archive: &Archive, typed: &[u8], host: &str) -> Result<Vec<Word>, Failure> {
    let asked = Asked::parse(places::path_of(typed.to_vec()).as_os_str(), &Zoned::now())?;
    let Some(path) = &asked.path else { return Ok(Vec::new()) };
    let present = Sources::of(archive, &Filter::default())?;
    let start = typed.len() - path.len();
    let paths =
        present.present().map(|line| &line.path).filter(|source| path.starts_with(b"/") && source.starts_with(path));
    let sources: Vec<Word> = paths.map(|source| Word { kept: start, rest: source.clone() }).collect();
    if !sources.is_empty() {
        return Ok(sources);
    }
    let begun = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (folder, begun) = path.split_at(begun);
    if folder.is_empty() && asked.snapshot == Selector::Latest(0) {
        // Each source's present is its own newest snapshot.
        let names = present.present().map(|line| &line.name).filter(|name| name.starts_with(begun));
        return Ok(names.map(|name| Word { kept: start, rest: [name, b"/".as_slice()].concat() }).collect());
    }
    let (id, snapshot, folder) = match &asked.snapshot {
        Selector::Latest(_) | Selector::AsOf(_) if !folder.is_empty() => {
            let found = present.locate(&asked.snapshot, folder, host)?;
            (found.id, found.snapshot, found.path)
        }
        _ => {
            let (id, snapshot) = asked.find(archive, &Filter::default())?;
            (id, snapshot, folder.to_vec())
        }
    };
    let view = View::new(archive, id, snapshot);
    let entries = view.list(&view.find(&folder)?)?;
    let fitting = entries.into_iter().filter(|entry| entry.name.starts_with(begun));
    Ok(fitting
        .map(|entry| {
            let open = matches!(entry.kind, EntryKind::Dir { .. });
            let rest = if open { [&entry.name, b"/".as_slice()].concat() } else { entry.name };
            Word { kept: typed.len() - begun.len(), rest }
        })
        .collect())
}

/// The names of snapshots that begin so: how far they lie back, their days, their ids.
fn snapshots(archive: &Archive, typed: &[u8]) -> Vec<Word> {
    let all = archive.snapshots();
    let newest = || all.iter().rev();
    let mut named = vec!["latest".to_owned()];
    named.extend((1..all.len().min(BACK + 1)).map(|back| format!("latest~{back}")));
    let mut days: Vec<String> = newest().map(|(_, snapshot)| dates::minute(snapshot.time)[..10].to_owned()).collect();
    days.dedup();
    named.append(&mut days);
    named.extend(newest().map(|(id, _)| id.short()));
    let word = |name: String| Word { kept: 0, rest: format!("{name}:").into_bytes() };
    named.into_iter().filter(|name| name.as_bytes().starts_with(typed)).map(word).collect()
}

/// A name as text, if it is nothing but plain visible text.
fn plain(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok().filter(|text| names::message(text) == *text)
}
