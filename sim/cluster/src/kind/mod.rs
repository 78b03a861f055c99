//! KindCluster: a real Kubernetes cluster whose nodes are containers.
//!
//! It starts nodes from a `kindest/node` compatible image, lets kubeadm make a cluster of them, and comes back when
//! every node is ready and names resolve. Several live side by side, and those of one run share its network, so pods
//! of one reach siblings such as MinIO by name. The handle is the cluster: dropping it removes the nodes.
//!
//! It knows nothing of backups, and speaks to the API server only through `kubectl` inside the node: whoever wants a
//! client takes [`KindCluster::kubeconfig`].

mod builder;
mod kubeadm;
mod node;
pub mod policies;

use std::{path::PathBuf, time::Duration};

use futures::future::try_join_all;
use serde_json::Value;

pub use builder::{KindClusterBuilder, NodeImage, Times};
pub use node::{Node, Role};

use crate::{
    Error, Run,
    exec::{Command, Output},
    wait::{Look, wait},
};

/// A running cluster.
#[derive(Debug)]
pub struct KindCluster {
    run: Run,
    name: String,
    network: String,
    nodes: Vec<Node>,
    image: NodeImage,
    version: String,
    kubeconfig: String,
    kubeconfig_path: PathBuf,
    times: Times,
    labels: std::collections::BTreeMap<String, String>,
}

impl KindCluster {
    /// Begins to describe a cluster of a run; [`KindClusterBuilder::create`] makes it.
    pub fn builder(run: &Run, name: impl Into<String>) -> KindClusterBuilder {
        KindClusterBuilder::new(run, name.into())
    }

    /// Its name at the engine and in the kubeconfig: `firedrill-<run>-<name>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Docker network of nodes and siblings.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Version of Kubernetes, such as `v1.34.10`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The image its nodes run.
    pub fn image(&self) -> &NodeImage {
        &self.image
    }

    /// How long the parts of its creation took.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Nodes, the control plane first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that carries the API server.
    pub fn control_plane(&self) -> &Node {
        &self.nodes[0]
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Result<&Node, Error> {
        self.nodes.iter().find(|node| node.name() == name).ok_or_else(|| Error::Unknown {
            what: "node",
            name: name.to_owned(),
            there: self.nodes.iter().map(|node| node.name().to_owned()).collect(),
        })
    }

    /// Administrator's kubeconfig for clients on this machine, as YAML. It changes when the control plane restarts.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// The file that always holds [`KindCluster::kubeconfig`]; removed with the run unless it keeps.
    pub fn kubeconfig_path(&self) -> &std::path::Path {
        &self.kubeconfig_path
    }

    /// Administrator's kubeconfig for containers on the cluster's network, as YAML.
    pub async fn kubeconfig_inside(&self) -> Result<String, Error> {
        let admin = self.control_plane().exec_ok(Command::new(["cat", kubeadm::ADMIN])).await?;
        kubeadm::kubeconfig(&admin.text(), &self.name, None)
    }

    /// Runs `kubectl` with the administrator's rights inside the control plane; an exit code is an answer.
    pub async fn kubectl<A: Into<String>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: Option<&str>,
    ) -> Result<Output, Error> {
        self.control_plane().exec(kubectl(arguments, input)).await
    }

