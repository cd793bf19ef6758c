//! A content-addressed, deduplicating archive for photos.
pub mod error;
pub mod id;
pub mod media;
