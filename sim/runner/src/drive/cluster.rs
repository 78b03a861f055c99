//! The cluster as a user handles it: manifests, deletions, changes, pods, drivers, lines of a runbook.

use std::time::Duration;

use json::{Value, json};
use scenario::{
    Name, ObjectRef,
    fields::{Fields, look},
    kubectl::{Kubectl, Verb},
    moved::is_cluster_scoped,
};
use testbed::verbs::Verbs;

use super::{Failure, Stage, Told, stage::PATIENCE};

impl Stage {
    pub(super) fn ensure_namespace(&mut self, namespace: &str) -> Told {
        if namespace.is_empty() || self.bed().get("Namespace", "", namespace).is_some() {
            return Ok(String::new());
        }
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))?;
        Ok(String::new())
    }

    pub(super) fn apply_manifests(&mut self, text: &str) -> Told {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| Failure::broken(format!("the manifests are no YAML: {error}")))?;
        let mut count = 0;
        for object in objects.into_iter().filter(|object| !object.is_null()) {
            let namespace =
                object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut object = object;
            if namespace.is_empty() && !is_cluster_scoped(object["kind"].as_str().unwrap_or_default()) {
                object["metadata"]["namespace"] = json!(scenario::name::DEFAULT_NAMESPACE);
            } else {
                self.ensure_namespace(&namespace)?;
            }
            self.apply(&object)?;
            count += 1;
        }
        Ok(format!("{count} objects"))
    }

    fn scoped(&self, object: &ObjectRef) -> (String, String, String) {
        let namespace = if is_cluster_scoped(&object.kind) { "" } else { object.name.namespace() };
        (object.kind.clone(), namespace.to_owned(), object.name.name().to_owned())
    }

    pub(super) fn delete(&mut self, object: &ObjectRef) -> Told {
        let (kind, namespace, name) = self.scoped(object);
        if self.bed().get(&kind, &namespace, &name).is_none() {
            return Err(Failure::broken(format!("{object} cannot be deleted: it does not exist")));
        }
        self.bed_mut()
            .delete(&kind, &namespace, &name)
            .map_err(|error| Failure::violated(format!("{object} cannot be deleted: {error}")))?;
        Ok(String::new())
    }

    /// Deletes an object, frees it from what would hold it back, and waits until it is gone.
    pub(super) fn destroy(&mut self, object: &ObjectRef) -> Told {
        let (kind, namespace, name) = self.scoped(object);
        if kind == "PersistentVolumeClaim" {
            // The workload goes first: a claim in use is protected.
            let _ = self.bed_mut().delete("Deployment", &namespace, &name);
        }
        self.delete(object)?;
        self.wait_until(&format!("{object} to be gone"), PATIENCE, move |bed| {
            bed.get(&kind, &namespace, &name).is_none().then_some(())
        })?;
        Ok(String::new())
    }

    pub(super) fn patch(&mut self, object: &ObjectRef, patch: &Value) -> Result<Value, Failure> {
        let (kind, namespace, name) = self.scoped(object);
        self.bed_mut()
            .patch(&kind, &namespace, &name, patch)
            .map_err(|error| Failure::violated(format!("{object} cannot be patched: {error}")))
    }

    pub(super) fn configure(&mut self, object: &ObjectRef, fields: &Fields) -> Told {
        let mut patch = json!({});
        if matches!(object.kind.as_str(), "ReplicationSource" | "ReplicationDestination") {
            self.set_spec(&mut patch, fields)?;
        } else {
            for (path, value) in fields.iter() {
                let value = self.resolve(value)?;
                scenario::fields::set(&mut patch, path, value);
            }
        }
        self.patch(object, &patch)?;
        Ok(String::new())
    }

    fn running_mover(&self, of: &Name) -> Result<String, Failure> {
        let is_running = |pod: &Value| text(pod, "/status/phase") == "Running";
        mover_pod(self.bed(), of, is_running).ok_or_else(|| {
            Failure::broken(format!(
                "no mover of {of} is running: wait with `When the mover of \"{of}\" has started`"
            ))
        })
    }

    pub(super) fn evict_mover(&mut self, of: &Name) -> Told {
        let pod = self.running_mover(of)?;
        self.bed_mut().evict_pod(of.namespace(), &pod)?;
        Ok(pod)
    }

    pub(super) fn signal_mover(&mut self, of: &Name, signal: i32) -> Told {
        let pod = self.running_mover(of)?;
        self.bed_mut().signal_pod(of.namespace(), &pod, signal)?;
        Ok(pod)
    }

    pub(super) fn drain(&mut self, namespace: &str) -> Told {
        self.bed_mut().drain(namespace)?;
        Ok(String::new())
    }

    pub(super) fn restart_csi(&mut self, driver: &str) -> Told {
        self.bed_mut().restart_csi_driver(driver)?;
        Ok(String::new())
    }

    pub(super) fn run_kubectl(&mut self, line: &Kubectl) -> Told {
        let namespace = line.namespace().unwrap_or(scenario::name::DEFAULT_NAMESPACE).to_owned();
        let target = |resource: &str, name: &str| {
            let kind = kind_of(resource).ok_or_else(|| {
                Failure::broken(format!("{resource:?} of {line} is no resource that is known"))
            })?;
            let name: Name = format!("{namespace}/{name}").parse().map_err(Failure::broken)?;
            Ok::<_, Failure>(ObjectRef::new(kind, name))
        };
        match line.verb() {
            Verb::Delete { resource, names } => {
                for name in names {
                    self.delete(&target(resource, name)?)?;
                }
            }
            Verb::Patch { resource, name, patch } => {
                self.patch(&target(resource, name)?, patch)?;
            }
            Verb::Annotate { resource, name, values } => {
                self.patch(&target(resource, name)?, &json!({"metadata": {"annotations": values}}))?;
            }
            Verb::Label { resource, name, values } => {
                self.patch(&target(resource, name)?, &json!({"metadata": {"labels": values}}))?;
            }
            Verb::Scale { resource, name, replicas } => {
                self.patch(&target(resource, name)?, &json!({"spec": {"replicas": replicas}}))?;
            }
            Verb::Apply { manifests } => {
                self.apply_manifests(manifests)?;
            }
            Verb::RolloutRestart { name, .. } => {
                let driver = self.driver_of(name)?;
                self.bed_mut().restart_csi_driver(&driver)?;
            }
            Verb::Drain { .. } => {
                self.bed_mut().drain("")?;
            }
        }
        self.breathe(Duration::from_secs(1))?;
        Ok(String::new())
    }

    /// The CSI driver that a workload of this name runs: `csi-rbdplugin-provisioner`, `…rbd.csi.ceph.com-ctrlplugin`.
    fn driver_of(&self, workload: &str) -> Result<String, Failure> {
        let drivers: std::collections::BTreeSet<_> = self
            .bed()
            .list("StorageClass", "")
            .iter()
            .filter_map(|class| Some(class["provisioner"].as_str()?.to_owned()))
            .collect();
        drivers
            .into_iter()
            .find(|driver| {
                workload.contains(driver.as_str())
                    || ["rbd", "cephfs", "zfs", "nfs"]
                        .iter()
                        .any(|kind| workload.contains(kind) && driver.contains(kind))
            })
            .ok_or_else(|| {
                Failure::unsupported(format!(
                    "only CSI drivers can be restarted here, and {workload} runs none"
                ))
            })
    }

    pub(super) fn expect_exists(&mut self, object: &ObjectRef, present: bool) -> Told {
        let (kind, namespace, name) = self.scoped(object);
        if self.bed().get(&kind, &namespace, &name).is_some() == present {
            return Ok(String::new());
        }
        Err(Failure::violated(format!("{object} {}", if present { "does not exist" } else { "exists" })))
    }

    pub(super) fn expect_object(&mut self, object: &ObjectRef, has: &Fields) -> Told {
        let (kind, namespace, name) = self.scoped(object);
        let found = self
            .bed()
            .get(&kind, &namespace, &name)
            .ok_or_else(|| Failure::violated(format!("{object} does not exist")))?;
        for (path, value) in has.iter() {
            let value = self.resolve(value)?;
            let seen = look(&found, path).cloned().unwrap_or(Value::Null);
            if seen != value {
                return Err(Failure::violated(format!("{path} of {object} is {seen} instead of {value}")));
            }
        }
        Ok(String::new())
    }
}

