//! `repair`: make whole what is damaged, and name what cannot be.

use std::ffi::OsString;

use crate::op::{self, Remedy, Repair, RepairOptions};
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::{gone, names, verify, words};

/// Make whole what is damaged in the archive
///
/// Every byte is read first. What is damaged gets its bytes back from recovery data; with --from, from another archive;
/// with --source, from the files that the snapshots were taken of. Nothing is deleted: damaged objects are moved to
/// `quarantine` in the archive. It may be stopped at any time; the next run goes on.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only say what there is to do
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Another archive that may hold the same: its folder, or its name in the configuration
    #[arg(long, value_name = "ARCHIVE")]
    from: Option<OsString>,
    /// Look for what is lost in the files at the source
    #[arg(long)]
    source: bool,
    /// Go on where the file system has no locks; only if surely no other snap is at work on this archive
    #[arg(long)]
    no_lock: bool,
}

/// Repairs it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let archive = app.open()?;
    if asked.no_lock {
        archive.vouch_alone();
    }
    let from = asked.from.as_ref().map(|name| app.open_other(name)).transpose()?;
    let words =
        Words { during: "repair", things: "packs", restored: "restored", finishing: "looking at the snapshots" };
    let progress = Progress::new(&app.screen, words);
    let options = RepairOptions { from: from.as_ref(), source: asked.source, dry_run: asked.dry_run };
    let aside = op::quarantined(&archive)?.objects;
    let done = op::repair(&archive, &options, &progress);
    let took = progress.elapsed();
    drop(progress);
    let done = done?;
    if app.screen.is_json() {
        app.screen.json(&object(&done, asked.dry_run, took.as_secs_f64()));
    } else {
        let aside = op::quarantined(&archive)?.objects > aside;
        tell(app, &done, asked.dry_run, aside);
    }
    if done.is_whole() {
        return Ok(Code::Done);
    }
    let hint = "what the source still has is stored again by the next {snap} create; \
                --from ARCHIVE and --source look in other places";
    Err(Failure::new(Code::Damage, cost(&done)).hint(hint))
}

fn tell(app: &App, done: &Repair, dry_run: bool, set_aside: bool) {
    // Objects mean nothing to most people.
    let verbose = app.screen.verbose() > 0;
    for (object, remedy) in done.steps.iter().filter(|_| verbose) {
        app.screen.line(&format!("{:<8} {}", verb(*remedy), names::message(object)));
    }
    for damage in done.left.iter().filter(|_| verbose) {
        app.screen.line(&format!("damaged  {}: {}", names::message(&damage.object), names::message(&damage.why)));
    }
    let back = if dry_run { "would be brought back" } else { "is there again" };
    gone::tell(app, &done.gone, ["back", back]);
    for id in &done.lost_snapshots {
        app.screen.line(&format!("lost     snapshot {}", id.short()));
    }
    verify::affected(app, "lost", &done.lost);
    if done.steps.is_empty() && done.is_whole() && done.found == 0 {
        app.screen.tell("nothing is damaged");
        return;
    }
    let objects = words::things(done.steps.len() as u64, "object", "objects");
    let found = match done.found {
        0 => String::new(),
        found => format!(", {} found elsewhere", words::things(found, "lost part", "lost parts")),
    };
    app.screen.tell(&match dry_run {
        true => format!("would repair {objects}{found}; nothing was written"),
        false if set_aside => {
            format!("repaired {objects}{found}; what was damaged lies in the archive's folder quarantine")
        }
        false => format!("repaired {objects}{found}"),
    });
}

fn verb(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Mend => "mend",
        Remedy::Copy => "copy",
        Remedy::Remake => "remake",
        Remedy::Rescue => "rescue",
        Remedy::SetAside => "aside",
        Remedy::Leave => "leave",
    }
}

/// What stays lost, in a sentence.
fn cost(done: &Repair) -> String {
    let mut parts = Vec::new();
    if !done.lost.is_empty() {
        parts.push(format!("{} cannot be restored whole", words::files(op::distinct_files(&done.lost))));
    }
    if !done.lost_snapshots.is_empty() {
        let snapshots = words::things(done.lost_snapshots.len() as u64, "snapshot is", "snapshots are");
        parts.push(format!("{snapshots} lost"));
    }
    if let Some(marks) = gone::lost_words(&done.gone) {
        parts.push(marks);
    }
    if !done.left.is_empty() {
        parts.push(format!("{} still damaged", words::things(done.left.len() as u64, "object is", "objects are")));
    }
    parts.join(", ")
}

fn object(done: &Repair, dry_run: bool, seconds: f64) -> serde_json::Value {
    let steps: Vec<_> =
        done.steps.iter().map(|(object, remedy)| json!({"object": object, "remedy": verb(*remedy)})).collect();
    let left: Vec<_> = done.left.iter().map(|damage| json!({"object": damage.object, "message": damage.why})).collect();
    let snapshots: Vec<_> = done.lost_snapshots.iter().map(|id| id.to_hex()).collect();
    json!({
        "message_type": "summary",
        "dry_run": dry_run,
        "steps": steps,
        "chunks_found": done.found,
        "damage": left,
        "lost_snapshots": snapshots,
        "gone": gone::objects(&done.gone),
        "affected": verify::affected_objects(&done.lost),
        "seconds_elapsed": seconds,
    })
}
