//! `SNAPSHOT` and `SNAPSHOT:PATH`, as people write them.
//!
//! A snapshot is named by the beginning of its id, by `latest` or `latest~2`, or by a date. The path begins after the
//! first colon behind that; a colon that belongs to a time of day is not it. Paths are bytes and stay so.
//!
//! With a path, `latest`, `latest~2` and a date count the snapshots of the source that the path is in: each source's present
//! is its own newest snapshot, whichever source was backed up last.
//!
//! Four digits such as `2024` are a year. Should an id begin with them as well, that is said and nothing is guessed:
//! what a command does must not depend on which ids chance has made.

use std::ffi::OsStr;

use crate::archive::{Archive, Filter, Selector};
use crate::error::{Error, Kind};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::view::{Located, Node, Past, Sources, View};
use jiff::Zoned;

use super::app::App;
use super::exit::{Code, Failure};
use super::{dates, gone, names, near, places};

/// No way of naming a snapshot is longer than this in bytes.
const MAX_SELECTOR: usize = 80;

/// What was asked for.
#[derive(PartialEq, Eq, Debug)]
pub struct Asked {
    /// Which snapshot.
    pub snapshot: Selector,
    /// A year that could also be the beginning of an id.
    year: Option<String>,
    /// What in it; none without a colon.
    pub path: Option<Vec<u8>>,
}

impl Asked {
    /// Understands an argument.
    ///
    /// # Errors
    /// A usage failure if it names no snapshot.
    pub fn parse(argument: &OsStr, now: &Zoned) -> Result<Self, Failure> {
        let bytes = places::bytes_of(argument);
        let shown = || argument.to_string_lossy();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
        let ends = ends.chain([bytes.len()]).take_while(|end| *end <= MAX_SELECTOR);
        // The longest reading counts: in `2024-06-01 18:00:30` the last colon belongs to the time.
        let named = ends.filter_map(|end| {
            let text = std::str::from_utf8(&bytes[..end]).ok()?;
            Some((end, text, snapshot(text, now)?))
        });
        let Some((end, text, snapshot)) = named.last() else {
            let failure = Failure::usage(format!("\"{}\" names no snapshot", shown()));
            return Err(match bytes.first() {
                Some(b'/') => failure.hint(format!("to look in the newest snapshot, write \"latest:{}\"", shown())),
                _ => failure
                    .hint("give the beginning of an id, latest, latest~2, or a date such as 2024-06 or \"3 days ago\""),
            });
        };
        let year = dates::is_year(text).then(|| text.to_owned());
        Ok(Self { snapshot, year, path: bytes.get(end + 1..).map(<[u8]>::to_vec) })
    }

    /// Whether it may as well be the name of a photo or an album: there is nothing behind it, and it is no word that only
    /// snapshots have.
    pub fn may_be_a_name(&self) -> bool {
        self.path.is_none() && !matches!(self.snapshot, Selector::Latest(_))
    }

