//! Oracles: they look at what came out and say whether it is what the bed had put in.
//!
//! An oracle shares no code with what it judges: it knows the bed's ledger and the tree seam, and nothing
//! of the engine, the mover or the controller. Each says in its module doc what it does not check, and
//! each has tests in which it fails.
pub mod restore;
pub mod zeros;
