//! A content-addressed, deduplicating archive for photos: what is deleted, moved or edited at the source stays
//! restorable.
//!
//! ```text
//! out:   source ─entry→ media (what is it? where may it be cut?) → chunk {id = BLAKE3 of the original bytes}
//!          → archive writer: known? ──yes→ done
//!                              └─no→ codec → frame → pack full? → store.put_new → segment
//!        all entries done → writer.finish (packs and segment durable) → snapshot object (the one commit point)
//! back:  snapshot → tree → plan → archive reader: index → store.get_range → decode → re-hash → file; metadata last
//! ```
//!
//! The first line is [`op::backup`], the last [`op::restore`]. `format-spec.md` says what lies in an archive, byte by
//! byte.
//!
//! # Rooms
//!
//! Each room may import those in its row, and [`error`](mod@error) and [`id`]; a test reads the sources and refuses any
//! other path.
//!
//! | room | holds | may import |
//! |---|---|---|
//! | `id`, `error` | names of stored things; the one error | |
//! | `direct` | long writes past the page cache | |
//! | `normal` | names that mean the same | |
//! | `source` | the walk of what is backed up, skip rules, reading | `normal` |
//! | `target` | the safe writing of a restore | `source` (what metadata is), `direct` |
//! | `media` | what a file is by its content, where it may be cut, when it was taken | |
//! | `chunk` | chunks and cuts | |
//! | `codec` | how a chunk's bytes are packed | |
//! | `parity` | recovery data: made and used for mending | |
//! | `format` | bytes ↔ values of every stored object | |
//! | `store` | where objects lie | `direct` |
//! | `archive` | writer, reader, segments, index, snapshots | `chunk`, `codec`, `parity`, `format`, `store` |
//! | `view` | a snapshot as a read-only tree | `normal`, `archive`, `format` |
//! | `op` | what the commands do | all of these |
//! | `mount` | an archive as a file system | `view` |
//! | `cli` | flags, words, JSON, progress, hints and exit codes: one file for each command | `codec`, `format`, `source`, `target`, `store`, `archive`, `view`, `op`, `mount` |

pub mod archive;
pub mod chunk;
pub mod cli;
pub mod codec;
mod direct;
pub mod error;
pub mod format;
pub mod id;
pub mod media;
#[cfg(target_os = "linux")]
pub mod mount;
pub mod normal;
pub mod op;
pub mod parity;
pub mod source;
pub mod store;
pub mod target;
pub mod view;
