//! The only way to standard output and standard error.
//!
//! What was asked for goes to standard output; messages and progress go to standard error. A reader of standard output
//! that goes away (`snap ls | head`) is no failure: later lines are dropped, and [`Screen::is_closed`] tells long work to
//! end early. Any other failure to write is kept and told at the end, once, so that no caller needs to look. All lines
//! go round the progress bar, and names reach a terminal only as [`names`] lets them.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::without_numbers;
use indicatif::ProgressBar;
use serde::Serialize;

use super::exit::{Code, Failure};
use super::{names, places};

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Show {
    /// Not at all.
    Nothing,
    /// As a line on the terminal, drawn so often in a second.
    Line(u8),
    /// As JSON lines, at least so far apart.
    Json(Duration),
}

/// What was asked for about output.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// JSON instead of words.
    pub json: bool,
    /// Nothing but what was asked for, and troubles.
    pub quiet: bool,
    /// How much is told about each file.
    pub verbose: u8,
    /// No progress.
    pub no_progress: bool,
}

/// Standard output and standard error.
pub struct Screen {
    name: &'static str,
    wishes: Wishes,
    show: Show,
    colour: bool,
    terminal: bool,
    /// Whether standard error goes to a terminal.
    shown: bool,
    out: Mutex<Out>,
    bar: Mutex<ProgressBar>,
    /// Lines to standard error that wait until the terminal is free.
    held: Mutex<Option<Vec<String>>>,
}

struct Out {
    to: BufWriter<Stdout>,
    fault: Option<io::Error>,
}

impl Screen {
    /// The screen of a program that was called by this name.
    pub fn new(name: &'static str, wishes: Wishes) -> Self {
        let plain =
            places::variable("NO_COLOR").is_some() || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let fps = places::variable("SNAPKEEP_PROGRESS_FPS").and_then(|fps| fps.to_str()?.trim().parse().ok());
        Self {
            name,
            wishes,
            show: show(wishes, io::stderr().is_terminal(), fps),
            colour: io::stderr().is_terminal() && !plain,
            terminal: io::stdout().is_terminal(),
            shown: io::stderr().is_terminal(),
            out: Mutex::new(Out { to: BufWriter::new(io::stdout()), fault: None }),
            bar: Mutex::new(ProgressBar::hidden()),
            held: Mutex::new(None),
        }
    }

    /// Keeps messages back while the whole terminal is used for something else.
    pub fn hold(&self) {
        lock(&self.held).get_or_insert_default();
    }

    /// Prints what was kept back, each line once.
    pub fn release(&self) {
        let held = lock(&self.held).take().unwrap_or_default();
        held.iter().for_each(|line| self.error_line(line));
    }

    /// The name that the program was called by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether JSON is asked for.
    pub fn is_json(&self) -> bool {
        self.wishes.json
    }

    /// How much is to be told about each file.
    pub fn verbose(&self) -> u8 {
        self.wishes.verbose
    }

    /// How progress is shown.
    pub fn show(&self) -> Show {
        self.show
    }

    /// Makes this the bar that all lines go round.
    pub fn set_bar(&self, bar: ProgressBar) {
        *lock(&self.bar) = bar;
    }

    fn around_bar(&self, write: impl FnOnce()) {
        let bar = lock(&self.bar).clone();
        bar.suspend(write);
    }

    /// Bytes to standard output.
    pub fn write(&self, bytes: &[u8]) {
        let mut out = lock(&self.out);
        if out.fault.is_none() {
            out.fault = out.to.write_all(bytes).err();
        }
    }

    /// Whether somebody looks at standard output on a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether nothing more can be written to standard output.
    pub fn is_closed(&self) -> bool {
        lock(&self.out).fault.is_some()
    }

    /// A line of what was asked for.
    pub fn line(&self, text: &str) {
        let write = || {
            self.write(text.as_bytes());
            self.write(b"\n");
            if self.terminal {
                self.flush();
            }
        };
        if self.terminal { self.around_bar(write) } else { write() }
    }

    /// Brings out what was written so far, as whoever reads along expects of long work.
    pub fn flush(&self) {
        let mut out = lock(&self.out);
        if out.fault.is_none() {
            out.fault = out.to.flush().err();
        }
    }

    /// The same, unless only little is to be told or JSON is asked for.
    pub fn tell(&self, text: &str) {
        if !self.wishes.quiet && !self.wishes.json {
            self.line(text);
        }
    }

    /// A line of text, a stored name and more text. The name is escaped for a terminal; a pipe gets its bytes.
    pub fn name_line(&self, before: &str, name: &[u8], after: &[u8]) {
        if self.terminal {
            return self.line(&format!("{before}{}{}", names::escape(name), names::escape(after)));
        }
        self.write(&[before.as_bytes(), name, after, b"\n"].concat());
    }

