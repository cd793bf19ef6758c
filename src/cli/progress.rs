//! Progress of long work: a line on a terminal, `status` objects in JSON, nothing in a pipe.
//!
//! Events come from many threads, so everything here is counters; what is drawn is read from them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::op::{Action, Event, Observer};
use crate::source::Unseen;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::places::bytes_of;
use super::screen::{self, Screen, Show};
use super::{names, stop, words};

/// The words for what is being done.
#[derive(Clone, Copy)]
pub struct Words {
    /// What goes on with a file, for troubles: "reading".
    pub during: &'static str,
    /// What is counted: "files".
    pub things: &'static str,
    /// What has happened to a file that was restored: "restored".
    pub restored: &'static str,
    /// The last phase.
    pub finishing: &'static str,
}

/// Hears what happens and shows it.
pub struct Progress<'a> {
    screen: &'a Screen,
    words: Words,
    bar: ProgressBar,
    counts: Arc<Counts>,
    started: Instant,
    told: Mutex<Option<Instant>>,
    /// What is gone from where it was. Whether it has only moved is known when all of the source has been seen.
    gone: Mutex<Vec<(PathBuf, u64)>>,
}

#[derive(Default)]
struct Counts {
    files: AtomicU64,
    bytes: AtomicU64,
    all_files: AtomicU64,
    all_bytes: AtomicU64,
    troubles: AtomicU64,
}

impl<'a> Progress<'a> {
    /// Shows progress on this screen from now on.
    pub fn new(screen: &'a Screen, words: Words) -> Self {
        let bar = match screen.show() {
            Show::Line(hz) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(hz));
                bar.set_style(style("{spinner} {wide_msg}"));
                bar.enable_steady_tick(Duration::from_millis(250));
                bar
            }
            _ => ProgressBar::hidden(),
        };
        screen.set_bar(bar.clone());
        Self {
            screen,
            words,
            bar,
            counts: Arc::default(),
            started: Instant::now(),
            told: Mutex::new(None),
            gone: Mutex::default(),
        }
    }

    /// How long it took so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn begin(&self, files: u64, bytes: u64) {
        for (counter, number) in [
            (&self.counts.files, 0),
            (&self.counts.bytes, 0),
            (&self.counts.all_files, files),
            (&self.counts.all_bytes, bytes),
        ] {
            counter.store(number, Relaxed);
        }
        if matches!(self.screen.show(), Show::Line(_)) {
            let (counts, things) = (Arc::clone(&self.counts), self.words.things);
            let line = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&counts.line(things, state.per_sec(), state.eta(), screen::width()));
            };
            self.bar.set_style(style("{line}").with_key("line", line));
            self.bar.set_position(0);
            self.bar.set_length(if bytes > 0 { bytes } else { files });
            self.bar.reset_eta();
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.counts.files.fetch_add(files, Relaxed);
        self.counts.bytes.fetch_add(bytes, Relaxed);
        match self.screen.show() {
            Show::Nothing => {}
            Show::Line(_) => self.bar.inc(if self.counts.all_bytes.load(Relaxed) > 0 { bytes } else { files }),
            Show::Json(apart) => self.tell_status(apart),
        }
    }

    fn tell_status(&self, apart: Duration) {
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.unwrap_or(self.started).elapsed() < apart {
            return;
        }
        *told = Some(Instant::now());
        let elapsed = self.elapsed();
        let (files, bytes) = (self.counts.files.load(Relaxed), self.counts.bytes.load(Relaxed));
        let (all_files, all_bytes) = (self.counts.all_files.load(Relaxed), self.counts.all_bytes.load(Relaxed));
        let part = if all_bytes > 0 { bytes as f64 / all_bytes as f64 } else { files as f64 / all_files.max(1) as f64 };
        let part = part.min(1.0);
        let left = if part > 0.0 { elapsed.as_secs_f64() * (1.0 - part) / part } else { 0.0 };
        self.screen.json(&json!({
            "message_type": "status",
            "seconds_elapsed": elapsed.as_secs(),
            "seconds_remaining": left as u64,
            "percent_done": part,
            "total_files": all_files,
            "files_done": files,
            "total_bytes": all_bytes,
            "bytes_done": bytes,
            "error_count": self.counts.troubles.load(Relaxed),
        }));
        self.screen.flush();
    }

    /// Tells what is gone, now that it is known whether anything is and whether some of it has moved.
    pub fn tell_gone(&self, gone: u64, moved: u64) {
        let held = std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner));
        let held = if gone == 0 { Vec::new() } else { held };
        // A folder from which all has moved is gone from where it was as well.
        let word = if moved == 0 { "gone" } else { "gone from" };
        held.iter().for_each(|(path, size)| self.line(word, "gone", path, *size));
    }

    fn item(&self, action: Action, path: &Path, size: u64) {
        let (word, json, level) = match action {
            Action::New => ("new", "new", 1),
            Action::Changed => ("changed", "modified", 1),
            Action::Moved => ("moved", "moved", 1),
            Action::Gone => ("gone", "gone", 1),
            Action::Carried(Unseen::Unread) => ("kept", "kept_unreadable", 1),
            Action::Carried(Unseen::Excluded) => ("left out", "kept_excluded", 1),
            Action::PassedOver => ("passed over", "passed_over", 1),
            Action::Restored => (self.words.restored, "restored", 1),
            Action::Present => ("there", "unchanged", 1),
            Action::Left => ("left", "unchanged", 1),
            Action::Unchanged => ("unchanged", "unchanged", 2),
        };
        if self.screen.verbose() < level {
            return;
        }
        if action == Action::Gone {
            return self.gone.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), size));
        }
        self.line(word, json, path, size);
    }

    fn line(&self, word: &str, json: &str, path: &Path, size: u64) {
        if self.screen.is_json() {
            let item = path.to_string_lossy();
            self.screen.json(&json!({"message_type": "verbose_status", "action": json, "item": item, "size": size}));
        } else {
            self.screen.line(&format!("{word:<11} {}", names::path(path)));
        }
        self.screen.flush();
    }
}

