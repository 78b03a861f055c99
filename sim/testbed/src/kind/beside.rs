//! What stands beside the cluster in containers of its own, and the nodes themselves: commands in them.

use apiserver::Failure;
use cluster::power;
use fault::nfs::server_away::How;
use json::{Value, json};

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

    /// Stops or freezes the NFS server, or cuts the nodes off it; counts from now on what they send there.
    pub(super) fn take_away(&self, nas: &Nas, how: How) -> Result<(), Trouble> {
        match how {
            How::Stopped => {
                self.power(|docker| async move { power::stop(&docker, &nas.container).await })?;
            }
            How::Paused => {
                self.power(|docker| async move { power::pause(&docker, &nas.container).await })?;
            }
            How::Cut => {}
        }
        self.watch_road("-I", nas, how).inspect_err(|_| {
            // Nobody lifts what was never armed.
            let _ = self.bring_back(nas, how);
        })
    }

    /// How many packets the nodes have sent to an NFS server since it is away.
    pub(super) fn sent_in_vain(&self, nas: &Nas) -> Result<u64, Trouble> {
        let mut sent = 0;
        for node in &self.at.nodes {
            let words = ["iptables", "-w", "-L", "OUTPUT", "-v", "-n", "-x"];
            let listed = self.in_container(node, &words, None)?;
            let listed = String::from_utf8_lossy(&listed);
            let rule = listed.lines().find(|line| line.split_whitespace().any(|word| word == nas.server));
            let packets = rule.and_then(|rule| rule.split_whitespace().next()?.parse::<u64>().ok());
            sent += packets.ok_or_else(|| {
                Trouble::Broken(format!("{node} has no rule that counts packets to {}", nas.server))
            })?;
        }
        Ok(sent)
    }

    /// Undoes [`Bed::take_away`], and sees that clients find the server where it was.
    pub(super) fn bring_back(&self, nas: &Nas, how: How) -> Result<(), Trouble> {
        match how {
            How::Stopped => {
                self.power(|docker| async move { power::start(&docker, &nas.container).await })?;
            }
            How::Paused => {
                self.power(|docker| async move { power::unpause(&docker, &nas.container).await })?;
            }
            How::Cut => {}
        }
        self.watch_road("-D", nas, how)?;
        let found = self.power(|docker| async move { power::addresses(&docker, &nas.container).await })?;
        if found.values().any(|address| *address == nas.server) {
            return Ok(());
        }
        Err(Trouble::Broken(format!(
            "the NFS server came back at {:?} and its clients look for it at {}: the engine gave its address away",
            found.values().collect::<Vec<_>>(),
            nas.server
        )))
    }

    /// Counts (`-I`) the nodes' packets to the NFS server, and drops them if it is to be cut off; or no longer (`-D`).
    fn watch_road(&self, verb: &str, nas: &Nas, how: How) -> Result<(), Trouble> {
        if self.at.nodes.is_empty() && how == How::Cut {
            return Err(Trouble::Unsupported(
                "the nodes are no containers of ours, so they cannot be cut off the NFS server".to_owned(),
            ));
        }
        for node in &self.at.nodes {
            let mut words = vec!["iptables", "-w", verb, "OUTPUT", "-d", &nas.server];
            if how == How::Cut {
                words.extend(["-j", "DROP"]);
            }
            self.in_container(node, &words, None)?;
        }
        Ok(())
    }

    /// Turns a container's power switch.
    pub(super) fn power<T, F>(&self, turn: impl FnOnce(cluster::engine::Docker) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, cluster::Error>>,
    {
        let turned = self.runtime.block_on(async { turn(cluster::engine::connect().await?).await });
        turned.map_err(|error| Trouble::Broken(cluster::chain(&error)))
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
