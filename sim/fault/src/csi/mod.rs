//! Faults of the CSI driver and the sidecars around it.
//!
//! The class of a point is the handle or object name the call is about. It does not know what a driver
//! stores.
pub mod delete_snapshot_fails;
pub mod delete_snapshot_hangs;
pub mod operation_lock;
pub mod rpc_fails;
pub mod rpc_hangs;
pub mod rpc_slow;
pub mod snapshot_finalizer_held;
pub mod snapshot_never_ready;
pub mod volume_stays_attached;

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
    /// The driver gives a volume more room.
    pub const EXPAND_VOLUME: &str = "ControllerExpandVolume";
    /// A node gets a volume ready for its pods. Nodes' calls exist on real clusters only.
    pub const NODE_STAGE: &str = "NodeStageVolume";
    /// A node lets go of a volume.
    pub const NODE_UNSTAGE: &str = "NodeUnstageVolume";
    /// A node mounts a volume for a pod.
    pub const NODE_PUBLISH: &str = "NodePublishVolume";
    /// A node unmounts a volume from a pod.
    pub const NODE_UNPUBLISH: &str = "NodeUnpublishVolume";
    /// The snapshot controller takes its finalizer off a volume snapshot.
    pub const REMOVE_FINALIZER: &str = "RemoveFinalizer";
    /// All of them that reach the driver.
    pub const RPCS: &[&str] = &[CREATE_SNAPSHOT, DELETE_SNAPSHOT, CREATE_VOLUME, DELETE_VOLUME];
}
