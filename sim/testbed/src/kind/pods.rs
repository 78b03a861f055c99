//! What happens to pods from outside: evictions, signals, drivers that are started anew.

use k8s_openapi::api::core::v1::Pod;
use kit::control::{Reply, Request};
use kube::api::{Api, EvictParams};

use super::Bed;
use crate::{actor::cluster::text, record::What, verbs::Trouble};

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

    /// Restarts a CSI driver (empty: all).
    pub(super) fn restart_driver(&mut self, driver: &str) -> Result<(), Trouble> {
        let drivers: Vec<_> =
            self.at.drivers.iter().filter(|each| driver.is_empty() || each.name == driver).cloned().collect();
        if drivers.is_empty() {
            return Err(Trouble::Unsupported(format!("the CSI driver {driver:?} is none of ours")));
        }
        // One process serves all of our drivers, and the mounts of its volumes live in it: killing its pod would
        // break the mounts of every app, which the restart of a real plugin does not. So it is told to lose what a
        // restarted one loses, operations in flight and their locks, and to let mounts begin anew.
        if let Some(each) = drivers.first() {
            for request in [Request::Restart, Request::Evict("*".to_owned())] {
                if let Reply::Refused(why) = self.ask_driver(each, &request)? {
                    return Err(Trouble::Unsupported(format!(
                        "the driver {} was not restarted: {why}",
                        each.name
                    )));
                }
            }
        }
        for each in drivers {
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
