//! Carries a plan out: the only place that writes to the cluster.
//!
//! Acts are carried out in order; the first that fails ends the plan. An object that exists already or is
//! gone already is no failure of the plan, only a reason to look again.
use std::time::Duration;

use api::{KopiaMaintenance, ReplicationDestination, ReplicationSource, VolumeSnapshot};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource};
use serde::Serialize;
use serde_json::Value;

use crate::act::{Act, Kind, Object, Status};
use crate::event::{Note, Recorder};
use crate::metrics::{About, Metrics};
use crate::obstacle::Obstacle;
use crate::unread::Unread;

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan itself ends in an obstacle.
    #[error("the object cannot be synchronised")]
    Obstacle(#[source] Obstacle),
    /// The cluster refused.
    #[error("the cluster refused")]
    Cluster(#[source] kube::Error),
}

impl Error {
    /// Whether somebody else changed the object meanwhile, so that a second look suffices.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Cluster(kube::Error::Api(status)) if status.code == 409)
    }

    /// What the cluster said, for a condition.
    pub fn message(&self) -> String {
        match self {
            Self::Obstacle(obstacle) => obstacle.to_string(),
            Self::Cluster(kube::Error::Api(status)) => status.message.clone(),
            Self::Cluster(error) => error.to_string(),
        }
    }
}

/// What a carried-out plan asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// Look again at once.
    pub again: bool,
    /// Look again after this.
    pub after: Option<Duration>,
}

/// The hands of a reconcile.
pub struct Hands<'a> {
    /// The cluster.
    pub client: &'a Client,
    /// Where acts happen.
    pub namespace: &'a str,
    /// What events are about.
    pub about: &'a ObjectReference,
    /// Name and version of the object whose status is written.
    pub name: &'a str,
    /// The version that the plan was made for.
    pub resource_version: Option<String>,
    /// Writes events.
    pub recorder: &'a Recorder,
    /// Counts.
    pub metrics: &'a Metrics,
    /// What is counted.
    pub measured: Option<&'a About>,
    /// The status as it was read, to leave an unchanged one alone.
    pub known_status: Option<Value>,
    /// The present instant.
    pub now: Timestamp,
}

