//! `cat`: the bytes of a file, checked against the hash that was recorded.

use std::ffi::OsString;

use crate::error::Error;
use crate::view::{Node, View};
use jiff::Zoned;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::near;
use super::selector::Asked;

/// Print a file of a snapshot
///
/// Its bytes are checked while they are printed; if they are not the ones that were backed up, the exit code says so. What
/// is no text is not printed on a terminal.
#[derive(clap::Args)]
pub struct Arguments {
    /// The snapshot, and the file in it
    #[arg(value_name = "SNAPSHOT:FILE")]
    what: OsString,
    /// Print on a terminal also what is no text
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    which: Which,
}

/// Prints it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let filter = asked.which.filter()?;
    let what = Asked::parse(&asked.what, &Zoned::now())
        .map_err(|failure| near::or_path(app, &asked.what, &filter, failure))?;
    let Some(path) = what.path.as_deref().filter(|path| !path.is_empty()) else {
        let what = asked.what.to_string_lossy();
        let what = what.trim_end_matches(':');
        return Err(Failure::usage(format!("\"{what}\" names no file"))
            .hint(format!("write it after a colon, as in {what}:Pictures/a.jpg")));
    };
    let archive = app.open()?;
    let (view, node) = what.look(app, &archive, &filter)?;
    if node.is_dir() {
        let path = String::from_utf8_lossy(path).into_owned();
        return Err(Failure::usage(format!("\"{path}\" is a directory")).hint(
            "{snap} ls shows what is in it, {snap} restore writes it into a folder, {snap} dump makes a tar of it",
        ));
    }
    print(app, &view, &node, asked.force)
}

/// Prints a file; on a terminal only if it is text or if that is wished `anyway`.
pub fn print(app: &App, view: &View<'_>, node: &Node, anyway: bool) -> Result<Code, Failure> {
    let (mut text, mut refused) = (Text::default(), false);
    let guarded = app.screen.is_terminal() && !anyway;
    let read = view.read(node, &mut |bytes| {
        if guarded && !text.goes_on(bytes) {
            refused = true;
            return Err(Error::interrupted());
        }
        app.screen.write(bytes);
        if app.screen.is_closed() { Err(Error::interrupted()) } else { Ok(()) }
    });
    match read {
        // Why nothing more can be printed is told at the end.
        Err(_) if app.screen.is_closed() => Ok(Code::Done),
        Err(_) if refused => {
            let path = String::from_utf8_lossy(&node.path).into_owned();
            Err(Failure::usage(format!("\"{path}\" is no text, and this is a terminal"))
                .hint("write it into a file: add > FILE; {snap} restore does as well, and {snap} cat --force prints it all the same"))
        }
        read => Ok(read.map(|()| Code::Done)?),
    }
}

/// Tells, piece by piece, whether bytes are text that cannot command a terminal.
#[derive(Default)]
struct Text {
    /// The beginning of a character whose rest is in the next piece.
    begun: Vec<u8>,
}

impl Text {
    fn goes_on(&mut self, piece: &[u8]) -> bool {
        let joined = [self.begun.as_slice(), piece].concat();
        let (text, rest) = match std::str::from_utf8(&joined) {
            Ok(text) => (text, [].as_slice()),
            Err(error) if error.error_len().is_none() => {
                let (text, rest) = joined.split_at(error.valid_up_to());
                (std::str::from_utf8(text).unwrap_or_default(), rest)
            }
            Err(_) => return false,
        };
        self.begun = rest.to_vec();
        !text.contains(|char: char| char.is_control() && !matches!(char, '\n' | '\r' | '\t' | '\x0c'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(pieces: &[&[u8]]) -> bool {
        let mut text = Text::default();
        pieces.iter().all(|piece| text.goes_on(piece))
    }

    #[test]
    fn text_is_told_from_what_a_terminal_would_obey() {
        assert!(is_text(&[b"Sommer in K", "öln 🌻\r\n\tja\n".as_bytes()]));
        assert!(is_text(&[&"🌻".as_bytes()[..1], &"🌻".as_bytes()[1..3], &"🌻".as_bytes()[3..]]), "cut anywhere");
        assert!(is_text(&[]) && is_text(&[b"", b""]));
        for bytes in [&b"\xFF\xD8\xFF\xE0"[..], b"a\0b", b"\x1b[2J", "\u{9b}2J".as_bytes(), b"caf\xe9 au lait", b"\x7f"]
        {
            assert!(!is_text(&[b"a", bytes]), "{bytes:?}");
        }
    }
}
