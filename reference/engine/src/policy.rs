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

/// What `kopia repository create` stores as the global policy.
const BUILT_IN: &str = r#"{"retention":{"keepLatest":10,"keepHourly":48,"keepDaily":7,"keepWeekly":4,"keepMonthly":24,"keepAnnual":3,"ignoreIdenticalSnapshots":false},"files":{"ignoreDotFiles":[".kopiaignore"]},"errorHandling":{"ignoreFileErrors":false,"ignoreDirectoryErrors":false,"ignoreUnknownTypes":true},"scheduling":{"runMissed":true},"compression":{"compressorName":"none"},"metadataCompression":{"compressorName":"zstd-fastest"},"splitter":{},"actions":{},"osSnapshots":{"volumeShadowCopy":{"enable":0}},"logging":{"directories":{"snapshotted":5,"ignored":5},"entries":{"snapshotted":0,"ignored":5,"cacheHit":0,"cacheMiss":0}},"upload":{"maxParallelSnapshots":1,"parallelUploadAboveSize":2147483648}}"#;

impl Policy {
    /// Kopia's built-in policy.
    pub fn built_in() -> Self {
        serde_json::from_str(BUILT_IN).expect("the built-in policy is well-formed")
    }
    /// Fills what is absent here from a policy further up.
    #[must_use]
    pub fn or(self, parent: &Self) -> Self {
        let retention = Retention {
            keep_latest: self.retention.keep_latest.or(parent.retention.keep_latest),
            keep_hourly: self.retention.keep_hourly.or(parent.retention.keep_hourly),
            keep_daily: self.retention.keep_daily.or(parent.retention.keep_daily),
            keep_weekly: self.retention.keep_weekly.or(parent.retention.keep_weekly),
            keep_monthly: self.retention.keep_monthly.or(parent.retention.keep_monthly),
            keep_annual: self.retention.keep_annual.or(parent.retention.keep_annual),
            ignore_identical_snapshots: self
                .retention
                .ignore_identical_snapshots
                .or(parent.retention.ignore_identical_snapshots),
            other: fill(self.retention.other, &parent.retention.other),
        };
        let stops = |map: &Map<String, Value>, key: &str| map.get(key) == Some(&Value::Bool(true));
        let own = self.compression;
        let union = |mine: Vec<String>, theirs: &[String], stop: &str| {
            let mut all = mine;
            if !stops(&own.other, stop) {
                all.extend_from_slice(theirs);
            }
            all.sort();
            all.dedup();
            all
        };
        let compression = Compression {
            only_compress: union(
                own.only_compress,
                &parent.compression.only_compress,
                "noParentOnlyCompress",
            ),
            never_compress: union(
                own.never_compress,
                &parent.compression.never_compress,
                "noParentNeverCompress",
            ),
            compressor_name: own.compressor_name.or_else(|| parent.compression.compressor_name.clone()),
            min_size: own.min_size.or(parent.compression.min_size),
            max_size: own.max_size.or(parent.compression.max_size),
            other: fill(own.other, &parent.compression.other),
        };
        let metadata_compression = MetadataCompression {
            compressor_name: self
                .metadata_compression
                .compressor_name
                .or_else(|| parent.metadata_compression.compressor_name.clone()),
            other: fill(self.metadata_compression.other, &parent.metadata_compression.other),
        };
        let splitter = Splitter {
            algorithm: self.splitter.algorithm.or_else(|| parent.splitter.algorithm.clone()),
            other: fill(self.splitter.other, &parent.splitter.other),
        };
        Self {
            retention,
            compression,
            metadata_compression,
            splitter,
            no_parent: self.no_parent,
            other: fill(self.other, &parent.other),
        }
    }
}

/// Adds fields, and fields of groups, that are absent.
fn fill(mut own: Map<String, Value>, parent: &Map<String, Value>) -> Map<String, Value> {
    for (key, value) in parent {
        match (own.get_mut(key), value) {
            (None, _) => drop(own.insert(key.clone(), value.clone())),
            (Some(Value::Object(mine)), Value::Object(theirs)) => {
                for (key, value) in theirs {
                    mine.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => {}
        }
    }
    own
}

impl PolicyTarget {
    /// The labels by which the target's policy is found.
    pub(crate) fn labels(&self) -> crate::manifest::Labels {
        use crate::manifest::labels;
        match self {
            Self::Global => labels([("type", "policy"), ("policyType", "global")]),
            Self::Host(host) => labels([("type", "policy"), ("policyType", "host"), ("hostname", host)]),
            Self::User(user, host) => {
                labels([("type", "policy"), ("policyType", "user"), ("username", user), ("hostname", host)])
            }
            Self::Path(source) => labels([
                ("type", "policy"),
                ("policyType", "path"),
                ("username", &source.username),
                ("hostname", &source.host),
                ("path", &source.path),
            ]),
        }
    }
    /// The targets whose policies apply to a source, nearest first.
    pub(crate) fn hierarchy(source: &Source) -> Vec<Self> {
        let mut targets = Vec::new();
        let mut path = source.path.clone();
        loop {
            targets.push(Self::Path(Source { path: path.clone(), ..source.clone() }));
            match path.trim_end_matches('/').rfind('/') {
                Some(0) if path.len() > 1 => path.truncate(1),
                Some(at) if at > 0 => path.truncate(at),
                _ => break,
            }
        }
        targets.push(Self::User(source.username.clone(), source.host.clone()));
        targets.push(Self::Host(source.host.clone()));
        targets.push(Self::Global);
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_goes_from_the_path_to_everybody() {
        let paths = |path: &str| {
            let targets = PolicyTarget::hierarchy(&Source::new("u", "h", path));
            targets
                .into_iter()
                .filter_map(|target| match target {
                    PolicyTarget::Path(source) => Some(source.path),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(paths("/a/b"), ["/a/b", "/a", "/"]);
        assert_eq!(paths("/data"), ["/data", "/"]);
        assert_eq!(paths("/"), ["/"]);
        assert_eq!(paths("data"), ["data"]);
        assert_eq!(PolicyTarget::hierarchy(&Source::new("u", "h", "/")).len(), 4);
    }

    #[test]
    fn absent_values_are_inherited_and_unknown_ones_survive() {
        let own: Policy = serde_json::from_str(r#"{"retention":{"keepLatest":3,"keepNew":1},"files":{"maxFileSize":7},"compression":{"neverCompress":[".z"]}}"#).unwrap();
        let effective = own.clone().or(&Policy::built_in());
        assert_eq!(effective.retention.keep_latest, Some(3));
        assert_eq!(effective.retention.keep_daily, Some(7));
        assert_eq!(effective.compression.compressor_name.as_deref(), Some("none"));
        assert_eq!(effective.compression.never_compress, [".z"]);
        assert_eq!(effective.other["files"]["maxFileSize"], 7);
        assert_eq!(effective.other["files"]["ignoreDotFiles"][0], ".kopiaignore");
        let text = serde_json::to_value(&own).unwrap();
        assert_eq!(text["retention"]["keepNew"], 1);
    }
}
