//! The façade: one open repository and the verbs on it.
//!
//! Opening derives the key, opens the format blob and loads the indexes; manifests are read when first
//! needed. Nothing is written but by the verbs that say so, and opening never creates anything. What other
//! writers do becomes visible with [`Repository::refresh`] (and at every flush of our own).

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{
    content::{committed::Contents, session::Session},
    context::Context,
    error::Error,
    expire::{self, Candidate},
    format::{
        CreateOptions, Format, UniqueId,
        secrets::{self, FORMAT_BLOB, LOCK_BLOB},
    },
    maintain::{
        self, MaintenanceInfo, MaintenanceKind, MaintenanceReport, Parameters, Safety, TaskRun,
        schedule::Schedule,
    },
    manifest::{self, Labels, Manifest, Manifests},
    monitor::Monitor,
    policy::{Policy, PolicyTarget},
    read_back::{self, Mismatch},
    restore::{self, RestoreOptions, Restored},
    snapshot::{
        Backup, BackupOptions, Entry, Filter, Snapshot, Source,
        backup::{Walk, snapshot_labels},
        document::{read_snapshot, write_snapshot},
    },
    store::{ErrorKind, SharedStore},
    tree::{Path, ReadTree, WriteTree},
    verify::{Verifier, VerifyOptions, VerifyReport},
};

/// What a verb of a repository does while it is polled.
///
/// Boxed, so that a verb is compiled once, here: an `async fn` would be compiled again by every crate that polls it.
pub type Doing<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    contents: Contents,
    manifests: Manifests,
}

fn maintenance_labels() -> Labels {
    manifest::labels([("type", "maintenance")])
}

