//! What a scenario leaves: its namespaces go, and what outlives them is reported.
//!
//! Persistent volumes and contents of volume snapshots belong to no namespace; a driver that loses one fills
//! a disk for ever. Clearing frees objects from finalizers of ours only when time is over, and says so.

use std::time::Duration;

use serde_json::json;

use super::Bed;
use crate::actor::cluster::{name, text};

/// How long everything gets to go by itself.
const CLEARING: Duration = Duration::from_secs(90);

/// Objects without a namespace that a scenario causes.
const OUTSIDE: &[&str] = &["PersistentVolume", "VolumeSnapshotContent"];

impl Bed {
    /// Removes the scenario's namespaces and waits until all that belonged to them is gone; tells what stays.
    pub fn clear(&mut self) -> Vec<String> {
        self.lift_all();
        self.clear_buckets();
        let namespaces: Vec<_> =
            self.mirror.list("Namespace", "").iter().map(|namespace| name(namespace).to_owned()).collect();
        for namespace in &namespaces {
            // What waits for somebody goes before those who would serve it.
            for kind in ["ReplicationSource", "ReplicationDestination", "KopiaMaintenance"] {
                for object in self.mirror.list(kind, namespace) {
                    let gone = self.objects.delete(kind, namespace, name(&object), None);
                    let _ = self.runtime.block_on(gone);
                }
            }
        }
        for namespace in &namespaces {
            let _ = self.runtime.block_on(self.objects.delete("Namespace", "", namespace, None));
        }
        self.clear_nfs();
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
