//! `find`: photos by name, by when and with what they were taken, and by what they are.

use std::collections::HashSet;

use crate::archive::Archive;
use crate::format::CaptureFacts;
use crate::id::FileHash;
use crate::source::Patterns;
use crate::view::{Episode, Past, Span, Spot, Tally};
use clap::ValueEnum;
use serde_json::json;

use super::app::App;
use super::args::Which;
use super::episodes::{self, EpisodeObject};
use super::exit::{Code, Failure};
use super::near::{self, Fit};
use super::{dates, gone, names, words};

/// Find photos by name, by when and with what they were taken, and by what they are
///
/// A pattern fits a name or the end of a path: '*.jpg', '2019', 'Ostsee/IMG_*'. What fits a folder finds everything in it.
/// Several conditions must all hold. Without --all or --deleted the newest snapshot of each source is searched; with --all
/// also what was there earlier, and sources that are retired.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names; without one, any name
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Ignore upper and lower case in names
    #[arg(short, long)]
    ignore_case: bool,
    /// Taken then, by the camera's clock: 2019, 2019-07, 2019-07-14, 2019-07..2019-08, ..2010
    #[arg(long, value_name = "DATES", value_parser = taken)]
    taken: Option<(i64, i64)>,
    /// Taken with a camera whose maker or name has this in it
    #[arg(long, value_name = "TEXT")]
    camera: Option<String>,
    /// Taken in this part of the world: south,west,north,east in degrees, as in 54.0,10.8,54.6,13.5
    #[arg(long, value_name = "S,W,N,E", value_parser = place, allow_hyphen_values = true)]
    place: Option<Place>,
    /// Larger than this: 10m; with a minus, smaller: -500k; k, m, g and t are powers of 1024
    #[arg(long, value_name = "[-]SIZE", value_parser = size, allow_hyphen_values = true)]
    size: Vec<Size>,
    /// What it is, by its content; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<What>,
    /// Has this BLAKE3 hash, or one that begins so
    #[arg(long, value_name = "HEX", value_parser = hash)]
    hash: Option<String>,
    /// In all snapshots
    #[arg(long, conflicts_with = "deleted")]
    all: bool,
    /// Only among what is no longer in the source
    #[arg(long)]
    deleted: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A photo
    Photo,
    /// A raw photo
    Raw,
    /// A video
    Video,
    /// Anything else
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Above(u64),
    Below(u64),
}

fn taken(text: &str) -> Result<(i64, i64), String> {
    dates::taken(text)
        .ok_or_else(|| "write a year, a month or a day, such as 2019, 2019-07 or 2019-07..2019-08".to_owned())
}

fn place(text: &str) -> Result<Place, String> {
    let numbers: Vec<f64> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match numbers.as_slice() {
        [south, west, north, east] if south <= north && numbers.iter().all(|number| number.is_finite()) => {
            Ok(Place { south: *south, west: *west, north: *north, east: *east })
        }
        _ => Err("a place is four numbers: south,west,north,east".to_owned()),
    }
}

fn size(text: &str) -> Result<Size, String> {
    match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => words::parse_size(rest).map(Size::Below),
        (None, rest) => words::parse_size(rest.unwrap_or(text)).map(Size::Above),
    }
}

fn hash(text: &str) -> Result<String, String> {
    let hex = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text.to_ascii_lowercase()) } else { Err("a hash is up to 64 hexadecimal digits".to_owned()) }
}

impl Place {
    /// Whether these degrees, times ten million, lie in it; a place may reach across the date line.
    fn has(&self, latitude: i64, longitude: i64) -> bool {
        let (latitude, longitude) = (latitude as f64 / 1e7, longitude as f64 / 1e7);
        let between = if self.west <= self.east {
            (self.west..=self.east).contains(&longitude)
        } else {
            longitude >= self.west || longitude <= self.east
        };
        between && (self.south..=self.north).contains(&latitude)
    }
}

impl What {
    fn of(facts: Option<&CaptureFacts>) -> Self {
        match facts.and_then(|facts| facts.format.as_deref()) {
            Some("jpeg" | "png" | "tiff" | "heif" | "avif") => Self::Photo,
            Some("quicktime" | "mp4") => Self::Video,
            Some(_) => Self::Raw,
            None => Self::Other,
        }
    }
}

/// Finds them.
pub fn run(app: &App, asked: &Arguments) -> Result<Code, Failure> {
    let patterns =
        if asked.ignore_case { Patterns::new(&[], &asked.patterns) } else { Patterns::new(&asked.patterns, &[]) };
    let patterns = patterns?;
    let filter = asked.which.filter()?;
    let archive = app.open()?;
    gone::look(app, &archive)?;
    let past = Past::open(&archive, &filter)?;
    let span = match (asked.all, asked.deleted) {
        (true, _) => Span::All,
        (_, true) => Span::Deleted,
        _ => Span::Newest,
    };
    let fitting = asked.fitting(&archive)?;
    let roots = if asked.all { past.all_roots() } else { past.roots() };
    let found = past.select(&roots, span, &|one| {
        let row = &one.row;
        let sized = asked.size.iter().all(|size| match size {
            Size::Above(bytes) => row.size() > *bytes,
            Size::Below(bytes) => row.size() < *bytes,
        });
        sized
            && asked.hash.as_ref().is_none_or(|hash| !row.is_symlink() && row.hash().to_hex().starts_with(hash))
            && fitting.as_ref().is_none_or(|fitting| fitting.fits(&row.hash(), row.is_symlink()))
            && (patterns.is_empty() || patterns.fit(one.path))
    })?;
    let mut all = Tally::default();
    for one in &found {
        all.add(&one.state);
        line(app, &past, &archive, one, span);
    }
    if app.screen.is_json() {
        app.screen.json(&json!({
            "message_type": "summary", "files": all.files, "links": all.links, "bytes": all.bytes,
        }));
    }
    let what = if span == Span::All {
        words::things(found.len() as u64, "state", "states")
    } else {
        words::files_and_links(all.files, all.links)
    };
    app.screen.tell(&format!("{what}, {}", words::bytes(all.bytes)));
    if found.is_empty() || asked.patterns.len() > 1 {
        asked.tell_what_fits_nothing(app, &past, &roots, span)?;
    }
    Ok(Code::Done)
}

