//! The bed's own hands on volumes: what stands behind a claim, and what mounts see.

use super::Bed;
use crate::{
    storage::Backing,
    volume::{Mount, MountOptions, Volume},
};

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

    /// The log of a pod so far; empty if there is none.
    pub fn pod_log(&self, namespace: &str, pod: &str) -> String {
        self.record
            .events()
            .into_iter()
            .filter_map(|event| match event.what {
                crate::record::What::MoverLog { namespace: space, pod: name, line } if space == namespace && name == pod => Some(line + "\n"),
                _ => None,
            })
            .collect()
    }
}
