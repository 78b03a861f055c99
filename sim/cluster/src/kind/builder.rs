//! How a cluster is described, and how it is made: start, boot, kubeadm, routes, names, snapshots.

use std::{
    collections::BTreeMap,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::{LocalBoxFuture, try_join_all};
use tokio::time::Instant;

use super::{KindCluster, Node, Role, kubeadm};
use crate::{
    Error, Run,
    container::{Held, HostMount, Port, Spec, require_image},
    engine,
    exec::Command,
    mark,
    progress::{Monitor, News},
    recipe,
};

/// Longest name of a cluster within a run: the host name of its fifth worker must fit into 63 letters.
const NAME_MAX: usize = 24;
/// What a stock node runs where the side programs were not built here: it is where registries can be reached.
const SNAPSHOT_CONTROLLER: &str = "registry.k8s.io/sig-storage/snapshot-controller:v8.6.0";
/// The API server's port inside the control plane.
const API_PORT: u16 = 6443;

/// Which image nodes run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeImage {
    /// The one this program builds without a registry, see [`crate::image`].
    Local,
    /// A stock `kindest/node` image, or another that keeps its conventions, by name and tag.
    Stock(String),
}

impl NodeImage {
    /// Name and tag.
    pub fn name(&self) -> &str {
        match self {
            Self::Local => recipe::NODE_IMAGE,
            Self::Stock(name) => name,
        }
    }
}

/// How long the parts of a cluster's creation took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Each part with its time, in order.
    pub parts: Vec<(&'static str, Duration)>,
    /// All of it.
    pub total: Duration,
}

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct KindClusterBuilder {
    run: Run,
    name: String,
    image: NodeImage,
    workers: usize,
    api_port: Option<u16>,
    ports: Vec<Port>,
    mounts: Vec<HostMount>,
    labels: BTreeMap<String, String>,
    archives: Vec<PathBuf>,
    snapshots: bool,
    monitor: Monitor,
}

