//! Objects that programs read: restic's names for restic's facts, and names of our own for the others.
//!
//! Paths are text here. One that is no UTF-8 has its bytes beside it, in hexadecimal.

use crate::format::{CaptureFacts, Entry, EntryKind, Snapshot, Summary};
use crate::id::SnapshotId;
use serde::Serialize;

use super::dates;

/// A snapshot, as `list` and `ls` print it.
#[derive(Serialize)]
pub struct SnapshotObject<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    tree: String,
    paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths_hex: Option<Vec<String>>,
    hostname: &'a str,
    username: &'a str,
    excludes: &'a [String],
    tags: &'a [String],
    program_version: &'a str,
    summary: SummaryObject,
    id: String,
    short_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    sequence: u64,
    kept_forever: bool,
    incomplete: bool,
}

/// What a run found and did.
#[derive(Serialize)]
pub struct SummaryObject {
    files_new: u64,
    files_changed: u64,
    files_unmodified: u64,
    files_moved: u64,
    files_gone: u64,
    files_unreadable: u64,
    data_added: u64,
    data_added_packed: u64,
    total_files_processed: u64,
    total_dirs_processed: u64,
    total_bytes_processed: u64,
    total_duration: f64,
}

/// An entry of a snapshot, as `ls` prints it.
#[derive(Serialize)]
pub struct NodeObject {
    message_type: &'static str,
    struct_type: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    r#type: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    mode: u32,
    permissions: String,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linktarget: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_read: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<PhotoObject>,
}

/// What a photo or video tells about its taking.
#[derive(Serialize)]
pub struct PhotoObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    make: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orientation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    altitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<String>,
}

impl PhotoObject {
    /// The object for these facts.
    pub fn new(facts: &CaptureFacts) -> Self {
        Self {
            format: facts.format.clone(),
            taken: facts.taken.map(|taken| dates::camera_rfc3339(taken, facts.taken_millis, facts.taken_offset)),
            make: facts.make.clone(),
            model: facts.model.clone(),
            width: facts.width,
            height: facts.height,
            orientation: facts.orientation,
            latitude: facts.latitude.map(|degrees| degrees as f64 / 1e7),
            longitude: facts.longitude.map(|degrees| degrees as f64 / 1e7),
            altitude: facts.altitude.map(|centimetres| centimetres as f64 / 100.0),
            duration: facts.duration.map(|millis| millis as f64 / 1000.0),
            content_id: facts.content_id.clone(),
        }
    }
}

impl<'a> SnapshotObject<'a> {
    /// The object for this snapshot.
    pub fn new(id: &SnapshotId, snapshot: &'a Snapshot) -> Self {
        let paths = || snapshot.sources.iter().map(|source| source.path.as_slice());
        let all_text = paths().all(|path| std::str::from_utf8(path).is_ok());
        Self {
            time: dates::rfc3339(snapshot.time, snapshot.offset_minutes),
            parent: snapshot.parent.map(|parent| parent.to_hex()),
            tree: snapshot.tree.to_hex(),
            paths: paths().map(text).collect(),
            paths_hex: (!all_text).then(|| paths().map(hex).collect()),
            hostname: &snapshot.host,
            username: &snapshot.user,
            excludes: &snapshot.excludes,
            tags: &snapshot.tags,
            program_version: &snapshot.program,
            summary: SummaryObject::new(&snapshot.summary),
            id: id.to_hex(),
            short_id: id.short(),
            note: snapshot.note.as_deref(),
            sequence: snapshot.sequence,
            kept_forever: snapshot.pinned,
            incomplete: snapshot.summary.unread > 0,
        }
    }
}

impl SummaryObject {
    /// The object for this summary.
    pub fn new(summary: &Summary) -> Self {
        Self {
            files_new: summary.new,
            files_changed: summary.changed,
            files_unmodified: summary
                .files
                .saturating_sub(summary.new)
                .saturating_sub(summary.changed)
                .saturating_sub(summary.moved),
            files_moved: summary.moved,
            files_gone: summary.gone,
            files_unreadable: summary.unread,
            data_added: summary.added,
            data_added_packed: summary.stored,
            total_files_processed: summary.files,
            total_dirs_processed: summary.dirs,
            total_bytes_processed: summary.bytes,
            total_duration: summary.millis as f64 / 1000.0,
        }
    }
}

