//! Patterns over names and paths, as restic's users know them; on bytes, for names need not be text.
//!
//! A pattern is a path of components. `*` stands for any run of characters within a name, `?` for one character,
//! `[a-z]` for one of several and `[^a-z]` for one of all others, `\` takes the next character literally, and a component
//! `**` stands for any number of directories, also none. It matches whole components anywhere in a path; a leading `/`
//! ties it to the file system's root. A character is one of UTF-8 or, in a name that is not, one byte.

use memchr::memmem;

/// A pattern over paths.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    anchored: bool,
    /// Written with a leading `!`: takes back what earlier patterns excluded.
    pub negated: bool,
}

#[derive(Debug)]
enum Part {
    Name(Glob),
    AnyDirs,
}

impl Pattern {
    /// Understands a pattern, or says what is wrong with it.
    pub(super) fn new(text: &[u8]) -> Result<Self, &'static str> {
        let (negated, text) = match text.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let anchored = text.first() == Some(&b'/');
        let mut parts = Vec::new();
        for part in text.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err("'..' cannot be matched"),
                // Two in a row say nothing more than one.
                b"**" if matches!(parts.last(), Some(Part::AnyDirs)) => {}
                b"**" => parts.push(Part::AnyDirs),
                name => parts.push(Part::Name(Glob::new(name)?)),
            }
        }
        if parts.is_empty() {
            return Err("an empty pattern");
        }
        Ok(Self { parts, anchored, negated })
    }

    /// Whether the pattern matches a run of components that ends with the last one of a path (and starts with its first,
    /// if anchored). `last` is the path's last component, and `parent` gives the one before.
    pub(super) fn ends_at<'p, P: Copy>(
        &self,
        last: P,
        name: impl Fn(P) -> &'p [u8],
        parent: impl Fn(P) -> Option<P>,
    ) -> bool {
        let mut parts = self.parts.as_slice();
        let mut at = Some(last);
        // Where to go on when what follows does not fit: the last `**` then takes one component more.
        let mut retry: Option<(&[Part], P)> = None;
        loop {
            match (parts.split_last(), at) {
                (None, at) if !self.anchored || at.is_none() => return true,
                (Some((Part::AnyDirs, rest)), at) => {
                    parts = rest;
                    retry = at.map(|at| (rest, at));
                    continue;
                }
                (Some((Part::Name(glob), rest)), Some(here)) if glob.matches(name(here)) => {
                    parts = rest;
                    at = parent(here);
                    continue;
                }
                _ => {}
            }
            let Some((rest, from)) = retry else { return false };
            parts = rest;
            at = parent(from);
            retry = at.map(|at| (rest, at));
        }
    }
}

/// A pattern over one name.
#[derive(Debug)]
struct Glob(Vec<Token>);

#[derive(Debug)]
enum Token {
    Literal(Vec<u8>),
    AnyChar,
    AnyRun,
    OneOf { ranges: Vec<(char, char)>, negated: bool },
}

impl Glob {
    fn new(text: &[u8]) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            match first {
                b'*' if matches!(tokens.last(), Some(Token::AnyRun)) => {}
                b'*' => tokens.push(Token::AnyRun),
                b'?' => tokens.push(Token::AnyChar),
                b'[' => tokens.push(class(&mut rest)?),
                byte => {
                    let byte = if byte == b'\\' {
                        let (&next, tail) = rest.split_first().ok_or("nothing after the last '\\'")?;
                        rest = tail;
                        next
                    } else {
                        byte
                    };
                    match tokens.last_mut() {
                        Some(Token::Literal(literal)) => literal.push(byte),
                        _ => tokens.push(Token::Literal(vec![byte])),
                    }
                }
            }
        }
        Ok(Self(tokens))
    }

    fn matches(&self, name: &[u8]) -> bool {
        let mut tokens = self.0.as_slice();
        let mut rest = name;
        let mut retry: Option<(&[Token], &[u8])> = None;
        loop {
            match tokens.split_first() {
                None if rest.is_empty() => return true,
                Some((Token::AnyRun, more)) => {
                    tokens = more;
                    retry = Some((more, rest));
                    continue;
                }
                Some((token, more)) => {
                    if let Some(left) = token.strip(rest) {
                        (tokens, rest) = (more, left);
                        continue;
                    }
                }
                None => {}
            }
            // The last `*` takes one character more.
            let Some((more, from)) = retry else { return false };
            let Some((_, mut from)) = take_char(from) else { return false };
            // It may as well take all up to where the next token can be. No character has an ASCII byte inside.
            if let Some(Token::Literal(literal)) = more.first()
                && literal.first().is_some_and(u8::is_ascii)
            {
                let Some(at) = memmem::find(from, literal) else { return false };
                from = &from[at..];
            }
            (tokens, rest, retry) = (more, from, Some((more, from)));
        }
    }
}

