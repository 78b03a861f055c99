//! The vocabulary of steps, expectations and trees, and its two spellings.
//!
//! A [`Scenario`] is a claim with the steps that show it; a [`Step`] builds, acts or looks. It promises
//! that Gherkin and YAML say the same: phrase to step to YAML and back is a round trip. It is paper:
//! nothing here runs, waits, reads a clock or knows a cluster. Read [`step`] and [`expect`] first, then
//! [`phrase`] for the user's words and [`yaml`] for files.

pub mod expect;
pub mod fields;
pub mod kubectl;
pub mod moved;
pub mod name;
pub mod phrase;
pub mod quantity;
mod scenario;
pub mod step;
#[cfg(feature = "strategies")]
pub mod strategy;
pub mod tree;
mod verdict;
pub mod yaml;

pub use expect::Expect;
pub use name::{Name, ObjectRef};
pub use scenario::{BedSpec, Proof, Scenario, SubjectSpec};
pub use step::{Act, Build, Step};
pub use verdict::Verdict;
