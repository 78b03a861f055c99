//! What a plan consists of: the acts that a reconcile then carries out, in order.
//!
//! Plain data. Nothing here talks to an API server; `execute` does.
use std::time::Duration;

use api::crd::{ReplicationDestinationStatus, ReplicationSourceStatus, SyncStatus};
use api::{KopiaMaintenanceStatus, VolumeSnapshot};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde_json::Value;

use crate::metrics::Measure;
use crate::obstacle::Obstacle;

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Creates an object.
    Create(Box<Object>),
    /// Merges a patch into an object.
    Patch {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The merge patch.
        patch: Value,
    },
    /// Deletes an object, in the background; one that is gone already is fine.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Only this one.
        uid: Option<String>,
        /// Only in this version (VolumeSnapshots at the end of a sync).
        resource_version: Option<String>,
    },
    /// Tells about the object that the reconcile is about.
    Event {
        /// Whether it is a warning.
        warning: bool,
        /// A word for machines.
        reason: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// Counts something.
    Measure(Measure),
    /// Writes the status.
    Status(Box<Status>),
    /// Comes back after a while.
    Requeue(Duration),
    /// Looks and plans again at once.
    Again,
    /// Ends the reconcile as failed; it is retried with back-off.
    Fail(Obstacle),
}

impl Act {
    /// Creates an object.
    pub fn create(object: impl Into<Object>) -> Self {
        Self::Create(Box::new(object.into()))
    }
    /// A normal event.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Event { warning: false, reason, message: message.into() }
    }
    /// A warning.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Event { warning: true, reason, message: message.into() }
    }
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Of a ReplicationSource.
    Source(ReplicationSourceStatus),
    /// Of a ReplicationDestination.
    Destination(ReplicationDestinationStatus),
    /// Of a KopiaMaintenance.
    Maintenance(KopiaMaintenanceStatus),
}

impl Status {
    /// The part that replication objects share.
    pub fn sync_mut(&mut self) -> Option<&mut SyncStatus> {
        match self {
            Self::Source(status) => Some(&mut status.sync),
            Self::Destination(status) => Some(&mut status.sync),
            Self::Maintenance(_) => None,
        }
    }
}

/// Kinds that acts name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A PersistentVolumeClaim.
    Claim,
    /// A PersistentVolume.
    Volume,
    /// A VolumeSnapshot.
    Snapshot,
    /// A Job.
    Job,
    /// A CronJob.
    CronJob,
    /// A KopiaMaintenance.
    Maintenance,
}

/// An object to be created; always boxed in an [`Act`].
#[expect(clippy::large_enum_variant, reason = "held in a box, one at a time")]
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A claim.
    Claim(PersistentVolumeClaim),
    /// A VolumeSnapshot.
    Snapshot(VolumeSnapshot),
    /// A ServiceAccount.
    Account(ServiceAccount),
    /// A Role.
    Role(Role),
    /// A RoleBinding.
    Binding(RoleBinding),
    /// A Job.
    Job(Job),
    /// A CronJob.
    CronJob(CronJob),
}

macro_rules! objects {
    ($($variant:ident($kind:ty)),*) => {
        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$variant(object)
            }
        })*
    };
}
objects!(
    Claim(PersistentVolumeClaim),
    Snapshot(VolumeSnapshot),
    Account(ServiceAccount),
    Role(Role),
    Binding(RoleBinding),
    Job(Job),
    CronJob(CronJob)
);

impl Object {
    /// Kind and name, for logs and tests.
    pub fn describe(&self) -> String {
        let (kind, metadata) = match self {
            Self::Claim(object) => ("PersistentVolumeClaim", &object.metadata),
            Self::Snapshot(object) => ("VolumeSnapshot", &object.metadata),
            Self::Account(object) => ("ServiceAccount", &object.metadata),
            Self::Role(object) => ("Role", &object.metadata),
            Self::Binding(object) => ("RoleBinding", &object.metadata),
            Self::Job(object) => ("Job", &object.metadata),
            Self::CronJob(object) => ("CronJob", &object.metadata),
        };
        format!("{kind}/{}", metadata.name.as_deref().unwrap_or_default())
    }
}