impl NodeObject {
    /// The object for an entry at this path of a snapshot, and what is known of its taking.
    pub fn new(path: &[u8], entry: &Entry, facts: Option<&CaptureFacts>) -> Self {
        let (r#type, size, hash, linktarget) = match &entry.kind {
            EntryKind::File { size, hash, .. } => ("file", Some(*size), Some(hash.to_hex()), None),
            EntryKind::Dir { .. } => ("dir", None, None, None),
            EntryKind::Symlink { target } => ("symlink", None, None, Some(text(target))),
        };
        Self {
            message_type: "node",
            struct_type: "node",
            name: text(&entry.name),
            name_hex: unless_text(&entry.name),
            r#type,
            path: text(path),
            path_hex: unless_text(path),
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            size,
            mode: entry.meta.mode,
            permissions: permissions(entry),
            mtime: dates::rfc3339_local(entry.meta.mtime),
            hash,
            linktarget,
            not_read: entry.meta.carried.map(super::episodes::not_read),
            photo: facts.map(PhotoObject::new),
        }
    }
}

/// `drwxr-xr-x`
pub fn permissions(entry: &Entry) -> String {
    let mode = entry.meta.mode;
    let mut out = String::from(match entry.kind {
        EntryKind::File { .. } => '-',
        EntryKind::Dir { .. } => 'd',
        EntryKind::Symlink { .. } => 'l',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        out.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    out
}

/// Bytes as text; what is none is replaced.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that are no text, in hexadecimal.
pub fn unless_text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| hex(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Content, Meta, Source, Time};
    use crate::id::{ChunkId, FileHash};
    use serde_json::{Value, json};

    fn value(object: impl Serialize) -> Value {
        serde_json::to_value(object).expect("it is JSON")
    }

    fn file(name: &[u8], mode: u32) -> Entry {
        Entry {
            name: name.to_vec(),
            kind: EntryKind::File {
                size: 3,
                hash: FileHash::from_bytes([1; 32]),
                content: Content::Chunks(Vec::new()),
                sparse: false,
                unsettled: false,
            },
            meta: Meta { mode, uid: 1000, gid: 100, ..Meta::default() },
        }
    }

    #[test]
    fn a_snapshot_has_restics_names() {
        let snapshot = Snapshot {
            sequence: 7,
            time: Time { secs: 1_717_264_800, nanos: 0 },
            offset_minutes: 120,
            host: "laptop".to_owned(),
            user: "anna".to_owned(),
            sources: vec![Source { name: b"P".to_vec(), path: b"/home/anna/P".to_vec(), devices: Vec::new() }],
            tree: ChunkId::from_bytes([2; 32]),
            parent: None,
            tags: vec!["daily".to_owned()],
            note: None,
            excludes: vec!["*.tmp".to_owned()],
            program: "snapkeep 0.1.0".to_owned(),
            summary: Summary { files: 10, new: 3, changed: 2, millis: 1500, ..Summary::default() },
            unread: Vec::new(),
            pinned: false,
        };
        let object = value(SnapshotObject::new(&SnapshotId::from_bytes([0xab; 32]), &snapshot));
        let expected = json!({
            "time": "2024-06-01T20:00:00+02:00",
            "tree": "02".repeat(32),
            "paths": ["/home/anna/P"],
            "hostname": "laptop",
            "username": "anna",
            "excludes": ["*.tmp"],
            "tags": ["daily"],
            "program_version": "snapkeep 0.1.0",
            "summary": {
                "files_new": 3, "files_changed": 2, "files_unmodified": 5, "files_moved": 0, "files_gone": 0, "files_unreadable": 0,
                "data_added": 0, "data_added_packed": 0, "total_files_processed": 10, "total_dirs_processed": 0,
                "total_bytes_processed": 0, "total_duration": 1.5,
            },
            "id": "ab".repeat(32),
            "short_id": "abababab",
            "sequence": 7,
            "kept_forever": false,
            "incomplete": false,
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn a_node_tells_bytes_only_where_text_would_lie() {
        let object = value(NodeObject::new(b"P/a.jpg", &file(b"a.jpg", 0o644), None));
        assert_eq!(object["path"], "P/a.jpg");
        assert_eq!(object["type"], "file");
        assert_eq!(object["size"], 3);
        assert_eq!(object["permissions"], "-rw-r--r--");
        assert_eq!(object["hash"], "01".repeat(32));
        assert_eq!(object["mtime"].as_str().map(|time| &time[..4]), Some("1970"));
        assert_eq!(object.get("path_hex"), None);
        let object = value(NodeObject::new(b"P/\xe9", &file(b"\xe9", 0o644), None));
        assert_eq!(object["path_hex"], "502fe9");
        assert_eq!(object["name_hex"], "e9");
    }

    #[test]
    fn permissions_read_as_in_ls() {
        for (mode, text) in [(0o755, "-rwxr-xr-x"), (0o4644, "-rwSr--r--"), (0o1777, "-rwxrwxrwt"), (0, "----------")] {
            assert_eq!(permissions(&file(b"a", mode)), text);
        }
    }
}