impl KindClusterBuilder {
    pub(super) fn new(run: &Run, name: String) -> Self {
        Self {
            run: run.clone(),
            name,
            image: NodeImage::Local,
            workers: 0,
            api_port: None,
            ports: Vec::new(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            archives: Vec::new(),
            snapshots: true,
            monitor: Monitor::silent(),
        }
    }

    /// Runs another image; [`NodeImage::Local`] where nothing is said.
    #[must_use]
    pub fn image(mut self, image: NodeImage) -> Self {
        self.image = image;
        self
    }

    /// Adds workers to the control plane. Without any, the control plane runs pods.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Publishes the API server on a certain port of 127.0.0.1; a free one where nothing is said.
    #[must_use]
    pub fn api_port(mut self, port: u16) -> Self {
        self.api_port = Some(port);
        self
    }

    /// Publishes a port of the control plane, such as a node port, on 127.0.0.1.
    #[must_use]
    pub fn port(mut self, container: u16, host: Option<u16>) -> Self {
        self.ports.push(Port { container, host });
        self
    }

    /// Shows every node something of the engine's machine.
    #[must_use]
    pub fn mount(mut self, mount: HostMount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Adds a label to the containers of the nodes, beside the run's own.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Loads an image archive into every node while kubeadm works.
    #[must_use]
    pub fn archive(mut self, archive: impl Into<PathBuf>) -> Self {
        self.archives.push(archive.into());
        self
    }

    /// Leaves out the snapshot definitions and the snapshot controller.
    #[must_use]
    pub fn without_snapshots(mut self) -> Self {
        self.snapshots = false;
        self
    }

    /// Tells how far it has come.
    #[must_use]
    pub fn monitor(mut self, monitor: Monitor) -> Self {
        self.monitor = monitor;
        self
    }

    /// Makes the cluster; comes back when every node is ready, names resolve and snapshots can be taken.
    ///
    /// # Errors
    /// Preconditions come before anything is made. After any other error everything made so far is gone again,
    /// except in a run that keeps.
    pub fn create(self) -> LocalBoxFuture<'static, Result<KindCluster, Error>> {
        Box::pin(self.make())
    }

    async fn make(self) -> Result<KindCluster, Error> {
        check_name(&self.name)?;
        let docker = self.run.docker().clone();
        require_image(&docker, self.image.name()).await?;
        if self.image == NodeImage::Local {
            crate::image::require_current(&docker, recipe::NODE_IMAGE).await?;
        }
        engine::check_room(self.run.engine(), 1 + self.workers as u64)?;

        let mut laps = Laps::new(self.monitor.clone(), 6);
        let network = self.run.network().await?;
        let name = self.run.name(&self.name);
        let mut cluster = KindCluster {
            kubeconfig_path: self.run.directory().join(format!("{}.kubeconfig", self.name)),
            run: self.run.clone(),
            name,
            network,
            nodes: Vec::new(),
            image: self.image.clone(),
            version: String::new(),
            kubeconfig: String::new(),
            times: Times::default(),
            labels: self.labels.clone(),
        };
        let mut ports = vec![Port { container: API_PORT, host: self.api_port }];
        ports.extend(&self.ports);
        let first = cluster.start_node(Role::ControlPlane, 1, ports, &self.mounts);
        let workers =
            (1..=self.workers).map(|n| cluster.start_node(Role::Worker, n, Vec::new(), &self.mounts));
        let (first, workers) = futures::future::try_join(first, try_join_all(workers)).await?;
        cluster.nodes.push(first);
        cluster.nodes.extend(workers);
        laps.lap("start the containers");
        let boots = cluster.nodes.iter().map(|node| node.wait_booted(Duration::from_secs(60)));
        try_join_all(boots).await?;
        laps.lap("boot systemd and containerd");

        cluster.version = version(cluster.control_plane()).await?;
        let loads = self.archives.iter().map(|archive| cluster.load_image(archive));
        futures::future::try_join(cluster.init(), try_join_all(loads)).await?;
        cluster.write_kubeconfig().await?;
        laps.lap("kubeadm init");
        cluster.furnish(self.snapshots).await?;
        let joiners: Vec<_> = cluster.nodes[1..].iter().map(|node| node.name().to_owned()).collect();
        try_join_all(joiners.iter().map(|worker| cluster.join(worker))).await?;
        laps.lap("add-ons and workers");
        cluster.wait_nodes(Duration::from_secs(120)).await?;
        laps.lap("nodes ready");
        let minutes = Duration::from_secs(120);
        cluster.wait_rollout("kube-system", "deployment", "coredns", minutes).await?;
        if self.snapshots {
            cluster.wait_rollout("kube-system", "deployment", "snapshot-controller", minutes).await?;
        }
        laps.lap("names and snapshots");
        cluster.times = laps.end();
        Ok(cluster)
    }
}

impl KindCluster {
    async fn start_node(
        &self,
        role: Role,
        n: usize,
        ports: Vec<Port>,
        mounts: &[HostMount],
    ) -> Result<Node, Error> {
        let number = if n == 1 { String::new() } else { n.to_string() };
        let name = format!("{}-{}{number}", self.name, role.label());
        let mut labels = self.labels.clone();
        labels.insert(mark::CLUSTER.to_owned(), self.name.clone());
        labels.insert(mark::ROLE.to_owned(), role.label().to_owned());
        let mut mounts = mounts.to_vec();
        if Path::new("/lib/modules").exists() || !engine::is_local() {
            let modules = "/lib/modules";
            mounts.push(HostMount { host: modules.into(), container: modules.to_owned(), read_only: true });
        }
        let spec = Spec {
            name,
            image: self.image.name().to_owned(),
            environment: [("KUBECONFIG".to_owned(), kubeadm::ADMIN.to_owned())].into(),
            labels,
            ports,
            mounts,
            tmpfs: vec!["/tmp".to_owned(), "/run".to_owned()],
            volumes: vec!["/var".to_owned()],
            privileged: true,
            node: true,
            ..Spec::default()
        };
        let held = Held::start(&self.run, spec).await?;
        let address = held.address().await?.unwrap_or_default();
        Ok(Node { held, role, address })
    }

    pub(super) async fn start_worker(&self, n: usize) -> Result<Node, Error> {
        let node = self.start_node(Role::Worker, n, Vec::new(), &[]).await?;
        node.wait_booted(Duration::from_secs(60)).await?;
        Ok(node)
    }

