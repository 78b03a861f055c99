//! Drives a scenario on a bed; record, reports, the firedrill command.

pub mod drill;
