//! `status`: what is in the archive, and what it takes.

use serde_json::json;
use snapkeep::op::{self, Status};

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
    let squeezed = status.sizes.images_plain - status.sizes.images_stored.min(status.sizes.images_plain);
    app.screen.line(&format!("squeezed   {} saved", words::bytes(squeezed)));
    if status.sizes.images_left > 0 {
        let left = words::bytes(status.sizes.images_left);
        app.screen.line(&format!("           {left} of photos are left to squeeze"));
    }
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
    })
}