    async fn init(&self) -> Result<(), Error> {
        let node = self.control_plane();
        let facts = kubeadm::Facts {
            cluster: &self.name,
            control_plane: node.name(),
            node: node.name(),
            address: node.address(),
            version: &self.version,
            local: self.image == NodeImage::Local,
        };
        node.write(kubeadm::CONFIG, kubeadm::init(&facts)?.as_bytes(), 0o600).await?;
        let command = ["kubeadm", "init", "--config", kubeadm::CONFIG, "--skip-token-print", "--v=1"];
        let said = node.exec(Command::new(command)).await?;
        if said.code == 0 {
            return Ok(());
        }
        let journal = node.journal(Some("kubelet"), 5).await.unwrap_or_default();
        Err(Error::Command {
            container: node.name().to_owned(),
            command: "kubeadm init".to_owned(),
            code: said.code,
            output: format!(
                "{}; the kubelet's last words: {}",
                said.tail(),
                journal.trim().replace('\n', " | ")
            ),
        })
    }

    /// What kubeadm leaves to others: pods on a lone control plane, the network, one CoreDNS, snapshots.
    async fn furnish(&self, snapshots: bool) -> Result<(), Error> {
        let node = self.control_plane();
        let mut script = format!("export KUBECONFIG={}\n", kubeadm::ADMIN);
        if self.nodes.len() == 1 {
            script += "kubectl taint nodes --all node-role.kubernetes.io/control-plane- >&2\n";
        }
        script += "kubectl label nodes --all node.kubernetes.io/exclude-from-external-load-balancers- >&2\n";
        // One replica is enough; a probe each second instead of every ten saves up to ten seconds; and the API server's
        // own address instead of its service's saves the wait for kube-proxy to have made the service's rules.
        script += &format!(
            r#"kubectl -n kube-system patch deployment coredns -p '{{"spec":{{"replicas":1,"template":{{"spec":{{"containers":[{{"name":"coredns",
"env":[{{"name":"KUBERNETES_SERVICE_HOST","value":"{}"}},{{"name":"KUBERNETES_SERVICE_PORT","value":"{API_PORT}"}}],
"readinessProbe":{{"periodSeconds":1}},"resources":{{"requests":{{"cpu":"10m"}}}}}}]}}}}}}}}' >&2
"#,
            node.address()
        );
        let apply = "kubectl apply --server-side --force-conflicts -f - >&2\n";
        let mut input = String::new();
        if let NodeImage::Stock(_) = self.image {
            let cni = node.read("/kind/manifests/default-cni.yaml").await?;
            let cni = kubeadm::stock_network(&String::from_utf8_lossy(&cni), node.name());
            input += &cni;
            if let Ok(storage) = node.read("/kind/manifests/default-storage.yaml").await {
                input = format!("{input}\n---\n{}", String::from_utf8_lossy(&storage));
            }
        }
        if snapshots {
            let mut controller = recipe::SNAPSHOT_CONTROLLER.to_owned();
            if let NodeImage::Stock(_) = self.image {
                let built = recipe::side_programs_archive();
                if built.exists() {
                    self.load_image(&built).await?;
                } else {
                    controller = controller.replace(recipe::SIDE_PROGRAMS_IMAGE, SNAPSHOT_CONTROLLER);
                }
            }
            input = format!("{input}\n---\n{}\n---\n{controller}", recipe::SNAPSHOT_CRDS);
        }
        let mut command = Command::script(script.clone());
        if !input.trim().is_empty() {
            command = Command::script(script + apply).input(input);
        }
        node.exec_ok(command).await.map(drop)
    }

    pub(super) async fn write_kubeconfig(&mut self) -> Result<(), Error> {
        let node = self.control_plane();
        let admin = node.exec_ok(Command::new(["cat", kubeadm::ADMIN])).await?;
        let server = format!("https://127.0.0.1:{}", node.port(API_PORT).await?);
        self.kubeconfig = kubeadm::kubeconfig(&admin.text(), &self.name, Some(&server))?;
        let path = &self.kubeconfig_path;
        let options =
            std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
        options
            .and_then(|mut file| file.write_all(self.kubeconfig.as_bytes()))
            .map_err(Error::file("write", path))
    }

    /// Joins a worker that has booted, and gives its pods their range.
    pub(super) async fn join(&self, worker: &str) -> Result<(), Error> {
        let node = self.node(worker)?;
        let local = self.image == NodeImage::Local;
        let facts = kubeadm::Facts {
            cluster: &self.name,
            control_plane: self.control_plane().name(),
            node: node.name(),
            address: node.address(),
            version: &self.version,
            local,
        };
        node.write(kubeadm::CONFIG, kubeadm::join(&facts)?.as_bytes(), 0o600).await?;
        if local {
            // Without a network configuration the node is not ready, so no pod gets an address of another's range.
            node.exec_ok(Command::script("mv /etc/cni/net.d/10-node.conflist /kind/10-node.conflist"))
                .await?;
        }
        node.exec_ok(Command::new(["kubeadm", "join", "--config", kubeadm::CONFIG, "--v=1"])).await?;
        if local {
            let what = format!("{worker} to get a range for its pods");
            let seen = self
                .wait_for(&what, Duration::from_secs(60), &["node", worker], |seen| {
                    seen["spec"]["podCIDR"].as_str().map(drop).ok_or_else(|| "it has none".to_owned())
                })
                .await?;
            let range = seen["spec"]["podCIDR"].as_str().unwrap_or_default();
            self.route().await?;
            let script = format!(
                "sed 's#{}#{range}#' /kind/10-node.conflist >/etc/cni/net.d/10-node.conflist",
                kubeadm::FIRST_RANGE
            );
            node.exec_ok(Command::script(script)).await?;
        }
        Ok(())
    }

    /// Tells every node the way to the others' pods: the network of the local image has no daemon that would.
    pub(super) async fn route(&self) -> Result<(), Error> {
        if self.image != NodeImage::Local || self.nodes.len() == 1 {
            return Ok(());
        }
        let what = format!("the ranges of the pods of {}", self.name);
        let list = self.wait_for(&what, Duration::from_secs(60), &["nodes"], |_| Ok(())).await?;
        let ranges = list["items"].as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(|node| {
            Some((
                node["metadata"]["name"].as_str()?.to_owned(),
                node["spec"]["podCIDR"].as_str()?.to_owned(),
            ))
        });
        let ranges: BTreeMap<String, String> = ranges.collect();
        for node in self.nodes.iter().filter(|node| ranges.contains_key(node.name())) {
            let others = self.nodes.iter().filter(|other| other.name() != node.name());
            let ways = others.filter_map(|other| {
                Some(format!("ip route replace {} via {}", ranges.get(other.name())?, other.address()))
            });
            let script = ways.collect::<Vec<_>>().join("\n");
            if !script.is_empty() {
                node.exec_ok(Command::script(script)).await?;
            }
        }
        Ok(())
    }
}