impl Token {
    /// What is left of `name` once this token (any but `*`) has taken its part from the front.
    fn strip<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        match self {
            Token::Literal(literal) => name.strip_prefix(literal.as_slice()),
            Token::AnyRun => Some(name),
            Token::AnyChar => take_char(name).map(|(_, rest)| rest),
            Token::OneOf { ranges, negated } => {
                let (char, rest) = take_char(name)?;
                let within = char.is_some_and(|c| ranges.iter().any(|&(from, to)| from <= c && c <= to));
                (within != *negated).then_some(rest)
            }
        }
    }
}

/// The first character of a name, or `None` for a byte that belongs to none, and what follows it.
fn take_char(bytes: &[u8]) -> Option<(Option<char>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first.is_ascii() {
        return Some((Some(char::from(first)), rest));
    }
    let len = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let char = bytes.get(..len).and_then(|head| str::from_utf8(head).ok()).and_then(|head| head.chars().next());
    let taken = if char.is_some() { len } else { 1 };
    Some((char, bytes.get(taken..)?))
}

/// Reads a class up to its `]`; its `[` is already taken.
fn class(rest: &mut &[u8]) -> Result<Token, &'static str> {
    const OPEN: &str = "a '[' without its ']'";
    let mut next = || {
        let (char, tail) = take_char(rest).ok_or(OPEN)?;
        *rest = tail;
        char.ok_or("a class of bytes that are not text")
    };
    let mut ranges = Vec::new();
    let mut char = next()?;
    let negated = char == '^';
    if negated {
        char = next()?;
    }
    while char != ']' {
        let from = match char {
            '\\' => next()?,
            '-' => return Err("a '-' at the edge of a class (write '\\-')"),
            char => char,
        };
        char = next()?;
        let mut to = from;
        if char == '-' {
            to = match next()? {
                '\\' => next()?,
                ']' | '-' => return Err("a '-' at the edge of a class (write '\\-')"),
                char => char,
            };
            char = next()?;
        }
        ranges.push((from, to));
    }
    if ranges.is_empty() { Err("an empty class '[]'") } else { Ok(Token::OneOf { ranges, negated }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        ends_at(&Pattern::new(pattern.as_bytes()).unwrap(), path.as_bytes())
    }

    fn ends_at(pattern: &Pattern, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).collect();
        pattern.ends_at(names.len() - 1, |i| names[i], |i| i.checked_sub(1))
    }

    #[test]
    fn a_pattern_matches_as_it_does_in_restic() {
        for (pattern, path, expected) in [
            ("*.tmp", "/home/anna/a.tmp", true),
            ("*.tmp", "/home/anna/a.tmp.jpg", false),
            ("a?c", "/abc", true),
            ("a?c", "/aäc", true),
            ("a?c", "/ac", false),
            ("[a-c]x", "/bx", true),
            ("[^a-c]x", "/bx", false),
            ("[^a-c]x", "/äx", true),
            ("[ä-ü]", "/ö", true),
            ("\\*", "/*", true),
            ("\\*", "/a", false),
            ("[\\]]", "/]", true),
            ("cache", "/home/cache", true),
            ("cache", "/home/mycache", false),
            ("cache", "/home/Cache", false),
            ("anna/cache", "/home/anna/cache", true),
            ("anna/cache", "/home/anna/x/cache", false),
            ("home/anna", "/home/anna/cache", false),
            ("/home/anna", "/home/anna", true),
            ("/anna", "/home/anna", false),
            ("/*/anna", "/home/anna", true),
            ("/home/**/cache", "/home/cache", true),
            ("/home/**/cache", "/home/a/b/cache", true),
            ("/home/**/cache", "/var/home/a/cache", false),
            ("/**/cache", "/a/b/cache", true),
            ("**/cache", "/a/b/cache", true),
            ("a/**", "/x/a/b/c", true),
            ("a/**", "/x/a", true),
            ("/a/**/b/**/c", "/a/b/b/x/c", true),
            ("/a/**/b/**/c", "/a/x/x/c", false),
            ("a//b/./c/", "/a/b/c", true),
            ("*", "/.hidden", true),
            ("{a,b}", "/a", false),
            ("{a,b}", "/{a,b}", true),
            ("a**b", "/axxb", true),
            ("*a*b*", "/xxaxxbxx", true),
            ("*aab", "/aaab", true),
            ("*[^ä]", "/ä", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn names_that_are_not_text_match_byte_by_byte() {
        let latin1 = b"/photos/m\xfcnchen.jpg";
        assert!(ends_at(&Pattern::new(b"m?nchen.jpg").unwrap(), latin1));
        assert!(ends_at(&Pattern::new(b"m\xfcnchen.*").unwrap(), latin1));
        assert!(ends_at(&Pattern::new(b"m[^a]nchen.jpg").unwrap(), latin1));
        assert!(!ends_at(&Pattern::new("münchen.jpg".as_bytes()).unwrap(), latin1));
    }

    #[test]
    fn what_makes_no_sense_is_refused_rather_than_ignored() {
        for text in ["", "/", "!", "[", "[a", "[]", "[]a]", "[-a]", "[a-", "a\\", "../x"] {
            assert!(Pattern::new(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches(&pattern, &"a".repeat(250)));
    }
}
