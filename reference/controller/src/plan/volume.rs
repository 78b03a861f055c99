//! The data and cache volumes of a sync: which claims and snapshots have to be made, and whether they serve.
//!
//! Pure functions that add acts and tell how far it got. Source: sections 2.10, 3.4 and 3.6 of the behaviour
//! specification.
use std::collections::BTreeMap;

use api::crd::{CopyMethod, VolumeSnapshotSource, VolumeSnapshotSpec};
use api::{VolumeSnapshot, names as keys};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::act::{Act, Kind};
use crate::names;
use crate::observed::Observed;
use crate::obstacle::Obstacle;
use crate::plan::copy_trigger::{self, Gate};
use crate::subject::{Role, Subject};
use crate::text::bytes;

/// How long a VolumeSnapshot may be unbound before people are told.
const SNAPSHOT_PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// How long a claim may be unbound before people are told.
const CLAIM_PATIENCE: SignedDuration = SignedDuration::from_secs(120);
/// Size of a cache claim without a capacity.
const CACHE_CLAIM_SIZE: &str = "1Gi";

/// Why a sync cannot go on for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something is wrong; retried with back-off.
    Fail(Obstacle),
    /// Something is on its way: what.
    Wait(String),
}

impl From<Obstacle> for Stop {
    fn from(obstacle: Obstacle) -> Self {
        Self::Fail(obstacle)
    }
}

/// The claim that a mover works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Its name.
    pub claim: String,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Its access modes, for those who inherit them.
    pub access_modes: Vec<String>,
}

fn claim_spec(claim: &PersistentVolumeClaim) -> PersistentVolumeClaimSpec {
    claim.spec.clone().unwrap_or_default()
}

fn storage(resources: Option<&BTreeMap<String, Quantity>>) -> Option<Quantity> {
    resources?.get("storage").cloned()
}

fn request(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    storage(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref())
}

fn sized(size: Quantity) -> VolumeResourceRequirements {
    VolumeResourceRequirements {
        limits: None,
        requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
    }
}

fn named(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn metadata(subject: &Subject, name: String, temporary: bool) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(subject.namespace().into()),
        labels: Some(subject.labels(temporary)),
        owner_references: Some(vec![subject.owner()]),
        ..ObjectMeta::default()
    }
}

/// Plans the data volume of a replication source.
pub fn of_source(observed: &Observed, now: Timestamp, acts: &mut Vec<Act>) -> Result<Data, Stop> {
    let Subject::Source(source) = &observed.subject else {
        return Err(Obstacle::not_found("ReplicationSource", observed.subject.name()).into());
    };
    let source_name = source.spec.source_pvc.clone().unwrap_or_default();
    let Some(origin) = &observed.claim else {
        return Err(Obstacle::not_found("PersistentVolumeClaim", source_name).into());
    };
    let options = observed.subject.volume();
    match options.copy_method {
        None => Err(Obstacle::CopyMethod { given: "", allowed: "Direct, None, Clone, or Snapshot" }.into()),
        Some(CopyMethod::Direct | CopyMethod::None) => Ok(data(origin)),
        Some(CopyMethod::Clone) => {
            if observed.copy_claim.is_none() {
                gate(observed, origin, now, acts)?;
            }
            let reference = TypedLocalObjectReference {
                api_group: None,
                kind: "PersistentVolumeClaim".into(),
                name: source_name.clone(),
            };
            let made_from = format!("as a clone of PersistentVolumeClaim/{source_name}");
            let data = copy_claim(observed, origin, &reference, None, &made_from, now, acts)?;
            if observed.copy_claim.as_ref().is_some_and(is_bound) {
                acts.extend(copy_trigger::completed(origin));
            }
            Ok(data)
        }
        Some(CopyMethod::Snapshot) => {
            let snapshot = copy_snapshot(observed, origin, &source_name, now, acts)?;
            acts.extend(copy_trigger::completed(origin));
            let snapshot_name = names::copy(observed.subject.name());
            let reference = TypedLocalObjectReference {
                api_group: Some(keys::SNAPSHOT_GROUP.into()),
                kind: "VolumeSnapshot".into(),
                name: snapshot_name.clone(),
            };
            let restore_size = snapshot.status.as_ref().and_then(|status| status.restore_size.clone());
            let made_from = format!("from VolumeSnapshot/{snapshot_name}");
            copy_claim(observed, origin, &reference, restore_size, &made_from, now, acts)
        }
    }
}