    /// A line of JSON.
    pub fn json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) if self.terminal => self.line(&names::json(&text)),
            Ok(text) => self.line(&text),
            Err(error) => {
                let mut out = lock(&self.out);
                out.fault = out.fault.take().or(Some(error.into()));
            }
        }
    }

    /// A remark on standard error, left out when only little is to be told.
    pub fn remark(&self, text: &str) {
        if !self.wishes.quiet {
            self.message("", "", text);
        }
    }

    /// Something that went wrong and that the program can live with.
    pub fn warn(&self, text: &str) {
        self.message("warning: ", "33", text);
    }

    /// A file that could not be dealt with, as JSON where that is asked for.
    pub fn trouble(&self, during: &str, path: &[u8], why: &str) {
        let why = &*without_numbers(why);
        if self.wishes.json {
            let item = String::from_utf8_lossy(path);
            let error = serde_json::json!({
                "message_type": "error", "error": {"message": why}, "during": during, "item": item,
            });
            self.error_json(&error);
        } else {
            self.warn(&format!("{}: {why}", names::escape(path)));
        }
    }

    /// Why the program ends.
    pub fn failure(&self, failure: &Failure) {
        let hint = failure.hint.as_ref().map(|hint| names::message(&hint.replace("{snap}", self.name)));
        if self.wishes.json {
            let mut error = serde_json::json!({
                "message_type": "exit_error", "code": failure.code as u8, "message": failure.message,
            });
            if let Some(hint) = hint {
                error["hint"] = hint.into();
            }
            return self.error_json(&error);
        }
        self.message("error: ", "1;31", &failure.message);
        if let Some(hint) = hint {
            let label = if self.colour { "\x1b[1mhint:\x1b[0m" } else { "hint:" };
            self.error_line(&format!("{label} {hint}"));
        }
    }

    fn message(&self, label: &str, colour: &str, text: &str) {
        if self.wishes.json {
            let kind = if label.is_empty() { "notice" } else { "warning" };
            return self.error_json(&serde_json::json!({"message_type": kind, "message": text}));
        }
        let text = names::message(&without_numbers(text));
        let label = match label {
            "" => String::new(),
            label if self.colour => format!("\x1b[{colour}m{label}\x1b[0m"),
            label => label.to_owned(),
        };
        self.error_line(&format!("{}: {label}{text}", self.name));
    }

    /// A line of JSON to standard error.
    fn error_json(&self, value: &serde_json::Value) {
        let text = value.to_string();
        self.error_line(&if self.shown { names::json(&text) } else { text });
    }

    /// A line to standard error. Nobody is left to tell if that fails.
    fn error_line(&self, text: &str) {
        if let Some(held) = lock(&self.held).as_mut() {
            if !held.iter().any(|line| line == text) {
                held.push(text.to_owned());
            }
            return;
        }
        self.around_bar(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Brings everything out.
    ///
    /// # Errors
    /// What went wrong with standard output, unless its reader went away.
    pub fn finish(&self) -> Result<(), Failure> {
        let mut out = lock(&self.out);
        let fault = match out.fault.take() {
            None => out.to.flush().err(),
            fault => fault,
        };
        match fault {
            Some(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Code::Failed, format!("writing to standard output: {fault}")))
            }
            _ => Ok(()),
        }
    }
}

/// How progress is to be shown, `fps` times a second if that is said.
fn show(wishes: Wishes, terminal: bool, fps: Option<f64>) -> Show {
    let fps = fps.filter(|fps| *fps > 0.0).map(|fps| fps.clamp(0.01, 60.0));
    match wishes {
        Wishes { quiet: true, .. } | Wishes { no_progress: true, .. } => Show::Nothing,
        Wishes { json: true, .. } => Show::Json(Duration::from_secs_f64(1.0 / fps.unwrap_or(1.0))),
        _ if terminal => Show::Line(fps.unwrap_or(10.0).ceil() as u8),
        _ => Show::Nothing,
    }
}

/// Columns of the terminal in which a line may stand without being broken.
pub fn width() -> usize {
    let columns = ratatui::crossterm::terminal::size().map_or(80, |(columns, _)| columns.into());
    if columns == 0 { 79 } else { columns - 1 }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_for_terminals_and_json() {
        let plain = Wishes { json: false, quiet: false, verbose: 0, no_progress: false };
        assert_eq!(show(plain, true, None), Show::Line(10));
        assert_eq!(show(plain, true, Some(1000.0)), Show::Line(60));
        assert_eq!(show(plain, true, Some(-1.0)), Show::Line(10));
        assert_eq!(show(plain, false, None), Show::Nothing);
        let json = Wishes { json: true, ..plain };
        assert_eq!(show(json, false, None), Show::Json(Duration::from_secs(1)));
        assert_eq!(show(json, true, Some(2.0)), Show::Json(Duration::from_millis(500)));
        assert_eq!(show(Wishes { quiet: true, ..json }, true, None), Show::Nothing);
        assert_eq!(show(Wishes { no_progress: true, ..plain }, true, None), Show::Nothing);
    }
}
