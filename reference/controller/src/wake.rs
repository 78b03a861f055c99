//! What wakes the reconcilers: changes of their objects, and of what was made for these.
//!
//! Each kind of child is watched once, whoever owns it, and only its metadata is read; a change is told to
//! the owners it names. An object's own status wakes nobody: the reconcilers write it themselves, and look
//! again by themselves where they have to. Broken watches are taken up again with the steady back-off of
//! [`crate::serve`]. Nothing here is read for a plan: reconcilers look anew.
use std::collections::BTreeMap;
use std::fmt::Debug;

use api::names as keys;
use api::{KopiaMaintenance, ReplicationDestination, ReplicationSource, VolumeSnapshot};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::{BoxStream, SelectAll, Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, utils::Backoff};
use kube::{Api, Resource, ResourceExt};

use crate::reconcile::Context;

/// A change of a child: its kind and its metadata.
type Changed = (&'static str, ObjectMeta);

/// Who is to be woken, by the kind of what it reconciles.
struct Bells {
    sources: UnboundedSender<ObjectRef<ReplicationSource>>,
    destinations: UnboundedSender<ObjectRef<ReplicationDestination>>,
    claims: UnboundedSender<ObjectRef<PersistentVolumeClaim>>,
    maintenances: UnboundedSender<ObjectRef<KopiaMaintenance>>,
    /// The replication sources, to find those that back a claim up.
    known: Store<ReplicationSource>,
}

/// The other ends of the bells, one for each Controller.
pub struct Woken {
    /// Replication sources whose children changed, or whose claim has a copy trigger and changed.
    pub sources: UnboundedReceiver<ObjectRef<ReplicationSource>>,
    /// Replication destinations whose children changed.
    pub destinations: UnboundedReceiver<ObjectRef<ReplicationDestination>>,
    /// Claims whose prime claim changed.
    pub claims: UnboundedReceiver<ObjectRef<PersistentVolumeClaim>>,
    /// KopiaMaintenances whose CronJob or Jobs changed.
    pub maintenances: UnboundedReceiver<ObjectRef<KopiaMaintenance>>,
}

/// Watches every kind of child; the future rings until it is dropped.
pub fn by_children<B>(
    context: &Context,
    known: Store<ReplicationSource>,
    backoff: impl Fn() -> B,
) -> (impl Future<Output = ()>, Woken)
where
    B: Backoff + 'static,
{
    let (sources, woken_sources) = unbounded();
    let (destinations, woken_destinations) = unbounded();
    let (claims, woken_claims) = unbounded();
    let (maintenances, woken_maintenances) = unbounded();
    let bells = Bells { sources, destinations, claims, maintenances, known };
    let mut changes = SelectAll::new();
    changes.push(children::<Job>(context, "Job", backoff()));
    changes.push(children::<PersistentVolumeClaim>(context, "PersistentVolumeClaim", backoff()));
    changes.push(children::<VolumeSnapshot>(context, "VolumeSnapshot", backoff()));
    changes.push(children::<ServiceAccount>(context, "ServiceAccount", backoff()));
    changes.push(children::<CronJob>(context, "CronJob", backoff()));
    let ringing = changes.for_each(move |(kind, metadata)| {
        bells.ring(kind, &metadata);
        std::future::ready(())
    });
    let woken = Woken {
        sources: woken_sources,
        destinations: woken_destinations,
        claims: woken_claims,
        maintenances: woken_maintenances,
    };
    (ringing, woken)
}

fn children<K>(
    context: &Context,
    kind: &'static str,
    backoff: impl Backoff + 'static,
) -> BoxStream<'static, Changed>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let objects = Api::<PartialObjectMeta<K>>::all(context.client.clone());
    watcher(objects, context.watch.clone())
        .backoff(backoff)
        .touched_objects()
        .filter_map(move |touched| {
            std::future::ready(match touched {
                Ok(object) => Some((kind, object.metadata)),
                Err(error) => {
                    tracing::debug!(%error, kind, "a watch broke and is taken up again");
                    None
                }
            })
        })
        .boxed()
}