impl Counts {
    /// How far it is, in at most so many columns. The time left is in it as long as anything is: what is wanted most
    /// stays longest.
    fn line(&self, things: &str, rate: f64, left: Duration, width: usize) -> String {
        let (files, all_files) = (self.files.load(Relaxed), self.all_files.load(Relaxed));
        let (bytes, all_bytes) = (self.bytes.load(Relaxed), self.all_bytes.load(Relaxed));
        let (done, all) = if all_bytes > 0 { (bytes, all_bytes) } else { (files, all_files) };
        let part = (done as f64 / all.max(1) as f64).min(1.0);
        let counts = format!("{} of {} {things}", words::count(files), words::count(all_files));
        let (mut sizes, mut speed) = (String::new(), String::new());
        if all_bytes > 0 {
            sizes = format!("{} of {}", words::bytes(bytes), words::bytes(all_bytes));
            speed = format!("{}/s", words::bytes(rate as u64));
        }
        let mut time = String::new();
        if left > Duration::ZERO {
            time = match left.as_secs() + 1 {
                seconds @ ..60 => format!("{seconds} s left"),
                seconds => format!("{} left", words::duration(Duration::from_secs(seconds))),
            };
        }
        let percent = format!("{} %", (part * 100.0) as u64);
        let bar = |columns: usize| {
            let full = (part * columns as f64) as usize;
            let head = if full < columns { ">" } else { "" };
            format!("[{:columns$}] ", "=".repeat(full) + head)
        };
        let join =
            |parts: &[&str]| parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        let whole = join(&[&counts, &sizes, &speed, &time]);
        let lines = [
            bar(20) + &whole,
            bar(10) + &whole,
            whole,
            join(&[&counts, &sizes, &time]),
            bar(10) + &join(&[&percent, &time]),
            join(&[&percent, &time]),
            if time.is_empty() { percent } else { time },
        ];
        lines.into_iter().find(|line| line.width() <= width).unwrap_or_default()
    }
}

