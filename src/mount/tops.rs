//! What the first two levels show: a name for every snapshot, and one for every source.
//!
//! Names are unique and the same in each run as long as the snapshots are the same.

use std::collections::{HashMap, HashSet};

use super::Clock;
use crate::id::SnapshotId;
use crate::view::Snapshot;

/// What was recorded where: a machine, and a path on it.
pub(super) type Origin = (String, Vec<u8>);

/// Gives names to things that want one.
#[derive(Default)]
pub(super) struct Names {
    taken: HashSet<Vec<u8>>,
}

impl Names {
    /// The first of these that nobody has; in the end the last one with a number.
    pub(super) fn give(&mut self, wishes: &[Vec<u8>]) -> Vec<u8> {
        let last = wishes.last().cloned().unwrap_or_default();
        let numbered = (2..).map(|number: u64| [clip(&last), format!(" ({number})").as_bytes()].concat());
        let wishes = wishes.iter().map(|wish| clip(wish).to_vec());
        let name = wishes.chain(numbered).find(|name| !self.taken.contains(name)).unwrap_or(last);
        self.taken.insert(name.clone());
        name
    }
}

/// Room for a number is left of the 255 bytes that a name may have.
fn clip(name: &[u8]) -> &[u8] {
    &name[..name.len().min(230)]
}

/// A word as part of a name.
fn word(text: &str) -> String {
    text.chars().take(50).map(|char| if char == '/' || char.is_control() { '_' } else { char }).collect()
}

/// A name for each snapshot, in their order: when it was made and, where there are several machines, of which one.
pub(super) fn snapshot_names(snapshots: &[(SnapshotId, Snapshot)], clock: Clock<'_>) -> Vec<Vec<u8>> {
    let hosts: HashSet<&str> = snapshots.iter().map(|(_, snapshot)| snapshot.host.as_str()).collect();
    let base = |moment: &str, snapshot: &Snapshot| match hosts.len() {
        0 | 1 => word(moment),
        _ => format!("{} {}", word(moment), word(&snapshot.host)),
    };
    let mut minutes: HashMap<String, usize> = HashMap::new();
    for (_, snapshot) in snapshots {
        *minutes.entry(base(&clock(snapshot.time).0, snapshot)).or_default() += 1;
    }
    let mut names = Names::default();
    let name = |(id, snapshot): &(SnapshotId, Snapshot)| {
        let (minute, second) = clock(snapshot.time);
        let (minute, second) = (base(&minute, snapshot), base(&second, snapshot));
        // Several of one minute are told apart by their seconds, all of them, so that they sort.
        let short = if minutes.get(&minute) == Some(&1) { minute } else { second.clone() };
        let wishes = [short, format!("{second} {}", id.short()), format!("{second} {id}")];
        names.give(&wishes.map(String::into_bytes))
    };
    snapshots.iter().map(name).collect()
}

/// A name for each source: its own, and with its machine's where another has the same.
pub(super) fn source_names(sources: &[(Origin, Vec<u8>)]) -> HashMap<Origin, Vec<u8>> {
    let mut names = Names::default();
    let give = |(origin, name): &(Origin, Vec<u8>)| {
        let host = [clip(name), b" (", word(&origin.0).as_bytes(), b")"].concat();
        (origin.clone(), names.give(&[name.clone(), host]))
    };
    sources.iter().map(give).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChunkId;
    use crate::view::Time;

    fn snapshot(number: u8, host: &str, secs: i64) -> (SnapshotId, Snapshot) {
        let snapshot = Snapshot {
            sequence: number.into(),
            time: Time { secs, nanos: 0 },
            host: host.to_owned(),
            ..Snapshot::of(ChunkId::from_bytes([0; 32]))
        };
        (SnapshotId::from_bytes([number; 32]), snapshot)
    }

    fn named(snapshots: &[(SnapshotId, Snapshot)]) -> Vec<String> {
        let clock =
            |time: Time| (format!("{:03}", time.secs / 60), format!("{:03}.{:02}", time.secs / 60, time.secs % 60));
        let names = snapshot_names(snapshots, &clock);
        names.into_iter().map(|name| String::from_utf8(name).expect("text")).collect()
    }

    #[test]
    fn snapshots_are_named_by_their_minute_and_told_apart_where_that_is_not_enough() {
        assert_eq!(named(&[snapshot(1, "a", 60), snapshot(2, "a", 120)]), ["001", "002"]);
        assert_eq!(named(&[snapshot(1, "a", 60), snapshot(2, "a", 61)]), ["001.00", "001.01"]);
        assert_eq!(named(&[snapshot(1, "a", 60), snapshot(2, "a", 60)]), ["001.00", "001.00 02020202"]);
        assert_eq!(named(&[snapshot(1, "a", 60), snapshot(2, "b/\n", 60)]), ["001 a", "001 b__"]);
    }

    #[test]
    fn every_source_has_a_name_of_its_own() {
        let origin = |host: &str, path: &str| (host.to_owned(), path.as_bytes().to_vec());
        let sources = [
            (origin("a", "/x/Pictures"), b"Pictures".to_vec()),
            (origin("b", "/x/Pictures"), b"Pictures".to_vec()),
            (origin("b", "/y/Pictures"), b"Pictures".to_vec()),
            (origin("b", "/z/Pictures"), b"Pictures".to_vec()),
        ];
        let names = source_names(&sources);
        let name = |at: usize| String::from_utf8(names[&sources[at].0].clone()).expect("text");
        assert_eq!([name(0), name(1)], ["Pictures", "Pictures (b)"]);
        assert_eq!([name(2), name(3)], ["Pictures (b) (2)", "Pictures (b) (3)"]);
    }
}
