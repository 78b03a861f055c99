//! Contents: deduplicated stored pieces in packs, found through indexes.
//!
//! Reading is [`committed::Contents`], writing is [`session::Session`]. A content's name is the keyed hash
//! of its bytes, so equal bytes are stored once. It does not know what the bytes mean.

pub(crate) mod committed;
pub(crate) mod epoch;
pub mod id;
pub(crate) mod index;
mod legacy;
pub(crate) mod memo;
mod pack;
pub(crate) mod session;

pub use id::Id;
