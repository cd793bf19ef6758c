//! The two copies of the header: which of them counts.
//!
//! Either is enough. Two whole ones that differ are never the archive's own doing; somebody has put a file of another archive
//! there. Nothing else in an archive tells which of them belongs to it, and a reader needs neither, so reading goes on by
//! the first, with a notice, and nothing is written until somebody has taken the wrong one away.

use super::{Notice, Notify};
use crate::error::{Error, Kind, Result};
use crate::format::{HEADER_LEN, Header, names};
use crate::store::Store;

/// What the headers say.
pub(super) struct Headers {
    /// The one that counts.
    pub(super) header: Header,
    /// The other copy, if it is whole and says something else.
    pub(super) other: Option<Header>,
}

impl Headers {
    /// Reads whichever copy is whole, with a notice of what is not as it should be.
    ///
    /// # Errors
    /// [`Kind::NoArchive`] if there is none, or what both copies are.
    pub(super) fn read(store: &dyn Store, notify: &Notify) -> Result<Self> {
        let mut found = Vec::new();
        let mut faults = Vec::new();
        for name in names::HEADERS {
            let read = store.get(name, HEADER_LEN as u64);
            match read.and_then(|bytes| Header::decode(&bytes).map_err(|error| error.within(format!("reading {name}"))))
            {
                Ok(header) => found.push(header),
                Err(error) => faults.push((name, error)),
            }
        }
        let place = || format!("opening the archive in {}", store.place());
        if found.is_empty() {
            if faults.iter().all(|(_, error)| error.kind() == Kind::Missing) {
                return Err(Error::new(Kind::NoArchive, place(), "there is none"));
            }
            // The copy that is there says more than the one that is missing.
            let told = faults.into_iter().map(|(_, error)| error).find(|error| error.kind() != Kind::Missing);
            return Err(told.unwrap_or_else(|| Error::new(Kind::NoArchive, place(), "there is none")).within(place()));
        }
        for (name, error) in faults {
            notify(Notice::PassedOver(name.to_owned(), error.to_string()));
        }
        let header = found.swap_remove(0);
        let other = found.pop().filter(|other| *other != header);
        let headers = Self { header, other };
        if let Some(why) = headers.disagreement() {
            notify(Notice::PassedOver(names::HEADERS[1].to_owned(), why));
        }
        Ok(headers)
    }

    /// In what the copies differ, if they do.
    fn disagreement(&self) -> Option<String> {
        let other = self.other.as_ref()?;
        let [first, copy] = names::HEADERS;
        Some(match other.archive == self.header.archive {
            true => format!("{first} and {copy} name the same archive with other parameters"),
            false => format!(
                "{first} is of the archive {} and {copy} of {}; one of them was put there by mistake",
                self.header.archive.to_hex(),
                other.archive.to_hex()
            ),
        })
    }

    /// Refuses to write where nobody knows by which header.
    ///
    /// # Errors
    /// [`Kind::Damaged`] if the copies differ.
    pub(super) fn agree(&self) -> Result<()> {
        match self.disagreement() {
            None => Ok(()),
            Some(why) => {
                let why = format!("{why}; take away the one that does not belong here, then repair makes it anew");
                Err(Error::new(Kind::Damaged, "writing to the archive", why))
            }
        }
    }
}
