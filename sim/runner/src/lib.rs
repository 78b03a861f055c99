//! Drives a scenario on a bed; record, reports, the `firedrill` command.
//!
//! A scenario comes in (`input`, `feature`), is played on a fresh bed in a process of its own (`pool`,
//! `drive`), and becomes an outcome (`outcome`, `scribe`, `timeline`) that reports are written from
//! (`report`). It promises that one seed gives one record, byte for byte: nothing that is played reads a
//! clock, the environment or chance of its own. What a phrase means lives in `scenario`, what a bed can
//! do in `testbed`. Read `drive` next.

pub mod command;
pub mod drill;
pub mod drive;
pub mod feature;
pub mod input;
pub mod needs;
pub mod outcome;
pub mod pool;
pub mod report;
pub mod runbook;
pub mod scribe;
pub mod story;
pub mod timeline;
