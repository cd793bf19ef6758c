//! `verify`: is everything in the archive there, and is it whole?

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::SnapshotId;
use crate::op::{self, AffectedFile, Share, Verify, VerifyOptions};
use crate::view::FalseClaim;
use serde_json::json;

use super::app::App;
use super::exit::{Code, Failure};
use super::progress::{Progress, Words};
use super::{albums, gone, names, reread, words};

/// Check that everything in the archive is there and whole
///
/// Without --read-data, the lists of contents are checked: that each snapshot, directory and photo is held somewhere.
/// With it, every byte is read and compared with its hash as well, and every photo put together and compared with its
/// own: what is found whole then can be restored. Others may work on the archive meanwhile.
#[derive(clap::Args)]
pub struct Arguments {
    /// Read every byte
    #[arg(long)]
    read_data: bool,
    /// Read a part: 2/5 (the second of five), 10%, or a size such as 50g; what was not read for longest comes first
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    read_data_subset: Option<Share>,
    /// Read for so long, as in 90s, 45m or 2h; what was not read for longest comes first
    #[arg(long, value_name = "TIME", value_parser = words::parse_duration)]
    max_duration: Option<Duration>,
    /// Read the files of the sources instead that look unchanged, and compare them with what was backed up of them;
    /// what was not read for longest comes first
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset", "max_duration"])]
    source: bool,
    /// With --source: read for so long, as in 10m; the next run goes on
    #[arg(long = "for", value_name = "TIME", value_parser = words::parse_duration, requires = "source")]
    time: Option<Duration>,
}

impl Arguments {
    fn options(&self) -> VerifyOptions {
        let read_data = self.read_data || self.read_data_subset.is_some() || self.max_duration.is_some();
        VerifyOptions {
            read_data,
            share: self.read_data_subset.unwrap_or_default(),
            time: self.max_duration,
            alone: false,
        }
    }
}

/// Reads a part of the data, as restic spells it.
fn parse_share(text: &str) -> Result<Share, String> {
    let wrong = || "a part is n/t, a percentage such as 10%, or a size such as 50g".to_owned();
    if let Some((number, of)) = text.split_once('/') {
        let (number, of) = (number.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        return if number >= 1 && number <= of { Ok(Share::Part { number, of }) } else { Err(wrong()) };
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        return if percent > 0.0 && percent <= 100.0 { Ok(Share::Percent(percent)) } else { Err(wrong()) };
    }
    words::parse_size(text).map(Share::Bytes).map_err(|_| wrong())
}

/// At most so many affected files are named, unless more is asked for.
const NAMED: usize = 20;

/// Verifies it.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    if asked.source {
        return reread::run(app, asked.time);
    }
    let archive = app.open()?;
    let words =
        Words { during: "verify", things: "packs", restored: "restored", finishing: "looking at the snapshots" };
    let progress = Progress::new(&app.screen, words);
    let options = asked.options();
    let found = op::verify(&archive, &options, &progress);
    let took = progress.elapsed();
    drop(progress);
    let found = found?;
    let incomplete = found.unsettled > 0 || found.unhashed > 0;
    let uncommitted = found.gone.iter().any(|gone| !gone.lost);
    if app.screen.is_json() {
        app.screen.json(&object(&found, took.as_secs_f64()));
    } else {
        damage(app, &found);
        for (snapshot, path, wrong) in &found.false_claims {
            app.screen.line(&format!("false    {}:{}: {}", snapshot.short(), names::escape(path), wrong.why));
        }
        gone::tell(app, &found.gone, ["missing", "recovery data bring it back"]);
        affected(app, "mendable", &found.mended);
        affected(app, "lost", &lost(&found));
        wrong(app, &found);
        let mut summary = format!(
            "checked {}, {}",
            words::things(found.objects, "object", "objects"),
            words::things(found.snapshots, "snapshot", "snapshots")
        );
        let all = found.bytes_read == found.bytes;
        if options.read_data {
            summary += &format!("; read {}", words::bytes(found.bytes_read));
            if !all {
                summary += &format!(" of {}", words::bytes(found.bytes));
            }
        }
        app.screen.tell(&format!("{summary} in {}", words::duration(took)));
        if !found.is_whole() {
            app.screen.tell(&count(&found));
        } else if uncommitted {
            app.screen.tell(
                "everything else is there; {snap} repair brings it back".replace("{snap}", app.screen.name()).as_str(),
            );
        } else if !incomplete {
            let how = if options.read_data && all { "everything is there and whole" } else { "everything is there" };
            app.screen.tell(how);
        }
    }
    for (id, parent) in &found.orphans {
        app.screen.warn(&format!(
            "snapshot {} was compared with snapshot {}, which is not here: if nobody removed it, it is lost",
            id.short(),
            parent.short()
        ));
    }
    unchecked(app, &found);
    if found.is_whole() {
        return Ok(if incomplete { Code::Incomplete } else { Code::Done });
    }
    if found.damage.is_empty() && found.affected.is_empty() && !found.gone.iter().any(|gone| gone.lost) {
        let number = words::things(found.false_claims.len() as u64, "directory claims", "directories claim");
        return Err(Failure::new(Code::Damage, format!("{number} other counts than are there; no file is lost by it")));
    }
    let records = found.gone.iter().all(|gone| gone.mendable);
    let all = found.damage.iter().all(|damage| damage.mendable) && found.false_claims.is_empty() && records;
    let hint = if all && found.affected.is_empty() {
        "{snap} repair makes all of it whole"
    } else {
        "keep those files at the source before anything else; {snap} repair --dry-run says what can be mended, {snap} create \
         stores again what the source still has, and {snap} repair --source or --from COPY looks in other places"
    };
    Err(Failure::new(Code::Damage, cost(&found)).hint(hint))
}

