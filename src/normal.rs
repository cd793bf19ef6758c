//! Names that mean the same: Unicode has several ways to write `ü`, and what is typed is often not what is stored.
//!
//! Names are bytes and stay so; this is only for comparing. Bytes that are no text are equal to themselves alone.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A name or path in the one form (NFC) that all its ways of being written have in common.
pub fn normal(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    if let Ok(text) = std::str::from_utf8(name)
        && is_nfc_quick(text.chars()) == IsNormalized::Yes
    {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        out.extend(chunk.valid().nfc().collect::<String>().into_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

/// Whether two names or paths are written the same, or mean the same.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one == other || (!(one.is_ascii() && other.is_ascii()) && normal(one) == normal(other))
}

/// A name or path in one form and in lower case.
pub fn folded(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut out = Vec::with_capacity(name.len());
    for chunk in normal(name).utf8_chunks() {
        out.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// Of the names that have these places, the one that is meant by `name`: the very same, or else the only one that means
/// the same.
pub fn meant<'n>(name: &[u8], names: impl Iterator<Item = &'n [u8]> + Clone) -> Meant {
    if let Some(at) = names.clone().position(|other| other == name) {
        return Meant::One(at);
    }
    let mut others = names.enumerate().filter(|(_, other)| same(name, other)).map(|(at, _)| at);
    match (others.next(), others.next()) {
        (Some(at), None) => Meant::One(at),
        (None, _) => Meant::None,
        _ => Meant::Several,
    }
}

/// What a name means among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meant {
    /// Nothing.
    None,
    /// What is at this place.
    One(usize),
    /// Several that are written in different ways, and none just so.
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPOSED: &[u8] = "M\u{fc}nchen".as_bytes();
    const DECOMPOSED: &[u8] = "Mu\u{308}nchen".as_bytes();

    #[test]
    fn all_ways_of_writing_a_name_are_one() {
        assert_eq!(normal(DECOMPOSED), COMPOSED);
        assert!(same(COMPOSED, DECOMPOSED) && same(b"a", b"a") && !same(b"a", b"A"));
        assert!(!same(b"M\xfcnchen", COMPOSED), "bytes that are no text are themselves alone");
        assert_eq!(normal(b"u\xcc\x88\xff"), &b"\xc3\xbc\xff"[..]);
        assert_eq!(folded("MU\u{308}NCHEN".as_bytes()), COMPOSED.to_ascii_lowercase());
    }

    #[test]
    fn a_name_means_itself_or_the_only_one_that_is_the_same() {
        let meant = |name: &[u8], names: &[&[u8]]| super::meant(name, names.iter().copied());
        assert_eq!(meant(COMPOSED, &[b"a", DECOMPOSED]), Meant::One(1));
        assert_eq!(meant(COMPOSED, &[DECOMPOSED, COMPOSED]), Meant::One(1));
        assert_eq!(meant(b"a", &[DECOMPOSED, COMPOSED]), Meant::None);
        let angstrom = ["\u{212b}", "A\u{30a}"].map(str::as_bytes);
        assert_eq!(meant("\u{c5}".as_bytes(), &angstrom), Meant::Several);
    }
}
