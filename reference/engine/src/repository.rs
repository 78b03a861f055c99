//! The façade: one open repository and the verbs on it.
//!
//! Signatures are final; bodies that still answer [`Error::UnsupportedFeature`] are being filled in.

use crate::{
    context::Context,
    error::Error,
    format::{CreateOptions, Format, UniqueId},
    maintain::{MaintenanceInfo, MaintenanceKind, MaintenanceReport, Safety},
    manifest,
    monitor::Monitor,
    policy::{Policy, PolicyTarget},
    restore::{Mismatch, RestoreOptions, Restored},
    snapshot::{Backup, BackupOptions, Filter, Snapshot, Source},
    store::SharedStore,
    tree::{Path, ReadTree, WriteTree},
    verify::{VerifyOptions, VerifyReport},
};

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    unique_id: UniqueId,
    format: Format,
}

fn unbuilt<T>() -> Result<T, Error> {
    Err(Error::UnsupportedFeature { feature: "a part of the engine that is being built".to_owned() })
}

#[expect(clippy::unused_async, reason = "signatures are published before the bodies")]
impl Repository {
    /// Creates a repository in an empty location and opens it.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] when any blob lists, or when another creator was faster.
    pub async fn create(store: SharedStore, password: &str, options: CreateOptions, context: Context) -> Result<Self, Error> {
        let _ = (store, password, options, context);
        unbuilt()
    }
    /// Opens a repository.
    ///
    /// # Errors
    /// [`Error::NotARepository`], [`Error::ForeignData`], [`Error::WrongPassword`],
    /// [`Error::CorruptFormat`], [`Error::CorruptIndex`], [`Error::Locked`],
    /// [`Error::UnsupportedFeature`], [`Error::Store`]. Never creates anything.
    pub async fn open(store: SharedStore, password: &str, context: Context) -> Result<Self, Error> {
        let _ = (store, password, context);
        unbuilt()
    }
    /// What tells this repository from every other.
    pub fn unique_id(&self) -> &UniqueId {
        &self.unique_id
    }
    /// What it is made with.
    pub fn format(&self) -> &Format {
        &self.format
    }
    /// Looks at the store again: what others wrote since becomes visible.
    pub async fn refresh(&self) -> Result<(), Error> {
        unbuilt()
    }
    /// Lists snapshots, by source and then by start time.
    pub async fn snapshots(&self, filter: &Filter) -> Result<Vec<Snapshot>, Error> {
        let _ = filter;
        unbuilt()
    }
    /// Takes a snapshot of a tree. Unchanged files of earlier snapshots of the source are not read.
    ///
    /// # Errors
    /// Only what makes a snapshot impossible; unreadable entries are in [`Backup::errors`].
    pub async fn backup(&self, source: &Source, tree: &dyn ReadTree, options: &BackupOptions, monitor: &dyn Monitor) -> Result<Backup, Error> {
        let _ = (source, tree, options, monitor);
        unbuilt()
    }
    /// Restores a snapshot, or the part of it below `at` (the root path for all of it).
    ///
    /// # Guarantees
    /// Returns only after `sync` of the tree succeeded; its failure is the restore's failure.
    pub async fn restore(
        &self,
        snapshot: &Snapshot,
        at: &Path,
        into: &dyn WriteTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Restored, Error> {
        let _ = (snapshot, at, into, options, monitor);
        unbuilt()
    }
    /// Compares what a tree holds now with the snapshot, chunk by chunk.
    pub async fn read_back(&self, snapshot: &Snapshot, tree: &dyn ReadTree, monitor: &dyn Monitor) -> Result<Vec<Mismatch>, Error> {
        let _ = (snapshot, tree, monitor);
        unbuilt()
    }
    /// Checks that everything the snapshots name is there and opens.
    pub async fn verify(&self, options: &VerifyOptions, monitor: &dyn Monitor) -> Result<VerifyReport, Error> {
        let _ = (options, monitor);
        unbuilt()
    }
    /// The effective policy of a source.
    pub async fn policy(&self, source: &Source) -> Result<Policy, Error> {
        let _ = source;
        unbuilt()
    }
    /// The policy stored for exactly this target.
    pub async fn policy_of(&self, target: &PolicyTarget) -> Result<Option<Policy>, Error> {
        let _ = target;
        unbuilt()
    }
    /// Replaces the policy of a target.
    pub async fn set_policy(&self, target: &PolicyTarget, policy: &Policy) -> Result<(), Error> {
        let _ = (target, policy);
        unbuilt()
    }
    /// Deletes the snapshots of a source that its policy does not keep, and returns them.
    pub async fn expire(&self, source: &Source) -> Result<Vec<Snapshot>, Error> {
        let _ = source;
        unbuilt()
    }
    /// Deletes one snapshot's manifest; its space returns through maintenance.
    pub async fn delete_snapshot(&self, id: &manifest::Id) -> Result<(), Error> {
        let _ = id;
        unbuilt()
    }
    /// Replaces the pins of a snapshot, which gets a new identifier.
    pub async fn pin(&self, id: &manifest::Id, pins: &[String]) -> Result<Snapshot, Error> {
        let _ = (id, pins);
        unbuilt()
    }
    /// Who maintains, when, and what happened so far.
    pub async fn maintenance_info(&self) -> Result<MaintenanceInfo, Error> {
        unbuilt()
    }
    /// Hands maintenance over to `user@host`.
    pub async fn set_maintenance_owner(&self, owner: &str) -> Result<(), Error> {
        let _ = owner;
        unbuilt()
    }
    /// Runs one maintenance cycle now, due or not.
    ///
    /// # Errors
    /// [`Error::NotOwner`] unless the context's client is the owner; [`Error::ClockSkew`].
    pub async fn maintain(&self, kind: MaintenanceKind, safety: Safety, monitor: &dyn Monitor) -> Result<MaintenanceReport, Error> {
        let _ = (kind, safety, monitor);
        unbuilt()
    }
}
