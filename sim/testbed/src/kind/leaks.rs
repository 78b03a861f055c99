//! What a scenario leaves: its namespaces go, and what outlives them is reported.
//!
//! Persistent volumes and contents of volume snapshots belong to no namespace; a driver that loses one fills
//! a disk for ever. Clearing frees objects from finalizers of ours only when time is over, and says so.

use std::time::Duration;

use json::json;

use super::Bed;
use crate::actor::cluster::{name, text};

/// How long everything gets to go by itself.
const CLEARING: Duration = Duration::from_secs(90);

/// How long the things in its namespaces get before the namespaces themselves are removed.
const EMPTYING: Duration = Duration::from_secs(20);

/// What a namespace is rid of before it goes: what waits for somebody before those who would serve it, and what makes
/// pods before pods.
const WITHIN: &[&str] = &[
    "ReplicationSource",
    "ReplicationDestination",
    "KopiaMaintenance",
    "StatefulSet",
    "Deployment",
    "Job",
    "Pod",
    "VolumeSnapshot",
    "PersistentVolumeClaim",
];

/// Objects without a namespace that a scenario causes.
const OUTSIDE: &[&str] = &["PersistentVolume", "VolumeSnapshotContent"];

impl Bed {
    /// Waits until the namespaces that [`Bed::empty`] told to go, and all that belonged to them, are gone; tells what
    /// stays.
    pub fn clear(&mut self) -> Vec<String> {
        let cleared = self.wait_for("the scenario's objects to be gone", CLEARING, |bed| {
            bed.left().is_empty().then_some(())
        });
        if cleared.is_ok() {
            return Vec::new();
        }
        let left = self.left();
        self.free();
        left
    }

    /// Lifts every fault, removes what stands in the scenario's namespaces, waits a while until it is gone, and tells
    /// the namespaces to go. Gives whether only they are left.
    ///
    /// The namespace controller comes to a namespace that goes after five seconds; if something there still has a
    /// finalizer or a pod still stops, it comes back as much later. One that is empty goes the first time.
    pub fn empty(&mut self) -> bool {
        self.lift_all();
        self.clear_buckets();
        let namespaces: Vec<_> =
            self.mirror.list("Namespace", "").iter().map(|namespace| name(namespace).to_owned()).collect();
        for namespace in &namespaces {
            for kind in WITHIN {
                let listed = if self.mirror.has(kind) {
                    self.mirror.list(kind, namespace)
                } else {
                    self.runtime.block_on(self.objects.list(kind, namespace)).unwrap_or_default()
                };
                for object in listed {
                    let grace = (*kind == "Pod").then_some(1);
                    let gone = self.objects.delete(kind, namespace, name(&object), grace);
                    let _ = self.runtime.block_on(gone);
                }
            }
        }
        // A volume of the NFS server waits for its administrator, who does not take it from a claim that is there.
        let are_gone = |bed: &Self, kinds: &[&str]| {
            let mut kinds = kinds.iter().filter(|kind| bed.mirror.has(kind));
            kinds.all(|kind| bed.mirror.list(kind, "").is_empty()).then_some(())
        };
        let within =
            self.wait_for("the scenario's namespaces to be empty", EMPTYING, |bed| are_gone(bed, WITHIN));
        self.clear_nfs();
        let outside =
            self.wait_for("the scenario's volumes to be gone", EMPTYING, |bed| are_gone(bed, OUTSIDE));
        for namespace in &namespaces {
            let _ = self.runtime.block_on(self.objects.delete("Namespace", "", namespace, None));
        }
        within.is_ok() && outside.is_ok()
    }

    /// What of the scenario is still in the cluster.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for kind in ["Namespace"].iter().chain(OUTSIDE) {
            for object in self.mirror.list(kind, "") {
                let held = object["metadata"]["finalizers"].as_array().map_or_else(String::new, |held| {
                    let names: Vec<_> = held.iter().filter_map(|one| one.as_str()).collect();
                    if names.is_empty() { String::new() } else { format!(" (held by {})", names.join(", ")) }
                });
                let phase = text(&object, "/status/phase");
                left.push(format!("{kind}/{} {phase}{held}", name(&object)).trim_end().to_owned());
            }
        }
        left
    }

    /// Takes finalizers off what is stuck, so that the next scenario finds a clean cluster.
    fn free(&mut self) {
        let stuck = [
            "VolumeSnapshot",
            "PersistentVolumeClaim",
            "ReplicationSource",
            "ReplicationDestination",
            "KopiaMaintenance",
            "Job",
            "Pod",
            "VolumeSnapshotContent",
            "PersistentVolume",
        ];
        let nothing = json!({"metadata": {"finalizers": null}});
        for kind in stuck {
            for object in self.mirror.list(kind, "") {
                let namespace = text(&object, "/metadata/namespace").to_owned();
                let _ = self.runtime.block_on(self.objects.delete(kind, &namespace, name(&object), Some(0)));
                let freed = self.objects.patch(kind, &namespace, name(&object), &nothing);
                let _ = self.runtime.block_on(freed);
            }
        }
    }
}
