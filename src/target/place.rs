//! The directories of a target and their handles, of which only so many are open at a time.
//!
//! A directory is reached from the nearest one above it that is still open, one checked name at a time, each opened as a
//! directory and without following a link. So a handle that was closed for want of room is got back as safely as it was
//! got first, and a link that was put in a directory's place meanwhile is an error.

use super::failed;
use super::name::os;
use crate::error::Result;
use rustix::fs::{Mode, OFlags, openat};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// How many directories besides the root are kept open at most. macOS allows 256 open files by default.
const HANDLES: usize = 64;

/// How many are: a quarter of what this process may open, so that whatever else is open finds its room.
fn handles() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.map_or(HANDLES, |limit| usize::try_from(limit / 4).unwrap_or(HANDLES).clamp(4, HANDLES))
    })
}

/// One directory of the target, or its root.
#[derive(Debug)]
pub(super) struct Place {
    /// Nothing for the root.
    above: Option<(Arc<Place>, Box<[u8]>)>,
    handle: Mutex<Option<Arc<OwnedFd>>>,
    used: AtomicBool,
}

/// The places that have a handle, oldest first. One that was used since it was last looked at gets a second chance.
#[derive(Debug, Default)]
pub(super) struct Handles(Mutex<VecDeque<Weak<Place>>>);

impl Place {
    pub(super) fn root(handle: OwnedFd) -> Self {
        Self { above: None, handle: Mutex::new(Some(Arc::new(handle))), used: AtomicBool::new(true) }
    }

    /// The directory `name`, which was checked, in `above`. Nothing is opened yet.
    pub(super) fn below(above: &Arc<Place>, name: &[u8]) -> Self {
        Self { above: Some((Arc::clone(above), name.into())), handle: Mutex::new(None), used: AtomicBool::new(false) }
    }

    /// The path of this directory, for messages.
    pub(super) fn path(&self, root: &Path) -> PathBuf {
        let mut names = Vec::new();
        let mut at = self;
        while let Some((above, name)) = &at.above {
            names.push(os(name));
            at = above;
        }
        let mut path = root.to_owned();
        path.extend(names.into_iter().rev());
        path
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self) -> Option<Arc<OwnedFd>> {
        self.used.store(true, Relaxed);
        self.slot().clone()
    }
}

/// Lets go of a long chain step by step: the compiler's way would need a stack as deep as the tree.
impl Drop for Place {
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(mut above) = next.and_then(|(above, _)| Arc::into_inner(above)) {
            next = above.above.take();
        }
    }
}

impl Handles {
    /// The open handle of a directory, opened now if it is not. It stays valid for as long as the caller holds it.
    pub(super) fn of(&self, place: &Arc<Place>, root: &Path) -> Result<Arc<OwnedFd>> {
        if let Some(handle) = place.handle() {
            return Ok(handle);
        }
        let mut closed = Vec::new();
        let mut at = place;
        let mut handle = loop {
            if let Some(handle) = at.handle() {
                break handle;
            }
            closed.push(at);
            match &at.above {
                Some((above, _)) => at = above,
                None => return Err(failed("entering", root, std::io::ErrorKind::NotFound)),
            }
        };
        while let Some(place) = closed.pop() {
            let Some((_, name)) = &place.above else { continue };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(&*handle, os(name), flags, Mode::empty());
            handle = Arc::new(opened.map_err(|cause| failed("entering", &place.path(root), cause))?);
            // On the way down a very long chain only the last ones are worth keeping.
            if closed.len() < handles() {
                self.keep(place, Arc::clone(&handle));
            }
        }
        Ok(handle)
    }

    fn keep(&self, place: &Arc<Place>, handle: Arc<OwnedFd>) {
        let before = place.slot().replace(handle);
        if before.is_some() {
            return;
        }
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.push_back(Arc::downgrade(place));
        while line.len() > handles() {
            let Some(oldest) = line.pop_front().and_then(|weak| weak.upgrade()) else { continue };
            if oldest.used.swap(false, Relaxed) {
                line.push_back(Arc::downgrade(&oldest));
            } else {
                oldest.slot().take();
            }
        }
    }
}
