//! Objects in memory: the plainest store, for tests, and the reference for what a store answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Leftovers, Lock, LockMode, Object, Put, Store, check_name};
use crate::error::{Error, Kind, Result};

/// A store in memory.
#[derive(Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, doing: &str, name: &str, take: impl FnOnce(&Vec<u8>) -> Result<T>) -> Result<T> {
        check_name(name)?;
        match self.objects().get(name) {
            Some(object) => take(object),
            None => Err(Error::new(Kind::Missing, format!("{doing} {name}"), "there is no such object")),
        }
    }
}

impl Store for Memory {
    fn put_new(&self, name: &str, parts: &[&[u8]]) -> Result<Put> {
        check_name(name)?;
        let bytes = parts.concat();
        let mut objects = self.objects();
        match objects.get(name) {
            Some(found) if found.len() == bytes.len() => Ok(Put::Existed),
            Some(found) => {
                let why = format!("there is another object of that name, with {} bytes", found.len());
                Err(Error::new(Kind::Exists, format!("writing {name}"), why))
            }
            None => {
                objects.insert(name.to_owned(), bytes);
                Ok(Put::Written)
            }
        }
    }

    fn replace(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        check_name(name)?;
        self.objects().insert(name.to_owned(), parts.concat());
        Ok(())
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        self.with("reading", name, |object| match object.len() as u64 <= limit {
            true => Ok(object.clone()),
            false => {
                Err(Error::new(Kind::Damaged, format!("reading {name}"), format!("it is longer than {limit} bytes")))
            }
        })
    }

    fn read_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.with("reading", name, |object| {
            let start = usize::try_from(offset).ok();
            let range = start.and_then(|start| object.get(start..start.checked_add(buffer.len())?));
            let short = || Error::new(Kind::Damaged, format!("reading {name}"), "it is shorter than it should be");
            buffer.copy_from_slice(range.ok_or_else(short)?);
            Ok(())
        })
    }

    fn len(&self, name: &str) -> Result<Option<u64>> {
        check_name(name)?;
        Ok(self.objects().get(name).map(|object| object.len() as u64))
    }

    fn list(&self, folder: &str, _: Leftovers) -> Result<Vec<Object>> {
        check_name(folder)?;
        let below = format!("{folder}/");
        let objects = self.objects();
        let inside = objects.range(below.clone()..).take_while(|(name, _)| name.starts_with(&below));
        Ok(inside.map(|(name, bytes)| Object { name: name.clone(), len: bytes.len() as u64 }).collect())
    }

    fn sweep_top(&self) -> Result<()> {
        Ok(())
    }

    fn confirm(&self, name: &str) -> Result<()> {
        self.with("syncing", name, |_| Ok(()))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.with("removing", name, |_| Ok(()))?;
        self.objects().remove(name);
        Ok(())
    }

    fn lock(&self, name: &str, _: LockMode) -> Result<Lock> {
        self.with("locking", name, |_| Ok(Lock::of_nothing()))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn confirms_writes(&self) -> bool {
        true
    }
}
