//! Faults of a pod's clock: what it shows beside the bed's.
//!
//! They are never verdicts; whoever hands a clock to an actor passes it through
//! [`crate::Register::clock`]. They do not move the bed's own time.
pub mod drift;
pub mod jump;
