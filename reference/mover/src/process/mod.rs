//! The real things behind the doors: stores, volume, clock, chance, signals, shell.
//!
//! Only the binary has this; the library never touches the process.
pub mod action;
pub mod doors;
pub mod stores;
pub mod termination;
