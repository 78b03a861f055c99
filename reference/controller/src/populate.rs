//! The volume populator: fills claims whose `dataSourceRef` names a ReplicationDestination.
//!
//! A prime claim is made from the destination's image; its volume is then handed to the user's claim. A
//! claim waits, with an event that says for what, until there is an image; it is never filled from nothing
//! (POP-2). [`plan`] is pure. Source: section 3.10 of the behaviour specification.
use std::sync::Arc;
use std::time::Duration;

use api::crd::{GroupKind, VolumePopulatorFields};
use api::names as keys;
use api::{ReplicationDestination, VolumePopulator, VolumeSnapshot};
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedObjectReference,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::act::{Act, Kind};
use crate::condition;
use crate::event::Recorder;
use crate::execute::{Error, Hands};
use crate::names;
use crate::obstacle::Obstacle;
use crate::reconcile::Context;

/// Name of the object that tells the data-source validator about us.
const REGISTRATION: &str = "volsync-replicationdestination";
/// How many rounds one reconcile may take.
const ROUNDS_MAX: usize = 4;

/// What was seen of a claim to be filled and its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The user's claim.
    pub claim: PersistentVolumeClaim,
    /// Its storage class, if it names one that exists.
    pub class: Option<StorageClass>,
    /// The prime claim.
    pub prime: Option<PersistentVolumeClaim>,
    /// The prime claim's volume.
    pub volume: Option<PersistentVolume>,
    /// The destination that the claim names.
    pub destination: Option<ReplicationDestination>,
    /// The image: of the prime claim if there is one, else the destination's latest.
    pub image: Option<VolumeSnapshot>,
    /// Whether the original's policy is in force.
    pub is_original: bool,
}

/// Names the destination that a claim wants to be filled from.
pub fn wanted(claim: &PersistentVolumeClaim) -> Option<String> {
    let reference = claim.spec.as_ref()?.data_source_ref.as_ref()?;
    let is_ours =
        reference.api_group.as_deref() == Some(keys::GROUP) && reference.kind == "ReplicationDestination";
    let is_here = reference
        .namespace
        .as_ref()
        .is_none_or(|namespace| Some(namespace) == claim.metadata.namespace.as_ref());
    (is_ours && is_here).then(|| reference.name.clone())
}

