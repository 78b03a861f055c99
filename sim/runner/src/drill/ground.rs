//! What stands before anybody deploys: exports, buckets, classes and repositories.
//!
//! Promises that repositories are brought into being by the subject itself, through a claim and a source
//! that are gone before the drill begins. A restore never creates a repository, so the manifests alone
//! would wait for ever on an empty export.

use std::time::Duration;

use json::{Value, json};
use scenario::tree::TreeSpec;
use testbed::bed::{Bed, StorageClassSpec};
use testbed::nfs::Squash;
use testbed::volume::Character;

use super::plan::World;
use super::play::refused;

const HOUR: Duration = Duration::from_hours(1);

/// Exports, buckets and classes: what stands outside of the cluster and survives the fire.
pub(super) fn lay_ground(bed: &mut Bed, world: &World) {
    for (server, path) in &world.exports {
        let export = bed.storage().make_export(server, path, &format!("{server}:{path}"));
        export.set_root(0, 0, 0o777);
        export.set_squash(Squash::All(1000, 1000));
    }
    let mut class = StorageClassSpec::new(FOUNDER, Character::Rbd);
    class.snapshot_class = None;
    bed.add_class(&class);
    for (endpoint, bucket) in &world.buckets {
        bed.storage().make_bucket(endpoint, bucket);
    }
    for class in &world.snapshot_classes {
        // A class that is there already is as good.
        let _ = bed.apply(class);
    }
}

/// A name that no home cluster uses.
const FOUNDER: &str = "firedrill-founder";

/// Brings every repository into being, as somebody once did: a restore never creates one, so that the
/// first deployment of the manifests alone would wait for ever on an empty export.
pub(super) fn found_repositories(bed: &mut Bed, world: &World) {
    let mut seen = Vec::new();
    for source in world
        .apps
        .iter()
        .flat_map(|plan| plan.objects.iter().zip(std::iter::repeat(plan)))
        .filter_map(|(object, plan)| (object["kind"] == "ReplicationSource").then_some((object, plan)))
    {
        let (object, plan) = source;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let Some(read) = plan.app.sources.iter().find(|read| {
            read.object.name == text("/metadata/name") && read.object.namespace == text("/metadata/namespace")
        }) else {
            continue;
        };
        let Some(location) = read.mover.location.clone().filter(|location| !seen.contains(location)) else {
            continue;
        };
        let secret = world.shared.iter().find(|shared| {
            shared["kind"] == "Secret"
                && shared.pointer("/metadata/name") == Some(&json!(read.mover.repository))
                && shared.pointer("/metadata/namespace") == Some(&json!(read.object.namespace))
        });
        let Some(mut secret) = secret.cloned() else { continue };
        seen.push(location);
        let namespace = format!("{FOUNDER}-{}", seen.len());
        secret["metadata"]["namespace"] = json!(namespace);
        let kopia = &object["spec"]["kopia"];
        let mut spec = json!({"repository": read.mover.repository, "copyMethod": "Direct"});
        for key in ["moverVolumes", "moverSecurityContext"] {
            if let Some(value) = kopia.get(key) {
                spec[key] = value.clone();
            }
        }
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "founder", "namespace": namespace}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": FOUNDER, "resources": {"requests": {"storage": "1Gi"}}}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "founder", "namespace": namespace}, "spec": {"containers": [{"name": "app", "image": "app", "command": ["sh", "-c", "sleep infinity"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}], "terminationGracePeriodSeconds": 1, "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "founder"}}]}});
        let founder = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "founder", "namespace": namespace}, "spec": {"sourcePVC": "founder", "trigger": {"manual": "once"}, "kopia": spec}});
        bed.ensure_namespace(&namespace);
        bed.advance(Duration::from_secs(2));
        for object in [&claim, &pod, &secret] {
            refused(bed, object);
        }
        let bound =
            bed.wait_until("the founder's claim", HOUR, |bed| bed.bound_volume(&namespace, "founder"));
        if let Ok(volume) = bound {
            let owner = read.mover.writer.map_or((0, 0), |writer| (writer.uid, writer.gid));
            let _ = volume.populate(&TreeSpec::plain(1, 16, 1).owned_by(owner.0, owner.1));
        }
        refused(bed, &founder);
        let done = bed.wait_until("the repository to be founded", HOUR, |bed| {
            bed.get("ReplicationSource", &namespace, "founder")
                .and_then(|source| source.pointer("/status/lastManualSync").cloned())
                .filter(|tag| *tag == json!("once"))
        });
        if done.is_err() {
            bed.record().note(format!("the repository of {} could not be founded", read.object.name));
        }
        for kind in ["ReplicationSource", "Pod", "PersistentVolumeClaim"] {
            let _ = bed.delete(kind, &namespace, "founder");
        }
        let _ = bed.delete("Namespace", "", &namespace);
    }
}

/// Every pod mounts this; a namespace that was there before the cluster's actors may lack it.
pub(super) fn root_certificate(bed: &mut Bed, namespace: &str) {
    if bed.get("ConfigMap", namespace, "kube-root-ca.crt").is_none() {
        refused(
            bed,
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": namespace}, "data": {"ca.crt": ""}}),
        );
    }
}
