//! What can go wrong in the engine, in types that a caller can decide by.
//!
//! Every variant says what failed to be done; [`Error::kind`] sorts them into the classes that a mover
//! or an operator acts upon. It never prints its source: whoever reports prints the chain.

use std::io;

use crate::{blob, content, manifest, object, store, tree};

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The location lists no blob at all.
    #[error("repository not initialized in the provided storage")]
    NotARepository,
    /// The location holds blobs, but no format blob among them.
    #[error("the location holds data (such as {example:?}) but no format blob")]
    ForeignData {
        /// One of the blobs found.
        example: String,
    },
    /// A repository was to be created where something lies already.
    #[error("refused to create a repository: the location already holds {example:?}")]
    NotEmpty {
        /// One of the blobs found.
        example: String,
    },
    /// The format blob does not open with this password (or was altered: the seal cannot tell).
    #[error("invalid repository password")]
    WrongPassword,
    /// The format blob is not what it should be.
    #[error("invalid format blob: {detail}")]
    CorruptFormat {
        /// What is wrong with it.
        detail: String,
    },
    /// An index blob cannot be opened or parsed.
    #[error("failed to read index blob {blob}: {detail}")]
    CorruptIndex {
        /// The index blob.
        blob: blob::Id,
        /// What is wrong with it.
        detail: String,
    },
    /// A stored content does not open, unpack or hash to its name.
    #[error("failed to open content {content} in pack {pack}: {detail}")]
    CorruptContent {
        /// The content.
        content: content::Id,
        /// The pack that should hold it.
        pack: blob::Id,
        /// What is wrong with it.
        detail: String,
    },
    /// No index knows the content.
    #[error("content {content} is in no index")]
    MissingContent {
        /// The content.
        content: content::Id,
    },
    /// The index names a pack that the store does not have, or that is too short.
    #[error("content {content} is lost with pack {pack}: {detail}")]
    MissingPack {
        /// The content.
        content: content::Id,
        /// The pack.
        pack: blob::Id,
        /// Absent, or shorter than needed.
        detail: String,
    },
    /// An object's bytes are whole but make no sense.
    #[error("malformed object {object}: {detail}")]
    CorruptObject {
        /// The object.
        object: object::Id,
        /// What is wrong with it.
        detail: String,
    },
    /// A manifest content or manifest payload does not parse.
    #[error("malformed manifest in {place}: {detail}")]
    CorruptManifest {
        /// The content or manifest.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Any other blob of the repository does not open or parse.
    #[error("malformed blob {blob}: {detail}")]
    CorruptBlob {
        /// The blob.
        blob: blob::Id,
        /// What is wrong with it.
        detail: String,
    },
    /// The manifest asked for does not exist.
    #[error("no manifest {id}")]
    MissingManifest {
        /// Its identifier.
        id: manifest::Id,
    },
    /// The path asked for does not exist in the snapshot.
    #[error("no {path} in the snapshot")]
    MissingPath {
        /// The path within the snapshot.
        path: tree::Path,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] store::Error),
    /// The file tree failed, and the operation cannot go on without it.
    #[error("failed to {operation} {path}")]
    Tree {
        /// What was tried, such as `sync`.
        operation: &'static str,
        /// Where.
        path: tree::Path,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// An upgrade of the repository's format is in progress.
    #[error("the repository is locked for an upgrade by {owner}")]
    Locked {
        /// Who upgrades.
        owner: String,
    },
    /// The repository demands something this engine does not know.
    #[error("the repository requires {feature}, which this engine does not support")]
    UnsupportedFeature {
        /// What, such as `ECC REED-SOLOMON-CRC32` or `hash BLAKE3-256`.
        feature: String,
    },
    /// Maintenance belongs to somebody else. The words are Kopia's.
    #[error("maintenance must be run by designated user: {owner}")]
    NotOwner {
        /// The designated owner; empty when there is none.
        owner: String,
    },
    /// The store's clock and ours disagree too much for a safe maintenance.
    #[error("clock skew detected: the local clock is {skew_seconds} s ahead of the storage time")]
    ClockSkew {
        /// Local minus storage time; negative when we are behind.
        skew_seconds: i64,
    },
    /// Writing an index took so long that readers of compacted epochs would never see it.
    #[error("the index write for epoch {epoch} came too late: the repository is at epoch {current}")]
    EpochPassed {
        /// The epoch written into.
        epoch: u64,
        /// The write epoch now.
        current: u64,
    },
    /// The caller gave something that cannot be.
    #[error("invalid {what}: {detail}")]
    InvalidInput {
        /// Which input.
        what: &'static str,
        /// Why it cannot be.
        detail: String,
    },
    /// The monitor asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

/// Classes of errors, for those who must decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// Nothing is there.
    NotARepository,
    /// Something is there, but not a repository.
    ForeignData,
    /// A repository (or other data) is there already.
    NotEmpty,
    /// The password is wrong.
    WrongPassword,
    /// The format blob is damaged.
    CorruptFormat,
    /// An index is damaged: nothing can be trusted.
    CorruptIndex,
    /// Stored data is damaged.
    CorruptContent,
    /// Stored data is missing.
    MissingContent,
    /// A manifest is damaged.
    CorruptManifest,
    /// What was asked for does not exist.
    NotFound,
    /// The store failed; see its kind.
    Store(store::ErrorKind),
    /// The file tree failed.
    Tree,
    /// The repository is locked.
    Locked,
    /// The repository is beyond this engine.
    Unsupported,
    /// Somebody else owns maintenance.
    NotOwner,
    /// Clocks disagree.
    ClockSkew,
    /// Try again.
    Transient,
    /// The caller's mistake.
    InvalidInput,
    /// Stopped on request.
    Cancelled,
}

