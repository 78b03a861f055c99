//! Policies: what to keep and how to store, inherited from global to path.
//!
//! Groups and fields that the engine does not use are kept as they are, so that editing one value of a
//! policy that Kopia wrote loses nothing. Ignore rules, actions and schedules are stored but not acted upon.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::snapshot::Source;

/// Whom a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyTarget {
    /// Everybody.
    Global,
    /// Every source of a host.
    Host(String),
    /// Every source of a user on a host: user name, host name.
    User(String, String),
    /// One source and everything below its path.
    Path(Source),
}

/// How many snapshots to keep, per period; absent means inherited, and after inheritance none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// The latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_latest: Option<u32>,
    /// The last of each hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<u32>,
    /// The last of each day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u32>,
    /// The last of each week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u32>,
    /// The last of each month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u32>,
    /// The last of each year.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_annual: Option<u32>,
    /// Do not save a snapshot whose root equals the previous one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_identical_snapshots: Option<bool>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Which compressor file data gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compression {
    /// A name, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressor_name: Option<String>,
    /// Extensions that are compressed (with their dot).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_compress: Vec<String>,
    /// Extensions that are not compressed (with their dot).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never_compress: Vec<String>,
    /// Smaller files are not compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u64>,
    /// Larger files are not compressed; 0 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A named algorithm in a group of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetadataCompression {
    /// A name, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compressor_name: Option<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Which splitter file data gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Splitter {
    /// A splitter's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Fields of later versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A policy, as stored for one target or as effective for one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// How many snapshots to keep.
    pub retention: Retention,
    /// Compressor of file data.
    pub compression: Compression,
    /// Compressor of directories.
    pub metadata_compression: MetadataCompression,
    /// Splitter of file data.
    pub splitter: Splitter,
    /// Whether the policies above do not apply.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_parent: bool,
    /// Every other group, as found.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
