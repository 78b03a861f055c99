//! A hand in a pod: how the bed writes to a claim and reads it, as any pod of the cluster would.
//!
//! Each use makes a pod of its own and removes it, so that every read is from a fresh mount on the node and
//! no pod of the bed holds a claim in use. A claim that waits for its first consumer gets it so.

use std::time::Duration;

use json::{Value, json};

use super::Bed;
use crate::{
    actor::cluster::{name, text},
    bed::Stalled,
    verbs::Trouble,
};

/// Where the hand's pod mounts the claim.
const MOUNT: &str = "/data";
/// How long the pod gets to start; provisioning and mounting are part of it.
const START: Duration = Duration::from_secs(120);
/// How long a tree gets to travel.
const CARRY: Duration = Duration::from_secs(180);

/// What is done to a claim.
pub(super) enum Errand {
    /// Makes the claim hold what a stream tells.
    Write(Vec<u8>),
    /// Reads the claim into a stream.
    Read,
}

impl Bed {
    /// Does an errand on a claim; gives the stream that was read.
    pub(super) fn hand(&mut self, namespace: &str, claim: &str, errand: Errand) -> Result<Vec<u8>, Trouble> {
        self.pods += 1;
        let pod = format!("hand-{}", self.pods);
        let made = self.runtime.block_on(self.objects.create(&self.hand_pod(namespace, &pod, claim)));
        made.map_err(|refused| Trouble::Broken(format!("no hand for the claim {claim}: {refused}")))?;
        let done = self.await_hand(namespace, &pod, claim).and_then(|()| {
            let (command, input) = match errand {
                Errand::Write(stream) => (["/kit", "hand", "write", MOUNT], Some(stream)),
                Errand::Read => (["/kit", "hand", "read", MOUNT], None),
            };
            let run = self.objects.exec(namespace, &pod, &command, input, CARRY);
            self.runtime.block_on(run).map_err(Trouble::Broken)
        });
        let gone = self.remove_pod(namespace, &pod);
        let stream = done?;
        gone?;
        Ok(stream)
    }

    fn await_hand(&mut self, namespace: &str, pod: &str, claim: &str) -> Result<(), Trouble> {
        let what = format!("a pod with the claim {namespace}/{claim} to run");
        let (of, pod) = (namespace.to_owned(), pod.to_owned());
        let waited = self.wait_for(&what, START, |bed| {
            let object = bed.mirror.get("Pod", &of, &pod)?;
            (text(&object, "/status/phase") == "Running").then_some(())
        });
        waited.map_err(|stalled| {
            let why = self.why_waiting(namespace, &pod);
            Trouble::Stalled(Stalled { what: format!("{} ({why})", stalled.what), ..stalled })
        })
    }

    /// Removes a pod at once and waits until it is gone, so that it holds nothing in use.
    pub(super) fn remove_pod(&mut self, namespace: &str, pod: &str) -> Result<(), Trouble> {
        let gone = self.runtime.block_on(self.objects.delete("Pod", namespace, pod, Some(0)));
        gone.map_err(|refused| Trouble::Broken(format!("the pod {namespace}/{pod} stays: {refused}")))?;
        let (of, pod) = (namespace.to_owned(), pod.to_owned());
        self.wait_for(&format!("the pod {of}/{pod} to be gone"), START, |bed| {
            bed.mirror.get("Pod", &of, &pod).is_none().then_some(())
        })?;
        Ok(())
    }

    /// What the newest event about a pod says.
    fn why_waiting(&self, namespace: &str, pod: &str) -> String {
        let events = self.mirror.list("Event", namespace);
        let about = events.iter().filter(|event| text(event, "/involvedObject/name") == pod);
        let newest = about.max_by_key(|event| text(event, "/lastTimestamp").to_owned());
        newest.map_or_else(
            || "no event tells why".to_owned(),
            |event| format!("{}: {}", text(event, "/reason"), text(event, "/message")),
        )
    }

    /// Started again when it does not start: under load a node's runtime now and then loses a container that it is just
    /// making ("read init-p: connection reset by peer"), and a pod that is never restarted has failed by that.
    fn hand_pod(&self, namespace: &str, pod: &str, claim: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "namespace": namespace, "labels": {"firedrill.dev/hand": "yes"}},
            "spec": {
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "containers": [{
                    "name": "hand",
                    "image": self.at.hand_image,
                    "imagePullPolicy": "Never",
                    "command": ["/kit", "hand", "wait"],
                    "securityContext": {"privileged": true, "runAsUser": 0},
                    "volumeMounts": [{"name": "data", "mountPath": MOUNT}],
                }],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            },
        })
    }

    /// A workload as scenarios name it, made to idle: their images exist nowhere.
    pub(super) fn idle(&self, object: &mut Value) {
        let spec = match text(object, "/kind") {
            "Pod" => object.get_mut("spec"),
            "Deployment" | "StatefulSet" | "DaemonSet" => object.pointer_mut("/spec/template/spec"),
            _ => None,
        };
        let Some(spec) = spec else { return };
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                tracing::debug!(container = name(container), "a workload idles");
                container["image"] = json!(self.at.hand_image);
                container["imagePullPolicy"] = json!("Never");
                container["command"] = json!(["/kit", "hand", "wait"]);
                if let Some(container) = container.as_object_mut() {
                    container.remove("args");
                }
            }
        }
        spec["terminationGracePeriodSeconds"] = json!(0);
    }
}
