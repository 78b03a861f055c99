//! YAML as Kubernetes tools read and write it: documents with their places, and text again.
//!
//! Promises YAML 1.1 scalars (octal numbers, `yes` and `no`), anchors, aliases and merge keys, and the
//! file and line of every document. Memory is bounded by the largest document. Read `document` for
//! what is kept, `stream` for how files are cut, `emit` for the way back to text.

mod document;
mod emit;
mod stream;

pub use document::{Document, Origin};
pub use emit::emit;
pub use stream::{Chunk, DOCUMENT_BYTES_MAX, Stream, parse};
