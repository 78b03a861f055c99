//! How a bed is set up: seed, epoch, classes, nodes, subject.

use jiff::Timestamp;

use crate::{subject::Subject, volume::Character};

/// When a class binds its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binding {
    /// At creation.
    Immediate,
    /// When the first pod that uses the claim is scheduled.
    WaitForFirstConsumer,
}

/// A storage class of the bed, with its volume snapshot class where the driver can cut snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClassSpec {
    /// Name of the StorageClass.
    pub name: String,
    /// The driver's name, as in `provisioner`.
    pub provisioner: String,
    /// What stands behind it.
    pub character: Character,
    /// When claims bind.
    pub binding: Binding,
    /// Whether it is the cluster's default class.
    pub is_default: bool,
    /// Whether claims may grow.
    pub can_expand: bool,
    /// Name of the VolumeSnapshotClass to create for the driver; none if it cannot cut snapshots.
    pub snapshot_class: Option<String>,
}

impl StorageClassSpec {
    /// A class with what is usual for its character.
    pub fn new(name: &str, character: Character) -> Self {
        let (provisioner, binding, snapshots) = match character {
            Character::Rbd => ("rook-ceph.rbd.csi.ceph.com", Binding::Immediate, true),
            Character::CephFs => ("rook-ceph.cephfs.csi.ceph.com", Binding::Immediate, true),
            Character::HostPath => ("openebs.io/local", Binding::WaitForFirstConsumer, false),
            Character::LocalZfs => ("zfs.csi.openebs.io", Binding::WaitForFirstConsumer, true),
            Character::Nfs => ("nfs.csi.k8s.io", Binding::Immediate, false),
        };
        Self {
            name: name.to_owned(),
            provisioner: provisioner.to_owned(),
            character,
            binding,
            is_default: false,
            can_expand: !matches!(character, Character::HostPath),
            snapshot_class: snapshots.then(|| format!("csi-{name}")),
        }
    }
    /// Makes it the default class.
    #[must_use]
    pub fn default_class(mut self) -> Self {
        self.is_default = true;
        self
    }
}

/// How to start a bed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random comes from it.
    pub seed: u64,
    /// The virtual time at which the bed starts.
    pub epoch: Timestamp,
    /// Whose promises are tested.
    pub subject: Subject,
    /// Storage classes to create.
    pub classes: Vec<StorageClassSpec>,
    /// Names of nodes.
    pub nodes: Vec<String>,
    /// Real time instead of virtual time (for `serve`).
    pub real_time: bool,
    /// Whether to record log lines, blob operations and object digests (off: short records for long runs).
    pub verbose_record: bool,
}

impl Default for Options {
    /// Seed 1, the first of January 2026, one node, the classes of a usual home cluster, the reference.
    fn default() -> Self {
        Self {
            seed: 1,
            epoch: "2026-01-01T00:00:00Z".parse().expect("a literal time"),
            subject: Subject::default(),
            classes: vec![
                StorageClassSpec::new("ceph-block", Character::Rbd).default_class(),
                StorageClassSpec::new("ceph-filesystem", Character::CephFs),
                StorageClassSpec::new("openebs-hostpath", Character::HostPath),
                StorageClassSpec::new("openebs-zfs", Character::LocalZfs),
            ],
            nodes: vec!["node-1".to_owned()],
            real_time: false,
            verbose_record: true,
        }
    }
}