impl Hands<'_> {
    /// Carries a plan out.
    pub async fn carry_out(&self, acts: Vec<Act>) -> Result<Next, Error> {
        let mut next = Next::default();
        for act in acts {
            match act {
                Act::Create(object) => self.create(*object).await?,
                Act::Patch { kind, name, patch } => self.patch(kind, &name, patch).await?,
                Act::Delete { kind, name, uid, resource_version } => {
                    self.delete(kind, &name, uid, resource_version).await?;
                }
                Act::Event { warning, reason, message } => {
                    self.recorder.publish(self.about, Note { warning, reason, message }, self.now).await;
                }
                Act::Measure(measure) => {
                    if let Some(about) = self.measured {
                        self.metrics.count(about, &measure);
                    }
                }
                Act::Status(status) => self.status(&status).await?,
                Act::Requeue(after) => next.after = Some(after),
                Act::Again => next.again = true,
                Act::Fail(obstacle) => return Err(Error::Obstacle(obstacle)),
            }
        }
        Ok(next)
    }

    async fn create(&self, object: Object) -> Result<(), Error> {
        match object {
            Object::Claim(object) => self.create_one(&object).await,
            Object::Snapshot(object) => self.create_one(&object).await,
            Object::Account(object) => self.create_one(&object).await,
            Object::Role(object) => self.create_one(&object).await,
            Object::Binding(object) => self.create_one(&object).await,
            Object::Job(object) => self.create_one(&object).await,
            Object::CronJob(object) => self.create_one(&object).await,
        }
        .map_err(Error::Cluster)
    }

    async fn create_one<K: Resource<DynamicType = ()> + Serialize>(
        &self,
        object: &K,
    ) -> Result<(), kube::Error> {
        Unread::of::<K>(self.client, Some(self.namespace)).create(object).await
    }

    async fn patch(&self, kind: Kind, name: &str, patch: Value) -> Result<(), Error> {
        match kind {
            Kind::Claim => self.patch_one::<PersistentVolumeClaim>(name, patch).await,
            Kind::Snapshot => self.patch_one::<VolumeSnapshot>(name, patch).await,
            Kind::Job => self.patch_one::<Job>(name, patch).await,
            Kind::CronJob => self.patch_one::<CronJob>(name, patch).await,
            Kind::Maintenance => self.patch_one::<KopiaMaintenance>(name, patch).await,
            Kind::Volume => Unread::of::<PersistentVolume>(self.client, None).merge(name, patch).await,
        }
        .map_err(Error::Cluster)
    }

    async fn patch_one<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        patch: Value,
    ) -> Result<(), kube::Error> {
        Unread::of::<K>(self.client, Some(self.namespace)).merge(name, patch).await
    }

    async fn delete(
        &self,
        kind: Kind,
        name: &str,
        uid: Option<String>,
        resource_version: Option<String>,
    ) -> Result<(), Error> {
        let preconditions =
            (uid.is_some() || resource_version.is_some()).then_some(Preconditions { uid, resource_version });
        let params = DeleteParams {
            preconditions,
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let result = match kind {
            Kind::Claim => self.delete_one::<PersistentVolumeClaim>(name, &params).await,
            Kind::Snapshot => self.delete_one::<VolumeSnapshot>(name, &params).await,
            Kind::Job => self.delete_one::<Job>(name, &params).await,
            Kind::CronJob => self.delete_one::<CronJob>(name, &params).await,
            Kind::Maintenance => self.delete_one::<KopiaMaintenance>(name, &params).await,
            Kind::Volume => Unread::of::<PersistentVolume>(self.client, None).delete(name, &params).await,
        };
        match result {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map_err(Error::Cluster),
        }
    }

    async fn delete_one<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        params: &DeleteParams,
    ) -> Result<(), kube::Error> {
        Unread::of::<K>(self.client, Some(self.namespace)).delete(name, params).await
    }

    /// Writes a status, as a whole and against the version that was read; an unchanged one is left alone.
    pub async fn status(&self, status: &Status) -> Result<(), Error> {
        match status {
            Status::Source(status) => self.status_of::<ReplicationSource>(status).await,
            Status::Destination(status) => self.status_of::<ReplicationDestination>(status).await,
            Status::Maintenance(status) => self.status_of::<KopiaMaintenance>(status).await,
        }
    }

    async fn status_of<K: Resource<DynamicType = ()>>(&self, status: &impl Serialize) -> Result<(), Error> {
        let wanted = serde_json::to_value(status).unwrap_or_default();
        if self.known_status.as_ref() == Some(&wanted) {
            return Ok(());
        }
        // A merge patch would keep what is to be removed; absent fields are therefore nulled by name.
        let mut patch = wanted.clone();
        if let (Some(known), Some(patch)) = (self.known_status.as_ref(), patch.as_object_mut()) {
            remove_absent(known, patch);
        }
        let body = serde_json::json!({
            "metadata": {"resourceVersion": self.resource_version},
            "status": patch,
        });
        let objects = Unread::of::<K>(self.client, Some(self.namespace));
        objects.merge_status(self.name, body).await.map_err(Error::Cluster)
    }
}

/// Nulls what was known and is not wanted any more, in all depths.
fn remove_absent(known: &Value, wanted: &mut serde_json::Map<String, Value>) {
    let Some(known) = known.as_object() else { return };
    for (key, value) in known {
        match wanted.get_mut(key) {
            None => {
                wanted.insert(key.clone(), Value::Null);
            }
            Some(Value::Object(below)) => remove_absent(value, below),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_wanted_any_more_is_nulled() {
        let known = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1]});
        let mut wanted = json!({"b": {"c": 1}, "e": [2]});
        remove_absent(&known, wanted.as_object_mut().expect("an object"));
        assert_eq!(wanted, json!({"a": null, "b": {"c": 1, "d": null}, "e": [2]}));
    }
}
