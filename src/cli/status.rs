//! `status`: what is in the archive, and what it takes.

use crate::archive::DamageNote;
use crate::format::Time;
use crate::op::{self, Litter, Status};
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::{dates, words};

/// Say what is in the archive and how much room it takes
#[derive(clap::Args)]
pub struct Arguments {}

/// Says it.
pub fn run(app: &App, _: &Arguments) -> Result<Code, Failure> {
    let archive = app.open()?;
    let status = op::status(&archive)?;
    if app.screen.is_json() {
        app.screen.json(&object(&status));
        return Ok(Code::Done);
    }
    app.screen.line(&format!("archive    {} ({})", status.place, status.archive.to_hex()));
    let snapshots = words::things(status.snapshots, "snapshot", "snapshots");
    app.screen.line(&match status.newest {
        Some((id, time)) => format!("snapshots  {snapshots}, the newest {} of {}", id.short(), dates::minute(time)),
        None => format!("snapshots  {snapshots}"),
    });
    app.screen.line(&format!(
        "stored     {} for {} of photos and other files, and {} of recovery data",
        words::bytes(status.packs),
        words::bytes(status.sizes.plain),
        words::bytes(status.parity)
    ));
    app.screen.line(&format!("verified   {}", verified(&status)));
    if let Some(damage) = &status.damage {
        app.screen.line(&format!("damaged    {}", damaged(damage, app.screen.name())));
    }
    app.screen.line(&format!("squeezed   {}", super::words::squeezed(&status.sizes)));
    if status.sizes.count_left > 0 {
        let left = words::things(status.sizes.count_left, "image", "images");
        app.screen.line(&format!("           left to squeeze: {left}, {}", words::bytes(status.sizes.images_left)));
    }
    litter(app, &status);
    Ok(Code::Done)
}

fn verified(status: &Status) -> String {
    let Some(oldest) = status.verified.oldest else {
        return "never on this computer".to_owned();
    };
    let percent = status.verified.recent * 100 / status.packs.max(1);
    let rest = match status.verified.never {
        0 => format!("the oldest unverified since {}", dates::minute(oldest)),
        never => format!("{} never", words::bytes(never)),
    };
    format!("{percent} % in the last {} days, {rest}", op::VERIFIED_DAYS)
}

/// `found 2024-06-01 18:00: 3 objects, 12 files cannot be restored whole`
fn damaged(damage: &DamageNote, program: &str) -> String {
    let when = dates::minute(Time { secs: damage.time, nanos: 0 });
    let files = match damage.files {
        0 => "no file is lost by it".to_owned(),
        files => format!("{} cannot be restored whole", words::files(files)),
    };
    let objects = match damage.objects {
        0 => String::new(),
        objects => format!("{}, ", words::things(objects, "object", "objects")),
    };
    // What recovery data cannot mend, a repair has perhaps been through already.
    let ways = match damage.files {
        0 => format!("`{program} repair` mends what can be mended"),
        _ => format!(
            "`{program} repair` mends what can be mended, `{program} create` stores again what the source still has, and \
             `{program} repair --source` or `--from COPY` looks in other places"
        ),
    };
    format!("found {when}: {objects}{files}; {ways}")
}

/// Says what nothing needs, and how to get rid of it.
fn litter(app: &App, status: &Status) {
    let told = |litter: &Litter, one, many| {
        format!("{}, {}", words::things(litter.objects, one, many), words::bytes(litter.bytes))
    };
    if status.quarantine.objects > 0 {
        let what = told(&status.quarantine, "damaged object that was set aside", "damaged objects that were set aside");
        let then = match &status.damage {
            Some(_) => "keep them: what is damaged may still be read from them".to_owned(),
            None => format!(
                "once `{} verify --read-data` finds everything whole, nothing needs them, and the folder may be deleted",
                app.screen.name()
            ),
        };
        app.screen.line(&format!("quarantine {what}; {then}"));
    }
    if status.unfinished.objects > 0 {
        let what = told(&status.unfinished, "unfinished object", "unfinished objects");
        app.screen.line(&format!(
            "leftovers  {what}, of a run that is going on or was interrupted; the next create or repair sweeps them"
        ));
    }
    if status.orphans.objects > 0 {
        let what = told(&status.orphans, "object of recovery data", "objects of recovery data");
        app.screen.line(&format!(
            "leftovers  {what}, of what is not there; interrupted runs leave such, and `{} repair` looks if they are \
             of something that was lost",
            app.screen.name()
        ));
    }
}

fn object(status: &Status) -> serde_json::Value {
    json!({
        "archive_id": status.archive.to_hex(),
        "place": status.place,
        "snapshots": status.snapshots,
        "latest": status.newest.map(|(id, _)| id.to_hex()),
        "packs_size": status.packs,
        "parity_size": status.parity,
        "verified_recently_size": status.verified.recent,
        "verified_never_size": status.verified.never,
        "plain_size": status.sizes.plain,
        "stored_size": status.sizes.stored,
        "images_plain_size": status.sizes.images_plain,
        "images_stored_size": status.sizes.images_stored,
        "images_left_size": status.sizes.images_left,
        "images_squeezed": status.sizes.images,
        "images_left": status.sizes.count_left,
        "damage": status.damage.as_ref().map(|damage| json!({
            "found": dates::rfc3339(Time { secs: damage.time, nanos: 0 }, 0),
            "objects": damage.objects,
            "files": damage.files,
        })),
        "quarantine": litter_object(&status.quarantine),
        "unfinished": litter_object(&status.unfinished),
        "orphaned_parity": litter_object(&status.orphans),
    })
}

fn litter_object(litter: &Litter) -> serde_json::Value {
    json!({"objects": litter.objects, "size": litter.bytes})
}
