//! stub
use super::{Format, ReadAt};
/// v
pub const FACTS_VERSION: u32 = 1;
/// f
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts;
/// p
pub struct Place;
/// t
pub struct Taken;
/// f
pub fn facts(_: &dyn ReadAt, _: Format) -> Option<Facts> { None }