/// Files of which something is lost; those that are something else than was recorded are told apart.
fn lost(found: &Verify) -> Vec<AffectedFile> {
    let wrong: BTreeSet<_> = found.wrong.iter().map(|wrong| (wrong.file.snapshot, &wrong.file.path)).collect();
    let lost = found.affected.iter().filter(|file| !wrong.contains(&(file.snapshot, &file.path)));
    lost.cloned().collect()
}

/// Says what could not be checked, and why.
fn unchecked(app: &App, found: &Verify) {
    if found.unsettled > 0 {
        let things = words::things(found.unsettled, "object or file was", "objects or files were");
        let who = format!("another {} is working on this archive", app.screen.name());
        app.screen
            .warn(&format!("{who}: {things} being replaced and could not be checked; verify again when it has ended"));
    }
    if found.unhashed > 0 {
        let files = words::files(found.unhashed);
        app.screen.warn(&format!("{files} claim more bytes than the archive can hold, and were not read"));
    }
}

/// Names what has all its parts and is not what was recorded.
fn wrong(app: &App, found: &Verify) {
    let mut told: BTreeMap<(&str, &[u8]), String> = BTreeMap::new();
    for wrong in &found.wrong {
        told.entry((wrong.why, wrong.file.path.as_slice())).or_insert_with(|| wrong.file.snapshot.short());
    }
    let named = if app.screen.verbose() > 0 { told.len() } else { NAMED };
    for ((why, path), snapshot) in told.iter().take(named) {
        app.screen.line(&format!("{:<8} {snapshot}:{}: {why}", "wrong", names::escape(path)));
    }
    if told.len() > named {
        let more = words::count((told.len() - named) as u64);
        app.screen.line(&format!("{:<8} and {more} more (-v names all)", "wrong"));
    }
}

/// How much of the damage can be mended and how much cannot.
fn count(found: &Verify) -> String {
    let (mendable, damaged) = found.damaged_objects();
    format!(
        "can be mended: {}, which {}; cannot: {}, and {} lost",
        words::things(mendable, "object", "objects"),
        match op::distinct_files(&found.mended) {
            0 => "no file needs".to_owned(),
            1 => "1 file needs".to_owned(),
            files => format!("{} need", words::files(files)),
        },
        words::things(damaged, "object", "objects"),
        match op::distinct_files(&found.affected) {
            0 => "no file is".to_owned(),
            1 => "1 file is".to_owned(),
            files => format!("{} are", words::files(files)),
        },
    )
}

/// What the damage costs, in a sentence.
fn cost(found: &Verify) -> String {
    let snapshots: BTreeSet<_> = found.affected.iter().map(|file| file.snapshot).collect();
    let objects: BTreeSet<_> = found.damage.iter().map(|damage| (&damage.object, damage.mendable)).collect();
    match found.affected.is_empty() {
        true if objects.iter().all(|(_, mendable)| *mendable)
            && found.false_claims.is_empty()
            && gone::lost(&found.gone).is_none() =>
        {
            format!(
                "{} damaged; all of it can be mended, and no file is lost by it",
                words::things(objects.len() as u64, "object is", "objects are")
            )
        }
        true => match gone::lost(&found.gone) {
            Some(lost) => format!("the archive is damaged, and {lost}"),
            None => "the archive is damaged, but no file of any snapshot is lost by it".to_owned(),
        },
        false => format!(
            "the archive is damaged, and {} cannot be restored whole from {}",
            words::files(op::distinct_files(&found.affected)),
            words::things(snapshots.len() as u64, "snapshot", "snapshots")
        ),
    }
}

