//! The server as others hold it: one cluster behind one lock, with a tap.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use json::Value;

use crate::convert;
use crate::direct::{Delete, Direct, Patch, Selection};
use crate::failure::Failure;
use crate::options::{Options, Sequencing};
use crate::resource::Resource;
use crate::selector::Selector;
use crate::sequence::Sequencer;
use crate::service::ApiService;
use crate::state::{Call, State};

/// A Kubernetes API server in this process. Clones share one cluster.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    state: Mutex<State>,
    pub sequencer: Sequencer,
    pub options: Options,
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
    /// Who asked; `garbage-collector`, `namespace-controller` and the like are the server's own actors.
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
    /// `kube-public`, `kube-node-lease`), each with its `default` service account and root certificate map.
    pub fn new(options: Options) -> Self {
        let state = Mutex::new(State::new(options.clone()));
        Self { inner: Arc::new(Inner { state, sequencer: Sequencer::default(), options }) }
    }

    /// Returns a tower service for one caller, to be wrapped as `kube::Client::new(service, "default")`.
    pub fn service(&self, caller: &str) -> ApiService {
        ApiService::new(self.clone(), caller)
    }

    /// Returns the verbs without HTTP for one caller.
    pub fn direct(&self, caller: &str) -> Direct {
        Direct { server: self.clone(), caller: caller.to_owned() }
    }

    /// Calls back for every accepted write from now on, in the order of resourceVersions.
    ///
    /// # Assumptions
    /// The callback runs with the server's lock held; it must not call the server.
    pub fn tap(&self, callback: impl Fn(&Write) + Send + Sync + 'static) {
        self.lock().tap(Arc::new(callback));
    }

    /// Replaces what a container of a pod has written.
    pub fn set_pod_log(&self, namespace: &str, pod: &str, container: &str, text: &str) {
        let key = (namespace.to_owned(), pod.to_owned(), container.to_owned());
        self.lock().logs.insert(key, text.to_owned());
    }

    /// Appends to what a container of a pod has written.
    pub fn append_pod_log(&self, namespace: &str, pod: &str, container: &str, text: &str) {
        let key = (namespace.to_owned(), pod.to_owned(), container.to_owned());
        self.lock().logs.entry(key).or_default().push_str(text);
    }

    /// Forgets all watch events: watches and paged lists from before now answer 410. Running watches go on.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    /// Returns the newest resourceVersion.
    pub fn resource_version(&self) -> u64 {
        self.lock().store.version
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a tap or an admission plug-in leaves the state whole: each verb commits at its end.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands what writes have set in motion to whoever performs it.
    pub(crate) fn settle(&self) {
        match self.inner.options.sequencing {
            Sequencing::Tick(tick) if tokio::runtime::Handle::try_current().is_ok() => {
                let work: Vec<_> = self.lock().work.drain(..).collect();
                if !work.is_empty() {
                    self.inner.sequencer.enqueue_work(self, tick, work);
                }
            }
            _ => {
                let mut state = self.lock();
                while let Some(work) = state.work.pop_front() {
                    state.perform(&work);
                }
            }
        }
    }

    fn with<T>(
        &self,
        caller: &str,
        (api_version, kind): (&str, &str),
        act: impl FnOnce(&mut State, &mut Call, &Arc<Resource>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = {
            let mut state = self.lock();
            let resource = state.resource(api_version, kind)?;
            act(&mut state, &mut Call::new(caller), &resource)
        };
        self.settle();
        result
    }

    pub(crate) fn direct_get(&self, at: (&str, &str, &str, &str)) -> Result<Arc<Value>, Failure> {
        let (api_version, kind, namespace, name) = at;
        let state = self.lock();
        let resource = state.resource(api_version, kind)?;
        let stored = state.get(&resource, namespace, name)?;
        Ok(convert::shared(&resource, &stored.value))
    }

    pub(crate) fn direct_list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        selection: &Selection,
    ) -> Result<Vec<Arc<Value>>, Failure> {
        let state = self.lock();
        let resource = state.resource(api_version, kind)?;
        let selector = Selector::parse(&resource, namespace, &selection.labels, &selection.fields)?;
        let selected = state.store.shelves[resource.shelf].select(&selector);
        Ok(selected.map(|(_, stored)| convert::shared(&resource, &stored.value)).collect())
    }

    pub(crate) fn direct_create(&self, caller: &str, object: Value) -> Result<Arc<Value>, Failure> {
        let (api_version, kind, namespace, _) = address(&object);
        self.with(caller, (&api_version, &kind), |state, call, resource| {
            let stored = state.create(call, resource, &namespace, object)?;
            Ok(convert::shared(resource, &stored.value))
        })
    }

    pub(crate) fn direct_update(
        &self,
        caller: &str,
        object: Value,
        subresource: &str,
    ) -> Result<Arc<Value>, Failure> {
        let (api_version, kind, namespace, name) = address(&object);
        self.with(caller, (&api_version, &kind), |state, call, resource| {
            let stored = state.update(call, resource, (&namespace, &name), subresource, object)?;
            Ok(convert::shared(resource, &stored.value))
        })
    }

    pub(crate) fn direct_patch(
        &self,
        caller: &str,
        at: (&str, &str, &str, &str),
        subresource: &str,
        patch: Patch,
    ) -> Result<Arc<Value>, Failure> {
        let (api_version, kind, namespace, name) = at;
        self.with(caller, (api_version, kind), |state, call, resource| {
            let stored = state.patch(call, resource, (namespace, name), subresource, patch)?;
            Ok(convert::shared(resource, &stored.value))
        })
    }

    pub(crate) fn direct_delete(
        &self,
        caller: &str,
        at: (&str, &str, &str, &str),
        options: &Delete,
    ) -> Result<(), Failure> {
        let (api_version, kind, namespace, name) = at;
        self.with(caller, (api_version, kind), |state, call, resource| {
            state.delete(call, resource, (namespace, name), options).map(drop)
        })
    }
}

fn address(object: &Value) -> (String, String, String, String) {
    let text = |path: &[&str]| crate::access::text(object, path).to_owned();
    (text(&["apiVersion"]), text(&["kind"]), text(&["metadata", "namespace"]), text(&["metadata", "name"]))
}
