//! `completions` and `man`: made from the grammar, so they are never out of date.

use std::path::PathBuf;

use snapkeep::error::words_of;

use super::args;
use super::exit::{Code, Failure};
use super::screen::Screen;

/// Print a script that completes this command in a shell
#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Print the manual page, or write all of them into a folder
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
    screen.write(&script);
    Ok(Code::Done)
}

/// Prints or writes the manual.
pub fn man(screen: &Screen, asked: &Man) -> Result<Code, Failure> {
    let grammar = args::grammar(screen.name());
    let Some(folder) = &asked.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(grammar)
            .render(&mut page)
            .map_err(|error| Failure::new(Code::Failed, format!("making the manual page: {}", words_of(&error))))?;
        screen.write(&page);
        return Ok(Code::Done);
    };
    std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(grammar, folder)).map_err(|error| {
        Failure::new(Code::Failed, format!("writing manual pages to {}: {}", folder.display(), words_of(&error)))
    })?;
    screen.tell(&format!("wrote the manual pages to {}", super::names::path(folder)));
    Ok(Code::Done)
}
