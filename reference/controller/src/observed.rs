//! What a reconcile of a replication object saw, as plain data for the plan.
//!
//! Everything the plan needs is in here; reading it is `observe`'s business. A part that was not looked at
//! is empty, and [`Observed::is_prepared`] tells whether the parts for making a Job were looked at.
use std::collections::{BTreeMap, BTreeSet};

use api::{ReplicationSource, VolumeSnapshot};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};

use crate::Profile;
use crate::subject::Subject;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object itself.
    pub subject: Subject,
    /// Policy and surroundings of this controller.
    pub setting: Setting,
    /// The mover's Job.
    pub job: Option<Job>,
    /// Its pods, oldest first; also those of earlier Jobs of the same name.
    pub pods: Vec<Pod>,
    /// The log of the pod that tells about the Job's end.
    pub log: Option<String>,
    /// Whether the parts for making a Job were looked at.
    pub is_prepared: bool,
    /// Whether the namespace asks for privileged movers.
    pub is_privileged: bool,
    /// The claim to back up or restore into.
    pub claim: Option<PersistentVolumeClaim>,
    /// The point-in-time VolumeSnapshot.
    pub copy_snapshot: Option<VolumeSnapshot>,
    /// The point-in-time claim.
    pub copy_claim: Option<PersistentVolumeClaim>,
    /// The cache claim.
    pub cache_claim: Option<PersistentVolumeClaim>,
    /// The mover's account.
    pub account: Option<ServiceAccount>,
    /// Whether the Role exists.
    pub has_role: bool,
    /// Whether the RoleBinding exists.
    pub has_binding: bool,
    /// Keys of the repository Secret, if it exists.
    pub secret_keys: Option<BTreeSet<String>>,
    /// Keys of the certificate authority's holder, if it exists.
    pub custom_ca_keys: Option<BTreeSet<String>>,
    /// Whether the holder of policy files exists.
    pub has_policy_files: bool,
    /// Objects that mover volumes name, and whether they exist.
    pub mover_volumes: BTreeMap<(&'static str, String), bool>,
    /// The replication source that a destination's identity names.
    pub found: Option<ReplicationSource>,
    /// A pod that uses the claim (copy method Direct), and its node's labels if it has a node.
    pub consumer: Option<(Pod, Option<BTreeMap<String, String>>)>,
    /// Replication sources that may know the repository or hold backups of the wanted identity.
    pub siblings: Vec<ReplicationSource>,
    /// The image snapshot of the present sync.
    pub image: Option<VolumeSnapshot>,
    /// The image snapshot that the status names.
    pub latest_image: Option<VolumeSnapshot>,
    /// What the last sync left to be deleted.
    pub temporaries: Temporaries,
}

/// Objects that bear the cleanup label of the subject.
#[derive(Clone, Debug, Default)]
pub struct Temporaries {
    /// Claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// VolumeSnapshots.
    pub snapshots: Vec<VolumeSnapshot>,
    /// Jobs.
    pub jobs: Vec<Job>,
}

/// Policy and surroundings of a controller, as far as plans need them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Policy where the original loses data.
    pub profile: Profile,
    /// Image of mover containers.
    pub image: String,
    /// Proxy variables to hand on, by name.
    pub proxies: BTreeMap<String, String>,
    /// How much of a log's end is kept.
    pub log_bytes_max: usize,
    /// How often the pod of a Job is tried again, instead of the original's numbers.
    pub job_backoff_limit: Option<i32>,
}

impl Observed {
    /// Nothing but the object: what a reconcile knows before it looks around.
    pub fn bare(subject: Subject, setting: Setting) -> Self {
        Self {
            subject,
            setting,
            job: None,
            pods: Vec::new(),
            log: None,
            is_prepared: false,
            is_privileged: false,
            claim: None,
            copy_snapshot: None,
            copy_claim: None,
            cache_claim: None,
            account: None,
            has_role: false,
            has_binding: false,
            secret_keys: None,
            custom_ca_keys: None,
            has_policy_files: false,
            mover_volumes: BTreeMap::new(),
            found: None,
            consumer: None,
            siblings: Vec::new(),
            image: None,
            latest_image: None,
            temporaries: Temporaries::default(),
        }
    }
    /// Whether the original's policy is in force.
    pub fn is_original(&self) -> bool {
        self.setting.profile.is_original()
    }
}

impl Observed {
    /// Names the claim that the subject is about.
    pub fn subject_claim(&self) -> String {
        match &self.subject {
            Subject::Source(source) => source.spec.source_pvc.clone().unwrap_or_default(),
            Subject::Destination(_) => crate::plan::volume::destination_claim(&self.subject),
        }
    }
}
