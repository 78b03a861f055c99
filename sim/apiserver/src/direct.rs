//! The server without HTTP: the same verbs, on plain JSON, answered at once.
//!
//! For the actors of a bed (kubelet, binder, provisioner) and for tests. Every call takes the same path as
//! a request over HTTP (defaulting, admission, validation, tap), except the sequencer: a caller that
//! already runs in a fixed order does not need one. Never waits; never watches.

use std::sync::Arc;

use json::Value;

use crate::failure::Failure;
use crate::server::ApiServer;

/// A patch body with its format.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' strategic merge patch.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// The applied configuration.
        object: Value,
        /// The field manager.
        manager: String,
        /// Take over fields that other managers own.
        force: bool,
    },
}

/// Label and field selectors of a list, as clients spell them; empty selects all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// As in `app=a,tier in (x, y),!old`.
    pub labels: String,
    /// As in `status.phase=Running,metadata.name!=x`.
    pub fields: String,
}

impl Selection {
    /// Selects everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Selects by labels.
    pub fn labels(labels: impl Into<String>) -> Self {
        Self { labels: labels.into(), fields: String::new() }
    }

    /// Selects by fields.
    pub fn fields(fields: impl Into<String>) -> Self {
        Self { labels: String::new(), fields: fields.into() }
    }
}

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes at once, its dependents afterwards.
    Background,
    /// The object stays until the dependents that block it are gone.
    Foreground,
    /// The dependents lose the reference and stay.
    Orphan,
}

/// Options of a deletion.
#[derive(Debug, Clone, Default)]
pub struct Delete {
    /// Refuse unless the object has this uid.
    pub uid: Option<String>,
    /// Refuse unless the object has this resourceVersion.
    pub resource_version: Option<String>,
    /// What becomes of dependents; the resource's default when absent.
    pub propagation: Option<Propagation>,
    /// Seconds that a pod gets to end; zero deletes at once.
    pub grace_period_seconds: Option<i64>,
    /// Check everything, change nothing.
    pub dry_run: bool,
}

/// The verbs for one caller; made by [`ApiServer::direct`].
#[derive(Clone)]
pub struct Direct {
    pub(crate) server: ApiServer,
    pub(crate) caller: String,
}

impl Direct {
    /// Reads one object. `namespace` is empty for objects of the cluster.
    pub fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, Failure> {
        self.server.direct_get((api_version, kind, namespace, name))
    }

    /// Reads the selected objects in the order of namespace and name; an empty namespace reads all of them.
    pub fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        selection: &Selection,
    ) -> Result<Vec<Arc<Value>>, Failure> {
        self.server.direct_list(api_version, kind, namespace, selection)
    }

    /// Creates an object.
    pub fn create(&self, object: Value) -> Result<Arc<Value>, Failure> {
        self.server.direct_create(&self.caller, object)
    }

    /// Replaces an object; a `metadata.resourceVersion` in it must be the stored one.
    pub fn update(&self, object: Value) -> Result<Arc<Value>, Failure> {
        self.server.direct_update(&self.caller, object, "")
    }

    /// Replaces the status of an object.
    pub fn update_status(&self, object: Value) -> Result<Arc<Value>, Failure> {
        self.server.direct_update(&self.caller, object, "status")
    }

    /// Patches an object, or with a non-empty `subresource` that part of it (`status`, `scale`).
    pub fn patch(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Patch,
    ) -> Result<Arc<Value>, Failure> {
        self.server.direct_patch(&self.caller, (api_version, kind, namespace, name), subresource, patch)
    }

    /// Deletes an object: it goes at once, or gets a `deletionTimestamp` while finalizers hold it.
    pub fn delete(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        options: &Delete,
    ) -> Result<(), Failure> {
        self.server.direct_delete(&self.caller, (api_version, kind, namespace, name), options)
    }
}
