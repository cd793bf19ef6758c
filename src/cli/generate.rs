//! `completions` and `man`: made from the grammar, so they are never out of date.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::words_of;

use super::exit::{Code, Failure};
use super::screen::Screen;
use super::{args, complete, examples};

/// Print a script that completes this command in a shell
///
/// In bash, zsh and fish it completes snapshots as well, and behind a colon what is in them.
#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Show the manual page, or write all of them into a folder
///
/// On a terminal it is shown as `man` shows it; a pipe gets the page as `man` reads it.
#[derive(clap::Args)]
pub struct Man {
    /// The folder, such as ~/.local/share/man/man1
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Prints the script.
pub fn completions(screen: &Screen, asked: &Completions) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut args::grammar(screen.name()), screen.name(), &mut script);
    let script = complete::script(asked.shell, &String::from_utf8_lossy(&script), screen.name());
    screen.write(script.as_bytes());
    Ok(Code::Done)
}

/// Prints or writes the manual.
pub fn man(screen: &Screen, asked: &Man) -> Result<Code, Failure> {
    let grammar = examples::append(args::grammar(screen.name()), screen.name());
    let Some(folder) = &asked.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(grammar)
            .render(&mut page)
            .map_err(|error| Failure::new(Code::Failed, format!("making the manual page: {}", words_of(&error))))?;
        if screen.is_terminal() && shown(&page) {
            return Ok(Code::Done);
        }
        if screen.is_terminal() {
            // Where there is no `man`, this says the same in other words.
            screen.write(args::grammar(screen.name()).render_long_help().to_string().as_bytes());
        } else {
            screen.write(&page);
        }
        return Ok(Code::Done);
    };
    std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(grammar, folder)).map_err(|error| {
        Failure::new(Code::Failed, format!("writing manual pages to {}: {}", folder.display(), words_of(&error)))
    })?;
    screen.tell(&format!("wrote the manual pages to {}", super::names::path(folder)));
    Ok(Code::Done)
}

/// Whether `man` has shown this page. It reads it from its standard input.
fn shown(page: &[u8]) -> bool {
    let man = Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut man) = man else { return false };
    // Whoever leaves it early has seen enough.
    let _ = man.stdin.take().map(|mut to| to.write_all(page));
    man.wait().is_ok_and(|status| status.success())
}