fn spec(claim: &PersistentVolumeClaim) -> PersistentVolumeClaimSpec {
    claim.spec.clone().unwrap_or_default()
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Names the image of a prime claim.
fn image_of(prime: &PersistentVolumeClaim) -> Option<String> {
    Some(prime.spec.as_ref()?.data_source_ref.as_ref()?.name.clone())
}

/// Decides what to do for a claim.
pub fn plan(observed: &Observed) -> Vec<Act> {
    let claim = &observed.claim;
    let Some(destination_name) = wanted(claim) else { return Vec::new() };
    if claim.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    if let Some(prime) = &observed.prime
        && (phase(claim) == "Bound" || phase(prime) == "Lost")
    {
        return finish(observed, prime);
    }
    if spec(claim).volume_name.is_some_and(|name| !name.is_empty()) {
        return Vec::new();
    }
    match placement(observed) {
        Placement::Ours => {}
        Placement::Wait => return Vec::new(),
    }
    match &observed.prime {
        None => begin(observed, &destination_name),
        Some(prime) if prime.metadata.deletion_timestamp.is_some() => {
            vec![Act::Requeue(Duration::from_secs(5))]
        }
        Some(prime) => hand_over(observed, prime),
    }
}

enum Placement {
    Ours,
    Wait,
}

/// A class that is missing, in-tree, or waits for its first consumer holds the claim back silently.
fn placement(observed: &Observed) -> Placement {
    let named = spec(&observed.claim).storage_class_name.filter(|name| !name.is_empty());
    let Some(class) = &observed.class else {
        return if named.is_some() { Placement::Wait } else { Placement::Ours };
    };
    let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
    let selected = observed.claim.annotations().contains_key(keys::SELECTED_NODE);
    if class.provisioner.starts_with("kubernetes.io/") || (waits && !selected) {
        Placement::Wait
    } else {
        Placement::Ours
    }
}

/// Makes the prime claim from the destination's image.
fn begin(observed: &Observed, destination_name: &str) -> Vec<Act> {
    let Some(destination) = &observed.destination else {
        return vec![Act::warning(
            "VolSyncPopulatorReplicationDestinationMissing",
            format!(
                "Unable to populate volume: ReplicationDestination.volsync.backube \"{destination_name}\" not found"
            ),
        )];
    };
    let Some(image) = destination.status.as_ref().and_then(|status| status.latest_image.clone()) else {
        return vec![Act::warning(
            "VolSyncPopulatorReplicationDestinationNoLatestImage",
            "Unable to populate volume, waiting for replicationdestination to have latestImage",
        )];
    };
    if image.kind != "VolumeSnapshot" {
        return vec![Act::warning(
            "VolSyncPopulatorError",
            "Unable to populate volume: ReplicationDestination latestImage is not a volumesnapshot",
        )];
    }
    if observed.image.is_none() {
        return vec![Act::Fail(Obstacle::not_found("VolumeSnapshot", image.name))];
    }
    let claim = &observed.claim;
    let uid = claim.uid().unwrap_or_default();
    let label = format!("{}{uid}", keys::VOLPOP_PVC_PREFIX);
    let label_patch = json!({"metadata": {"labels": {label: names::label_value(&claim.name_any())}}});
    let mut acts = vec![
        Act::Patch { kind: Kind::Snapshot, name: image.name.clone(), patch: label_patch },
        Act::create(prime(claim, &uid, &image.name)),
        Act::normal(
            "VolSyncPopulatorPVCCreated",
            format!("Populator pvc created from snapshot {}", image.name),
        ),
    ];
    let sync = destination.status.as_ref().map(|status| &status.sync);
    let restored = sync.and_then(|sync| condition::find(sync.conditions.as_ref(), condition::RESTORED));
    if let Some(nothing) = restored.filter(|condition| condition.status == "False" && !observed.is_original) {
        acts.push(Act::warning("NothingRestored", format!("the volume will be empty: {}", nothing.message)));
    }
    acts.push(Act::Again);
    acts
}

fn prime(claim: &PersistentVolumeClaim, uid: &str, image: &str) -> PersistentVolumeClaim {
    let theirs = spec(claim);
    let selected = claim.annotations().get(keys::SELECTED_NODE).cloned();
    let reference = TypedObjectReference {
        api_group: Some(keys::SNAPSHOT_GROUP.into()),
        kind: "VolumeSnapshot".into(),
        name: image.to_owned(),
        namespace: None,
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::prime(uid)),
            namespace: claim.namespace(),
            labels: Some(
                [
                    (keys::CREATED_BY.to_owned(), keys::CREATED_BY_VOLSYNC.to_owned()),
                    (keys::POPULATOR_PVC_FOR.to_owned(), names::label_value(&claim.name_any())),
                ]
                .into(),
            ),
            annotations: selected.map(|node| [(keys::SELECTED_NODE.to_owned(), node)].into()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".into(),
                block_owner_deletion: Some(true),
                controller: Some(true),
                kind: "PersistentVolumeClaim".into(),
                name: claim.name_any(),
                uid: uid.to_owned(),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: theirs.access_modes,
            data_source: Some(k8s_openapi::api::core::v1::TypedLocalObjectReference {
                api_group: reference.api_group.clone(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
            }),
            data_source_ref: Some(reference),
            resources: theirs.resources,
            storage_class_name: theirs.storage_class_name,
            volume_mode: theirs.volume_mode,
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// Ties the image to the prime claim, and hands the prime claim's volume to the user's claim.
fn hand_over(observed: &Observed, prime: &PersistentVolumeClaim) -> Vec<Act> {
    let mut acts = Vec::new();
    let prime_uid = prime.uid().unwrap_or_default();
    if let Some(image) = &observed.image {
        let owners = image.owner_references();
        let is_kept = image.labels().contains_key(keys::DO_NOT_DELETE);
        if !is_kept && owners.iter().all(|owner| owner.uid != prime_uid) {
            let mut owners = owners.to_vec();
            owners.push(OwnerReference {
                api_version: "v1".into(),
                kind: "PersistentVolumeClaim".into(),
                name: prime.name_any(),
                uid: prime_uid,
                ..OwnerReference::default()
            });
            let patch = json!({"metadata": {"ownerReferences": owners}});
            acts.push(Act::Patch { kind: Kind::Snapshot, name: image.name_any(), patch });
        }
    }
    let claim = &observed.claim;
    if let Some(volume) = &observed.volume {
        let holder = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref())
            .and_then(|holder| holder.uid.clone());
        if holder != claim.uid() {
            let from =
                format!("{}/{}", claim.namespace().unwrap_or_default(), image_of(prime).unwrap_or_default());
            let patch = json!({
                "metadata": {"annotations": {keys::POPULATED_FROM: from}},
                "spec": {"claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": claim.namespace(),
                    "name": claim.name_any(),
                    "uid": claim.uid(),
                    "resourceVersion": claim.resource_version(),
                }},
            });
            acts.push(Act::Patch { kind: Kind::Volume, name: volume.name_any(), patch });
        }
    }
    acts
}

/// Lets go of the image and deletes the prime claim.
fn finish(observed: &Observed, prime: &PersistentVolumeClaim) -> Vec<Act> {
    if prime.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let mut acts = vec![Act::normal("VolSyncPopulatorFinished", "Populator finished")];
    if let Some(image) = &observed.image {
        let label = format!("{}{}", keys::VOLPOP_PVC_PREFIX, observed.claim.uid().unwrap_or_default());
        let mut patch = json!({"metadata": {"labels": {label: null}}});
        if image.labels().contains_key(keys::DO_NOT_DELETE) {
            let prime_uid = prime.uid().unwrap_or_default();
            let owners: Vec<_> =
                image.owner_references().iter().filter(|owner| owner.uid != prime_uid).collect();
            patch["metadata"]["ownerReferences"] = json!(owners);
        }
        acts.push(Act::Patch { kind: Kind::Snapshot, name: image.name_any(), patch });
    }
    acts.push(Act::Delete {
        kind: Kind::Claim,
        name: prime.name_any(),
        uid: prime.uid(),
        resource_version: None,
    });
    acts
}

/// Tells the data-source validator that we fill claims, if it is installed.
pub async fn register(client: &Client) {
    let api: Api<VolumePopulator> = Api::all(client.clone());
    let fields = VolumePopulatorFields {
        source_kind: GroupKind { group: keys::GROUP.into(), kind: "ReplicationDestination".into() },
    };
    match api.create(&PostParams::default(), &VolumePopulator::new(REGISTRATION, fields)).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => tracing::warn!(%error, "the populator could not be registered"),
    }
}

/// Builds the Controller over claims.
pub fn controller(context: &Arc<Context>) -> Controller<PersistentVolumeClaim> {
    let client = context.client.clone();
    let any = || context.watch.clone();
    let claims = Controller::new(Api::<PersistentVolumeClaim>::all(client.clone()), any());
    let (by_destination, by_class) = (claims.store(), claims.store());
    let sorted = |mut woken: Vec<ObjectRef<PersistentVolumeClaim>>| {
        woken.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        woken
    };
    claims
        .watches(Api::<ReplicationDestination>::all(client.clone()), any(), move |destination| {
            let waiting = by_destination.state().into_iter().filter(|claim| {
                claim.namespace() == destination.namespace() && wanted(claim) == Some(destination.name_any())
            });
            sorted(waiting.map(|claim| ObjectRef::from_obj(&*claim)).collect())
        })
        .watches(Api::<StorageClass>::all(client), any(), move |class| {
            let waiting = by_class.state().into_iter().filter(|claim| {
                wanted(claim).is_some() && spec(claim).storage_class_name == Some(class.name_any())
            });
            sorted(waiting.map(|claim| ObjectRef::from_obj(&*claim)).collect())
        })
}

/// Reconciles a claim.
pub async fn reconcile(known: Arc<PersistentVolumeClaim>, context: Arc<Context>) -> Result<Action, Error> {
    if wanted(&known).is_none() {
        return Ok(Action::await_change());
    }
    let (namespace, name) = (known.namespace().unwrap_or_default(), known.name_any());
    let key = format!("PersistentVolumeClaim/{namespace}/{name}");
    for _ in 0..ROUNDS_MAX {
        let Some(observed) = observe(&context, &namespace, &name).await.map_err(Error::Cluster)? else {
            return Ok(Action::await_change());
        };
        let about = Recorder::reference(&observed.claim);
        let hands = Hands {
            client: &context.client,
            namespace: &namespace,
            about: &about,
            name: &name,
            resource_version: None,
            recorder: &context.recorder,
            metrics: &context.metrics,
            measured: None,
            known_status: None,
            now: context.now(),
        };
        let next = hands.carry_out(plan(&observed)).await?;
        if !next.again {
            context.succeeded(&key);
            return Ok(next.after.map_or_else(Action::await_change, Action::requeue));
        }
    }
    Ok(Action::requeue(Duration::from_secs(1)))
}

async fn observe(context: &Context, namespace: &str, name: &str) -> Result<Option<Observed>, kube::Error> {
    let client = &context.client;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let Some(claim) = claims.get_opt(name).await? else { return Ok(None) };
    let mut observed = Observed { is_original: context.setting.profile.is_original(), ..Observed::default() };
    let prime_name = names::prime(&claim.uid().unwrap_or_default());
    observed.prime = claims.get_opt(&prime_name).await?;
    let is_done = phase(&claim) == "Bound" && observed.prime.is_none();
    if !is_done {
        if let Some(class) = spec(&claim).storage_class_name.filter(|name| !name.is_empty()) {
            observed.class = Api::<StorageClass>::all(client.clone()).get_opt(&class).await?;
        }
        let mut image = observed.prime.as_ref().and_then(image_of);
        if let Some(volume) =
            observed.prime.as_ref().and_then(|prime| spec(prime).volume_name).filter(|v| !v.is_empty())
        {
            observed.volume = Api::<PersistentVolume>::all(client.clone()).get_opt(&volume).await?;
        }
        if observed.prime.is_none()
            && let Some(destination) = wanted(&claim)
        {
            let destinations: Api<ReplicationDestination> = Api::namespaced(client.clone(), namespace);
            observed.destination = destinations.get_opt(&destination).await?;
            let status = observed.destination.as_ref().and_then(|destination| destination.status.as_ref());
            image = status.and_then(|status| status.latest_image.as_ref()).map(|image| image.name.clone());
        }
        if let Some(image) = image {
            let snapshots: Api<VolumeSnapshot> = Api::namespaced(client.clone(), namespace);
            observed.image = snapshots.get_opt(&image).await?;
        }
    }
    observed.claim = claim;
    Ok(Some(observed))
}

#[cfg(test)]
mod tests {
    use api::crd::{ImageReference, ReplicationDestinationSpec, ReplicationDestinationStatus};
    use serde_json::Value;

    use super::*;

    fn claim(value: Value) -> PersistentVolumeClaim {
        let mut base = json!({
            "metadata": {"name": "early", "namespace": "t1", "uid": "u1"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "csi",
                "resources": {"requests": {"storage": "64Mi"}},
                "dataSourceRef": {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "dst"},
            },
            "status": {"phase": "Pending"},
        });
        merge(&mut base, value);
        serde_json::from_value(base).expect("a claim")
    }
    fn merge(base: &mut Value, change: Value) {
        match (base, change) {
            (Value::Object(base), Value::Object(change)) => {
                for (key, value) in change {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
            (base, change) => *base = change,
        }
    }
    fn class(mode: &str, provisioner: &str) -> StorageClass {
        StorageClass {
            provisioner: provisioner.into(),
            volume_binding_mode: Some(mode.into()),
            ..StorageClass::default()
        }
    }
    fn destination(kind: Option<&str>) -> ReplicationDestination {
        let mut destination = ReplicationDestination::new("dst", ReplicationDestinationSpec::default());
        destination.status = kind.map(|kind| ReplicationDestinationStatus {
            latest_image: Some(ImageReference {
                api_group: String::new(),
                kind: kind.into(),
                name: "image".into(),
            }),
            ..ReplicationDestinationStatus::default()
        });
        destination
    }
    fn ready() -> Observed {
        Observed {
            claim: claim(json!({})),
            class: Some(class("Immediate", "csi.example")),
            destination: Some(destination(Some("VolumeSnapshot"))),
            image: Some(VolumeSnapshot::new("image", api::VolumeSnapshotSpec::default())),
            ..Observed::default()
        }
    }
    fn told(acts: &[Act]) -> Vec<String> {
        acts.iter()
            .map(|act| match act {
                Act::Create(object) => format!("create {}", object.describe()),
                Act::Patch { kind, name, .. } => format!("patch {kind:?}/{name}"),
                Act::Delete { kind, name, .. } => format!("delete {kind:?}/{name}"),
                Act::Event { reason, .. } => (*reason).to_owned(),
                Act::Fail(obstacle) => format!("fail {obstacle}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_claim_waits_until_there_is_an_image_of_the_right_kind() {
        let check = |change: fn(&mut Observed), expected: &[&str]| {
            let mut observed = ready();
            change(&mut observed);
            assert_eq!(told(&plan(&observed)), expected);
        };
        check(
            |_| {},
            &[
                "patch Snapshot/image",
                "create PersistentVolumeClaim/vs-prime-u1",
                "VolSyncPopulatorPVCCreated",
                "Again",
            ],
        );
        check(|observed| observed.destination = None, &["VolSyncPopulatorReplicationDestinationMissing"]);
        check(
            |observed| observed.destination = Some(destination(None)),
            &["VolSyncPopulatorReplicationDestinationNoLatestImage"],
        );
        check(
            |observed| observed.destination = Some(destination(Some("PersistentVolumeClaim"))),
            &["VolSyncPopulatorError"],
        );
        check(|observed| observed.image = None, &["fail VolumeSnapshot \"image\" not found"]);
        check(|observed| observed.class = None, &[]);
        check(|observed| observed.class = Some(class("Immediate", "kubernetes.io/host-path")), &[]);
        check(|observed| observed.class = Some(class("WaitForFirstConsumer", "csi.example")), &[]);
    }

    #[test]
    fn a_late_binding_claim_goes_on_once_a_node_is_chosen() {
        let mut observed = ready();
        observed.class = Some(class("WaitForFirstConsumer", "csi.example"));
        observed.claim = claim(json!({"metadata": {"annotations": {keys::SELECTED_NODE: "n1"}}}));
        let acts = plan(&observed);
        let Some(Act::Create(object)) = acts.iter().find(|act| matches!(act, Act::Create(_))) else {
            panic!("no prime claim: {acts:?}");
        };
        let crate::act::Object::Claim(prime) = &**object else { panic!("not a claim") };
        assert_eq!(prime.annotations().get(keys::SELECTED_NODE).map(String::as_str), Some("n1"));
        assert_eq!(prime.labels().get(keys::POPULATOR_PVC_FOR).map(String::as_str), Some("early"));
        assert_eq!(image_of(prime).as_deref(), Some("image"));
    }

    #[test]
    fn the_volume_changes_hands_and_the_prime_claim_goes() {
        let mut observed = ready();
        let mut prime =
            claim(json!({"metadata": {"name": "vs-prime-u1", "uid": "p1"}, "spec": {"volumeName": "pv"}}));
        prime.spec.as_mut().expect("a spec").data_source_ref.as_mut().expect("a source").name =
            "image".into();
        observed.prime = Some(prime.clone());
        let mut volume = PersistentVolume::default();
        volume.metadata.name = Some("pv".into());
        observed.volume = Some(volume);
        assert_eq!(told(&plan(&observed)), ["patch Snapshot/image", "patch Volume/pv"]);
        prime.status.as_mut().expect("a status").phase = Some("Lost".into());
        observed.prime = Some(prime);
        assert_eq!(
            told(&plan(&observed)),
            ["VolSyncPopulatorFinished", "patch Snapshot/image", "delete Claim/vs-prime-u1"]
        );
    }

    #[test]
    fn other_claims_are_left_alone() {
        let mut observed = ready();
        observed.claim = claim(json!({"spec": {"dataSourceRef": {"kind": "VolumeSnapshot"}}}));
        assert_eq!(plan(&observed), []);
        observed.claim = claim(json!({"spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}));
        assert_eq!(plan(&observed), []);
    }
}
