//! The backup engine: a pure library that reads and writes Kopia's repository format.
pub mod context;
pub mod store;
pub mod tree;
