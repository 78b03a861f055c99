//! The format blob as JSON: a clear outer part and a sealed inner one.
//!
//! It parses and writes the documents; which fields are acted upon is decided in [`super`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::EpochParameters;

/// Bytes that stand in JSON as padded base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Base64 {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The clear outer part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outer {
    /// Free text.
    pub tool: String,
    /// Free text.
    pub build_version: String,
    /// Free text.
    pub build_info: String,
    /// Identity and salt.
    #[serde(rename = "uniqueID")]
    pub unique_id: Base64,
    /// Key derivation algorithm.
    pub key_algo: String,
    /// How the inner part is sealed.
    pub encryption: String,
    /// The sealed inner part.
    #[serde(skip_serializing_if = "Base64::is_empty")]
    pub encrypted_block_format: Base64,
}

/// The sealed inner part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inner {
    /// Its only field.
    pub format: Parameters,
}

/// What the repository is made with, keys included.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parameters {
    /// Hash algorithm.
    pub hash: String,
    /// Encryption algorithm.
    pub encryption: String,
    /// Error correction algorithm.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ecc: String,
    /// Its overhead.
    #[serde(skip_serializing_if = "is_zero")]
    pub ecc_overhead_percent: i64,
    /// Hash key.
    #[serde(skip_serializing_if = "Base64::is_empty")]
    pub secret: Base64,
    /// Encryption master key.
    #[serde(skip_serializing_if = "Base64::is_empty")]
    pub master_key: Base64,
    /// Format version.
    pub version: u32,
    /// Bytes at which a pack is full.
    pub max_pack_size: u64,
    /// Layout of indexes.
    pub index_version: u32,
    /// Epochs.
    #[serde(rename = "epochParameters")]
    pub epochs: EpochParameters,
    /// Whether the password can be changed.
    pub enable_password_change: bool,
    /// Splitter.
    pub splitter: String,
    /// A running upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_lock: Option<UpgradeLock>,
    /// What a client must understand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_features: Vec<RequiredFeature>,
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameters").field("version", &self.version).finish_non_exhaustive()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// A running upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpgradeLock {
    /// Who upgrades.
    #[serde(rename = "ownerID")]
    pub owner_id: String,
    /// Since when.
    pub creation_time: Option<jiff::Timestamp>,
    /// Nanoseconds of advance notice.
    pub advance_notice_duration: i64,
    /// Nanoseconds until everybody has stopped.
    pub io_drain_timeout: i64,
    /// Kopia's own.
    pub status_poll_interval: i64,
    /// For people.
    pub message: String,
    /// Nanoseconds of clock drift.
    pub max_permitted_clock_drift: i64,
}

impl UpgradeLock {
    /// Whether nobody but the owner may touch the repository at this time.
    pub fn is_locked(&self, now: jiff::Timestamp) -> bool {
        let Some(created) = self.creation_time else { return false };
        let drain = self.max_permitted_clock_drift.saturating_add(self.io_drain_timeout.saturating_mul(2));
        self.advance_notice_duration < drain
            || now.as_nanosecond()
                >= created.as_nanosecond() + i128::from(self.advance_notice_duration - drain)
    }
}

/// What a client must understand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequiredFeature {
    /// Its name.
    #[serde(rename = "feature")]
    pub name: String,
    /// What to do otherwise.
    pub if_not_understood: IfNotUnderstood,
}

/// What a client that does not understand a feature must do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IfNotUnderstood {
    /// Warn only.
    pub warn: bool,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upgrade_to_version: String,
}
