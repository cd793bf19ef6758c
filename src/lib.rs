//! A content-addressed, deduplicating archive for photos.
pub mod error;
pub mod format;
pub mod id;