    /// Runs `kubectl` and wants success; gives standard output.
    pub async fn kubectl_ok<A: Into<String>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: Option<&str>,
    ) -> Result<String, Error> {
        Ok(self.control_plane().exec_ok(kubectl(arguments, input)).await?.text())
    }

    /// Applies manifests, YAML or JSON. Safe to repeat.
    pub async fn apply(&self, manifests: &str) -> Result<(), Error> {
        self.kubectl_ok(["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(manifests)).await?;
        Ok(())
    }

    /// Reads what `kubectl get <arguments> -o json` answers; null where there is no such object.
    pub async fn get<A: Into<String>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Value, Error> {
        let words = ["get".to_owned()].into_iter().chain(arguments.into_iter().map(Into::into));
        let words = words.chain(["-o", "json", "--ignore-not-found"].map(str::to_owned));
        let text = self.kubectl_ok(words, None).await?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| Error::Unreadable {
            what: "kubectl's answer".to_owned(),
            detail: error.to_string(),
        })
    }

    /// Waits until an object looks as wanted: `look` gets it (null while it is absent) and says what is missing.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        arguments: &[&str],
        look: impl FnMut(&Value) -> Result<(), String> + Send,
    ) -> Result<Value, Error> {
        let look = std::sync::Mutex::new(look);
        wait(what, within, || async {
            // An API server that is not up yet, or that restarts, is a thing to wait out.
            Ok(match self.get(arguments.iter().copied()).await {
                Err(error) => Look::NotYet(crate::error::chain(&error)),
                Ok(seen) => match (look.lock().expect("a look does not panic"))(&seen) {
                    Ok(()) => Look::Reached(seen),
                    Err(missing) => Look::NotYet(missing),
                },
            })
        })
        .await
    }

    /// Waits until every node is ready.
    pub async fn wait_nodes(&self, within: Duration) -> Result<(), Error> {
        let wanted = self.nodes.len();
        let what = format!("{wanted} nodes of {} to be ready", self.name);
        self.wait_for(&what, within, &["nodes"], |list| {
            let nodes = list["items"].as_array().map_or(&[][..], Vec::as_slice);
            let waiting: Vec<_> = nodes.iter().filter_map(not_ready).collect();
            match (nodes.len() >= wanted, waiting.is_empty()) {
                (true, true) => Ok(()),
                (false, _) => Err(format!("{} of {wanted} nodes have joined", nodes.len())),
                (true, false) => Err(waiting.join("; ")),
            }
        })
        .await
        .map(drop)
    }

    /// Waits until a Deployment, StatefulSet or DaemonSet has all its pods ready in their newest form.
    pub async fn wait_rollout(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
        within: Duration,
    ) -> Result<(), Error> {
        let what = format!("{kind} {namespace}/{name} of {} to be rolled out", self.name);
        self.wait_for(&what, within, &["-n", namespace, kind, name], rolled_out).await.map(drop)
    }

    /// Puts an image archive (the format of `docker save`) into every node. Nothing is pulled, ever.
    pub async fn load_image(&self, archive: &std::path::Path) -> Result<(), Error> {
        try_join_all(self.nodes.iter().map(|node| node.load_image(archive))).await.map(drop)
    }

    /// Joins one more worker and comes back when all nodes are ready; gives its name.
    pub async fn add_worker(&mut self) -> Result<String, Error> {
        let n = self.nodes.iter().filter(|node| node.role() == Role::Worker).count() + 1;
        let node = self.start_worker(n).await?;
        let name = node.name().to_owned();
        self.nodes.push(node);
        self.join(&name).await?;
        self.wait_nodes(Duration::from_secs(90)).await?;
        Ok(name)
    }

    /// Restarts a node as a power cut would: its processes die, its volume stays; comes back when it is ready again.
    ///
    /// # Caveats
    /// The control plane's published port changes, and with it the kubeconfig.
    pub async fn restart(&mut self, node: &str) -> Result<(), Error> {
        let before = self.lease(node).await?;
        let found = self.node(node)?;
        found.reboot().await?;
        found.wait_booted(Duration::from_secs(60)).await?;
        if self.control_plane().name() == node {
            self.write_kubeconfig().await?;
        }
        self.route().await?;
        // A node's condition still says ready from before; its lease tells that the kubelet is back.
        let what = format!("the kubelet of {node} to be back");
        self.wait_for(&what, Duration::from_secs(120), &["-n", "kube-node-lease", "lease", node], |lease| {
            match lease["spec"]["renewTime"].as_str() {
                Some(renewed) if renewed != before => Ok(()),
                renewed => Err(format!("its lease was renewed last at {renewed:?}")),
            }
        })
        .await?;
        self.wait_nodes(Duration::from_secs(120)).await
    }

    /// Removes its nodes with their volumes and its kubeconfig.
    pub async fn delete(self) -> Result<(), Error> {
        let Self { nodes, kubeconfig_path, .. } = self;
        try_join_all(nodes.into_iter().map(Node::delete)).await?;
        std::fs::remove_file(&kubeconfig_path).map_err(Error::file("remove", &kubeconfig_path))
    }

    async fn lease(&self, node: &str) -> Result<String, Error> {
        let lease = self.get(["-n", "kube-node-lease", "lease", node]).await?;
        Ok(lease["spec"]["renewTime"].as_str().unwrap_or_default().to_owned())
    }
}