impl Error {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotARepository => ErrorKind::NotARepository,
            Self::ForeignData { .. } => ErrorKind::ForeignData,
            Self::NotEmpty { .. } => ErrorKind::NotEmpty,
            Self::WrongPassword => ErrorKind::WrongPassword,
            Self::CorruptFormat { .. } => ErrorKind::CorruptFormat,
            Self::CorruptIndex { .. } => ErrorKind::CorruptIndex,
            Self::CorruptContent { .. } | Self::CorruptObject { .. } | Self::CorruptBlob { .. } => {
                ErrorKind::CorruptContent
            }
            Self::MissingContent { .. } | Self::MissingPack { .. } => ErrorKind::MissingContent,
            Self::CorruptManifest { .. } => ErrorKind::CorruptManifest,
            Self::MissingManifest { .. } | Self::MissingPath { .. } => ErrorKind::NotFound,
            Self::Store(error) => ErrorKind::Store(error.kind),
            Self::Tree { .. } => ErrorKind::Tree,
            Self::Locked { .. } => ErrorKind::Locked,
            Self::UnsupportedFeature { .. } => ErrorKind::Unsupported,
            Self::NotOwner { .. } => ErrorKind::NotOwner,
            Self::ClockSkew { .. } => ErrorKind::ClockSkew,
            Self::EpochPassed { .. } => ErrorKind::Transient,
            Self::InvalidInput { .. } => ErrorKind::InvalidInput,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }
    /// The content and pack the error is about, if it is about stored data.
    pub fn place(&self) -> (Option<content::Id>, Option<&blob::Id>) {
        match self {
            Self::CorruptContent { content, pack, .. } | Self::MissingPack { content, pack, .. } => {
                (Some(*content), Some(pack))
            }
            Self::MissingContent { content } => (Some(*content), None),
            Self::CorruptObject { object, .. } => (Some(object.content()), None),
            _ => (None, None),
        }
    }
    /// Whether stored data is damaged or missing, so that other data may still be whole.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind(), ErrorKind::CorruptContent | ErrorKind::MissingContent)
    }
}
