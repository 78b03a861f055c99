//! The server: state, verbs, tap.

use std::sync::Arc;

use serde_json::Value;

use crate::direct::{Delete, Direct, Patch, Selection};
use crate::failure::Failure;
use crate::options::Options;
use crate::service::ApiService;

/// A Kubernetes API server in this process. Clones share one cluster.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Options>,
}

/// What an accepted write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// An object left the store.
    Delete,
}

/// One accepted write, as the tap sees it.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who asked; `garbage-collector` and `namespace-controller` are the server's own actors.
    pub caller: String,
    /// What happened to the stored object.
    pub verb: Verb,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Subresource that was written, or empty.
    pub subresource: String,
    /// Resource kind.
    pub kind: String,
    /// Namespace; empty for objects of the cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The new resourceVersion.
    pub resource_version: u64,
    /// The object after the write (for a deletion: its last state).
    pub object: Arc<Value>,
    /// The object before the write.
    pub previous: Option<Arc<Value>>,
}

impl ApiServer {
    /// Creates a server that holds the namespaces a fresh cluster has (`default`, `kube-system`,
    /// `kube-public`, `kube-node-lease`) and nothing else.
    pub fn new(options: Options) -> Self {
        Self { inner: Arc::new(options) }
    }

    /// Returns a tower service for one caller, to be wrapped as `kube::Client::new(service, "default")`.
    pub fn service(&self, caller: &str) -> ApiService {
        ApiService::new(self.clone(), caller)
    }

    /// Returns the verbs without HTTP for one caller.
    pub fn direct(&self, caller: &str) -> Direct {
        Direct { server: self.clone(), caller: caller.to_owned() }
    }

    /// Calls back for every accepted write, in the order of resourceVersions.
    ///
    /// # Assumptions
    /// The callback runs with the server's lock held; it must not call the server.
    pub fn tap(&self, _callback: impl Fn(&Write) + Send + Sync + 'static) {}

    /// Replaces what a container of a pod has written.
    pub fn set_pod_log(&self, _namespace: &str, _pod: &str, _container: &str, _text: &str) {}

    /// Appends to what a container of a pod has written.
    pub fn append_pod_log(&self, _namespace: &str, _pod: &str, _container: &str, _text: &str) {}

    /// Forgets all watch events: watches and lists from before now answer 410.
    pub fn compact(&self) {}

    /// Returns the newest resourceVersion.
    pub fn resource_version(&self) -> u64 {
        0
    }

    pub(crate) fn direct_get(&self, _caller: &str, _api_version: &str, _kind: &str, _namespace: &str, _name: &str) -> Result<Value, Failure> {
        Err(Failure::internal("no store yet"))
    }
    pub(crate) fn direct_list(&self, _caller: &str, _api_version: &str, _kind: &str, _namespace: &str, _selection: &Selection) -> Result<Vec<Value>, Failure> {
        Err(Failure::internal("no store yet"))
    }
    pub(crate) fn direct_create(&self, _caller: &str, _object: Value) -> Result<Value, Failure> {
        Err(Failure::internal("no store yet"))
    }
    pub(crate) fn direct_update(&self, _caller: &str, _object: Value, _subresource: &str) -> Result<Value, Failure> {
        Err(Failure::internal("no store yet"))
    }
    pub(crate) fn direct_patch(&self, _caller: &str, _at: (&str, &str, &str, &str), _subresource: &str, _patch: Patch) -> Result<Value, Failure> {
        Err(Failure::internal("no store yet"))
    }
    pub(crate) fn direct_delete(&self, _caller: &str, _at: (&str, &str, &str, &str), _options: &Delete) -> Result<(), Failure> {
        Err(Failure::internal("no store yet"))
    }
}
