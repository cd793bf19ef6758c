//! Negative controls: each sort of sync is taken out of the records in turn, as if the program had forgotten it, and the
//! suite has to notice.

use std::collections::BTreeMap;

use super::disk::{Ino, Name, Op, above, is_temporary};
use super::scenes::Scene;

/// What sort of sync each call is; nothing for other calls.
pub fn sorts(scene: &Scene) -> Vec<Option<String>> {
    let log = &scene.log;
    let mut target: BTreeMap<Ino, Vec<(usize, Name, bool)>> = BTreeMap::new();
    for (at, op) in log.iter().enumerate() {
        if let Op::Rename(ino, _, to, over) = op {
            target.entry(*ino).or_default().push((at, to.clone(), *over));
        }
    }
    let mut last: BTreeMap<Name, String> = BTreeMap::new();
    let mut sorts = Vec::new();
    for (at, op) in log.iter().enumerate() {
        if at == scene.from {
            last.clear(); // what a killed run made is there when the next begins
        }
        let sort = match op {
            Op::Sync(_, true) => Some("an adopted object: the file".to_owned()),
            Op::Sync(ino, false) => target.get(ino).and_then(|names| names.last()).map(|(renamed, to, over)| {
                let when = if at < *renamed { "before" } else { "after" };
                format!("{}: the file, {when} its rename", object(to, *over))
            }),
            Op::SyncDir(folder) => {
                let confirms = matches!(at.checked_sub(1).map(|before| &log[before]), Some(Op::Sync(_, true)));
                if confirms {
                    Some("an adopted object: its folder".to_owned())
                } else {
                    Some(last.remove(folder).unwrap_or_else(|| "a folder that was there: the one above".to_owned()))
                }
            }
            Op::MakeDir(name) => {
                last.insert(above(name).into(), "a new folder: the one above".to_owned());
                None
            }
            Op::Rename(_, _, to, over) => {
                last.insert(above(to).into(), format!("{}: its folder", object(to, *over)));
                None
            }
            Op::Remove(name) => {
                if !is_temporary(name) {
                    last.insert(above(name).into(), "a removed object: its folder".to_owned());
                }
                None
            }
            Op::Create(..) | Op::Append(..) | Op::Promised(_) | Op::Told => None,
        };
        sorts.push(sort);
    }
    sorts
}

fn object(name: &str, over: bool) -> String {
    let name = name.strip_prefix("/drive/archive/").unwrap_or(name);
    let sort = match name.split('/').next() {
        Some("README.txt") => "README",
        Some("header" | "header.copy") => "header",
        Some("packs") => "pack",
        Some("segments") => "segment",
        Some("snapshots") => "snapshot",
        Some("parity") => "parity",
        Some("derived") => "facts",
        Some("quarantine") => "quarantine",
        _ => "another object",
    };
    format!("{sort}{}", if over { ", replaced" } else { "" })
}

/// The scene as if these syncs had been forgotten, by their places in the record and their sorts; nothing if there are none.
pub fn without(scene: &Scene, forgotten: &dyn Fn(usize, &str) -> bool) -> Option<Scene> {
    let sorts = sorts(scene);
    let gone = |at: usize| sorts[at].as_deref().is_some_and(|sort| forgotten(at, sort));
    let log: Vec<Op> = (0..scene.log.len()).filter(|at| !gone(*at)).map(|at| scene.log[at].clone()).collect();
    let before = (0..scene.from).filter(|at| gone(*at)).count();
    (log.len() < scene.log.len()).then(|| Scene { log: log.into(), from: scene.from - before, ..scene.clone() })
}
