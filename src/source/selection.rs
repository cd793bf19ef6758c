//! Patterns over paths that are known as a whole, such as those of a snapshot. Both are compared in one form of Unicode, so
//! that what is typed finds what is stored.

use super::pattern::Pattern;
use super::rules::lower;
use crate::error::{Error, Kind, Result};
use crate::normal::normal;

/// Patterns as in [`super::RuleSpec`], asked about whole paths.
#[derive(Debug, Default)]
pub struct Patterns {
    exact: Vec<Pattern>,
    any_case: Vec<Pattern>,
}

impl Patterns {
    /// Understands these patterns; those of `any_case` ignore upper and lower case. [`Kind::Invalid`] names a pattern that
    /// makes no sense.
    pub fn new(exact: &[String], any_case: &[String]) -> Result<Self> {
        let understand = |text: &[u8], shown: &String| {
            Pattern::new(text).map_err(|why| Error::new(Kind::Invalid, format!("reading the pattern \"{shown}\""), why))
        };
        Ok(Self {
            exact: exact.iter().map(|text| understand(&normal(text.as_bytes()), text)).collect::<Result<_>>()?,
            any_case: any_case
                .iter()
                .map(|text| understand(&lower(&normal(text.as_bytes())), text))
                .collect::<Result<_>>()?,
        })
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.any_case.is_empty()
    }

    /// Whether a pattern fits this path or a directory that it lies in. Of several that fit, the last counts, so that a
    /// later `!` takes back what an earlier one said.
    pub fn fit(&self, path: &[u8]) -> bool {
        let path = &*normal(path);
        fit(&self.exact, path) || (!self.any_case.is_empty() && fit(&self.any_case, &lower(path)))
    }
}

fn fit(patterns: &[Pattern], path: &[u8]) -> bool {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let fits =
        |pattern: &Pattern| (0..names.len()).any(|last| pattern.ends_at(last, |at| names[at], |at| at.checked_sub(1)));
    patterns.iter().rev().find(|pattern| fits(pattern)).is_some_and(|pattern| !pattern.negated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_a_path_and_what_lies_below_it() {
        let patterns =
            |exact: &[&str]| Patterns::new(&exact.iter().map(|text| text.to_string()).collect::<Vec<_>>(), &[]);
        let album = patterns(&["2019"]).unwrap();
        assert!(album.fit(b"Pictures/2019") && album.fit(b"Pictures/2019/a/b.jpg"));
        assert!(!album.fit(b"Pictures/20190") && !album.fit(b"Pictures"));
        let anchored = patterns(&["/Pictures/*/b.jpg"]).unwrap();
        assert!(anchored.fit(b"Pictures/2019/b.jpg") && !anchored.fit(b"x/Pictures/2019/b.jpg"));
        let taken_back = patterns(&["*.jpg", "!b.jpg"]).unwrap();
        assert!(taken_back.fit(b"a.jpg") && !taken_back.fit(b"b.jpg"));
        let any_case = Patterns::new(&[], &["*.JPG".to_string()]).unwrap();
        assert!(any_case.fit(b"x/a.jPg"));
        assert!(patterns(&[""]).is_err());
    }

    #[test]
    fn a_pattern_fits_a_name_in_whatever_form_it_is_written() {
        let names = ["M\u{fc}nchen", "Mu\u{308}nchen"];
        for pattern in names.iter().flat_map(|name| [name.to_string(), format!("{}*", &name[..4])]) {
            let exact = Patterns::new(std::slice::from_ref(&pattern), &[]).unwrap();
            let any_case = Patterns::new(&[], &[pattern.to_uppercase()]).unwrap();
            for name in names {
                assert!(exact.fit(name.as_bytes()) && exact.fit(format!("a/{name}/b.jpg").as_bytes()), "{pattern:?}");
                assert!(any_case.fit(name.as_bytes()), "{pattern:?}");
            }
            assert!(!exact.fit(b"Munchen"));
        }
    }
}
