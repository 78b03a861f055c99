//! Writes whose answers nobody reads.
//!
//! The server answers a write with the whole object as it stands then. Plans are made from a fresh look, never
//! from such an answer, so nothing is made of it here; a refusal is an error as with any other request.
use std::fmt::Debug;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Client, Error, Resource};
use serde::Serialize;
use serde::de::IgnoredAny;

/// The objects of one kind in one namespace, to write to.
#[derive(Clone)]
pub struct Unread {
    client: Client,
    at: Request,
}

impl Unread {
    /// Writes to a kind in a namespace, or to one that belongs to no namespace.
    pub fn of<K: Resource<DynamicType = ()>>(client: &Client, namespace: Option<&str>) -> Self {
        Self { client: client.clone(), at: Request::new(K::url_path(&(), namespace)) }
    }

    /// Creates an object.
    pub async fn create(&self, object: &impl Serialize) -> Result<(), Error> {
        let body = serde_json::to_vec(object).map_err(Error::SerdeError)?;
        self.send(self.at.create(&PostParams::default(), body).map_err(Error::BuildRequest)?).await
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, name: &str, patch: impl Serialize + Debug) -> Result<(), Error> {
        let patch = Patch::Merge(patch);
        self.send(self.at.patch(name, &PatchParams::default(), &patch).map_err(Error::BuildRequest)?).await
    }

    /// Merges a patch into an object's status.
    pub async fn merge_status(&self, name: &str, patch: impl Serialize + Debug) -> Result<(), Error> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let request = self.at.patch_subresource("status", name, &params, &patch);
        self.send(request.map_err(Error::BuildRequest)?).await
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<(), Error> {
        self.send(self.at.delete(name, params).map_err(Error::BuildRequest)?).await
    }

    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<(), Error> {
        self.client.request::<IgnoredAny>(request).await.map(drop)
    }
}
