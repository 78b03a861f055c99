//! What happens to pods from outside: evictions, signals, drivers that are started anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use json::Value;
use k8s_openapi::api::core::v1::Pod;
use kit::control::{Reply, Request};
use kube::api::{Api, EvictParams};

use super::Bed;
use crate::{
    actor::cluster::{name, namespace, text},
    record::What,
    verbs::Trouble,
};

/// How long a node gets to come back with everything that ran on it.
const REBOOT: Duration = Duration::from_secs(180);

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
        self.signal_object(&object, signal)
    }

    /// The same for a pod that was looked at already.
    pub(super) fn signal_object(&mut self, object: &Value, signal: i32) -> Result<(), Trouble> {
        let node = text(object, "/spec/nodeName").to_owned();
        if !self.at.nodes.contains(&node) {
            return Err(Trouble::Unsupported(format!(
                "the node {node} is not a container of ours, so its processes cannot be signalled"
            )));
        }
        let id = text(object, "/status/containerStatuses/0/containerID");
        let id = id.rsplit('/').next().unwrap_or_default().to_owned();
        self.note_pod(namespace(object), name(object), &format!("signal {signal}"));
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

    /// Cuts the power of every node and gives it back; returns when the cluster works again as before.
    pub(super) fn reboot(&mut self) -> Result<(), Trouble> {
        if self.at.nodes.is_empty() {
            return Err(Trouble::Unsupported("the nodes are no containers of ours".to_owned()));
        }
        let before = self.node_leases();
        // Known before the power goes: of containers that nobody knew, none could be told to be new.
        let dead = self.wait_for("the drivers and the controller to be ready", REBOOT, |bed| {
            bed.workload_containers()
        })?;
        self.record.note("the nodes lose power for a moment");
        for node in self.at.nodes.clone() {
            self.power(|docker| async move {
                cluster::power::kill(&docker, &node).await?;
                cluster::power::start(&docker, &node).await
            })?;
        }
        self.wait_for("the kubelets to be back", REBOOT, |bed| {
            let now = bed.node_leases();
            let is_back =
                |node: &String| now.get(node).is_some_and(|renewed| Some(renewed) != before.get(node));
            bed.at.nodes.iter().all(is_back).then_some(())
        })?;
        self.wait_for("the drivers and the controller to be back", REBOOT, |bed| {
            // Until its kubelet has looked, a pod is said to be as ready as before.
            let now = bed.workload_containers()?;
            (!now.is_empty() && now.is_disjoint(&dead)).then_some(())
        })?;
        Ok(())
    }

    /// When each node's kubelet last renewed its lease; empty while the server is away.
    fn node_leases(&self) -> BTreeMap<String, String> {
        let leases = self.runtime.block_on(self.objects.list("Lease", "kube-node-lease")).unwrap_or_default();
        let renewed =
            leases.iter().map(|lease| (name(lease).to_owned(), text(lease, "/spec/renewTime").to_owned()));
        renewed.collect()
    }

    /// The containers of the drivers and of the subject; none if one of their pods is not ready.
    fn workload_containers(&self) -> Option<BTreeSet<String>> {
        let drivers = self.at.drivers.iter().map(|driver| &driver.namespace);
        let namespaces: BTreeSet<_> = drivers.chain([&self.at.subject.namespace]).collect();
        let mut containers = BTreeSet::new();
        for namespace in namespaces {
            for pod in self.runtime.block_on(self.objects.list("Pod", namespace)).ok()? {
                let conditions = pod["status"]["conditions"].as_array()?;
                conditions.iter().find(|one| one["type"] == "Ready" && one["status"] == "True")?;
                let statuses = pod["status"]["containerStatuses"].as_array()?;
                containers.extend(statuses.iter().map(|one| text(one, "/containerID").to_owned()));
            }
        }
        Some(containers)
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
