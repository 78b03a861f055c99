//! The mover as a function: doors of our own, faults at exact points, both profiles.
//!
//! Stores are in memory on a fixed clock and randomness is seeded, so every run is the same run up to the
//! point where a test interferes.
mod bad;
mod original;
mod points;
mod read_back;
mod stage;
mod unreadable;
