//! Faults of the CSI driver and the sidecars around it.
//!
//! The class of a point is the handle or object name the call is about. It does not know what a driver
//! stores.
pub mod delete_snapshot_fails;
pub mod delete_snapshot_hangs;
pub mod operation_lock;
pub mod snapshot_finalizer_held;
pub mod snapshot_never_ready;

/// The operations of this seam, as the doubles spell them.
pub mod operation {
    /// The driver cuts a snapshot.
    pub const CREATE_SNAPSHOT: &str = "CreateSnapshot";
    /// The driver removes a snapshot.
    pub const DELETE_SNAPSHOT: &str = "DeleteSnapshot";
    /// The driver makes a volume, empty, from a snapshot or as a clone.
    pub const CREATE_VOLUME: &str = "CreateVolume";
    /// The driver removes a volume.
    pub const DELETE_VOLUME: &str = "DeleteVolume";
    /// The snapshot controller takes its finalizer off a volume snapshot.
    pub const REMOVE_FINALIZER: &str = "RemoveFinalizer";
    /// All of them that reach the driver.
    pub const RPCS: &[&str] = &[CREATE_SNAPSHOT, DELETE_SNAPSHOT, CREATE_VOLUME, DELETE_VOLUME];
}
