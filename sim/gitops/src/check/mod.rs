//! Checks on what was read.
pub(crate) fn run(_model: &mut crate::Model) {}