fn kubectl<A: Into<String>>(arguments: impl IntoIterator<Item = A>, input: Option<&str>) -> Command {
    let words = ["kubectl".to_owned(), format!("--kubeconfig={}", kubeadm::ADMIN)];
    let command = Command::new(words.into_iter().chain(arguments.into_iter().map(Into::into)));
    match input {
        Some(text) => command.input(text),
        None => command,
    }
}

fn not_ready(node: &Value) -> Option<String> {
    let conditions = node["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    if ready.is_some_and(|ready| ready["status"] == "True") {
        return None;
    }
    let message = ready.and_then(|ready| ready["message"].as_str()).unwrap_or("it has said nothing yet");
    Some(format!("{}: {message}", node["metadata"]["name"].as_str().unwrap_or_default()))
}

fn rolled_out(object: &Value) -> Result<(), String> {
    if object.is_null() {
        return Err("there is no such object yet".to_owned());
    }
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Err("its controller has not seen the newest form yet".to_owned());
    }
    let (wanted, updated, ready) = if object["kind"] == "DaemonSet" {
        ("/status/desiredNumberScheduled", "/status/updatedNumberScheduled", "/status/numberReady")
    } else {
        ("/spec/replicas", "/status/updatedReplicas", "/status/readyReplicas")
    };
    let (wanted, updated, ready) = (number(wanted), number(updated), number(ready));
    let total = number("/status/replicas").max(wanted);
    if updated >= wanted
        && ready >= wanted
        && total <= wanted.max(1)
        && (wanted > 0 || object["kind"] != "DaemonSet")
    {
        return Ok(());
    }
    Err(format!("{ready} of {wanted} pods are ready, {updated} in the newest form"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_done_when_the_newest_pods_are_ready() {
        let object = |observed: i64, updated: i64, ready: i64| {
            json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 1},
                "status": {"observedGeneration": observed, "replicas": 1, "updatedReplicas": updated, "readyReplicas": ready}})
        };
        assert_eq!(rolled_out(&object(2, 1, 1)), Ok(()));
        assert!(rolled_out(&object(1, 1, 1)).is_err(), "an old observation");
        assert!(rolled_out(&object(2, 0, 1)).is_err(), "an old pod");
        assert!(rolled_out(&object(2, 1, 0)).is_err(), "not ready");
        assert!(rolled_out(&Value::Null).is_err());
        let unscheduled =
            json!({"kind": "DaemonSet", "metadata": {"generation": 1}, "status": {"observedGeneration": 1}});
        assert!(rolled_out(&unscheduled).is_err(), "a DaemonSet without nodes is not rolled out yet");
    }

    #[test]
    fn a_node_says_why_it_is_not_ready() {
        let node = |status: &str| {
            json!({"metadata": {"name": "n"}, "status": {"conditions": [
                {"type": "Ready", "status": status, "message": "cni plugin not initialized"}]}})
        };
        assert_eq!(not_ready(&node("True")), None);
        assert_eq!(not_ready(&node("False")).unwrap(), "n: cni plugin not initialized");
    }
}
