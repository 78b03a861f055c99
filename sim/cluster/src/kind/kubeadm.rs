//! What kubeadm is told, and the kubeconfig it leaves, as text.
//!
//! Pure functions: versions and addresses in, documents out. The values follow kind where a node image of kind must
//! work; what differs for the locally built image (its own image names, Debian's etcd) is marked.

use serde_json::Value;

use crate::{Error, recipe};

/// Where the administrator's kubeconfig lies on the control plane.
pub(super) const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// Where kubeadm finds what it is told.
pub(super) const CONFIG: &str = "/kind/kubeadm.conf";
/// The pods' addresses on the first node, as in the local image's network configuration.
pub(super) const FIRST_RANGE: &str = "10.244.0.0/24";
const POD_RANGE: &str = "10.244.0.0/16";
const TOKEN: &str = "abcdef.0123456789abcdef";
/// The oldest minor version of Kubernetes whose kubeadm reads the form of configuration written here.
const MINOR_MIN: u32 = 31;

/// What a configuration depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub cluster: &'a str,
    pub control_plane: &'a str,
    pub node: &'a str,
    pub address: &'a str,
    pub version: &'a str,
    pub local: bool,
}

/// The minor version in a text such as `v1.34.10`.
pub(super) fn minor(version: &str) -> Result<u32, Error> {
    let parsed = version.strip_prefix("v1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    match parsed {
        Some(minor) if minor >= MINOR_MIN => Ok(minor),
        Some(_) => Err(Error::Unreadable {
            what: format!("the configuration of Kubernetes {version}"),
            detail: format!("nodes of 1.{MINOR_MIN} or newer are supported"),
        }),
        None => Err(Error::Unreadable {
            what: "the node's /kind/version".to_owned(),
            detail: format!("{version:?} is not a version: is this a node image?"),
        }),
    }
}

