//! A command line as it is being typed: its words without their quotes, and how the last one is quoted so far.

use super::plain;

/// A shell whose lines are read and completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shell {
    /// It replaces what stands behind the last of its word breaks.
    Bash,
    /// It takes words as they are to stand there.
    Zsh,
    /// It quotes what it is given by itself.
    Fish,
}

impl Shell {
    pub fn named(name: &str) -> Option<Self> {
        [("bash", Self::Bash), ("zsh", Self::Zsh), ("fish", Self::Fish)]
            .iter()
            .find(|(known, _)| *known == name)
            .map(|one| one.1)
    }
}

/// How the last word may go on: so many bytes of it stay, and these follow.
#[derive(Debug)]
pub struct Word {
    pub kept: usize,
    pub rest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Quote {
    None,
    Single,
    Double,
}

/// A line up to the cursor.
#[derive(Debug)]
pub struct Line {
    /// The words without quotes; the last may be empty.
    words: Vec<Vec<u8>>,
    /// The last word as it is typed.
    raw: Vec<u8>,
    /// For each byte of the last word, where it ends in `raw`.
    ends: Vec<usize>,
    /// The quotes in which the line ends.
    quote: Quote,
}

impl Line {
    /// Reads it; none if it does more than name words, so that what it means is the shell's secret.
    pub fn read(line: &[u8]) -> Option<Self> {
        let mut all = Self { words: vec![Vec::new()], raw: Vec::new(), ends: Vec::new(), quote: Quote::None };
        let mut bytes = line.iter().copied();
        let mut begun = false;
        while let Some(byte) = bytes.next() {
            if all.quote == Quote::None && byte == b' ' {
                if begun {
                    all.words.push(Vec::new());
                }
                (all.raw, all.ends, begun) = (Vec::new(), Vec::new(), false);
                continue;
            }
            all.raw.push(byte);
            begun = true;
            let literal = match (all.quote, byte) {
                (Quote::None, b'\'') => {
                    all.quote = Quote::Single;
                    None
                }
                (Quote::None, b'"') => {
                    all.quote = Quote::Double;
                    None
                }
                (Quote::Single, b'\'') | (Quote::Double, b'"') => {
                    all.quote = Quote::None;
                    None
                }
                (Quote::None, b'\\') => {
                    let next = bytes.next()?;
                    all.raw.push(next);
                    Some(next)
                }
                (Quote::Double, b'\\') => {
                    let next = bytes.next()?;
                    all.raw.push(next);
                    // Before anything else it stands for itself, which is more than needs to be known here.
                    if !b"\\\"$`".contains(&next) {
                        return None;
                    }
                    Some(next)
                }
                (Quote::None | Quote::Double, b'$' | b'`') => return None,
                (Quote::None, b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>' | b'\n') => return None,
                (_, byte) => Some(byte),
            };
            if let Some(byte) = literal {
                all.words.last_mut()?.push(byte);
                all.ends.push(all.raw.len());
            }
        }
        Some(all)
    }

    /// The words before the last, without that of the program.
    pub fn before(&self) -> &[Vec<u8>] {
        self.words.get(1..self.words.len() - 1).unwrap_or_default()
    }

    /// The last word, without quotes.
    pub fn last(&self) -> &[u8] {
        self.words.last().map(Vec::as_slice).unwrap_or_default()
    }

    /// What a shell is to be told so that the last word goes on in this way; nothing if that could mean something else.
    pub fn completed(&self, word: &Word, shell: Shell, breaks: &str) -> Option<String> {
        let rest = plain(&word.rest)?;
        let typed = self.last();
        if shell == Shell::Fish {
            return Some(plain(&typed[..word.kept])?.to_owned() + rest);
        }
        let end = word.kept.checked_sub(1).map_or(0, |last| self.ends[last]);
        // Quotes that are open, or were closed within the word.
        let opened = self.raw.first().is_some_and(|byte| b"'\"".contains(byte));
        let (quoted, skipped) = match self.quote {
            Quote::None if !self.raw.iter().any(|byte| b"'\"".contains(byte)) => (quoted(rest), 0),
            Quote::Single if opened => ((!rest.contains('\'')).then(|| rest.to_owned())?, 1),
            // There, a shell acts on an exclamation mark whatever stands before it.
            Quote::Double if opened && !rest.contains('!') => (escaped(rest, "\\\"$`"), 1),
            _ => return None,
        };
        let kept = plain(self.raw.get(skipped..end.max(skipped))?)?;
        let whole = kept.to_owned() + &quoted;
        if shell == Shell::Bash && self.quote == Quote::None {
            return Some(whole[broken(kept, breaks)..].to_owned());
        }
        Some(whole)
    }
}

/// Where the part begins that bash takes for the word.
fn broken(typed: &str, breaks: &str) -> usize {
    let (mut at, mut escaped) = (0, false);
    for (position, char) in typed.char_indices() {
        if !escaped && char != '\\' && breaks.contains(char) {
            at = position + char.len_utf8();
        }
        escaped = !escaped && char == '\\';
    }
    at
}

/// Text as a word of a shell without quotes.
fn quoted(text: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "_./:@%+,=-".contains(char);
    // Where a word begins, a tilde is a home.
    let plain = |(at, char): (usize, char)| plain(char) || (char == '~' && at > 0);
    text.char_indices().flat_map(|one| (!plain(one)).then_some('\\').into_iter().chain([one.1])).collect()
}

fn escaped(text: &str, signs: &str) -> String {
    text.chars().flat_map(|char| signs.contains(char).then_some('\\').into_iter().chain([char])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: &str = " \t\n\"'@><=;|&(:";

    fn completed(typed: &str, keeps: usize, rest: &str, shell: Shell) -> Option<String> {
        let line = Line::read(typed.as_bytes()).expect("a line");
        line.completed(&Word { kept: line.last().len() - keeps, rest: rest.as_bytes().to_vec() }, shell, BREAKS)
    }

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        let words = |line: &str| {
            let line = Line::read(line.as_bytes())?;
            let words = [line.before(), &[line.last().to_vec()]].concat();
            Some(words.into_iter().map(|word| String::from_utf8(word).expect("text")).collect::<Vec<_>>())
        };
        let table: [(&str, &[&str]); 7] = [
            ("snap ls ", &["ls", ""]),
            ("snap  ls latest:a", &["ls", "latest:a"]),
            (r"snap ls latest:my\ al", &["ls", "latest:my al"]),
            ("snap ls \"3 days ago:my al", &["ls", "3 days ago:my al"]),
            ("snap -a '/media/my drive' ls lat", &["-a", "/media/my drive", "ls", "lat"]),
            (r#"snap ls "a\"b" '"#, &["ls", "a\"b", ""]),
            ("snap", &["snap"]),
        ];
        for (line, expected) in table {
            let words = words(line).expect(line);
            assert_eq!(words.last(), expected.last().map(|word| (*word).to_owned()).as_ref(), "{line}");
            assert!(expected.len() == 1 || words == expected, "{line}: {words:?}");
        }
        for line in ["snap ls $(ls) ", "snap ls \"$HOME", "x | snap ls ", "snap ls `", "snap ls > x", "snap ls \\"] {
            assert!(words(line).is_none(), "{line}");
        }
    }

    /// A photo called `$(rm -r ~)` must not become a command of whoever presses the key.
    #[test]
    fn what_a_shell_could_act_on_is_quoted_or_not_offered() {
        let name = "$(touch x) `y` 'z' \"w\" \\ *?[a]!;&|<>#~{}";
        let quoted = r#"\$\(touch\ x\)\ \`y\`\ \'z\'\ \"w\"\ \\\ \*\?\[a\]\!\;\&\|\<\>\#~\{\}"#;
        assert_eq!(completed("snap ls latest:", 0, name, Shell::Bash).as_deref(), Some(quoted));
        assert_eq!(completed("snap ls latest:", 0, name, Shell::Zsh), Some(format!("latest:{quoted}")));
        assert_eq!(completed("snap ls latest:", 0, name, Shell::Fish), Some(format!("latest:{name}")));
        assert_eq!(completed("snap ls 'latest:", 0, name, Shell::Bash), None);
        assert_eq!(completed("snap ls \"latest:", 0, name, Shell::Bash), None);
        assert_eq!(completed("snap ls \"latest:", 0, "a $b`", Shell::Bash).as_deref(), Some("latest:a \\$b\\`"));
        assert_eq!(completed("snap ls 'latest:", 0, "a $b`", Shell::Zsh).as_deref(), Some("latest:a $b`"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            for hostile in ["two\nlines", "\x1b[2J", "\u{202E}gpj", "a\tb", "\u{9b}"] {
                assert_eq!(completed("snap ls latest:", 0, hostile, shell), None, "{hostile:?}");
            }
        }
    }

    #[test]
    fn what_is_typed_stays_as_it_is_typed() {
        assert_eq!(
            completed(r"snap ls latest:my\ album/a", 1, "a b.jpg", Shell::Bash).as_deref(),
            Some(r"my\ album/a\ b.jpg")
        );
        assert_eq!(
            completed(r"snap ls latest:my\ album/a", 1, "a b.jpg", Shell::Zsh).as_deref(),
            Some(r"latest:my\ album/a\ b.jpg")
        );
        assert_eq!(completed("snap ls la", 2, "latest:", Shell::Bash).as_deref(), Some("latest:"));
        assert_eq!(
            completed("snap ls latest:a=b/", 0, "c", Shell::Bash).as_deref(),
            Some("b/c"),
            "= breaks words, too"
        );
        assert_eq!(completed(r"snap ls latest:a\=b/", 0, "c", Shell::Bash).as_deref(), Some(r"a\=b/c"));
        assert_eq!(
            completed("snap ls \"3 days ago:Pic", 3, "Pictures/", Shell::Bash).as_deref(),
            Some("3 days ago:Pictures/")
        );
        assert_eq!(completed("snap ls lat\"est:", 0, "a", Shell::Bash), None, "quotes in the middle are left alone");
    }
}
