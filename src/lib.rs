//! A content-addressed, deduplicating archive for photos.
pub mod codec;
pub mod error;
pub mod id;
pub mod parity;
