//! A content-addressed, deduplicating archive for photos.
pub mod archive;
pub mod chunk;
pub mod codec;
pub mod error;
pub mod format;
pub mod id;
pub mod media;
pub mod op;
pub mod source;
pub mod store;
pub mod target;
pub mod view;
