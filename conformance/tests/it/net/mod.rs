//! Frames between shells whose loop is the test, and peers that break every rule.

pub(crate) mod frames;
pub(crate) mod hostile;
pub(crate) mod liar;
mod raw;
pub(crate) mod shell;