/// The documents for `kubeadm init`.
///
/// The controller manager starts its fifty controllers under its client's limit of requests; a higher one saves three
/// seconds of every start. etcd need not survive a power cut: a test cluster is thrown away.
pub(super) fn init(facts: &Facts<'_>) -> Result<String, Error> {
    let Facts { cluster, control_plane, address, version, .. } = facts;
    let minor = minor(version)?;
    let images = if facts.local {
        format!("imageRepository: {}\ndns: {{imageTag: {}}}\n", recipe::REPOSITORY, recipe::COREDNS_TAG)
    } else {
        String::new()
    };
    let etcd_tag = if facts.local { format!("    imageTag: {}\n", recipe::ETCD_TAG) } else { String::new() };
    // From 1.36 on the API server serves mutating admission policies by itself.
    let policies = if minor < 36 {
        let served = if minor < 34 { "v1alpha1" } else { "v1beta1" };
        format!(
            "  extraArgs:\n  - {{name: feature-gates, value: MutatingAdmissionPolicy=true}}\n  - {{name: runtime-config, value: admissionregistration.k8s.io/{served}=true}}\n"
        )
    } else {
        String::new()
    };
    let node = node_registration(facts);
    Ok(format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
clusterName: {cluster}
controlPlaneEndpoint: {control_plane}:6443
{images}etcd:
  local:
{etcd_tag}    extraArgs:
    - {{name: unsafe-no-fsync, value: \"true\"}}
apiServer:
  certSANs: [localhost, 127.0.0.1, {control_plane}]
{policies}controllerManager:
  extraArgs:
  - {{name: enable-hostpath-provisioner, value: \"true\"}}
  - {{name: leader-elect, value: \"false\"}}
  - {{name: kube-api-qps, value: \"200\"}}
  - {{name: kube-api-burst, value: \"400\"}}
scheduler:
  extraArgs:
  - {{name: leader-elect, value: \"false\"}}
networking: {{podSubnet: {POD_RANGE}, serviceSubnet: 10.96.0.0/16}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{{token: {TOKEN}}}]
localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 6443}}
{node}skipPhases: [preflight]
---
{KUBELET}---
{PROXY}"
    ))
}

/// The document for `kubeadm join` of a worker.
pub(super) fn join(facts: &Facts<'_>) -> Result<String, Error> {
    minor(facts.version)?;
    let node = node_registration(facts);
    Ok(format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
{node}discovery:
  bootstrapToken: {{apiServerEndpoint: \"{}:6443\", token: {TOKEN}, unsafeSkipCAVerification: true}}
skipPhases: [preflight]
",
        facts.control_plane
    ))
}

fn node_registration(facts: &Facts<'_>) -> String {
    format!(
        "nodeRegistration:
  criSocket: unix:///run/containerd/containerd.sock
  kubeletExtraArgs:
  - {{name: node-ip, value: {}}}
  - {{name: provider-id, value: \"kind://docker/{}/{}\"}}
",
        facts.address, facts.cluster, facts.node
    )
}

/// No out-of-memory scores and open files below what a machine without CAP_SYS_RESOURCE may set; cgroup v1 is welcome;
/// nothing is evicted or collected for want of disk, because images cannot be pulled again.
const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
cgroupRoot: /kubelet
failSwapOn: false
failCgroupV1: false
oomScoreAdj: 0
maxOpenFiles: 20000
serializeImagePulls: true
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: \"0%\", nodefs.inodesFree: \"0%\", imagefs.available: \"0%\"}
";

const PROXY: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
iptables: {minSyncPeriod: 1s}
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
";

/// The administrator's kubeconfig with our names, for clients elsewhere when a server is given.
pub(super) fn kubeconfig(admin: &str, cluster: &str, server: Option<&str>) -> Result<String, Error> {
    let unreadable = |detail: String| Error::Unreadable { what: ADMIN.to_owned(), detail };
    let mut config: Value = serde_saphyr::from_str(admin).map_err(|error| unreadable(error.to_string()))?;
    for list in ["clusters", "users", "contexts"] {
        let items = config[list].as_array_mut().filter(|items| items.len() == 1);
        let items = items.ok_or_else(|| unreadable(format!("it has not exactly one of {list}")))?;
        items[0]["name"] = cluster.into();
    }
    config["contexts"][0]["context"]["cluster"] = cluster.into();
    config["contexts"][0]["context"]["user"] = cluster.into();
    config["current-context"] = cluster.into();
    if let Some(server) = server {
        config["clusters"][0]["cluster"]["server"] = server.into();
    }
    serde_saphyr::to_string(&config).map_err(|error| unreadable(error.to_string()))
}

/// Fills what a stock image leaves open in its network manifest.
pub(super) fn stock_network(manifest: &str, control_plane: &str) -> String {
    let filled = manifest.replace("{{ .PodSubnet }}", POD_RANGE).replace("{{.PodSubnet}}", POD_RANGE);
    if !manifest.contains("would you kindly patch this file") {
        return filled;
    }
    // The DaemonSet's first list of variables gets one more, at the list's own indentation.
    let Some(line) = filled.lines().find(|line| line.trim() == "env:") else { return filled };
    let indent = &line[..line.len() - line.trim_start().len()];
    let variable =
        format!("{line}\n{indent}- name: CONTROL_PLANE_ENDPOINT\n{indent}  value: {control_plane}:6443");
    filled.replacen(line, &variable, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str, local: bool) -> Facts<'_> {
        Facts {
            cluster: "c",
            control_plane: "c-control-plane",
            node: "c-worker",
            address: "172.18.0.3",
            version,
            local,
        }
    }

    fn documents(text: &str) -> Vec<Value> {
        text.split("---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    }

    #[test]
    fn init_is_five_documents_without_preflight() {
        let documents = documents(&init(&facts("v1.34.10", true)).unwrap());
        let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            ["ClusterConfiguration", "InitConfiguration", "KubeletConfiguration", "KubeProxyConfiguration"]
        );
        assert_eq!(documents[0]["etcd"]["local"]["imageTag"], recipe::ETCD_TAG);
        assert_eq!(documents[0]["imageRepository"], "kind.local");
        assert_eq!(
            documents[0]["apiServer"]["extraArgs"][1]["value"],
            "admissionregistration.k8s.io/v1beta1=true"
        );
        assert_eq!(documents[1]["skipPhases"][0], "preflight");
        assert_eq!(documents[1]["localAPIEndpoint"]["advertiseAddress"], "172.18.0.3");
    }

    #[test]
    fn a_stock_image_keeps_its_own_images_and_a_new_one_needs_no_gate() {
        let documents = documents(&init(&facts("v1.36.1", false)).unwrap());
        assert!(documents[0].get("imageRepository").is_none());
        assert!(documents[0].get("dns").is_none());
        assert!(documents[0]["apiServer"].get("extraArgs").is_none());
        assert!(init(&facts("v1.30.0", false)).unwrap_err().to_string().contains("1.31 or newer"));
        assert!(init(&facts("nonsense", false)).unwrap_err().to_string().contains("node image"));
    }

    #[test]
    fn a_worker_joins_by_name() {
        let documents = documents(&join(&facts("v1.34.10", true)).unwrap());
        assert_eq!(documents[0]["discovery"]["bootstrapToken"]["apiServerEndpoint"], "c-control-plane:6443");
        assert_eq!(
            documents[0]["nodeRegistration"]["kubeletExtraArgs"][1]["value"],
            "kind://docker/c/c-worker"
        );
    }

    #[test]
    fn a_kubeconfig_gets_our_names_and_the_published_port() {
        let admin = "apiVersion: v1
kind: Config
clusters: [{name: kubernetes, cluster: {server: 'https://c-control-plane:6443', certificate-authority-data: QQ==}}]
users: [{name: kubernetes-admin, user: {client-key-data: QQ==}}]
contexts: [{name: kubernetes-admin@kubernetes, context: {cluster: kubernetes, user: kubernetes-admin}}]
current-context: kubernetes-admin@kubernetes
";
        let text = kubeconfig(admin, "c", Some("https://127.0.0.1:4711")).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:4711");
        assert_eq!(config["contexts"][0]["context"]["user"], "c");
        assert_eq!(config["current-context"], "c");
        assert!(kubeconfig("clusters: []", "c", None).is_err());
    }

    #[test]
    fn a_stock_network_is_filled_in() {
        let manifest = "# would you kindly template this file\n# would you kindly patch this file\nspec:\n  containers:\n  - env:\n    x: 1\n    env:\n    - name: POD_SUBNET\n      value: {{ .PodSubnet }}\n";
        let filled = stock_network(manifest, "cp");
        assert!(filled.contains("value: 10.244.0.0/16"));
        assert!(filled.contains("    - name: CONTROL_PLANE_ENDPOINT\n      value: cp:6443"), "{filled}");
    }
}
