//! Objects: byte streams of any length, made of contents.
pub mod id;
pub use id::Id;