async fn version(node: &Node) -> Result<String, Error> {
    let text = String::from_utf8_lossy(&node.read("/kind/version").await?).trim().to_owned();
    kubeadm::minor(&text)?;
    Ok(text)
}

fn check_name(name: &str) -> Result<(), Error> {
    let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let ends = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
    if letters && ends && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(Error::Name { what: "cluster", name: name.to_owned(), length_max: NAME_MAX })
}

/// Times the parts and tells of each.
struct Laps {
    monitor: Monitor,
    of: usize,
    begun: Instant,
    last: Instant,
    times: Times,
}

impl Laps {
    fn new(monitor: Monitor, of: usize) -> Self {
        let now = Instant::now();
        Self { monitor, of, begun: now, last: now, times: Times::default() }
    }

    fn lap(&mut self, what: &'static str) {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        self.times.parts.push((what, took));
        self.monitor.tell(what, self.times.parts.len(), self.of, News::Done(took));
    }

    fn end(mut self) -> Times {
        self.times.total = Instant::now() - self.begun;
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_name_becomes_a_host_name() {
        for good in ["main", "b-2", "a"] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", "a-", "Main", "2nd", "a_b", "a-name-that-is-far-too-long"] {
            let error = check_name(bad).unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{bad}: {error}");
        }
    }
}
