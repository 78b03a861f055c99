//! A store in a folder, in Kopia's sharded layout.
pub mod files;
pub use files::{FileMetadata, Files};