fn data(claim: &PersistentVolumeClaim) -> Data {
    let access_modes = claim_spec(claim).access_modes.unwrap_or_default();
    Data {
        claim: claim.metadata.name.clone().unwrap_or_default(),
        read_only: access_modes == ["ReadOnlyMany"],
        access_modes,
    }
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Lets a copy start, or says why not (copy trigger).
fn gate(
    observed: &Observed,
    origin: &PersistentVolumeClaim,
    now: Timestamp,
    acts: &mut Vec<Act>,
) -> Result<(), Stop> {
    match copy_trigger::gate(origin, now) {
        Gate::Open => Ok(()),
        Gate::Go(go) => {
            acts.extend(go);
            Ok(())
        }
        Gate::Wait { acts: told, timed_out } => {
            acts.extend(told);
            let name = origin.metadata.name.clone().unwrap_or_default();
            Err(not_available(observed, || {
                let late = if timed_out { " (for more than 10 minutes)" } else { "" };
                format!("waiting for a new value of the copy trigger of PersistentVolumeClaim/{name}{late}")
            }))
        }
    }
}

/// The original calls a copy that is on its way an error.
fn not_available(observed: &Observed, message: impl FnOnce() -> String) -> Stop {
    if observed.is_original() { Obstacle::CopyNotAvailable.into() } else { Stop::Wait(message()) }
}

/// Plans the point-in-time VolumeSnapshot; gives it once it can be used.
fn copy_snapshot<'a>(
    observed: &'a Observed,
    origin: &PersistentVolumeClaim,
    source_name: &str,
    now: Timestamp,
    acts: &mut Vec<Act>,
) -> Result<&'a VolumeSnapshot, Stop> {
    let name = names::copy(observed.subject.name());
    let Some(snapshot) = &observed.copy_snapshot else {
        gate(observed, origin, now, acts)?;
        acts.extend(snapshot_of(observed, &name, source_name, true));
        return Err(not_available(observed, || format!("waiting for VolumeSnapshot/{name} to be taken")));
    };
    serves(observed, snapshot, &name, true, now, acts)?;
    Ok(snapshot)
}

/// Creates a VolumeSnapshot of a claim and tells about it.
pub fn snapshot_of(observed: &Observed, name: &str, claim: &str, temporary: bool) -> Vec<Act> {
    let snapshot = VolumeSnapshot {
        metadata: metadata(&observed.subject, name.into(), temporary),
        spec: VolumeSnapshotSpec {
            source: VolumeSnapshotSource {
                persistent_volume_claim_name: Some(claim.into()),
                volume_snapshot_content_name: None,
            },
            volume_snapshot_class_name: named(observed.subject.volume().volume_snapshot_class_name.as_ref()),
        },
        status: None,
    };
    vec![
        Act::create(snapshot),
        Act::normal(
            "VolumeSnapshotCreated",
            format!("created VolumeSnapshot/{name} from PersistentVolumeClaim/{claim}"),
        ),
    ]
}

/// Tells whether a VolumeSnapshot can be used, or what it waits for.
///
/// `must_be_ready` is the original's rule for point-in-time copies (absent readiness counts as ready); the
/// safe profile wants `readyToUse: true` everywhere.
pub fn serves(
    observed: &Observed,
    snapshot: &VolumeSnapshot,
    name: &str,
    must_be_ready: bool,
    now: Timestamp,
    acts: &mut Vec<Act>,
) -> Result<(), Stop> {
    let status = snapshot.status.clone().unwrap_or_default();
    let trouble = status
        .error
        .and_then(|error| error.message)
        .map_or_else(String::new, |message| format!("; last error of the snapshotter: {message}"));
    if snapshot.metadata.deletion_timestamp.is_some() {
        let held = snapshot.metadata.finalizers.clone().unwrap_or_default().join(", ");
        return Err(not_available(observed, || {
            format!(
                "waiting for VolumeSnapshot/{name} of an earlier sync to be deleted; held by finalizers: {held}{trouble}"
            )
        }));
    }
    if named(status.bound_volume_snapshot_content_name.as_ref()).is_none() {
        let age = snapshot.metadata.creation_timestamp.as_ref().map(|created| now.duration_since(created.0));
        if age.is_some_and(|age| age > SNAPSHOT_PATIENCE) {
            acts.push(Act::warning(
                "VolumeSnapshotNotBound",
                format!(
                    "waiting for VolumeSnapshot/{name} to bind; check VolumeSnapshotClass name and ensure CSI driver supports volume snapshots"
                ),
            ));
        }
        return Err(not_available(observed, || {
            format!("waiting for VolumeSnapshot/{name} to bind{trouble}")
        }));
    }
    let ready = match (observed.is_original(), status.ready_to_use) {
        (true, ready) => !must_be_ready || ready != Some(false),
        (false, ready) => ready == Some(true),
    };
    if ready {
        return Ok(());
    }
    Err(not_available(observed, || {
        format!("waiting for VolumeSnapshot/{name} to become ready to use{trouble}")
    }))
}

