//! The engine's way to speak while it works, and to be told to stop.
//!
//! Events are progress and non-fatal trouble; they are never the only place where trouble shows: the
//! outcome of each operation says it again.

use crate::{
    snapshot::{Failure, Loss},
    tree::Path,
};

/// Something worth telling while an operation runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file was read and stored.
    Hashed {
        /** Where. */
        path: &'a Path,
        /** How many bytes. */
        bytes: u64,
    },
    /// A file was taken over from the previous snapshot without reading it.
    Reused {
        /** Where. */
        path: &'a Path,
        /** How many bytes. */
        bytes: u64,
    },
    /// The format cannot carry something.
    Lost(&'a Loss),
    /// Something failed, and the operation continues.
    Failed(&'a Failure),
    /// A checkpoint (incomplete snapshot) was stored.
    Checkpoint,
    /// A file or symlink was restored.
    Restored {
        /** Where. */
        path: &'a Path,
        /** How many bytes. */
        bytes: u64,
    },
    /// A file was verified or read back.
    Verified {
        /** Where. */
        path: &'a Path,
        /** How many bytes were read. */
        bytes: u64,
    },
    /// A maintenance task begins; the name is Kopia's.
    Task(&'a str),
}

/// Hears events and may ask to stop.
pub trait Monitor: Send + Sync {
    /// Hears one event.
    fn event(&self, event: Event<'_>) {
        let _ = event;
    }
    /// Whether the operation should stop now; it then ends with [`crate::Error::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Hears nothing and never stops anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}
