//! The command line: flags, words, JSON, progress, hints and exit codes; one file for each command.
//!
//! It only calls the library and finds words for what that says. Nothing is printed but through [`screen::Screen`], and
//! every exit code is in [`exit`].

mod albums;
mod app;
mod args;
mod browse;
mod cat;
mod complete;
mod config;
mod create;
mod dates;
mod deleted;
mod destination;
mod diff;
mod dump;
mod duplicates;
mod episodes;
mod examples;
mod exit;
mod find;
mod generate;
mod gone;
mod has;
mod history;
mod init;
mod json;
mod known;
mod list;
mod ls;
mod mount;
mod names;
mod near;
mod places;
mod progress;
mod repair;
mod reread;
mod restore;
mod screen;
mod selector;
mod source;
mod squeeze;
mod status;
mod stop;
mod verify;
mod wish;
mod words;

use std::error::Error as _;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::without_numbers;
use app::App;
use args::{Command, Global};
use exit::{Code, Failure};
use screen::{Screen, Wishes};

/// Runs the program that was called by this name.
pub fn run(name: &'static str) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if complete::answer(name, &arguments) {
        return ExitCode::SUCCESS;
    }
    let (global, command) = match args::parse(name, &arguments) {
        Ok(asked) => asked,
        Err(error) => return misunderstood(name, &arguments, &error),
    };
    quiet_about_caught_panics();
    let screen = Arc::new(Screen::new(name, global.wishes()));
    stop::listen(Arc::clone(&screen));
    let done = perform(&screen, global, command);
    let code = done.and_then(|code| screen.finish().map(|()| code)).unwrap_or_else(|failure| {
        // What was printed before comes first.
        let _ = screen.finish();
        screen.failure(&failure);
        failure.code
    });
    ExitCode::from(code as u8)
}

/// A panic inside the image codec costs that image's gain and nothing else, so nobody needs to read of it.
fn quiet_about_caught_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crate::codec::panic_is_caught() {
            usual(panic);
        }
    }));
}

fn perform(screen: &Arc<Screen>, global: Global, command: Command) -> Result<Code, Failure> {
    match &command {
        Command::Completions(asked) => return generate::completions(screen, asked),
        Command::Man(asked) => return generate::man(screen, asked),
        _ => {}
    }
    start_threads()?;
    check_clock(SystemTime::now())?;
    let app = App::new(Arc::clone(screen), global)?;
    match command {
        Command::Init(asked) => init::run(&app, &asked),
        Command::Create(asked) => create::run(&app, asked),
        Command::List(asked) => list::run(&app, &asked),
        Command::Ls(asked) => ls::run(&app, &asked),
        Command::Restore(asked) => restore::run(&app, asked),
        Command::Cat(asked) => cat::run(&app, &asked),
        Command::Dump(asked) => dump::run(&app, &asked),
        Command::History(asked) => history::run(&app, &asked).map(|code| app.told_of_the_past(code)),
        Command::Deleted(asked) => deleted::run(&app, &asked).map(|code| app.told_of_the_past(code)),
        Command::Find(asked) => find::run(&app, &asked).map(|code| app.told_of_the_past(code)),
        Command::Has(asked) => has::run(&app, &asked),
        Command::Diff(asked) => diff::run(&app, &asked),
        Command::Duplicates(asked) => duplicates::run(&app, &asked).map(|code| app.told_of_the_past(code)),
        Command::Source(asked) => source::run(&app, &asked),
        Command::Verify(asked) => verify::run(&app, &asked),
        Command::Repair(asked) => repair::run(&app, &asked),
        Command::Squeeze(asked) => squeeze::run(&app, &asked),
        Command::Status(asked) => status::run(&app, &asked),
        Command::Mount(asked) => mount::run(&app, &asked),
        Command::Browse(asked) => browse::run(&app, &asked),
        Command::Completions(_) | Command::Man(_) => Ok(Code::Done),
    }
}

/// Starts the threads that all commands share: who comes too late for an error could only panic.
fn start_threads() -> Result<(), Failure> {
    let started = rayon::ThreadPoolBuilder::new().build_global();
    started.or_else(|error| if error.source().is_none() { Ok(()) } else { Err(error) }).map_err(|error| {
        Failure::new(Code::Failed, format!("starting threads: {}", without_numbers(&error.to_string()))).hint(
            "the system gives this program no more memory or threads: close other programs or raise its limits (ulimit -a), \
             then run the same again",
        )
    })
}

/// Refuses to go by a clock that shows a year with five digits: no date can be written with it.
fn check_clock(now: SystemTime) -> Result<(), Failure> {
    match jiff::Timestamp::try_from(now) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::new(Code::Failed, "the clock of this computer shows no date of the years up to 9999")
            .hint("set it right and run the same again")),
    }
}

/// Prints the help that was asked for, or what is wrong with the command line.
fn misunderstood(name: &'static str, arguments: &[OsString], error: &clap::Error) -> ExitCode {
    let json = arguments.iter().any(|argument| argument == "--json");
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default();
        let wishes = Wishes { json, quiet: false, verbose: 0, no_progress: true };
        Screen::new(name, wishes).failure(&Failure::usage(message));
    } else {
        if error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            eprint_name(name);
        }
        let _ = error.print();
    }
    ExitCode::from(Code::Usage as u8)
}

/// The beginning of an error line whose rest is clap's.
fn eprint_name(name: &str) {
    use std::io::Write;
    let _ = write!(std::io::stderr(), "{name}: ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A clock that was set to the year 20000 ended `create` with a panic.
    #[test]
    fn a_clock_beyond_all_dates_is_told() {
        assert_eq!(check_clock(SystemTime::now()), Ok(()));
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(569_000_000_000);
        let failure = check_clock(far).expect_err("it is in the year 20000");
        assert!(failure.message.contains("clock") && failure.code == Code::Failed);
    }
}
