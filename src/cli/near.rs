//! What is meant where a name is written that is not there: one that differs only in case, one that lies deeper, or one that
//! is but a slip away. Everything here is for hints: nothing is done on its word.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;

use crate::archive::Filter;
use crate::source::Patterns;
use crate::view::{Past, Span, Spot, folded};

use super::app::App;
use super::exit::{Code, Failure};
use super::{episodes, names, places};

/// How a pattern fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// As it is written.
    Just,
    /// Only if upper and lower case are the same.
    AnyCase,
}

/// At most so many letters are wrong, left out, too many or swapped in what is but a slip away.
const SLIPS: usize = 2;

/// No more names than so many are offered.
const OFFERED: usize = 3;

/// Something that a pattern fits: just as it is written, else for any case. It is the part of a path that the pattern fits.
///
/// # Errors
/// The archive's error, or a pattern that makes no sense.
pub fn fitting(
    past: &Past<'_>,
    roots: &[Spot],
    span: Span,
    pattern: &str,
    ignore_case: bool,
) -> Result<Option<(Fit, Vec<u8>)>, Failure> {
    let one = [pattern.to_owned()];
    let any_case = Patterns::new(&[], &one)?;
    let exact = if ignore_case { Patterns::new(&[], &one)? } else { Patterns::new(&one, &[])? };
    let found = RefCell::new(None);
    past.select(roots, span, &|one| {
        let known = found.borrow().as_ref().map(|(fit, _)| *fit);
        if known != Some(Fit::Just) && exact.fit(one.path) {
            found.replace(Some((Fit::Just, front(&exact, one.path))));
        } else if known.is_none() && any_case.fit(one.path) {
            found.replace(Some((Fit::AnyCase, front(&any_case, one.path))));
        }
        false
    })?;
    Ok(found.into_inner())
}

/// What patterns fit: the path, or a folder that it lies in.
fn front(patterns: &Patterns, path: &[u8]) -> Vec<u8> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let mut fronts = ends.chain([path.len()]).map(|end| &path[..end]);
    fronts.find(|front| patterns.fit(front)).unwrap_or(path).to_vec()
}

/// What is perhaps meant by a path at which nothing ever was.
pub fn hint(past: &Past<'_>, given: &OsStr) -> Option<String> {
    let bytes = places::bytes_of(given);
    let text = std::str::from_utf8(&bytes).ok()?;
    let text = text.trim_start_matches("./").trim_end_matches('/');
    if text.is_empty() {
        return None;
    }
    let roots = past.all_roots();
    // A path from the top of the file system is no part of one that snapshots have.
    if !text.starts_with('/')
        && let Some((fit, path)) = fitting(past, &roots, Span::All, &literal(text), false).ok()?
    {
        if path == text.as_bytes() {
            // It is there, and something else is wrong.
            return None;
        }
        let path = names::escape(&path);
        return Some(match fit {
            Fit::Just => format!(
                "there is {path}; {{snap}} find \"{}\" names every place, and the whole path is understood",
                names::message(&literal(text))
            ),
            Fit::AnyCase => format!("{path} differs only in case"),
        });
    }
    let (wrong, near) = slips(past, &roots, text)?;
    let near: Vec<String> = near.iter().map(|path| names::escape(path)).collect();
    Some(match (wrong, near.as_slice()) {
        (0, [one]) => format!("{one} differs only in case"),
        _ => format!("is {} meant?", near.join(" or ")),
    })
}

/// The same for what was read as the name of a snapshot and is none: a path that is known wants only `latest:` before it.
pub fn or_path(app: &App, given: &OsStr, filter: &Filter, failure: Failure) -> Failure {
    if failure.code != Code::Usage || places::bytes_of(given).starts_with(b"/") {
        return failure;
    }
    let Ok(archive) = app.open() else { return failure };
    let Ok(past) = Past::open(&archive, filter) else { return failure };
    if episodes::spots(&past, given).is_ok() {
        let shown = names::message(&given.to_string_lossy());
        return failure.hint(format!("to look in the newest snapshot, write \"latest:{shown}\""));
    }
    match hint(&past, given) {
        Some(hint) => failure.hint(format!("write SNAPSHOT:PATH, such as latest:PATH; {hint}")),
        None => failure,
    }
}