/// Text at a path; empty if there is none.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The Jobs that a replication of this name may have.
pub(super) fn job_names(of: &Name) -> Vec<String> {
    let name = of.name();
    vec![format!("volsync-src-{name}"), format!("volsync-dst-{name}")]
}

/// The newest mover pod of a replication that is as wanted.
pub(super) fn mover_pod(bed: &dyn Verbs, of: &Name, wanted: impl Fn(&Value) -> bool) -> Option<String> {
    let jobs = job_names(of);
    let mut pods: Vec<_> = bed
        .list("Pod", of.namespace())
        .into_iter()
        .filter(|pod| {
            let job = pod
                .pointer("/metadata/labels/job-name")
                .or_else(|| pod.pointer("/metadata/labels/batch.kubernetes.io~1job-name"));
            job.and_then(Value::as_str).is_some_and(|job| jobs.iter().any(|name| name == job))
        })
        .filter(wanted)
        .collect();
    pods.sort_by_key(|pod| {
        pod.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default().to_owned()
    });
    pods.last()?.pointer("/metadata/name")?.as_str().map(str::to_owned)
}

/// The kind that a resource on a command line means.
fn kind_of(resource: &str) -> Option<&'static str> {
    let plain = resource.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let kinds = [
        ("PersistentVolumeClaim", &["pvc", "persistentvolumeclaim", "persistentvolumeclaims"][..]),
        ("PersistentVolume", &["pv", "persistentvolume", "persistentvolumes"]),
        ("VolumeSnapshot", &["vs", "volumesnapshot", "volumesnapshots"]),
        ("VolumeSnapshotContent", &["vsc", "volumesnapshotcontent", "volumesnapshotcontents"]),
        ("ReplicationSource", &["replicationsource", "replicationsources"]),
        ("ReplicationDestination", &["replicationdestination", "replicationdestinations"]),
        ("KopiaMaintenance", &["kopiamaintenance", "kopiamaintenances"]),
        ("Pod", &["po", "pod", "pods"]),
        ("Job", &["job", "jobs"]),
        ("CronJob", &["cj", "cronjob", "cronjobs"]),
        ("Deployment", &["deploy", "deployment", "deployments"]),
        ("StatefulSet", &["sts", "statefulset", "statefulsets"]),
        ("Secret", &["secret", "secrets"]),
        ("ConfigMap", &["cm", "configmap", "configmaps"]),
        ("Namespace", &["ns", "namespace", "namespaces"]),
    ];
    kinds.into_iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(kind, _)| kind)
}
