//! The neutral backup model: what a repository promises about its data, whatever operator keeps it.
//!
//! Promises that every item carries the place it was read from, that what was invented is in
//! `assumed`, what was not read in `unread` and `skipped`, and what is wrong in `problems`. Ordered
//! and free of chance. Plain data: it knows no cluster and no clock. Filled by `assemble`; judged by
//! `check`; played by the drill.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::storage::Character;
use crate::yaml::Origin;

/// Everything that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Model {
    /// Apps with claims or backups, by key.
    pub apps: Vec<App>,
    /// Maintenance of repositories.
    pub maintenance: Vec<Maintenance>,
    /// Repositories, as far as Git tells them apart.
    pub repositories: Vec<Repository>,
    /// Secrets with the values a drill can use, by (cluster, namespace, name).
    pub secrets: Vec<Secret>,
    /// Config maps that backups name.
    pub config_maps: Vec<Object>,
    /// Namespaces that exist in Git.
    pub namespaces: Vec<Object>,
    /// Admission policies that change mover Jobs.
    pub policies: Vec<Policy>,
    /// Storage classes that claims and backups name.
    pub classes: Vec<Class>,
    /// Snapshot classes that backups name.
    pub snapshot_classes: Vec<SnapshotClass>,
    /// Backup objects that were recognised and are not read yet.
    pub unread: Vec<Unread>,
    /// What rendering would have needed and did not find or does not know.
    pub skipped: Vec<Skipped>,
    /// What was invented for the whole input.
    pub assumed: Vec<String>,
    /// What is wrong beyond a single app.
    pub problems: Vec<Problem>,
    /// What was looked at.
    pub counts: Counts,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files opened.
    pub files: usize,
    /// Documents parsed.
    pub documents: usize,
    /// Flux Kustomizations followed.
    pub kustomizations: usize,
    /// Replication sources with the Kopia mover.
    pub kopia_sources: usize,
}

/// Which app: the same name may stand in two clusters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    /// The cluster; empty when the input has one only.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Whether a user means this app by `name`, `namespace/name` or `cluster/namespace/name`.
    pub fn is_meant_by(&self, text: &str) -> bool {
        text == self.name
            || text == format!("{}/{}", self.namespace, self.name)
            || text == format!("{}/{}/{}", self.cluster, self.namespace, self.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.cluster.is_empty() {
            write!(f, "{}/", self.cluster)?;
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One app: the claims that belong together and how they are kept.
#[derive(Debug, Clone, Serialize)]
pub struct App {
    /// Which.
    pub key: Key,
    /// Where it is declared.
    pub origin: Origin,
    /// Its claims.
    pub claims: Vec<Claim>,
    /// Its replication sources.
    pub sources: Vec<Source>,
    /// Its replication destinations.
    pub destinations: Vec<Destination>,
    /// The user that writes the claims, if the manifests tell.
    pub writer: Option<Writer>,
    /// Variables that are unset and without which the app cannot be known.
    pub unknown: Vec<Unknown>,
    /// What was invented for it.
    pub assumed: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// An object as it would be applied.
#[derive(Debug, Clone, Serialize)]
pub struct Object {
    /// The cluster; empty when there is one only.
    pub cluster: String,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Where it was read.
    pub origin: Origin,
    /// The object, ready to be applied.
    pub object: Value,
}

/// A claim (PVC).
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// The object.
    pub object: Object,
    /// Requested bytes.
    pub capacity_bytes: Option<u64>,
    /// The storage class, if named.
    pub class: Option<String>,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// The replication destination that fills it, by `dataSourceRef`.
    pub filled_by: Option<String>,
    /// Whether a copy trigger must release each copy.
    pub copy_trigger: bool,
    /// Whether Git declares it, or it was invented because a backup names it.
    pub declared: bool,
}

/// How a mover's repository path comes into its pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Export {
    /// Server name or address.
    pub server: String,
    /// Exported path.
    pub path: String,
    /// Where the pod sees it.
    pub mounted_at: String,
}

/// What both directions of the mover have in common.
#[derive(Debug, Clone, Serialize)]
pub struct Mover {
    /// The repository Secret's name as written (or as discovered for a destination).
    pub repository: String,
    /// `Direct`, `Clone`, `Snapshot`, `None`, or nothing.
    pub copy_method: String,
    /// The class of volumes made for the mover.
    pub class: Option<String>,
    /// The snapshot class.
    pub snapshot_class: Option<String>,
    /// The user the mover runs as.
    pub writer: Option<Writer>,
    /// NFS exports mounted by `moverVolumes`.
    pub exports: Vec<Export>,
    /// Where its repository stands, if its Secret tells.
    pub location: Option<Location>,
    /// The password its Secret holds.
    #[serde(skip)]
    pub password: Option<String>,
}

/// A replication source with the Kopia mover.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// The object.
    pub object: Object,
    /// The claim it reads.
    pub claim: String,
    /// Cron schedule.
    pub schedule: Option<String>,
    /// Manual tag.
    pub manual: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// The identity under which it writes.
    pub identity: Identity,
    /// Retention as written.
    pub retain: BTreeMap<String, i64>,
    /// The mover.
    pub mover: Mover,
}

/// A replication destination with the Kopia mover.
#[derive(Debug, Clone, Serialize)]
pub struct Destination {
    /// The object.
    pub object: Object,
    /// Manual tag.
    pub manual: Option<String>,
    /// Cron schedule.
    pub schedule: Option<String>,
    /// The existing claim it writes to.
    pub claim: Option<String>,
    /// Bytes of the volume it makes.
    pub capacity_bytes: Option<u64>,
    /// The identity it looks for.
    pub identity: Identity,
    /// The mover.
    pub mover: Mover,
}

/// Kopia's `username@hostname:path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Identity {
    /// User name.
    pub username: String,
    /// Host name.
    pub hostname: String,
    /// Path.
    pub path: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.username, self.hostname, self.path)
    }
}

