//! The bed's own hands on volumes: fill, change, look, and remember what was there when.
//!
//! Every filling and change is written past caches, permissions and faults and kept in a ledger with its
//! time, so that an oracle can ask what a claim held at any instant ([`Bed::ledger_at`]). What the subject's
//! movers worked on is kept beside it ([`Bed::runs`]), as the kubelet saw it, never as the mover told it.

use std::{io, sync::Arc, time::Duration};

use jiff::Timestamp;
use json::{Value, json};
use scenario::tree::{ChangeSpec, TreeSpec};

use super::{Bed, Stalled};
use crate::{
    actor::{
        cluster::text,
        kubelet::Run,
        provisioner::{class_of, is_bound, waits_for_consumer},
        resource,
    },
    bucket::Bucket,
    ledger::{Entry, Ledger},
    nfs::Export,
    record::What,
    storage::Backing,
    volume::{Mount, MountOptions, Volume},
};

/// Why a claim could not be filled or changed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It was not bound in time.
    #[error("claim {namespace}/{claim} cannot be written: it is not bound")]
    Unbound {
        /// Namespace.
        namespace: String,
        /// Claim.
        claim: String,
        /// The wait that ended.
        #[source]
        source: Stalled,
    },
    /// The volume refused, mostly for want of room.
    #[error("claim {namespace}/{claim} could not be written")]
    Write {
        /// Namespace.
        namespace: String,
        /// Claim.
        claim: String,
        /// The volume's own error.
        #[source]
        source: io::Error,
    },
}

/// What one claim held, and when.
#[derive(Default)]
pub(super) struct History {
    ledger: Ledger,
    entries: Vec<Entry>,
}

/// How long a claim gets to be bound before it is filled.
const BIND: Duration = Duration::from_secs(600);

impl Bed {
    /// The volume behind a bound claim; `None` while it is unbound.
    pub fn bound_volume(&self, namespace: &str, claim: &str) -> Option<Volume> {
        match self.storage.of_claim(&self.cluster, namespace, claim)? {
            Backing::Volume(volume) => Some(volume),
            Backing::Nfs { server, path, .. } => Some(self.storage.nfs_volume(&server, &path)),
        }
    }

    /// A fresh mount of a bound claim, as root of the node: what another pod would see.
    pub fn mount_claim(&self, namespace: &str, claim: &str) -> Option<Mount> {
        let options = MountOptions::new("bed").register(self.faults.clone()).read_only(true);
        Some(self.bound_volume(namespace, claim)?.mount(options))
    }