/// The files whose facts fit, or those that do not, whichever is told of by facts.
enum Fitting {
    These(HashSet<FileHash>),
    /// Files without facts, and these.
    Others(HashSet<FileHash>),
}

impl Fitting {
    fn fits(&self, hash: &FileHash, symlink: bool) -> bool {
        match self {
            Self::These(hashes) => !symlink && hashes.contains(hash),
            Self::Others(hashes) => !hashes.contains(hash),
        }
    }
}

impl Arguments {
    /// Says which patterns fit nothing, and whether it is for their case.
    fn tell_what_fits_nothing(&self, app: &App, past: &Past<'_>, roots: &[Spot], span: Span) -> Result<(), Failure> {
        for pattern in self.patterns.iter().filter(|pattern| !pattern.starts_with('!')) {
            let near = match near::fitting(past, roots, span, pattern, self.ignore_case)? {
                Some((Fit::Just, _)) => continue,
                near => near,
            };
            let mut told = format!("nothing matches \"{}\"", names::message(pattern));
            if let Some((_, path)) = near {
                told += &format!("; {} differs only in case (--ignore-case finds it)", names::escape(&path));
            }
            app.screen.remark(&told);
        }
        Ok(())
    }

    /// Which files fit what is asked about their taking; none if nothing is asked. One look at all facts costs less than
    /// looking up the facts of every state.
    fn fitting(&self, archive: &Archive) -> Result<Option<Fitting>, Failure> {
        if self.taken.is_none() && self.camera.is_none() && self.place.is_none() && self.kind.is_empty() {
            return Ok(None);
        }
        let camera = self.camera.as_ref().map(|text| text.to_lowercase());
        let fits = |facts: Option<&CaptureFacts>| {
            let taken = self.taken.is_none_or(|(from, before)| {
                facts.and_then(|facts| facts.taken).is_some_and(|taken| (from..before).contains(&taken))
            });
            let camera = camera.as_ref().is_none_or(|text| {
                facts.is_some_and(|facts| {
                    let part = |part: &Option<String>| part.as_deref().unwrap_or_default().to_lowercase();
                    format!("{} {}", part(&facts.make), part(&facts.model)).contains(text)
                })
            });
            let place = self.place.is_none_or(|place| {
                let at = facts.and_then(|facts| facts.latitude.zip(facts.longitude));
                at.is_some_and(|(latitude, longitude)| place.has(latitude, longitude))
            });
            let kind = self.kind.is_empty() || self.kind.contains(&What::of(facts));
            taken && camera && place && kind
        };
        // What has no facts fits or does not as a whole.
        let others = fits(None);
        let mut hashes = HashSet::new();
        archive.scan_facts(&mut |hash, facts| {
            if fits(Some(&facts)) != others {
                hashes.insert(hash);
            }
        })?;
        Ok(Some(if others { Fitting::Others(hashes) } else { Fitting::These(hashes) }))
    }
}

fn line(app: &App, past: &Past<'_>, archive: &Archive, one: &Episode, span: Span) {
    let facts = archive.facts(&one.state.hash);
    if app.screen.is_json() {
        return app.screen.json(&EpisodeObject::new("match", past, one, facts.as_ref()));
    }
    let taken = facts.and_then(|facts| facts.taken).map(dates::camera).unwrap_or_default();
    let size = words::bytes(one.state.size);
    let mut before = format!("{taken:19}  {size:>9}  ");
    if span != Span::Newest {
        let last = episodes::last_seen(past, one).unwrap_or_else(|| "still there".to_owned());
        before += &format!("{:16}  {last:16}  ", episodes::first_seen(past, one));
    }
    app.screen.name_line(&before, &one.path, episodes::retired(past, one).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sizes_and_hashes_are_understood() {
        let baltic = place("54.0,10.8,54.6,13.5").expect("a place");
        assert!(baltic.has(543_000_000, 125_000_000) && !baltic.has(530_000_000, 125_000_000));
        let pacific = place("-40,170,-10,-170").expect("a place");
        assert!(pacific.has(-200_000_000, 1_790_000_000) && pacific.has(-200_000_000, -1_790_000_000));
        assert!(!pacific.has(-200_000_000, 0));
        for text in ["", "1,2,3", "2,0,1,0", "a,b,c,d", "nan,0,1,1"] {
            assert!(place(text).is_err(), "{text}");
        }
        assert_eq!(size("10m"), Ok(Size::Above(10 << 20)));
        assert_eq!(size("-1k"), Ok(Size::Below(1024)));
        assert!(size("-").is_err() && hash("xyz").is_err() && hash("").is_err());
        assert_eq!(hash("AB12"), Ok("ab12".to_owned()));
    }
}
