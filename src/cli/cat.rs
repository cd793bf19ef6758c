//! `cat`: the bytes of a file, checked against the hash that was recorded.

use std::ffi::OsString;

use jiff::Zoned;
use snapkeep::error::Error;

use super::app::App;
use super::args::Which;
use super::exit::{Code, Failure};
use super::selector::Asked;

/// Print a file of a snapshot
///
/// Its bytes are checked while they are printed; if they are not the ones that were backed up, the exit code says so.
#[derive(clap::Args)]
pub struct Arguments {
    /// The snapshot, and the file in it
    #[arg(value_name = "SNAPSHOT:FILE")]
    what: OsString,
    #[command(flatten)]
    which: Which,
}

/// Prints it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let what = Asked::parse(&asked.what, &Zoned::now())?;
    let Some(path) = what.path.as_deref().filter(|path| !path.is_empty()) else {
        let what = asked.what.to_string_lossy();
        let what = what.trim_end_matches(':');
        return Err(Failure::usage(format!("\"{what}\" names no file"))
            .hint(format!("write it after a colon, as in {what}:Pictures/a.jpg")));
    };
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    let (view, node) = what.look(app, &archive, &filter)?;
    if node.is_dir() {
        let path = String::from_utf8_lossy(path).into_owned();
        return Err(Failure::usage(format!("\"{path}\" is a directory"))
            .hint("{snap} ls shows what is in it, {snap} restore writes it into a folder"));
    }
    let read = view.read(&node, &mut |bytes| {
        app.screen.write(bytes);
        if app.screen.is_closed() { Err(Error::interrupted()) } else { Ok(()) }
    });
    match read {
        // Why nothing more can be printed is told at the end.
        Err(_) if app.screen.is_closed() => Ok(Code::Done),
        read => Ok(read.map(|()| Code::Done)?),
    }
}
