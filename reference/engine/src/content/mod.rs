//! Contents: deduplicated stored pieces in packs, found through indexes.
pub mod id;
pub use id::Id;