impl Observer for Progress<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Scanned { files, bytes } if matches!(self.screen.show(), Show::Line(_)) => {
                let (files, bytes) = (words::files(files), words::bytes(bytes));
                self.bar.set_message(format!("looking through the source: {files}, {bytes}"));
            }
            Event::Begin { files, bytes } => self.begin(files, bytes),
            Event::Advance { files, bytes } => self.advance(files, bytes),
            Event::Item { action, path, size } => self.item(action, path, size),
            Event::Trouble { path, why } => {
                self.counts.troubles.fetch_add(1, Relaxed);
                self.screen.trouble(self.words.during, &bytes_of(path.as_os_str()), why);
            }
            Event::ScarceRoom { free, coming } => self.screen.warn(&format!(
                "up to {} may come, and the archive's drive has {} free; what the archive has already takes no room",
                words::bytes(coming),
                words::bytes(free)
            )),
            Event::Finishing => {
                self.bar.set_style(style("{spinner} {wide_msg}"));
                self.bar.set_message(self.words.finishing);
            }
            _ => {}
        }
    }

    fn stop(&self) -> &AtomicBool {
        stop::flag()
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.screen.set_bar(ProgressBar::hidden());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_files_bytes_rate_and_time() {
        let counts = Counts::default();
        counts.files.store(1204, Relaxed);
        counts.all_files.store(4211, Relaxed);
        assert_eq!(counts.line("packs", 0.0, Duration::ZERO, 20), "1,204 of 4,211 packs");
        counts.bytes.store(3_100_000_000, Relaxed);
        counts.all_bytes.store(61_200_000_000, Relaxed);
        let line = |width| counts.line("files", 212e6, Duration::from_millis(242_500), width);
        let whole = "1,204 of 4,211 files, 3.1 GB of 61.2 GB, 212.0 MB/s, 4 min 3 s left";
        assert_eq!(line(200), format!("[=>                  ] {whole}"));
        assert_eq!(line(80), format!("[>         ] {whole}"));
        assert_eq!(line(79), whole);
        assert_eq!(line(60), "1,204 of 4,211 files, 3.1 GB of 61.2 GB, 4 min 3 s left");
        assert_eq!(line(40), "[>         ] 5 %, 4 min 3 s left");
        assert_eq!(line(30), "5 %, 4 min 3 s left");
        assert_eq!(line(15), "4 min 3 s left");
        assert_eq!(line(5), "");
        let line = counts.line("files", 212e6, Duration::from_millis(6_900), 30);
        assert_eq!(line, "[>         ] 5 %, 7 s left");
    }

    /// The time left was cut off by the edge of an ordinary terminal, where it is what one looks for.
    #[test]
    fn the_time_left_is_in_every_line_that_it_fits_into() {
        let counts = Counts::default();
        for (files, bytes) in
            [(9, 0), (9, 4_000), (817, 1_720_000_000), (499_999, 61_200_000_000), (12_345_678, 1 << 60)]
        {
            for part in [0, 1, files / 2, files] {
                counts.files.store(part, Relaxed);
                counts.all_files.store(files, Relaxed);
                counts.bytes.store(bytes / files * part, Relaxed);
                counts.all_bytes.store(bytes, Relaxed);
                for seconds in [1, 59, 3_599, 7_300, 400_000] {
                    for width in 1..200 {
                        let line = counts.line("photos", 999.9e6, Duration::from_secs(seconds), width);
                        assert!(line.width() <= width, "{line:?} in {width}");
                        assert!(line.contains(" left") || width < 20, "{line:?} in {width}");
                    }
                }
            }
        }
    }
}
