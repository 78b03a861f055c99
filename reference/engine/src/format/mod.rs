//! The format blob: what the repository is made with, and under which keys.
//!
//! Parameters are told to everybody ([`Format`]); keys stay in [`secrets`]. It does not read or write
//! the store; [`crate::repository`] does.

pub(crate) mod document;
pub mod keys;
pub(crate) mod secrets;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The 32 random bytes that tell one repository from every other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueId(Vec<u8>);

impl UniqueId {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// When epochs advance and how long superseded indexes stay. Durations in nanoseconds, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EpochParameters {
    /// Whether indexes are kept by epochs at all.
    pub enabled: bool,
    /// How long a client may rely on its view of the epochs.
    pub epoch_refresh_frequency: i64,
    /// After how many epochs a range is compacted.
    pub full_checkpoint_frequency: i64,
    /// How long superseded indexes stay.
    pub cleanup_safety_margin: i64,
    /// The shortest epoch.
    pub min_epoch_duration: i64,
    /// Advance when an epoch has so many index blobs.
    pub epoch_advance_on_count_threshold: i64,
    /// Advance when an epoch's index blobs have so many bytes.
    pub epoch_advance_on_total_size_bytes_threshold: i64,
    /// Kopia's own.
    pub delete_parallelism: i64,
}

impl Default for EpochParameters {
    /// All zero and disabled, as version 1 stores it.
    fn default() -> Self {
        Self {
            enabled: false,
            epoch_refresh_frequency: 0,
            full_checkpoint_frequency: 0,
            cleanup_safety_margin: 0,
            min_epoch_duration: 0,
            epoch_advance_on_count_threshold: 0,
            epoch_advance_on_total_size_bytes_threshold: 0,
            delete_parallelism: 0,
        }
    }
}

impl EpochParameters {
    /// What Kopia gives new repositories.
    pub fn kopia() -> Self {
        const MINUTE: i64 = 60_000_000_000;
        Self {
            enabled: true,
            epoch_refresh_frequency: 20 * MINUTE,
            full_checkpoint_frequency: 7,
            cleanup_safety_margin: 4 * 60 * MINUTE,
            min_epoch_duration: 24 * 60 * MINUTE,
            epoch_advance_on_count_threshold: 20,
            epoch_advance_on_total_size_bytes_threshold: 10 << 20,
            delete_parallelism: 4,
        }
    }
}

/// What the repository is made with. Keys are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Format version, `1..=3`.
    pub version: u32,
    /// Hash algorithm.
    pub hash: String,
    /// Encryption algorithm.
    pub encryption: String,
    /// Splitter of new objects.
    pub splitter: String,
    /// Key derivation algorithm.
    pub key_derivation: String,
    /// Bytes at which a pack is full.
    pub pack_bytes_max: u64,
    /// Layout of indexes, 1 or 2.
    pub index_version: u32,
    /// Epochs.
    pub epochs: EpochParameters,
    /// Whether the password can be changed (and which key seals the maintenance schedule).
    pub password_change: bool,
}

/// How to make a new repository; the defaults are Kopia's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// Hash algorithm.
    pub hash: String,
    /// Encryption algorithm.
    pub encryption: String,
    /// Splitter.
    pub splitter: String,
    /// Key derivation algorithm.
    pub key_derivation: String,
    /// Bytes at which a pack is full.
    pub pack_bytes_max: u64,
    /// Epochs.
    pub epochs: EpochParameters,
    /// Who runs maintenance, `user@host`; `None` names the creating client.
    pub maintenance_owner: Option<String>,
    /// Whether to store Kopia's built-in policy as the global one, as `kopia repository create` does.
    pub global_policy: bool,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            hash: "BLAKE2B-256-128".to_owned(),
            encryption: "AES256-GCM-HMAC-SHA256".to_owned(),
            splitter: "DYNAMIC-4M-BUZHASH".to_owned(),
            key_derivation: "scrypt-65536-8-1".to_owned(),
            pack_bytes_max: 20 << 20,
            epochs: EpochParameters::kopia(),
            maintenance_owner: None,
            global_policy: true,
        }
    }
}
