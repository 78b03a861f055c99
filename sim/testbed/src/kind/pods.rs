//! What happens to pods from outside: evictions, signals, drivers that are started anew.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, EvictParams};
use serde_json::Value;

use super::Bed;
use crate::{
    actor::cluster::{name, text},
    record::What,
    verbs::Trouble,
};

/// How long a driver gets to come up again.
const DRIVER: Duration = Duration::from_secs(120);

impl Bed {
    pub(super) fn evict(&mut self, namespace: &str, pod: &str) -> Result<(), Trouble> {
        self.note_pod(namespace, pod, "evicted");
        let pods: Api<Pod> = Api::namespaced(self.objects.client().clone(), namespace);
        let evicted = self.runtime.block_on(pods.evict(pod, &EvictParams::default()));
        match evicted.map_err(super::api::refusal) {
            Err(refused) if refused.code != 404 => {
                Err(Trouble::Broken(format!("the pod {namespace}/{pod} was not evicted: {refused}")))
            }
            _ => Ok(()),
        }
    }

    /// Sends a signal to the first process of a pod, from its node.
    pub(super) fn signal(&mut self, namespace: &str, pod: &str, signal: i32) -> Result<(), Trouble> {
        let object = self.mirror.get("Pod", namespace, pod);
        let object = object.ok_or_else(|| Trouble::Broken(format!("there is no pod {namespace}/{pod}")))?;
        let node = text(&object, "/spec/nodeName").to_owned();
        if !self.at.nodes.contains(&node) {
            return Err(Trouble::Unsupported(format!(
                "the node {node} is not a container of ours, so its processes cannot be signalled"
            )));
        }
        let id = text(&object, "/status/containerStatuses/0/containerID");
        let id = id.rsplit('/').next().unwrap_or_default().to_owned();
        self.note_pod(namespace, pod, &format!("signal {signal}"));
        let signal = signal.to_string();
        let words = ["ctr", "-n", "k8s.io", "task", "kill", "-s", signal.as_str(), id.as_str()];
        self.in_container(&node, &words, None).map(drop)
    }

    /// Restarts a CSI driver (empty: all): its pods are killed, and their successors are waited for.
    pub(super) fn restart_driver(&mut self, driver: &str) -> Result<(), Trouble> {
        let drivers: Vec<_> =
            self.at.drivers.iter().filter(|each| driver.is_empty() || each.name == driver).cloned().collect();
        if drivers.is_empty() {
            return Err(Trouble::Unsupported(format!("the CSI driver {driver:?} is none of ours")));
        }
        for each in drivers {
            let pods = |bed: &Self| -> Vec<Value> {
                let all = bed.runtime.block_on(bed.objects.list("Pod", &each.namespace)).unwrap_or_default();
                let (key, value) = each.selector.split_once('=').unwrap_or((each.selector.as_str(), ""));
                all.into_iter().filter(|pod| pod["metadata"]["labels"][key] == value).collect()
            };
            let before: Vec<String> =
                pods(self).iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect();
            for pod in pods(self) {
                let gone = self.objects.delete("Pod", &each.namespace, name(&pod), Some(0));
                let gone = self.runtime.block_on(gone);
                gone.map_err(|refused| {
                    Trouble::Broken(format!("the driver {} stays: {refused}", each.name))
                })?;
            }
            self.wait_for(&format!("the driver {} to be ready again", each.name), DRIVER, |bed| {
                let now = pods(bed);
                let fresh = now.iter().all(|pod| {
                    let ready = pod["status"]["conditions"].as_array().is_some_and(|conditions| {
                        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
                    });
                    ready && !before.iter().any(|uid| uid == text(pod, "/metadata/uid"))
                });
                (fresh && !now.is_empty()).then_some(())
            })?;
            self.record.note(format!("the driver {} was restarted", each.name));
        }
        Ok(())
    }

    fn note_pod(&self, namespace: &str, pod: &str, operation: &str) {
        self.record.push(
            &format!("bed/{operation}/Pod"),
            What::Pod {
                namespace: namespace.to_owned(),
                name: pod.to_owned(),
                operation: operation.to_owned(),
                detail: String::new(),
            },
        );
    }
}
