//! x
mod index;