impl Repository {
    /// Creates a repository in an empty location and opens it.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] when any blob lists, or when another creator was faster.
    pub fn create(
        store: SharedStore,
        password: &str,
        options: CreateOptions,
        context: Context,
    ) -> Doing<'_, Self> {
        Box::pin(async move {
            if let Some(found) = store.list("").await?.first() {
                return Err(Error::NotEmpty { example: found.id.clone() });
            }
            let new = secrets::create(password, &options, &context.entropy)?;
            for (id, bytes) in [(FORMAT_BLOB, new.format_blob), (LOCK_BLOB, new.lock_blob)] {
                // The format blob decides the race between two creators; the loser leaves nothing behind.
                store.put_new(id, bytes.into()).await.map_err(|failure| match failure.kind {
                    ErrorKind::Exists => Error::NotEmpty { example: id.to_owned() },
                    _ => Error::Store(failure),
                })?;
            }
            let owner = options.maintenance_owner.unwrap_or_else(|| context.client.to_string());
            let contents = Contents::open(store, context, Arc::new(new.secrets)).await?;
            let repository = Self { contents, manifests: Manifests::default() };
            repository
                .edit(async |edit| {
                    if options.global_policy {
                        edit.put(PolicyTarget::Global.labels(), to_value(&Policy::built_in()));
                    }
                    edit.put(maintenance_labels(), to_value(&Parameters::default().owned_by(&owner)));
                    Ok(())
                })
                .await?;
            Ok(repository)
        })
    }
    /// Opens a repository.
    ///
    /// # Errors
    /// [`Error::NotARepository`], [`Error::ForeignData`], [`Error::WrongPassword`],
    /// [`Error::CorruptFormat`], [`Error::CorruptIndex`], [`Error::Locked`],
    /// [`Error::UnsupportedFeature`], [`Error::Store`]. Never creates anything.
    pub fn open(store: SharedStore, password: &str, context: Context) -> Doing<'_, Self> {
        Box::pin(async move {
            let format_blob = match store.get(FORMAT_BLOB, None).await {
                Ok(bytes) => bytes,
                Err(absent) if absent.kind == ErrorKind::NotFound => {
                    let example = store.list("").await?.into_iter().next();
                    return Err(
                        example.map_or(Error::NotARepository, |blob| Error::ForeignData { example: blob.id })
                    );
                }
                Err(failure) => return Err(failure.into()),
            };
            let secrets = secrets::open(&format_blob, password, (context.now)())?;
            let contents = Contents::open(store, context, Arc::new(secrets)).await?;
            Ok(Self { contents, manifests: Manifests::default() })
        })
    }
    /// What tells this repository from every other.
    pub fn unique_id(&self) -> &UniqueId {
        &self.contents.secrets.unique_id
    }
    /// What it is made with.
    pub fn format(&self) -> &Format {
        &self.contents.secrets.format
    }
    /// Looks at the store again: what others wrote since becomes visible.
    pub fn refresh(&self) -> Doing<'_, ()> {
        Box::pin(async move { self.contents.refresh().await })
    }

    /// Changes manifests in a session of its own.
    async fn edit<T>(
        &self,
        change: impl AsyncFnOnce(&mut manifest::Edit<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut edit = self.manifests.edit(&self.contents).await?;
        let outcome = change(&mut edit).await?;
        if !edit.is_empty() {
            let mut session = Session::new(&self.contents)?;
            edit.write(&mut session).await?;
            session.flush().await?;
        }
        Ok(outcome)
    }

    /// Lists snapshots, by source and then by start time.
    pub fn snapshots<'a>(&'a self, filter: &'a Filter) -> Doing<'a, Vec<Snapshot>> {
        Box::pin(async move {
            let mut wanted = manifest::labels([("type", "snapshot")]);
            let by_label =
                [("username", &filter.username), ("hostname", &filter.host), ("path", &filter.path)];
            wanted.extend(
                by_label.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))),
            );
            let found = self.manifests.find(&self.contents, &wanted).await?;
            let mut snapshots = found.iter().map(read_snapshot).collect::<Result<Vec<_>, _>>()?;
            snapshots.retain(|snapshot| filter.matches(snapshot));
            snapshots.sort_by(|a, b| (&a.source, a.start_time, &a.id).cmp(&(&b.source, b.start_time, &b.id)));
            Ok(snapshots)
        })
    }
    /// One snapshot by its identifier.
    ///
    /// # Errors
    /// [`Error::MissingManifest`].
    pub fn snapshot<'a>(&'a self, id: &'a manifest::Id) -> Doing<'a, Snapshot> {
        Box::pin(async move {
            let found =
                self.manifests.find(&self.contents, &manifest::labels([("type", "snapshot")])).await?;
            let manifest = found
                .iter()
                .find(|manifest| manifest.id == *id)
                .ok_or_else(|| Error::MissingManifest { id: id.clone() })?;
            read_snapshot(manifest)
        })
    }
    /// The entries of a directory within a snapshot, by name.
    pub fn entries<'a>(&'a self, snapshot: &'a Snapshot, at: &'a Path) -> Doing<'a, Vec<Entry>> {
        Box::pin(async move {
            let entry = restore::snapshot_entry(&self.contents, snapshot, at).await?;
            restore::read_entries(&self.contents, entry.object).await
        })
    }
    /// The bytes of a file, or the target of a symlink, within a snapshot.
    pub fn read_file<'a>(&'a self, entry: &'a Entry) -> Doing<'a, bytes::Bytes> {
        Box::pin(async move { crate::object::read(&self.contents, entry.object).await })
    }

    /// Takes a snapshot of a tree. Unchanged files of earlier snapshots of the source are not read.
    ///
    /// # Errors
    /// Only what makes a snapshot impossible; unreadable entries are in [`Backup::errors`].
    pub fn backup<'a>(
        &'a self,
        source: &'a Source,
        tree: &'a dyn ReadTree,
        options: &'a BackupOptions,
        monitor: &'a dyn Monitor,
    ) -> Doing<'a, Backup> {
        Box::pin(async move {
            if source.username.is_empty() || source.host.is_empty() || source.path.is_empty() {
                return Err(Error::InvalidInput { what: "source", detail: format!("{source} lacks a part") });
            }
            let mut earlier = self.snapshots(&Filter::source(source)).await?;
            earlier.reverse();
            // The latest complete one first, then the incomplete ones that came after it.
            let complete = earlier.iter().position(|snapshot| snapshot.incomplete.is_none());
            let mut previous: Vec<Snapshot> = complete.map(|n| earlier[n].clone()).into_iter().collect();
            previous.extend(earlier.into_iter().take_while(|snapshot| snapshot.incomplete.is_some()));
            let policy = self.policy(source).await?;
            Walk::new(&self.contents, &self.manifests, tree, source, &policy, options, monitor)?
                .run(&previous)
                .await
        })
    }
    /// Restores a snapshot, or the part of it at `at` (the root path for all of it).
    ///
    /// # Guarantees
    /// Returns only after `sync` of the tree succeeded; its failure is the restore's failure.
    pub fn restore<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        at: &'a Path,
        into: &'a dyn WriteTree,
        options: &'a RestoreOptions,
        monitor: &'a dyn Monitor,
    ) -> Doing<'a, Restored> {
        Box::pin(async move {
            restore::Writer::new(&self.contents, snapshot, into, options, monitor).run(at).await
        })
    }
    /// Compares what a tree holds now with the snapshot, chunk by chunk.
    pub fn read_back<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        tree: &'a dyn ReadTree,
        monitor: &'a dyn Monitor,
    ) -> Doing<'a, Vec<Mismatch>> {
        Box::pin(async move { read_back::read_back(&self.contents, snapshot, tree, monitor).await })
    }
    /// Checks that everything the snapshots name is there and opens.
    pub fn verify<'a>(
        &'a self,
        options: &'a VerifyOptions,
        monitor: &'a dyn Monitor,
    ) -> Doing<'a, VerifyReport> {
        Box::pin(async move {
            let mut snapshots = self.snapshots(&options.which).await?;
            if let Some(wanted) = &options.snapshots {
                if let Some(id) =
                    wanted.iter().find(|id| !snapshots.iter().any(|snapshot| snapshot.id == **id))
                {
                    return Err(Error::MissingManifest { id: id.clone() });
                }
                snapshots.retain(|snapshot| wanted.contains(&snapshot.id));
            }
            Verifier::new(&self.contents, options, monitor).await?.run(&snapshots).await
        })
    }

    async fn policy_manifest(&self, target: &PolicyTarget) -> Result<Option<Manifest>, Error> {
        // The latest of duplicates counts.
        Ok(self.manifests.find(&self.contents, &target.labels()).await?.pop())
    }
    /// The effective policy of a source.
    pub fn policy<'a>(&'a self, source: &'a Source) -> Doing<'a, Policy> {
        Box::pin(async move {
            let mut effective = Policy::default();
            for target in PolicyTarget::hierarchy(source) {
                if let Some(policy) = self.policy_of(&target).await? {
                    let stops = policy.no_parent;
                    effective = effective.or(&policy);
                    if stops {
                        return Ok(effective);
                    }
                }
            }
            Ok(effective.or(&Policy::built_in()))
        })
    }
    /// The policy stored for exactly this target.
    pub fn policy_of<'a>(&'a self, target: &'a PolicyTarget) -> Doing<'a, Option<Policy>> {
        Box::pin(async move {
            let Some(manifest) = self.policy_manifest(target).await? else { return Ok(None) };
            deserialize(manifest.data()).map(Some).map_err(|error| Error::CorruptManifest {
                place: format!("manifest {}", manifest.id),
                detail: error.to_string(),
            })
        })
    }
    /// Replaces the policy of a target; writes nothing when it is that already.
    pub fn set_policy<'a>(&'a self, target: &'a PolicyTarget, policy: &'a Policy) -> Doing<'a, ()> {
        Box::pin(async move {
            if self.policy_of(target).await?.as_ref() == Some(policy) {
                return Ok(());
            }
            self.edit(async |edit| {
                edit.replace(target.labels(), to_value(policy));
                Ok(())
            })
            .await
        })
    }

    /// Deletes the snapshots of a source that its policy does not keep, and returns them.
    pub fn expire<'a>(&'a self, source: &'a Source) -> Doing<'a, Vec<Snapshot>> {
        Box::pin(async move {
            let policy = self.policy(source).await?;
            let snapshots = self.snapshots(&Filter::source(source)).await?;
            let candidates: Vec<Candidate> = snapshots
                .iter()
                .map(|snapshot| Candidate {
                    start_time: snapshot.start_time,
                    end_time: snapshot.end_time,
                    is_complete: snapshot.incomplete.is_none(),
                })
                .collect();
            let reasons = expire::reasons(&candidates, &policy.retention, &self.contents.context.zone);
            let is_expired = |(snapshot, reasons): &(Snapshot, Vec<String>)| {
                reasons.is_empty() && snapshot.pins.is_empty()
            };
            let expired: Vec<Snapshot> =
                snapshots.into_iter().zip(reasons).filter(is_expired).map(|(snapshot, _)| snapshot).collect();
            self.edit(async |edit| {
                for snapshot in &expired {
                    edit.delete(&snapshot.id);
                }
                Ok(())
            })
            .await?;
            Ok(expired)
        })
    }
    /// Deletes one snapshot's manifest; its space returns through maintenance.
    ///
    /// # Errors
    /// [`Error::MissingManifest`].
    pub fn delete_snapshot<'a>(&'a self, id: &'a manifest::Id) -> Doing<'a, ()> {
        Box::pin(async move {
            self.snapshot(id).await?;
            self.edit(async |edit| {
                edit.delete(id);
                Ok(())
            })
            .await
        })
    }
    /// Replaces the pins of a snapshot, which gets a new identifier.
    pub fn pin<'a>(&'a self, id: &'a manifest::Id, pins: &'a [String]) -> Doing<'a, Snapshot> {
        Box::pin(async move {
            let mut snapshot = self.snapshot(id).await?;
            snapshot.pins = pins.to_vec();
            snapshot.pins.sort();
            snapshot.pins.dedup();
            self.edit(async |edit| {
                edit.delete(id);
                snapshot.id = edit.put(snapshot_labels(&snapshot), write_snapshot(&snapshot));
                Ok(snapshot)
            })
            .await
        })
    }

    async fn maintenance_parameters(&self) -> Result<Parameters, Error> {
        let Some(manifest) = self.manifests.find(&self.contents, &maintenance_labels()).await?.pop() else {
            return Ok(Parameters::default());
        };
        deserialize(manifest.data()).map_err(|error| Error::CorruptManifest {
            place: format!("manifest {}", manifest.id),
            detail: error.to_string(),
        })
    }
    /// Who maintains, when, and what happened so far.
    pub fn maintenance_info(&self) -> Doing<'_, MaintenanceInfo> {
        Box::pin(async move {
            let parameters = self.maintenance_parameters().await?;
            let schedule = Schedule::load(&self.contents).await?;
            // Kopia writes year 1 for "never".
            let due = |time: Option<jiff::Timestamp>| time.filter(|time| time.as_second() > 0);
            let runs = schedule.runs.into_iter().map(|(task, runs)| {
                let runs = runs.into_iter().map(|run| TaskRun {
                    start: run.start,
                    end: run.end,
                    error: (!run.success).then_some(run.error),
                });
                (task, runs.collect())
            });
            Ok(MaintenanceInfo {
                quick: parameters.quick(),
                full: parameters.full(),
                owner: parameters.owner,
                next_quick: due(schedule.next_quick_maintenance),
                next_full: due(schedule.next_full_maintenance),
                runs: runs.collect(),
            })
        })
    }
    /// Hands maintenance over to `user@host`.
    pub fn set_maintenance_owner<'a>(&'a self, owner: &'a str) -> Doing<'a, ()> {
        Box::pin(async move {
            let parameters = self.maintenance_parameters().await?;
            if parameters.owner == owner {
                return Ok(());
            }
            self.edit(async |edit| {
                edit.replace(maintenance_labels(), to_value(&parameters.owned_by(owner)));
                Ok(())
            })
            .await
        })
    }
    /// Runs one maintenance cycle now, due or not.
    ///
    /// # Errors
    /// [`Error::NotOwner`] unless the context's client is the owner; [`Error::ClockSkew`].
    pub fn maintain<'a>(
        &'a self,
        kind: MaintenanceKind,
        safety: Safety,
        monitor: &'a dyn Monitor,
    ) -> Doing<'a, MaintenanceReport> {
        Box::pin(async move {
            let parameters = self.maintenance_parameters().await?;
            if parameters.owner != self.contents.context.client.to_string() {
                return Err(Error::NotOwner { owner: parameters.owner });
            }
            // A session can only be started where this engine can write at all.
            Session::new(&self.contents)?;
            let snapshots = async || self.snapshots(&Filter::all()).await;
            maintain::run::run(&self.contents, parameters, snapshots, kind, safety, monitor).await
        })
    }
}

fn deserialize<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

fn to_value(document: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(document).expect("plain data serialises")
}
