//! Labels, annotations and other keys that users, policies and the controller meet on.
//!
//! Plain constants. Source: section 1.10 of the behaviour specification.

/// API group of the replication resources.
pub const GROUP: &str = "volsync.backube";
/// Version of the replication resources.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of the replication resources.
pub const API_VERSION: &str = "volsync.backube/v1alpha1";
/// API group of volume snapshots.
pub const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";

/// Annotation on a Namespace: movers run as root with three extra capabilities.
pub const PRIVILEGED_MOVERS: &str = "volsync.backube/privileged-movers";
/// Annotation on a replication object: the mover waits for a human.
pub const ENABLE_DEBUG_MOVER: &str = "volsync.backube/enable-debug-mover";
/// Annotation on a claim: copies wait for a trigger.
pub const USE_COPY_TRIGGER: &str = "volsync.backube/use-copy-trigger";
/// Annotation on a claim: a new value releases one copy.
pub const COPY_TRIGGER: &str = "volsync.backube/copy-trigger";
/// Annotation on a claim, by the controller: the last trigger that was used.
pub const LATEST_COPY_TRIGGER: &str = "volsync.backube/latest-copy-trigger";
/// Annotation on a claim, by the controller: where the copy stands.
pub const LATEST_COPY_STATUS: &str = "volsync.backube/latest-copy-status";
/// Annotation on a claim, by the controller: since when it waits.
pub const LATEST_COPY_WAITING_SINCE: &str = "volsync.backube/latest-copy-trigger-waiting-since";
/// Annotation on a destination claim: name of the image snapshot of the present sync.
pub const SNAPNAME: &str = "volsync.backube/snapname";
/// Label on a VolumeSnapshot: the controller gives up ownership and never deletes it.
pub const DO_NOT_DELETE: &str = "volsync.backube/do-not-delete";
/// Label with the owner's uid: delete at the end of the sync.
pub const CLEANUP: &str = "volsync.backube/cleanup";
/// Label on everything created for a replication object.
pub const CREATED_BY: &str = "app.kubernetes.io/created-by";
/// The value of [`CREATED_BY`].
pub const CREATED_BY_VOLSYNC: &str = "volsync";
/// Label prefix on a VolumeSnapshot: in use by a claim being populated (the claim's uid follows).
pub const VOLPOP_PVC_PREFIX: &str = "volsync.backube/volpop-pvc-";
/// Label on a prime claim: the claim it is for.
pub const POPULATOR_PVC_FOR: &str = "volsync.backube/populator-pvc-for";
/// Annotation on a PersistentVolume: `namespace/snapshot` it was made from.
pub const POPULATED_FROM: &str = "volsync.backube/populated-from";
/// Annotation on a KopiaMaintenance: forget its failures.
pub const RESET_FAILURES: &str = "volsync.backube/reset-failures";
/// Finalizer of a KopiaMaintenance.
pub const KOPIA_MAINTENANCE_FINALIZER: &str = "volsync.backube/kopiamaintenance-protection";
/// Label on maintenance objects.
pub const KOPIA_MAINTENANCE: &str = "volsync.backube/kopia-maintenance";
/// Label on maintenance objects: name of their KopiaMaintenance.
pub const MAINTENANCE_NAME: &str = "volsync.backube/maintenance-name";
/// Label on manual maintenance Jobs.
pub const MAINTENANCE_TYPE: &str = "volsync.backube/maintenance-type";

/// Annotation on a KopiaMaintenance (ours, not VolSync's): take the maintenance ownership over from the
/// owner named by the value. Only that owner is replaced, so that a repeated reconcile cannot steal from a
/// later one.
pub const TAKE_OWNERSHIP: &str = "firedrill.dev/take-ownership";

/// Annotation on a replication object (ours): forget the repository whose unique id is the value, because
/// the change of repository is meant.
pub const FORGET_REPOSITORY: &str = "firedrill.dev/forget-repository";
/// Annotation on a ReplicationDestination (ours): the identity `user@host` named by the value has never been
/// backed up, so an empty place without a repository, or snapshots of others that look alike, are in order
/// and the volume stays empty. It weighs nothing once a backup of that identity is known.
pub const FIRST_DEPLOYMENT: &str = "firedrill.dev/first-deployment";
/// Annotation on a mover Job (ours; safe profile): generation of the replication object it was made for.
pub const GENERATION: &str = "firedrill.dev/generation";

/// Annotation of Kubernetes on a claim whose node the scheduler has chosen.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