/// Objects are named only where that is asked for; they mean nothing to most people.
fn damage(app: &App, found: &Verify) {
    if app.screen.verbose() == 0 {
        return;
    }
    for damage in &found.damage {
        let sort = if damage.mendable { "mendable" } else { "damaged " };
        app.screen.line(&format!("{sort} {}: {}", names::message(&damage.object), names::message(&damage.why)));
    }
}

/// Tells in photos and albums what becomes of files, and names each: those that are lost in any case, the others where
/// that is asked for.
pub(super) fn affected(app: &App, what: &str, affected: &[AffectedFile]) {
    if affected.is_empty() {
        return;
    }
    let verbose = app.screen.verbose() > 0;
    app.screen.line(&format!("{what:<8} {}", albums::told(affected, verbose)));
    if what != "lost" && !verbose {
        return;
    }
    // One line a photo; where all is asked for, one a name.
    let mut paths: BTreeMap<_, Vec<&AffectedFile>> = BTreeMap::new();
    for file in affected {
        let name = if verbose { (None, file.path.as_slice()) } else { file.what() };
        paths.entry(name).or_default().push(file);
    }
    let mut paths: Vec<Vec<&AffectedFile>> = paths.into_values().collect();
    paths.sort_by_key(|files| files.last().map(|file| &file.path));
    let named = if verbose { paths.len() } else { NAMED };
    for files in paths.iter().take(named) {
        let Some(last) = files.last() else { continue };
        let more = match files.iter().map(|file| file.snapshot).collect::<BTreeSet<_>>().len() - 1 {
            0 => String::new(),
            more => format!(" (and in {})", words::things(more as u64, "other snapshot", "other snapshots")),
        };
        let also = match files.iter().map(|file| &file.path).collect::<BTreeSet<_>>().len() - 1 {
            0 => String::new(),
            more => format!(" (and under {})", words::things(more as u64, "other name", "other names")),
        };
        app.screen.line(&format!("{what:<8} {}:{}{more}{also}", last.snapshot.short(), names::escape(&last.path)));
    }
    if paths.len() > named {
        let more = words::count((paths.len() - named) as u64);
        app.screen.line(&format!("{what:<8} and {more} more (-v names all)"));
    }
}

/// The same for programs.
pub(super) fn affected_objects(affected: &[AffectedFile]) -> Vec<serde_json::Value> {
    let object = |file: &AffectedFile| {
        let path = String::from_utf8_lossy(&file.path);
        json!({"snapshot_id": file.snapshot.to_hex(), "path": path, "size": file.size})
    };
    affected.iter().map(object).collect()
}

fn false_claim(snapshot: &SnapshotId, path: &[u8], wrong: &FalseClaim) -> serde_json::Value {
    json!({"snapshot_id": snapshot.to_hex(), "path": String::from_utf8_lossy(path), "message": wrong.why})
}

fn object(found: &Verify, seconds: f64) -> serde_json::Value {
    let damage: Vec<_> = found
        .damage
        .iter()
        .map(|damage| json!({"object": damage.object, "message": damage.why, "mendable": damage.mendable}))
        .collect();
    let wrong = found.wrong.iter().map(|wrong| {
        let path = String::from_utf8_lossy(&wrong.file.path);
        json!({"snapshot_id": wrong.file.snapshot.to_hex(), "path": path, "message": wrong.why})
    });
    let wrong: Vec<_> = wrong.collect();
    let claim = |(snapshot, path, wrong): &(SnapshotId, Vec<u8>, FalseClaim)| false_claim(snapshot, path, wrong);
    let false_claims: Vec<_> = found.false_claims.iter().map(claim).collect();
    let (mendable, damaged) = found.damaged_objects();
    json!({
        "message_type": "summary",
        "num_errors": found.damage.len(),
        "objects_mendable": mendable,
        "objects_damaged": damaged,
        "files_mendable": op::distinct_files(&found.mended),
        "files_lost": op::distinct_files(&found.affected),
        "packs_untold": found.untold.len(),
        "objects": found.objects,
        "chunks": found.chunks,
        "snapshots": found.snapshots,
        "bytes_read": found.bytes_read,
        "bytes": found.bytes,
        "damage": damage,
        "false_claims": false_claims,
        "gone": gone::objects(&found.gone),
        "mendable": affected_objects(&found.mended),
        "affected": affected_objects(&found.affected),
        "wrong": wrong,
        "unsettled": found.unsettled,
        "files_unhashed": found.unhashed,
        "seconds_elapsed": seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_restic_reads_them() {
        assert_eq!(parse_share("2/5"), Ok(Share::Part { number: 2, of: 5 }));
        assert_eq!(parse_share("2.5%"), Ok(Share::Percent(2.5)));
        assert_eq!(parse_share("50g"), Ok(Share::Bytes(50 << 30)));
        for wrong in ["", "0/5", "6/5", "1/0", "0%", "101%", "-1%", "NaN%", "x", "1/x"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }
}
