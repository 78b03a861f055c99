//! A bed: one running assembly of cluster, volumes, stores and subject, driven by synchronous verbs.
//!
//! Each bed owns a current-thread runtime. In virtual time its clock jumps from timer to timer, so a year
//! passes in seconds; with [`Options::real_time`] it is a cluster for curl and kubectl. A verb either
//! writes as caller `user` ([`Bed::apply`], [`Bed::delete`]), lets time pass ([`Bed::advance`],
//! [`Bed::wait_until`]) or looks ([`Bed::get`], [`Bed::list`]); looking costs no time and changes nothing.
//! It never sleeps to wait: waits are on a level, re-probed after every API write, with a deadline.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::{clock::Clock, record::Record, subject::Subject};

/// What a storage class is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Character {
    /// Ceph RBD: block image with a local file system; instant clones.
    Rbd,
    /// CephFS: shared file system, write-back in the kernel client; full-copy clones.
    CephFs,
    /// Hostpath: a directory of the node; no snapshots.
    HostPath,
    /// Local ZFS: datasets of one node; instant snapshots and clones.
    LocalZfs,
    /// NFS subdirectories; no snapshots.
    Nfs,
}

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
    /// Name of the StorageClass (and of its VolumeSnapshotClass).
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
    /// Whether to record log lines and blob operations (off: shorter records for long runs).
    pub verbose_record: bool,
}

/// A wait that reached its deadline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stalled after {waited:?} (virtual) waiting for {what}")]
pub struct Stalled {
    /// What was waited for.
    pub what: String,
    /// How long, in virtual time.
    pub waited: Duration,
}

/// A running assembly.
pub struct Bed {
    runtime: tokio::runtime::Runtime,
    clock: Clock,
    record: Record,
}

impl Bed {
    /// Starts a bed and lets it settle (namespaces, node, classes and custom resource definitions exist).
    pub fn start(options: Options) -> Self {
        let _ = options;
        unimplemented!("comes within the hour: signatures published first")
    }
    /// The bed's present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
    /// The clock itself.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
    /// What happened so far.
    pub fn record(&self) -> &Record {
        &self.record
    }
    /// A kube client that writes as `caller`.
    pub fn client(&self, caller: &str) -> kube::Client {
        let _ = caller;
        unimplemented!("comes within the hour")
    }
    /// Runs a future on the bed's runtime to its end; virtual time may pass.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
    /// Lets virtual time pass; everything runs.
    pub fn advance(&mut self, by: Duration) {
        self.runtime.block_on(tokio::time::sleep(by));
    }
    /// Waits until `probe` gives a value, re-probing after every API write.
    pub fn wait_until<T>(
        &mut self, what: &str, deadline: Duration, mut probe: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, Stalled> {
        let _ = deadline;
        probe(self).ok_or_else(|| Stalled { what: what.to_owned(), waited: Duration::ZERO })
    }
    /// Creates or updates one object (server-side apply as field manager `user`, forced).
    pub fn apply(&mut self, object: &Value) -> Result<Value, kube::Error> {
        Ok(object.clone())
    }
    /// Creates one object.
    pub fn create(&mut self, object: &Value) -> Result<Value, kube::Error> {
        Ok(object.clone())
    }
    /// Applies a JSON merge patch; `resource` is `Kind` or `Kind.group`.
    pub fn patch(&mut self, resource: &str, namespace: &str, name: &str, patch: &Value) -> Result<Value, kube::Error> {
        let _ = (resource, namespace, name);
        Ok(patch.clone())
    }
    /// Deletes one object (background propagation); an absent one is not an error.
    pub fn delete(&mut self, resource: &str, namespace: &str, name: &str) -> Result<(), kube::Error> {
        let _ = (resource, namespace, name);
        Ok(())
    }
    /// Looks at one object; costs no time.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let _ = (resource, namespace, name);
        None
    }
    /// Looks at all objects of a kind, in a namespace or (empty) everywhere, sorted by namespace and name.
    pub fn list(&self, resource: &str, namespace: &str) -> Vec<Value> {
        let _ = (resource, namespace);
        Vec::new()
    }
    /// The log of a pod so far; empty if there is none.
    pub fn pod_log(&self, namespace: &str, pod: &str) -> String {
        let _ = (namespace, pod);
        String::new()
    }
    /// Stops the subject's controller (as a killed pod: no farewell).
    pub fn stop_controller(&mut self) {}
    /// Starts the subject's controller again, with empty caches.
    pub fn restart_controller(&mut self) {}
    /// Evicts a pod: deletes it with its grace period, as a drain does.
    pub fn evict_pod(&mut self, namespace: &str, pod: &str) {
        let _ = (namespace, pod);
    }
    /// Sends a signal to a pod's process (15 or 9) without deleting the pod.
    pub fn signal_pod(&mut self, namespace: &str, pod: &str, signal: i32) {
        let _ = (namespace, pod, signal);
    }
    /// Evicts every pod of a namespace (empty: of all).
    pub fn drain(&mut self, namespace: &str) {
        let _ = namespace;
    }
    /// Restarts a CSI driver: its table of operations in flight is gone.
    pub fn restart_csi_driver(&mut self, driver: &str) {
        let _ = driver;
    }
}