/// A user and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Writer {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The volume's group.
    pub fs_group: Option<u32>,
}

/// A KopiaMaintenance.
#[derive(Debug, Clone, Serialize)]
pub struct Maintenance {
    /// The object.
    pub object: Object,
    /// The repository Secret.
    pub repository: String,
    /// Its schedule.
    pub schedule: Option<String>,
    /// Whether it is enabled and not suspended.
    pub active: bool,
    /// NFS exports mounted by `moverVolumes`.
    pub exports: Vec<Export>,
    /// Where its repository stands, if its Secret tells.
    pub location: Option<Location>,
}

/// Where a Secret's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SecretKind {
    /// Values stand in the input.
    Plain,
    /// An ExternalSecret (or a cousin of it) makes it; values are stand-ins.
    External,
    /// Encrypted in Git; values are stand-ins.
    Encrypted,
    /// Not in the input; values are stand-ins.
    Absent,
}

/// A Secret with values that a drill can use.
#[derive(Debug, Clone, Serialize)]
pub struct Secret {
    /// The object to apply.
    pub object: Object,
    /// Where the values come from.
    pub kind: SecretKind,
    /// Values by key.
    #[serde(skip)]
    pub values: BTreeMap<String, String>,
    /// Keys whose value was invented.
    pub invented: Vec<String>,
}

/// Where a repository stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Location {
    /// A directory, perhaps on an NFS export.
    Filesystem {
        /// Path inside the mover's pod.
        path: String,
        /// Server and path of the export that is mounted there.
        export: Option<(String, String)>,
    },
    /// A bucket.
    Bucket {
        /// Name.
        bucket: String,
        /// Prefix in it.
        prefix: String,
        /// Endpoint; empty for the provider's own.
        endpoint: String,
    },
    /// Another kind of store, named by the Secret key that selects it.
    Other(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filesystem { path, export: Some((server, share)) } => {
                write!(f, "{path} on {server}:{share}")
            }
            Self::Filesystem { path, export: None } => write!(f, "{path}, mounted by nothing that Git shows"),
            Self::Bucket { bucket, prefix, endpoint } => {
                write!(f, "s3://{bucket}/{prefix}{}{endpoint}", if endpoint.is_empty() { "" } else { " at " })
            }
            Self::Other(key) => write!(f, "a store selected by {key}"),
        }
    }
}

/// One repository and the Secrets that open it.
#[derive(Debug, Clone, Serialize)]
pub struct Repository {
    /// Position in [`Model::repositories`].
    pub id: usize,
    /// The cluster; empty when there is one only.
    pub cluster: String,
    /// Where it stands.
    pub location: Location,
    /// Secrets as `namespace/name`.
    pub secrets: Vec<String>,
    /// Whether all its Secrets agree on the password.
    pub one_password: bool,
}

/// What an admission policy does to mover Jobs, as far as it is understood.
#[derive(Debug, Clone, Serialize)]
pub struct Policy {
    /// The object.
    pub object: Object,
    /// Prefixes of Job names it is for; empty means any.
    pub prefixes: Vec<String>,
    /// The export it mounts.
    pub mounts: Option<Export>,
    /// The longest jitter in seconds that its init container sleeps.
    pub jitter_seconds_max: Option<u32>,
    /// Whether a binding puts it in force.
    pub bound: bool,
    /// Whether something in it was not understood.
    pub understood: bool,
}

/// A storage class.
#[derive(Debug, Clone, Serialize)]
pub struct Class {
    /// Name.
    pub name: String,
    /// What it is.
    pub character: Character,
    /// How that is known.
    pub reason: String,
    /// Whether it was invented.
    pub assumed: bool,
}

/// A snapshot class and the character of the volumes it is used for.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotClass {
    /// Name.
    pub name: String,
    /// What the driver must be.
    pub character: Character,
    /// Whether it was invented.
    pub assumed: bool,
}

/// A backup object of a mover or operator that is not read yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// `Kind/name`.
    pub title: String,
    /// Namespace.
    pub namespace: String,
    /// The mover or operator: `restic`, `kopiur`, …
    pub mover: String,
    /// The claim it reads, if it names one.
    pub claim: Option<String>,
    /// Where it stands.
    pub origin: Origin,
}

/// Something that was left out of the rendering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// Where it is asked for.
    pub origin: Origin,
}

/// A variable without a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unknown {
    /// Its name.
    pub variable: String,
    /// The resource that asks for it.
    pub asked_by: String,
    /// Where that stands.
    pub origin: Origin,
    /// What could have set it.
    pub hint: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Will hurt one day.
    Warning,
    /// Data is not protected, or a sync cannot work.
    Error,
    /// The input cannot be read or built.
    Broken,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The check's id.
    pub id: String,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do.
    pub cure: String,
    /// Where.
    pub origin: Option<Origin>,
}

impl Problem {
    /// A finding without a place.
    pub fn new(id: &str, severity: Severity, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { id: id.to_owned(), severity, message: message.into(), cure: cure.into(), origin: None }
    }

    /// The same finding at a place.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{} ({}): {}", self.message, self.id, self.cure)
    }
}
