//! Sources of this machine as they are now, beside what a snapshot has of them and what of that may be believed without
//! reading a file. They are looked at together: what a file may be taken for depends on all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::backup::{Grounds, Recorded, grounds_of};
use super::{Event, Observer};
use crate::archive::Archive;
use crate::error::{Kind, Result};
use crate::format::{Entry, Snapshot, Source, Time};
use crate::id::SnapshotId;
use crate::source::{self, Node, RuleSpec, Rules};

/// A source, and the snapshot by which it is asked for.
pub(super) struct Asked<'a> {
    /// Where it is now.
    pub(super) path: PathBuf,
    pub(super) id: SnapshotId,
    pub(super) snapshot: &'a Snapshot,
    /// As the snapshot names it.
    pub(super) source: &'a Source,
}

/// The same, looked at.
pub(super) struct Here<'a> {
    pub(super) asked: Asked<'a>,
    /// What is there.
    pub(super) node: Node,
    /// What was recorded.
    pub(super) entry: Entry,
    pub(super) grounds: Arc<Grounds>,
}

/// Looks at all of them. What cannot be read is told and added to `unread`; of what the snapshot has nothing, nothing is given.
///
/// # Errors
/// The archive's error, or the user's wish to stop.
pub(super) fn look<'a>(
    archive: &Archive,
    asked: Vec<Asked<'a>>,
    observer: &dyn Observer,
    unread: &mut Vec<(PathBuf, String)>,
) -> Result<Vec<Here<'a>>> {
    let rules = Rules::new(&RuleSpec::default())?;
    let mut failed = |path: PathBuf, why: String| {
        observer.event(Event::Trouble { path: &path, why: &why });
        unread.push((path, why));
    };
    let (mut files, mut bytes) = (0, 0);
    let mut seen = Vec::with_capacity(asked.len());
    for one in asked {
        let tick = |more: u64, size: u64| observer.event(Event::Scanned { files: files + more, bytes: bytes + size });
        let scan = match source::scan(&one.path, &rules, &tick, observer.stop()) {
            Err(error) if error.kind() == Kind::Source => {
                failed(one.path, error.to_string());
                continue;
            }
            scan => scan?,
        };
        (files, bytes) = (files + scan.files, bytes + scan.bytes);
        for failure in &scan.failures {
            failed(failure.path.clone(), format!("{}: {}", failure.during, failure.why()));
        }
        seen.push((one, scan.node));
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() };
    let recorded = seen.iter().map(|(one, node)| Recorded {
        path: &one.path,
        node,
        id: one.id,
        snapshot: one.snapshot,
        source: one.source,
    });
    let grounds = grounds_of(archive, &recorded.collect::<Vec<_>>(), now)?;
    let known = seen.into_iter().zip(grounds);
    Ok(known
        .filter_map(|((asked, node), known)| {
            let (entry, grounds) = known?;
            Some(Here { asked, node, entry, grounds: Arc::new(grounds) })
        })
        .collect())
}
