//! Custom resources of VolSync and of the CSI snapshot group, as Rust types.
//!
//! Promises that a manifest written for the Kopia fork of VolSync parses here with the same meaning, and
//! that the definitions in `charts/firedrill/crds/` are generated from these types (a test compares them).
//! Needs nothing but serde. Never does IO, knows no engine, no controller and no clock.
//!
//! It does not judge manifests: what an API server would refuse is in the schemas, everything else is the
//! controller's business. Read [`crd`] for the types, [`names`] for labels and annotations.
pub mod crd;
pub mod names;

pub use crd::{
    CopyMethod, CustomCa, ImageReference, KopiaDestination, KopiaMaintenance, KopiaMaintenanceSpec,
    KopiaMaintenanceStatus, KopiaSource, LatestMoverStatus, MoverResult, MoverVolume, MoverVolumeSource,
    ReplicationDestination, ReplicationDestinationSpec, ReplicationDestinationStatus, ReplicationSource,
    ReplicationSourceSpec, ReplicationSourceStatus, SyncStatus, Trigger, VolumePopulator, VolumeSnapshot,
    VolumeSnapshotClass, VolumeSnapshotContent, VolumeSnapshotContentSpec, VolumeSnapshotContentStatus,
    VolumeSnapshotSpec, VolumeSnapshotStatus,
};
