//! What a storage class is, told by its provisioner, by the user, or guessed by its name.
//!
//! Promises to say how it knows. Never asks a cluster. The drill turns a character into a simulated
//! driver.

use serde::Serialize;

/// The character of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Character {
    /// Block volumes over the network with snapshots and clones.
    Rbd,
    /// A shared network file system with snapshots.
    Cephfs,
    /// A directory on the node.
    Hostpath,
    /// A local ZFS data set with snapshots.
    Zfs,
    /// A directory on an NFS server.
    Nfs,
}

impl Character {
    /// The word used on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rbd => "rbd",
            Self::Cephfs => "cephfs",
            Self::Hostpath => "hostpath",
            Self::Zfs => "zfs",
            Self::Nfs => "nfs",
        }
    }

    /// Reads that word.
    ///
    /// # Errors
    /// A sentence that lists the words.
    pub fn of_word(word: &str) -> Result<Self, String> {
        [Self::Rbd, Self::Cephfs, Self::Hostpath, Self::Zfs, Self::Nfs]
            .into_iter()
            .find(|character| character.word() == word)
            .ok_or_else(|| format!("{word:?} is no storage character: use rbd, cephfs, hostpath, zfs or nfs"))
    }

    /// Tells it by a provisioner's (or snapshot driver's) name.
    pub fn of_driver(driver: &str) -> Option<Self> {
        let driver = driver.to_ascii_lowercase();
        let has = |part: &str| driver.contains(part);
        if has("cephfs") {
            Some(Self::Cephfs)
        } else if has("zfs") && !has("iscsi") && !has("nvme") {
            Some(if has("nfs") { Self::Nfs } else { Self::Zfs })
        } else if has("nfs") {
            Some(Self::Nfs)
        } else if has("local") || has("hostpath") || has("host-path") {
            Some(Self::Hostpath)
        } else if [
            "rbd", "longhorn", "nvme", "iscsi", "ebs", "disk", "block", "linstor", "mayastor", "topolvm",
            "csi.san",
        ]
        .iter()
        .any(|part| has(part))
        {
            Some(Self::Rbd)
        } else {
            None
        }
    }

    /// Guesses it by a class's name; block storage when the name tells nothing.
    pub fn of_name(name: &str) -> (Self, bool) {
        let name = name.to_ascii_lowercase();
        let has = |part: &str| name.contains(part);
        if has("cephfs") || (has("ceph") && (has("fs") || has("file"))) || name == "file" {
            (Self::Cephfs, true)
        } else if has("zfs") {
            (Self::Zfs, true)
        } else if has("hostpath") || has("host-path") || has("local-path") || has("local") {
            (Self::Hostpath, true)
        } else if has("nfs") {
            (Self::Nfs, true)
        } else if ["ceph", "rbd", "block", "longhorn", "nvme", "iscsi", "ssd", "linstor", "mayastor"]
            .iter()
            .any(|part| has(part))
        {
            (Self::Rbd, true)
        } else {
            (Self::Rbd, false)
        }
    }
}

/// Bytes of a Kubernetes quantity.
pub fn bytes(quantity: &str) -> Option<u64> {
    let at = quantity.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(at);
    let factor: f64 = match suffix {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "m" => 0.001,
        _ => return None,
    };
    #[expect(clippy::cast_sign_loss, reason = "digits and a point cannot be negative")]
    number.parse::<f64>().ok().map(|number| (number * factor).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_of_the_field_are_told_apart() {
        for (name, expected) in [
            ("ceph-block", Character::Rbd),
            ("rook-ceph-block", Character::Rbd),
            ("ceph-filesystem", Character::Cephfs),
            ("csi-cephfs-config-sc", Character::Cephfs),
            ("openebs-zfs-128k", Character::Zfs),
            ("openebs-hostpath", Character::Hostpath),
            ("local-hostpath", Character::Hostpath),
            ("dcsi-nfs", Character::Nfs),
            ("scale-nvmeof", Character::Rbd),
            ("longhorn-snapshot", Character::Rbd),
            ("file", Character::Cephfs),
            ("block", Character::Rbd),
            ("ceph-ssd", Character::Rbd),
        ] {
            assert_eq!(Character::of_name(name), (expected, true), "{name}");
        }
        assert_eq!(Character::of_name("fast"), (Character::Rbd, false));
        for (driver, expected) in [
            ("rook-ceph.rbd.csi.ceph.com", Some(Character::Rbd)),
            ("rook-ceph.cephfs.csi.ceph.com", Some(Character::Cephfs)),
            ("zfs.csi.openebs.io", Some(Character::Zfs)),
            ("openebs.io/local", Some(Character::Hostpath)),
            ("rancher.io/local-path", Some(Character::Hostpath)),
            ("nfs.csi.k8s.io", Some(Character::Nfs)),
            ("example.org/x", None),
        ] {
            assert_eq!(Character::of_driver(driver), expected, "{driver}");
        }
    }

    #[test]
    fn quantities_are_bytes() {
        for (text, expected) in [
            ("5Gi", Some(5 << 30)),
            ("500Mi", Some(500 << 20)),
            ("1G", Some(1_000_000_000)),
            ("1.5Gi", Some(3 << 29)),
            ("1024", Some(1024)),
            ("x", None),
            ("5GB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