/// Plans the point-in-time claim.
fn copy_claim(
    observed: &Observed,
    origin: &PersistentVolumeClaim,
    reference: &TypedLocalObjectReference,
    restore_size: Option<Quantity>,
    made_from: &str,
    now: Timestamp,
    acts: &mut Vec<Act>,
) -> Result<Data, Stop> {
    let name = names::copy(observed.subject.name());
    if let Some(claim) = &observed.copy_claim {
        if claim.metadata.deletion_timestamp.is_some() && !observed.is_original() {
            let message =
                format!("waiting for PersistentVolumeClaim/{name} of an earlier sync to be deleted");
            return Err(Stop::Wait(message));
        }
        let cure = if reference.kind == "VolumeSnapshot" {
            "check StorageClass name and CSI driver capabilities"
        } else {
            "check StorageClass name and ensure CSI driver supports volume cloning"
        };
        acts.extend(unbound(claim, &name, cure, now));
        return Ok(data(claim));
    }
    let options = observed.subject.volume();
    let theirs = claim_spec(origin);
    let size = options
        .capacity
        .or_else(|| restore_size.filter(|size| bytes(size).is_some_and(|bytes| bytes > 0)))
        .or_else(|| storage(origin.status.as_ref().and_then(|status| status.capacity.as_ref())))
        .or_else(|| request(origin))
        .unwrap_or_else(|| Quantity(CACHE_CLAIM_SIZE.into()));
    let access_modes = options.access_modes.or(theirs.access_modes).unwrap_or_default();
    let claim = PersistentVolumeClaim {
        metadata: metadata(&observed.subject, name.clone(), true),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(access_modes.clone()),
            data_source: Some(reference.clone()),
            data_source_ref: Some(TypedObjectReference {
                api_group: reference.api_group.clone(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
                namespace: None,
            }),
            resources: Some(sized(size)),
            storage_class_name: named(options.storage_class_name.as_ref()).or(theirs.storage_class_name),
            volume_mode: theirs.volume_mode.or_else(|| Some("Filesystem".into())),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    acts.push(Act::create(claim));
    acts.push(Act::normal(
        "PersistentVolumeClaimCreated",
        format!("created PersistentVolumeClaim/{name} {made_from}"),
    ));
    Ok(Data { claim: name, read_only: access_modes == ["ReadOnlyMany"], access_modes })
}

/// Tells people about a claim that stays unbound.
fn unbound(claim: &PersistentVolumeClaim, name: &str, cure: &str, now: Timestamp) -> Option<Act> {
    let age = now.duration_since(claim.metadata.creation_timestamp.as_ref()?.0);
    (!is_bound(claim) && age > CLAIM_PATIENCE).then(|| {
        Act::warning(
            "PersistentVolumeClaimNotBound",
            format!("waiting for PersistentVolumeClaim/{name} to bind; {cure}"),
        )
    })
}

/// Names the claim that a destination restores into.
pub fn destination_claim(subject: &Subject) -> String {
    given_destination(subject).unwrap_or_else(|| names::destination(subject.name()))
}

/// The claim that a destination's manifest names, if any.
pub fn given_destination(subject: &Subject) -> Option<String> {
    match subject {
        Subject::Destination(destination) => named(destination.spec.kopia.as_ref()?.destination_pvc.as_ref()),
        Subject::Source(_) => None,
    }
}

/// Plans the data volume of a replication destination.
pub fn of_destination(observed: &Observed, now: Timestamp, acts: &mut Vec<Act>) -> Result<Data, Stop> {
    let subject = &observed.subject;
    let Subject::Destination(destination) = subject else {
        return Err(Obstacle::not_found("ReplicationDestination", subject.name()).into());
    };
    let kopia = destination.spec.kopia.clone().unwrap_or_default();
    if let Some(name) = given_destination(subject) {
        return match &observed.claim {
            Some(claim) => Ok(Data { read_only: false, ..data(claim) }),
            None => Err(Obstacle::not_found("PersistentVolumeClaim", name).into()),
        };
    }
    let Some(access_modes) = kopia.volume.access_modes.clone().filter(|modes| !modes.is_empty()) else {
        return Err(Obstacle::AccessModes.into());
    };
    let Some(capacity) = kopia.volume.capacity.clone() else {
        return Err(Obstacle::Capacity.into());
    };
    let wanted = Wanted {
        name: names::destination(subject.name()),
        size: capacity,
        storage_class: named(kopia.volume.storage_class_name.as_ref()),
        access_modes: access_modes.clone(),
        temporary: kopia.cleanup_temp_pvc.unwrap_or_default(),
    };
    standing_claim(observed, observed.claim.as_ref(), &wanted, now, acts)?;
    Ok(Data { claim: wanted.name, read_only: false, access_modes })
}

/// A claim that outlives a sync.
struct Wanted {
    name: String,
    size: Quantity,
    storage_class: Option<String>,
    access_modes: Vec<String>,
    temporary: bool,
}

/// Creates a claim or brings its size and labels up to date.
fn standing_claim(
    observed: &Observed,
    known: Option<&PersistentVolumeClaim>,
    wanted: &Wanted,
    now: Timestamp,
    acts: &mut Vec<Act>,
) -> Result<(), Stop> {
    let name = &wanted.name;
    let Some(claim) = known else {
        acts.push(Act::create(PersistentVolumeClaim {
            metadata: metadata(&observed.subject, name.clone(), wanted.temporary),
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(wanted.access_modes.clone()),
                resources: Some(sized(wanted.size.clone())),
                storage_class_name: wanted.storage_class.clone(),
                volume_mode: Some("Filesystem".into()),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        }));
        acts.push(Act::normal(
            "PersistentVolumeClaimCreated",
            format!("created PersistentVolumeClaim/{name} to receive incoming data"),
        ));
        return Ok(());
    };
    if claim.metadata.deletion_timestamp.is_some() && !observed.is_original() {
        return Err(Stop::Wait(format!(
            "waiting for PersistentVolumeClaim/{name} of an earlier sync to be deleted"
        )));
    }
    if request(claim).as_ref().and_then(bytes) != bytes(&wanted.size) {
        let patch = json!({"spec": {"resources": {"requests": {"storage": wanted.size}}}});
        acts.push(Act::Patch { kind: Kind::Claim, name: name.clone(), patch });
    }
    let labels = claim.metadata.labels.clone().unwrap_or_default();
    if wanted.temporary && !labels.contains_key(keys::CLEANUP) {
        let patch = json!({"metadata": {"labels": {keys::CLEANUP: observed.subject.uid()}}});
        acts.push(Act::Patch { kind: Kind::Claim, name: name.clone(), patch });
    }
    acts.extend(unbound(claim, name, "check StorageClass name and CSI driver capabilities", now));
    Ok(())
}

/// The cache volume of a mover.
#[derive(Clone, Debug, PartialEq)]
pub enum Cache {
    /// A directory that goes with the pod, with its size limit.
    Directory(Quantity),
    /// A claim.
    Claim(String),
}

/// Plans the cache volume.
pub fn cache(observed: &Observed, data: &Data, now: Timestamp, acts: &mut Vec<Act>) -> Result<Cache, Stop> {
    let subject = &observed.subject;
    let options = subject.cache();
    let class = named(options.cache_storage_class_name.as_ref());
    let modes = options.cache_access_modes.clone().filter(|modes| !modes.is_empty());
    if class.is_none() && modes.is_none() {
        return Ok(Cache::Directory(options.cache_capacity.unwrap_or_else(|| Quantity("8Gi".into()))));
    }
    let volume = subject.volume();
    let temporary = match subject {
        Subject::Destination(destination) => {
            destination.spec.kopia.as_ref().and_then(|kopia| kopia.cleanup_cache_pvc).unwrap_or_default()
        }
        Subject::Source(_) => false,
    };
    let wanted = Wanted {
        name: names::cache(subject.role(), subject.name()),
        size: options.cache_capacity.unwrap_or_else(|| Quantity(CACHE_CLAIM_SIZE.into())),
        storage_class: class.or_else(|| named(volume.storage_class_name.as_ref())),
        access_modes: modes.or(volume.access_modes).unwrap_or_else(|| data.access_modes.clone()),
        temporary,
    };
    standing_claim(observed, observed.cache_claim.as_ref(), &wanted, now, acts)?;
    Ok(Cache::Claim(wanted.name))
}

/// Plans the data volume of either kind.
pub fn of_subject(observed: &Observed, now: Timestamp, acts: &mut Vec<Act>) -> Result<Data, Stop> {
    match observed.subject.role() {
        Role::Source => of_source(observed, now, acts),
        Role::Destination => of_destination(observed, now, acts),
    }
}
