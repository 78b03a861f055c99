//! What kind of storage a driver stands for.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What kind of storage a driver stands for; the names are those of the embedded bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Character {
    /// A Ceph block device: one node at a time, staged, a full volume answers ENOSPC.
    Rbd,
    /// The Ceph file system: many writers, copies from snapshots take their time, each pod's mount has its own
    /// page cache, and write-back can lose data.
    CephFs,
    /// A directory of the node: no capacity, no FUSE.
    HostPath,
}

impl Character {
    /// Its name in points, options and manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rbd => "rbd",
            Self::CephFs => "cephfs",
            Self::HostPath => "hostpath",
        }
    }
    /// Whether one node at a time may have a volume.
    pub const fn is_exclusive(self) -> bool {
        matches!(self, Self::Rbd)
    }
    /// Whether volumes are given to pods through FUSE unless their class says otherwise.
    pub const fn has_fuse(self) -> bool {
        !matches!(self, Self::HostPath)
    }
}

impl fmt::Display for Character {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not a driver to serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not NAME=CHARACTER with a character of rbd, cephfs, hostpath")]
pub struct NotADriver {
    text: String,
}

impl FromStr for Character {
    type Err = NotADriver;
    fn from_str(text: &str) -> Result<Self, NotADriver> {
        [Self::Rbd, Self::CephFs, Self::HostPath]
            .into_iter()
            .find(|character| character.name() == text)
            .ok_or_else(|| NotADriver { text: text.to_owned() })
    }
}

/// A driver to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverSpec {
    /// Its name, as in `provisioner:`.
    pub name: String,
    /// What it is like.
    pub character: Character,
}

impl FromStr for DriverSpec {
    type Err = NotADriver;
    fn from_str(text: &str) -> Result<Self, NotADriver> {
        let unknown = || NotADriver { text: text.to_owned() };
        let (name, character) = text.split_once('=').ok_or_else(unknown)?;
        // The name becomes a file name and a label; CSI's own rule is a domain name of at most 63 characters.
        let is_name = !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
            && !name.starts_with('.');
        if !is_name {
            return Err(unknown());
        }
        Ok(Self { name: name.to_owned(), character: character.parse().map_err(|_| unknown())? })
    }
}