    /// Waits until a claim is bound. A claim that waits for its first consumer gets one for that long: a pod
    /// named `consume-<claim>`.
    pub fn bind_claim(&mut self, namespace: &str, claim: &str) -> Result<Volume, ClaimError> {
        let unbound =
            |source| ClaimError::Unbound { namespace: namespace.to_owned(), claim: claim.to_owned(), source };
        if let Some(volume) = self.bound_volume(namespace, claim) {
            return Ok(volume);
        }
        let stored = self.cluster.get(resource::CLAIM, namespace, claim);
        let waits = stored
            .as_ref()
            .and_then(|stored| class_of(&self.cluster, stored))
            .is_some_and(|class| waits_for_consumer(&class));
        let is_used = self
            .cluster
            .list(resource::POD, namespace)
            .iter()
            .any(|pod| crate::actor::scheduler::claims_of(pod).iter().any(|used| used == claim));
        let consumer = format!("consume-{claim}");
        if waits && !is_used {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": consumer, "namespace": namespace},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "consume", "image": "consume", "command": ["sleep", "infinity"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
                },
            });
            if let Err(failure) = self.create(&pod) {
                tracing::debug!(%failure, "a consumer could not be made");
            }
        }
        let result = self.wait_until(&format!("claim {namespace}/{claim} to be bound"), BIND, |bed| {
            let stored = bed.cluster.get(resource::CLAIM, namespace, claim)?;
            is_bound(&stored).then(|| bed.bound_volume(namespace, claim)).flatten()
        });
        if waits && !is_used {
            let gone = self.delete("Pod", namespace, &consumer);
            self.cluster.tolerate(gone);
        }
        result.map_err(unbound)
    }

    /// Fills a claim with a tree, after it is bound; returns what it holds then.
    pub fn fill_claim(&mut self, namespace: &str, claim: &str, tree: &TreeSpec) -> Result<Entry, ClaimError> {
        self.edit_claim(namespace, claim, "fill", |volume| volume.populate(tree))
    }

    /// Changes what a claim holds.
    pub fn change_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        change: &ChangeSpec,
    ) -> Result<Entry, ClaimError> {
        self.edit_claim(namespace, claim, "change", |volume| volume.change(change))
    }

    /// Lets a workload change a share of a claim's files, decided by a seed.
    pub fn work_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        seed: u64,
        percent: u8,
    ) -> Result<Entry, ClaimError> {
        self.edit_claim(namespace, claim, "work", |volume| volume.work(seed, percent))
    }

    /// Lets any edit happen to a claim's volume, and takes down what it holds afterwards.
    pub fn edit_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        operation: &str,
        edit: impl FnOnce(&Volume) -> io::Result<()>,
    ) -> Result<Entry, ClaimError> {
        let volume = self.bind_claim(namespace, claim)?;
        edit(&volume).map_err(|source| ClaimError::Write {
            namespace: namespace.to_owned(),
            claim: claim.to_owned(),
            source,
        })?;
        let entry = self.note_claim(namespace, claim, &volume);
        self.record.push(
            &format!("tree/bed/{operation}/{namespace}/{claim}"),
            What::Volume {
                volume: format!("{namespace}/{claim}"),
                operation: operation.to_owned(),
                detail: format!("{} files, {} bytes", entry.files(), entry.bytes()),
            },
        );
        Ok(entry)
    }

    fn note_claim(&mut self, namespace: &str, claim: &str, volume: &Volume) -> Entry {
        let history = self.histories.entry((namespace.to_owned(), claim.to_owned())).or_default();
        let entry = history.ledger.record(volume);
        history.entries.push(entry.clone());
        entry
    }

    /// What a claim's volume holds now, taken from the medium; `None` while it is unbound.
    pub fn ledger_now(&self, namespace: &str, claim: &str) -> Option<Entry> {
        Some(Ledger::new().record(&self.bound_volume(namespace, claim)?))
    }

    /// What the bed had written to a claim at an instant: the newest filling or change not after it.
    pub fn ledger_at(&self, namespace: &str, claim: &str, at: Timestamp) -> Option<Entry> {
        let history = self.histories.get(&(namespace.to_owned(), claim.to_owned()))?;
        history.entries.iter().rev().find(|entry| entry.at <= at).cloned()
    }

    /// What the bed wrote to a claim last.
    pub fn ledger_last(&self, namespace: &str, claim: &str) -> Option<Entry> {
        self.histories.get(&(namespace.to_owned(), claim.to_owned()))?.entries.last().cloned()
    }

    /// Every mover run that has ended, in order.
    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.kubelet.runs()
    }

    /// Makes a bucket, or returns the one that is there. `endpoint` is host and port without a scheme.
    pub fn make_bucket(&mut self, endpoint: &str, name: &str) -> Bucket {
        self.storage.make_bucket(endpoint, name)
    }

    /// Makes an NFS export, or returns the one that is there. Faults aim at `name`.
    pub fn make_export(&mut self, server: &str, path: &str, name: &str) -> Export {
        self.storage.make_export(server, path, name)
    }

    /// The log of a pod so far, its containers one after the other; empty if there is none.
    pub fn pod_log(&self, namespace: &str, pod: &str) -> String {
        self.kubelet.log(namespace, pod)
    }

    /// Whether a claim is bound.
    pub fn is_claim_bound(&self, namespace: &str, claim: &str) -> bool {
        self.cluster.get(resource::CLAIM, namespace, claim).is_some_and(|claim| is_bound(&claim))
    }

    /// A text field of an object by JSON pointer; empty if object or field are missing.
    pub fn field(&self, kind: &str, namespace: &str, name: &str, pointer: &str) -> String {
        self.get(kind, namespace, name)
            .map_or_else(String::new, |object: Value| text(&object, pointer).to_owned())
    }
}
