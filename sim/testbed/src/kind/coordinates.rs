//! Where a prepared cluster is, and what stands in and beside it: what a run hands to each of its scenarios.
//!
//! Plain data. Who prepared the cluster (a fixture, or a person) fills it in; what is missing here makes the
//! steps that need it unsupported.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The namespace that marks a cluster as one for fire drills, if it carries [`MARK`].
pub const MARKED: &str = "firedrill-drills";
/// The label of [`MARKED`]; its value is `allowed`.
pub const MARK: &str = "firedrill.dev/drills";
/// The ConfigMap in [`MARKED`] that tells what stands in and beside the cluster, as JSON under this key too.
pub const COORDINATES: &str = "coordinates";

/// Where a prepared cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coordinates {
    /// `kind` or `attached`.
    pub bed: String,
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
    /// Its context; the current one if not said.
    pub context: Option<String>,
    /// Names of the containers that are nodes; none where the nodes are not ours.
    pub nodes: Vec<String>,
    /// Image of the hand that carries trees, present on every node.
    pub hand_image: String,
    /// Where the subject runs.
    pub subject: SubjectPlace,
    /// The object store for repositories.
    pub store: Option<ObjectStore>,
    /// An object store that answers over TLS only.
    pub tls_store: Option<ObjectStore>,
    /// The NFS server for repositories.
    pub nas: Option<Nas>,
    /// CSI drivers that faults can be told to.
    pub drivers: Vec<Driver>,
    /// A machine beside the cluster that has never seen a repository.
    pub elsewhere: Option<Machine>,
}

/// Where the subject runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectPlace {
    /// Namespace of its controller.
    pub namespace: String,
    /// Deployment of its controller.
    pub deployment: String,
    /// `key=value` that its pods carry.
    pub selector: String,
    /// Port of its metrics page.
    pub metrics_port: u16,
}

/// An object store as three sides reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectStore {
    /// Host and port as this machine reaches it.
    pub outside: String,
    /// Host and port as pods reach it; through the proxy, if there is one.
    pub inside: String,
    /// Host and port as other containers reach it, past the proxy.
    pub straight: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Name of its container.
    pub container: String,
    /// Name of the container of the proxy in front of it; empty if there is none.
    pub proxy: String,
    /// The authority that vouches for it, PEM; empty if it speaks plain HTTP.
    pub authority: String,
}

/// A machine of its own, with an empty cache: a container with our programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Name of its container.
    pub container: String,
    /// Where Kopia itself is in it; empty if whoever prepared it had none.
    pub kopia: String,
}

/// An NFS server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nas {
    /// Name or address as nodes reach it.
    pub server: String,
    /// Name of its container.
    pub container: String,
    /// The directory in the container that is served.
    pub directory: String,
    /// The path under which clients mount it.
    pub export: String,
}

/// A CSI driver of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Driver {
    /// Its name, as in `provisioner`.
    pub name: String,
    /// The character it plays: `rbd`, `cephfs`, `hostpath`.
    pub character: String,
    /// Namespace of its pods.
    pub namespace: String,
    /// `key=value` that its pods carry.
    pub selector: String,
    /// Container of the pod in which its control program runs.
    pub container: String,
}