    /// The snapshot and the path in it.
    ///
    /// # Errors
    /// If there is none, or if several could be meant.
    pub fn locate(
        &self,
        app: &App,
        archive: &Archive,
        filter: &Filter,
    ) -> Result<(SnapshotId, Snapshot, Vec<u8>), Failure> {
        let path = self.path.as_deref().unwrap_or_default();
        let whole = path.split(|byte| *byte == b'/').all(|name| name.is_empty() || name == b".");
        if whole || matches!(self.snapshot, Selector::Prefix(_)) {
            let (id, snapshot) = self.find(archive, filter)?;
            return Ok((id, snapshot, path.to_vec()));
        }
        self.is_no_id(archive, filter)?;
        let Located { id, snapshot, path, origin, newest, others } = Sources::of(archive, filter)?
            .locate(&self.snapshot, path, &app.host())
            .map_err(|error| self.or_oldest(archive, filter, error))?;
        let shown = |(host, path): &(String, Vec<u8>)| format!("{} of {}", names::escape(path), names::message(host));
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(shown).collect();
            app.screen.remark(&format!(
                "this is {}; {} has it, too: to look there, write the whole path, or --host NAME",
                shown(&origin),
                others.join(" and ")
            ));
        } else if !newest && self.snapshot == Selector::Latest(0) {
            let (id, when) = (id.short(), dates::minute(snapshot.time));
            app.screen.remark(&format!("{}: as its newest snapshot {id} of {when} has it", shown(&origin)));
        }
        Ok((id, snapshot, path))
    }

    /// The same, opened.
    ///
    /// # Errors
    /// As [`Asked::locate`], or if nothing is there.
    pub fn look<'a>(&self, app: &App, archive: &'a Archive, filter: &Filter) -> Result<(View<'a>, Node), Failure> {
        let (id, snapshot, path) = self.locate(app, archive, filter)?;
        let view = View::new(archive, id, snapshot);
        let node = view.find(&path).map_err(|error| self.or_near(archive, filter, error))?;
        Ok((view, node))
    }

    /// Of a path that is not there, what is perhaps meant by it.
    pub fn or_near(&self, archive: &Archive, filter: &Filter, error: Error) -> Failure {
        let (none, failure) = (error.kind() == Kind::NotFound, Failure::from(error));
        let path = self.path.as_deref().filter(|_| none);
        let path = path.map(|path| places::path_of(path.to_vec()).into_os_string());
        let near = path.and_then(|path| near::hint(&Past::open(archive, filter).ok()?, &path));
        match near {
            Some(near) => failure.hint(near),
            None => failure,
        }
    }

    /// The snapshot in this archive.
    ///
    /// # Errors
    /// If there is none, or if several could be meant.
    pub fn find(&self, archive: &Archive, filter: &Filter) -> Result<(SnapshotId, Snapshot), Failure> {
        self.is_no_id(archive, filter)?;
        archive.find(&self.snapshot, filter).map_err(|error| self.or_oldest(archive, filter, error))
    }

    /// Of a date before the first snapshot, how far back there is anything.
    fn or_oldest(&self, archive: &Archive, filter: &Filter, error: Error) -> Failure {
        let none = error.kind() == Kind::NotFound;
        if none
            && archive.snapshots().is_empty()
            && let Err(failure) = gone::none_left(archive)
        {
            return failure;
        }
        match (&self.snapshot, oldest(archive, filter)) {
            (Selector::AsOf(time), Some((id, snapshot))) if none && *time < snapshot.time => {
                let oldest = format!("the oldest is {} of {}", id.short(), dates::minute(snapshot.time));
                Failure::new(Code::Failed, format!("{error}; {oldest}"))
                    .hint("{snap} list shows them all; a date means the newest that is not later")
            }
            _ => self.or_near(archive, filter, error),
        }
    }

    /// A year must not be the beginning of an id as well.
    fn is_no_id(&self, archive: &Archive, filter: &Filter) -> Result<(), Failure> {
        if let Some(year) = &self.year {
            let also = archive.find(&Selector::Prefix(year.clone()), filter);
            if also.as_ref().map_or_else(|error| error.kind() == Kind::Ambiguous, |_| true) {
                let message = format!("\"{year}\" is a year and also the beginning of a snapshot's id");
                return Err(Failure::new(Code::Failed, message)
                    .hint(format!("write {year}-12-31 for the date, or more digits of the id")));
            }
        }
        Ok(())
    }
}

/// The first snapshot that counts.
fn oldest(archive: &Archive, filter: &Filter) -> Option<(SnapshotId, Snapshot)> {
    archive.snapshots().into_iter().find(|(_, snapshot)| filter.admits(snapshot))
}

