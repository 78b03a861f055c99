//! What stands beside the cluster in containers of its own, and the nodes themselves: commands in them.

use apiserver::Failure;
use serde_json::{Value, json};

use super::{Bed, coordinates::Nas};
use crate::{
    actor::cluster::{name, namespace, text},
    verbs::Trouble,
};

/// The storage class whose volumes are directories of the NFS server.
pub(super) const NFS_CLASS: &str = "nfs";

impl Bed {
    /// Makes the volume of a claim of the NFS class, as an administrator does: a directory of the server, and a
    /// persistent volume that is promised to this claim. Other objects are left alone.
    pub(super) fn provide_nfs(&mut self, claim: &Value) -> Result<(), Failure> {
        let is_nfs = text(claim, "/kind") == "PersistentVolumeClaim"
            && text(claim, "/spec/storageClassName") == NFS_CLASS;
        if !is_nfs {
            return Ok(());
        }
        let volume = format!("{}-{}", namespace(claim), name(claim));
        let refused = |trouble: Trouble| Failure {
            code: 503,
            reason: "ServiceUnavailable",
            message: trouble.to_string(),
            details: Value::Null,
        };
        let nas = self.nas().map_err(refused)?;
        self.make_export(&nas, &volume).map_err(refused)?;
        let object = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "storageClassName": NFS_CLASS,
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": namespace(claim), "name": name(claim)},
                "nfs": {"server": nas.server, "path": format!("{}/{volume}", nas.export)},
            },
        });
        self.runtime.block_on(self.objects.apply(&object)).map(drop)
    }

    /// Removes the volumes that were made by hand: nobody else does.
    pub(super) fn clear_nfs(&mut self) {
        for volume in self.mirror.list("PersistentVolume", "") {
            if text(&volume, "/spec/storageClassName") == NFS_CLASS {
                let gone = self.objects.delete("PersistentVolume", "", name(&volume), None);
                let _ = self.runtime.block_on(gone);
            }
        }
    }

    /// Runs a command in a container of the engine that must end well; gives what it printed.
    pub(super) fn in_container(
        &self,
        container: &str,
        words: &[&str],
        input: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Trouble> {
        let run = async {
            let docker = cluster::engine::connect().await?;
            let mut command = cluster::Command::new(words.iter().copied());
            if let Some(input) = input {
                command = command.input(input);
            }
            cluster::exec::exec_ok(&docker, container, command).await
        };
        let said = self.runtime.block_on(run);
        said.map(|said| said.stdout).map_err(|error| Trouble::Broken(cluster::chain(&error)))
    }

    /// The NFS server, if the cluster has one.
    pub(super) fn nas(&self) -> Result<Nas, Trouble> {
        self.at
            .nas
            .clone()
            .ok_or_else(|| Trouble::Unsupported("this cluster was prepared without an NFS server".to_owned()))
    }

    /// Makes an export of the NFS server, past the server.
    pub(super) fn make_export(&self, nas: &Nas, export: &str) -> Result<(), Trouble> {
        let path = format!("{}/{export}", nas.directory);
        self.in_container(&nas.container, &["/kit", "hand", "make", &path], None).map(drop)
    }

    /// Reads what lies behind an export, past the server and every fault of it.
    pub(super) fn read_export(&self, nas: &Nas, export: &str) -> Result<Vec<u8>, Trouble> {
        let path = format!("{}/{export}", nas.directory);
        self.in_container(&nas.container, &["/kit", "hand", "read", &path], None)
    }
}