impl Bells {
    fn ring(&self, kind: &str, metadata: &ObjectMeta) {
        let namespace = metadata.namespace.as_deref();
        for owner in metadata.owner_references.iter().flatten() {
            // A closed end is a Controller that has ended; nobody is left to wake.
            match kind {
                "CronJob" => drop(tell(&self.maintenances, namespace, owner)),
                _ => {
                    let _ =
                        tell(&self.sources, namespace, owner) || tell(&self.destinations, namespace, owner);
                }
            }
            match kind {
                "Job" => drop(tell(&self.maintenances, namespace, owner)),
                "PersistentVolumeClaim" => drop(tell(&self.claims, namespace, owner)),
                _ => {}
            }
        }
        let marked = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
        if kind == "Job"
            && marked(keys::KOPIA_MAINTENANCE).is_some_and(|value| value == "true")
            && let Some(name) = marked(keys::MAINTENANCE_NAME)
        {
            // Jobs of a CronJob belong to it, not to the KopiaMaintenance.
            let _ =
                self.maintenances.unbounded_send(ObjectRef::new(name).within(namespace.unwrap_or_default()));
        }
        let has_trigger =
            metadata.annotations.as_ref().is_some_and(|all| all.contains_key(keys::USE_COPY_TRIGGER));
        if kind == "PersistentVolumeClaim" && has_trigger {
            self.ring_for_trigger(metadata);
        }
    }

    /// A claim with a copy trigger wakes the sources that back it up.
    fn ring_for_trigger(&self, claim: &ObjectMeta) {
        let mut woken: Vec<_> = self
            .known
            .state()
            .into_iter()
            .filter(|source| source.namespace() == claim.namespace && source.spec.source_pvc == claim.name)
            .map(|source| ObjectRef::from_obj(&*source))
            .collect();
        woken.sort_by(|a, b| a.name.cmp(&b.name));
        for source in woken {
            let _ = self.sources.unbounded_send(source);
        }
    }
}

/// Wakes an owner if it is of the kind that hears this bell; tells whether it is.
fn tell<K>(bell: &UnboundedSender<ObjectRef<K>>, namespace: Option<&str>, owner: &OwnerReference) -> bool
where
    K: Resource<DynamicType = ()>,
{
    let Some(owner) = ObjectRef::from_owner_ref(namespace, owner, ()) else { return false };
    let _ = bell.unbounded_send(owner);
    true
}

/// What of an object wakes its reconciler: all but status and bookkeeping.
#[derive(PartialEq)]
struct Face {
    uid: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    finalizers: Option<Vec<String>>,
    deletion: Option<Time>,
}

impl Face {
    fn of(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
            finalizers: metadata.finalizers.clone(),
            deletion: metadata.deletion_timestamp.clone(),
        }
    }
}

/// Leaves out the changes of a watch that are of a status alone; after every restart all objects pass.
///
/// # Assumptions
/// The resource counts its generation with every change of the specification, as those with a status
/// subresource do.
pub fn but_for_status<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>>
where
    K: Resource<DynamicType = ()>,
{
    let mut faces: BTreeMap<(Option<String>, Option<String>), Face> = BTreeMap::new();
    let key = |object: &K| (object.meta().namespace.clone(), object.meta().name.clone());
    events.filter(move |event| {
        let passes = match event {
            Ok(Event::Init) => {
                faces.clear();
                true
            }
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let face = Face::of(object.meta());
                let passes = faces.get(&key(object)) != Some(&face);
                if passes {
                    faces.insert(key(object), face);
                }
                passes
            }
            Ok(Event::Delete(object)) => {
                faces.remove(&key(object));
                true
            }
            Ok(Event::InitDone) | Err(_) => true,
        };
        std::future::ready(passes)
    })
}

#[cfg(test)]
mod tests {
    use api::ReplicationSourceSpec;
    use futures::stream;

    use super::*;

    fn source(generation: i64, manual: &str) -> ReplicationSource {
        let mut source = ReplicationSource::new("app", ReplicationSourceSpec::default());
        source.metadata.generation = Some(generation);
        source.metadata.annotations = Some([("note".to_owned(), manual.to_owned())].into());
        source.status = Some(api::ReplicationSourceStatus::default());
        source
    }

    #[tokio::test]
    async fn a_status_alone_wakes_nobody() {
        let events = vec![
            Event::Init,
            Event::InitApply(source(1, "a")),
            Event::InitDone,
            Event::Apply(source(1, "a")),
            Event::Apply(source(2, "a")),
            Event::Apply(source(2, "b")),
            Event::Delete(source(2, "b")),
            Event::Apply(source(2, "b")),
            Event::Init,
            Event::InitApply(source(2, "b")),
        ];
        let kept = but_for_status(stream::iter(events.into_iter().map(Ok)));
        let kept: Vec<_> = Box::pin(kept.collect()).await;
        let told: Vec<_> = kept
            .into_iter()
            .map(|event| match event.expect("no watch broke") {
                Event::Init => "init",
                Event::InitApply(_) => "found",
                Event::InitDone => "done",
                Event::Apply(_) => "changed",
                Event::Delete(_) => "gone",
            })
            .collect();
        assert_eq!(told, ["init", "found", "done", "changed", "changed", "gone", "changed", "init", "found"]);
    }
}