fn snapshot(text: &str, now: &Zoned) -> Option<Selector> {
    if text == "latest" {
        return Some(Selector::Latest(0));
    }
    if let Some(back) = text.strip_prefix("latest~") {
        let digits = !back.is_empty() && back.bytes().all(|byte| byte.is_ascii_digit());
        return digits.then(|| back.parse().ok())?.map(Selector::Latest);
    }
    if let Some(time) = dates::end_of(text, now) {
        return Some(Selector::AsOf(time));
    }
    let hex = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| Selector::Prefix(text.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Parameters;
    use crate::id::ChunkId;
    use crate::store::Memory;

    fn now() -> Zoned {
        "2024-06-15T12:30:45[UTC]".parse().expect("a time")
    }

    fn parse(text: &str) -> Option<(Selector, Option<String>)> {
        let asked = Asked::parse(OsStr::new(text), &now()).ok()?;
        Some((asked.snapshot, asked.path.map(|path| String::from_utf8(path).expect("text"))))
    }

    fn as_of(text: &str) -> Selector {
        Selector::AsOf(dates::end_of(text, &now()).expect("a date"))
    }

    #[test]
    fn snapshots_and_paths() {
        let prefix = |text: &str| Selector::Prefix(text.to_owned());
        let table = [
            ("latest", Selector::Latest(0), None),
            ("latest~2", Selector::Latest(2), None),
            ("latest:Pictures/2019", Selector::Latest(0), Some("Pictures/2019")),
            ("latest~1:/home/anna/a:b", Selector::Latest(1), Some("/home/anna/a:b")),
            ("latest:", Selector::Latest(0), Some("")),
            ("1f3a", prefix("1f3a"), None),
            ("1F3A9C2E:x", prefix("1f3a9c2e"), Some("x")),
            ("20240601", prefix("20240601"), None),
            ("2024", as_of("2024"), None),
            ("3141", prefix("3141"), None),
            ("2024-06", as_of("2024-06"), None),
            ("2024-06:Pictures", as_of("2024-06"), Some("Pictures")),
            ("2024-06-01 18:00", as_of("2024-06-01 18:00"), None),
            ("2024-06-01 18:00:Pictures", as_of("2024-06-01 18:00"), Some("Pictures")),
            ("2024-06-01 18:00:30", as_of("2024-06-01 18:00:30"), None),
            ("2024-06-01 18:00:./30", as_of("2024-06-01 18:00"), Some("./30")),
            ("2024-06-01T18:00:30+02:00:a:b", as_of("2024-06-01T18:00:30+02:00"), Some("a:b")),
            ("3 days ago:Pictures", as_of("3 days ago"), Some("Pictures")),
            ("yesterday", as_of("yesterday"), None),
        ];
        for (text, snapshot, path) in table {
            assert_eq!(parse(text), Some((snapshot, path.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn what_names_no_snapshot_is_refused() {
        let long = "a".repeat(65);
        for text in ["", ":x", "newest", "latest~", "latest~-1", "latest~x", "2024-06-01 18", "Pictures", "1f3g", &long]
        {
            let failure = Asked::parse(OsStr::new(text), &now()).expect_err(text);
            assert_eq!(failure.code, Code::Usage, "{text}");
        }
        let failure = Asked::parse(OsStr::new("/home/anna"), &now()).expect_err("a path");
        assert_eq!(failure.hint.as_deref(), Some("to look in the newest snapshot, write \"latest:/home/anna\""));
    }

    #[test]
    fn a_year_that_is_also_the_beginning_of_an_id_is_not_guessed() {
        let store = std::sync::Arc::new(Memory::new());
        Archive::create(&*store, &Parameters::default(), 0).expect("an archive");
        let archive = Archive::open(store, None, std::sync::Arc::new(|_| {})).expect("an archive");
        let mut snapshot = Snapshot { sequence: 1, ..Snapshot::of(ChunkId::from_bytes([0; 32])) };
        let year = loop {
            let id = blake3::hash(&snapshot.encode()).to_hex();
            // The snapshot is of 1970, and must not be later than the year that its id reads as.
            if dates::is_year(&id[..4]) && &id[..4] > "1970" {
                break id[..4].to_owned();
            }
            snapshot.sequence += 1;
        };
        let asked = |text: &str| Asked::parse(OsStr::new(text), &now()).expect("it names a snapshot");
        let find = |text: &str| asked(text).find(&archive, &Filter::default());
        assert!(find(&year).expect_err("there is none").message.contains("no snapshot yet"));
        let id = archive.commit(&snapshot).expect("committed");
        let failure = find(&year).expect_err("it could be both");
        assert!(failure.message.contains("is a year and also the beginning"), "{}", failure.message);
        assert_eq!(find(&id.to_hex()[..5]).map(|(found, _)| found), Ok(id));
        assert_eq!(find(&format!("{year}-12-31")).map(|(found, _)| found), Ok(id));
        let other = if year == "2010" { "2011" } else { "2010" };
        assert_eq!(find(other).map(|(found, _)| found), Ok(id), "as a date");
    }

    /// Whoever asks for a date before the first snapshot wants to know how far back there is anything.
    #[test]
    fn a_date_before_the_first_snapshot_names_the_oldest() {
        let store = std::sync::Arc::new(Memory::new());
        Archive::create(&*store, &Parameters::default(), 0).expect("an archive");
        let archive = Archive::open(store, None, std::sync::Arc::new(|_| {})).expect("an archive");
        let find = |filter: &Filter| {
            let asked = Asked::parse(OsStr::new("2001-02-03"), &now()).expect("a date");
            asked.find(&archive, filter).expect_err("there is none").message
        };
        let everything = Filter::default();
        assert!(find(&everything).contains("no snapshot yet"), "{}", find(&everything));
        let mut snapshot = Snapshot { sequence: 1, ..Snapshot::of(ChunkId::from_bytes([0; 32])) };
        snapshot.time.secs = 1_600_000_000;
        snapshot.host = "desk".to_owned();
        archive.commit(&snapshot).expect("committed");
        snapshot.time.secs += 86_400;
        snapshot.sequence = 2;
        snapshot.host = "laptop".to_owned();
        archive.commit(&snapshot).expect("committed");
        let laptop = Filter { host: Some("laptop".to_owned()), ..Filter::default() };
        for (filter, second) in [(&everything, 1_600_000_000), (&laptop, 1_600_086_400)] {
            let oldest = dates::minute(crate::format::Time { secs: second, nanos: 0 });
            let said = find(filter);
            assert!(said.contains("the oldest is ") && said.ends_with(&format!(" of {oldest}")), "{said}");
        }
        let nobody = Filter { host: Some("nobody".to_owned()), ..Filter::default() };
        assert!(find(&nobody).contains("none from then or before"), "{}", find(&nobody));
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_survives() {
        use std::os::unix::ffi::OsStrExt;
        let asked = Asked::parse(OsStr::from_bytes(b"latest:caf\xe9"), &now()).expect("it names a snapshot");
        assert_eq!(asked.path.as_deref(), Some(&b"caf\xe9"[..]));
        assert!(Asked::parse(OsStr::from_bytes(b"caf\xe9:x"), &now()).is_err());
    }
}
