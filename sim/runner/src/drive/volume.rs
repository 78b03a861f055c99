//! Volumes and claims: building, filling, changing, and what they hold.

use std::time::Duration;

use json::{Value, json};
use scenario::{
    Name,
    step::{Claim, Volume},
    tree::ChangeSpec,
};
use testbed::bed::ClaimError;

use super::{Failure, Stage, Told, stage::PATIENCE};

/// What a claim asks for if its scenario does not say.
const CAPACITY: &str = "10Gi";

impl Stage {
    pub(super) fn build_volume(&mut self, volume: &Volume) -> Told {
        let claim = Claim {
            name: volume.name.clone(),
            filled_from: None,
            class: volume.class.clone(),
            capacity: volume.capacity,
        };
        self.build_claim(&claim)?;
        let (namespace, name) = (volume.name.namespace(), volume.name.name());
        let entry = self.bed_mut().fill_claim(namespace, name, &volume.holding).map_err(cannot)?;
        Ok(format!("{} files, {} bytes", entry.files(), entry.bytes()))
    }

    pub(super) fn build_claim(&mut self, claim: &Claim) -> Told {
        self.ensure_namespace(claim.name.namespace())?;
        let capacity = claim.capacity.map_or_else(|| CAPACITY.to_owned(), |size| size.bytes().to_string());
        let class =
            claim.class.clone().or_else(|| self.default_class.clone()).unwrap_or_else(|| "rbd".to_owned());
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim.name.name(), "namespace": claim.name.namespace()},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": class,
                "resources": {"requests": {"storage": capacity}},
            },
        });
        if let Some(from) = &claim.filled_from {
            object["spec"]["dataSourceRef"] = json!({
                "apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": from.name(),
            });
        }
        self.apply(&object)?;
        if claim.filled_from.is_some() {
            self.give_consumer(&claim.name)?;
        }
        Ok(String::new())
    }

    /// A workload's pod that uses the claim, where the class waits for one.
    pub(super) fn give_consumer(&mut self, claim: &Name) -> Result<(), Failure> {
        let object = self.must_get_kind("PersistentVolumeClaim", claim)?;
        let class =
            object.pointer("/spec/storageClassName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let waits = self
            .bed()
            .get("StorageClass", "", &class)
            .is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer");
        if waits {
            self.apply(&json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": claim.name(), "namespace": claim.namespace()},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": claim.name()}},
                    "template": {
                        "metadata": {"labels": {"app": claim.name()}},
                        "spec": {
                            "containers": [{"name": "app", "image": "app", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim.name()}}],
                        },
                    },
                },
            }))?;
        }
        Ok(())
    }

    pub(super) fn await_bound(&mut self, claim: &Name) -> Result<(), Failure> {
        let (namespace, name) = (claim.namespace().to_owned(), claim.name().to_owned());
        self.wait_until(&format!("the claim {claim} to be bound"), PATIENCE, move |bed| {
            let object = bed.get("PersistentVolumeClaim", &namespace, &name)?;
            (object.pointer("/status/phase")? == "Bound").then_some(())
        })?;
        Ok(())
    }

    /// The medium behind a bound claim.
    pub(super) fn medium(&mut self, claim: &Name) -> Result<testbed::volume::Volume, Failure> {
        self.bed_mut()
            .read_claim(claim.namespace(), claim.name())?
            .ok_or_else(|| Failure::violated(format!("the claim {claim} has no volume behind it")))
    }

    pub(super) fn change_volume(&mut self, volume: &Name, by: &ChangeSpec) -> Told {
        let entry = self.bed_mut().change_claim(volume.namespace(), volume.name(), by).map_err(cannot)?;
        // What is done next is later than the change, for everyone.
        self.breathe(Duration::from_millis(1))?;
        Ok(format!("{} files, {} bytes", entry.files(), entry.bytes()))
    }

    pub(super) fn write_file(&mut self, volume: &Name, path: &str, text: &str) -> Told {
        self.bed_mut().write_claim(volume.namespace(), volume.name(), path, text).map_err(cannot)?;
        self.breathe(Duration::from_millis(1))?;
        Ok(String::new())
    }
}

fn cannot(error: ClaimError) -> Failure {
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    let reason = format!("{error}{source}");
    match error {
        ClaimError::Unbound { .. } => Failure::stalled(reason),
        ClaimError::Write { .. } => Failure::broken(reason),
    }
}