/// A pattern that fits these names and no others.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | '\\') || (out.is_empty() && char == '!') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

/// Paths that are nearest to one that is not there, and how many letters are wrong.
fn slips(past: &Past<'_>, roots: &[Spot], given: &str) -> Option<(usize, BTreeSet<Vec<u8>>)> {
    let is_whole = given.starts_with('/');
    let wanted: Vec<Vec<char>> = given.trim_start_matches('/').split('/').map(letters).collect();
    let mut best: Option<(usize, BTreeSet<Vec<u8>>)> = None;
    for root in roots {
        let shown = past.path(root);
        let above = if is_whole { past.origin(root).1 } else { shown.clone() };
        let (last, fronts) = (RefCell::new(Vec::new()), RefCell::new(Vec::<(usize, Vec<u8>)>::new()));
        past.select(std::slice::from_ref(root), Span::All, &|one| {
            let whole = [above.as_slice(), one.path.get(shown.len()..).unwrap_or_default()].concat();
            let at = usize::from(is_whole);
            let ends = whole.iter().enumerate().skip(at).filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
            let front = ends.chain([whole.len()]).nth(wanted.len() - 1).map(|end| &whole[..end]);
            if let Some(front) = front.filter(|front| **front != *last.borrow()) {
                last.replace(front.to_vec());
                if let Some(wrong) = apart(&wanted, front.get(at..).unwrap_or_default()) {
                    fronts.borrow_mut().push((wrong, front.to_vec()));
                }
            }
            false
        })
        .ok()?;
        for (wrong, front) in fronts.into_inner() {
            match &mut best {
                Some((least, fronts)) if *least == wrong => drop(fronts.insert(front)),
                Some((least, _)) if *least < wrong => {}
                best => *best = Some((wrong, BTreeSet::from([front]))),
            }
        }
    }
    best.filter(|(_, fronts)| fronts.len() <= OFFERED)
}

/// How many letters of a path are wrong, if they are few.
fn apart(wanted: &[Vec<char>], path: &[u8]) -> Option<usize> {
    let mut all = 0;
    for (wanted, name) in wanted.iter().zip(path.split(|byte| *byte == b'/')) {
        let name = letters(&String::from_utf8_lossy(name));
        if wanted.len().abs_diff(name.len()) > SLIPS {
            return None;
        }
        let wrong = distance(wanted, &name);
        // Of a short name nothing would be left.
        if wrong > wanted.len() / 3 {
            return None;
        }
        all += wrong;
    }
    (all <= SLIPS).then_some(all)
}

fn letters(name: &str) -> Vec<char> {
    String::from_utf8_lossy(&folded(name.as_bytes())).chars().collect()
}

/// How many letters are to be put in, taken out, replaced, or swapped with the next to make one name of the other.
fn distance(one: &[char], other: &[char]) -> usize {
    let (mut before, mut above): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=other.len()).collect());
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != wanted);
            let mut least = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && one[row - 1] == *wanted && other[column - 1] == *letter {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        let apart = |wanted: &str, path: &str| {
            let wanted: Vec<Vec<char>> = wanted.split('/').map(letters).collect();
            apart(&wanted, path.as_bytes())
        };
        let table = [
            ("Pictures/2020/Winte", "Pictures/2020/Winter", Some(1)),
            ("pictures/2020/winter", "Pictures/2020/Winter", Some(0)),
            ("Pictures/2024 großeltern", "Pictures/2024 Großeltern", Some(0)),
            ("Pictuers/Wniter", "Pictures/Winter", Some(2)),
            ("Pictures/2018", "Pictures/2019", Some(1)),
            ("Pictuers/Wniterr", "Pictures/Winter", None),
            ("ab", "ac", None),
            ("Ostsee", "Nordsee", None),
        ];
        for (wanted, path, expected) in table {
            assert_eq!(apart(wanted, path), expected, "{wanted}");
        }
        assert_eq!(literal("!a [1]*"), "\\!a \\[1]\\*");
    }
}
