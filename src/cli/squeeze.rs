//! `squeeze`: store the images of JPEGs in fewer bytes.

use std::time::Duration;

use crate::op::{self, Squeeze, SqueezeOptions};
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::words;

/// Store the JPEGs in the archive in a fifth fewer bytes, without losing a bit
///
/// Images are counted, and a photo may hold several: a preview is one. It takes a while and may be stopped at any time with Ctrl-C; the next run goes on where it stopped. Every photo is
/// unpacked again and compared before its old bytes go.
///
/// What is squeezed is slower to read for ever after: one core unpacks about 7 MB of photos a second. Restoring them and
/// `verify --read-data` then take about two hours per 100 GB on two cores, whatever the drive; `create` and checks
/// without --read-data are as fast as before.
#[derive(clap::Args)]
pub struct Arguments {
    /// Stop after this long, as in 90s, 45m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = words::parse_duration)]
    time: Option<Duration>,
    /// Only say what there is to do
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Go on where the file system has no locks; only if surely no other snap is at work on this archive
    #[arg(long)]
    no_lock: bool,
}

/// Squeezes.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let archive = app.open()?;
    if asked.no_lock {
        archive.vouch_alone();
    }
    if !asked.dry_run {
        // Work for when nobody else wants the machine; that it cannot be asked for is no reason not to work.
        let _ = rustix::process::nice(10);
    }
    let words = Words {
        during: "squeeze",
        things: "images",
        restored: "restored",
        finishing: "removing what has been stored in fewer bytes",
    };
    let progress = Progress::new(&app.screen, words);
    let options = SqueezeOptions { time: asked.time, dry_run: asked.dry_run };
    let done = op::squeeze(&archive, &options, &progress);
    let took = progress.elapsed();
    drop(progress);
    let done = done?;
    let foretold = done.foretold(archive.header().parity_permille);
    if app.screen.is_json() {
        app.screen.json(&object(&done, asked.dry_run, foretold, took));
    } else if asked.dry_run {
        foretell(app, &done, foretold);
    } else {
        tell(app, &done, took);
    }
    Ok(if done.stopped && asked.time.is_none() { Code::Interrupted } else { Code::Done })
}

fn foretell(app: &App, found: &Squeeze, foretold: Option<(u64, Duration)>) {
    if found.left == 0 {
        app.screen.tell("nothing is left to squeeze");
        return;
    }
    let left = format!(
        "left to squeeze: {}, {}",
        words::things(found.images_left, "image", "images"),
        words::bytes(found.left)
    );
    app.screen.tell(&match foretold {
        Some((saved, time)) => format!(
            "{left}; going by a few of them, that would save about {} and take about {} on this computer",
            words::bytes(saved),
            words::duration(time)
        ),
        None => left,
    });
}

fn tell(app: &App, done: &Squeeze, took: Duration) {
    let images = words::things(done.done.images, "image", "images");
    let saved = done.done.before.saturating_sub(done.done.after);
    app.screen.tell(&format!("squeezed {images}: {} saved in {}", words::bytes(saved), words::duration(took)));
    if done.done.declined > 0 {
        let stay = words::things(done.done.declined, "image stays as it is", "images stay as they are");
        app.screen.tell(&format!("{stay}, being of a kind that cannot be squeezed"));
    }
    if done.done.not_worth > 0 {
        let stay = words::things(done.done.not_worth, "image stays as it is", "images stay as they are");
        app.screen.tell(&format!("{stay}, since the pack around them would shrink by less than a hundredth"));
    }
    if done.stopped {
        let (images, bytes) = (words::things(done.images_left, "image", "images"), words::bytes(done.left));
        app.screen.tell(&format!("left to squeeze: {images}, {bytes}; the next run goes on from here"));
    }
}

fn object(done: &Squeeze, dry_run: bool, foretold: Option<(u64, Duration)>, took: Duration) -> serde_json::Value {
    json!({
        "message_type": "summary",
        "dry_run": dry_run,
        "images_squeezed": done.done.images,
        "images_declined": done.done.declined,
        "images_not_worth_it": done.done.not_worth,
        "packs_rewritten": done.done.packs,
        "bytes_before": done.done.before,
        "bytes_after": done.done.after,
        "bytes_left": done.left,
        "images_left": done.images_left,
        "saving_foretold": foretold.filter(|_| dry_run).map(|(saved, _)| saved),
        "seconds_foretold": foretold.filter(|_| dry_run).map(|(_, time)| time.as_secs_f64()),
        "stopped": done.stopped,
        "seconds_elapsed": took.as_secs_f64(),
    })
}
