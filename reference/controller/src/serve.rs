//! Wires the reconcilers to stock kube Controllers and runs them side by side.
//!
//! No concurrency limit, and a back-off for broken watches without jitter: the order of requests depends on
//! the cluster alone. Dropping a controller's stream stops its spawned reconciles.
use std::sync::Arc;
use std::time::Duration;

use api::names as keys;
use api::{KopiaMaintenance, ReplicationDestination, ReplicationSource, VolumeSnapshot};
use futures::StreamExt;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};

use crate::execute::Error;
use crate::reconcile::{self, Context};
use crate::{maintain, populate};

/// The pause after a broken watch: doubling from 800 ms to 30 s, reset by success.
struct Steady(Duration);

impl Steady {
    const FIRST: Duration = Duration::from_millis(800);
    const MAX: Duration = Duration::from_secs(30);
}

impl Iterator for Steady {
    type Item = Duration;
    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::MAX);
        Some(pause)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

/// Decides when a failed reconcile is tried again.
fn retry<K: Resource<DynamicType = ()>>(object: &Arc<K>, error: &Error, context: &Arc<Context>) -> Action {
    let kind = K::kind(&());
    let role = match kind.as_ref() {
        "ReplicationSource" => "source",
        "ReplicationDestination" => "destination",
        other => other,
    };
    let key = format!("{role}/{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    let pause = context.failed(&key);
    tracing::info!(object = key, reason = error.message(), ?pause, "not done, trying again");
    Action::requeue(pause)
}

/// Runs everything until dropped.
pub async fn all(context: Arc<Context>) {
    let client = context.client.clone();
    populate::register(&client).await;
    let any = watcher::Config::default;
    let sources = Controller::new(Api::<ReplicationSource>::all(client.clone()), any())
        .trigger_backoff(Steady(Steady::FIRST));
    let source_store = sources.store();
    let sources = sources
        .owns(Api::<Job>::all(client.clone()), any())
        .owns(Api::<PersistentVolumeClaim>::all(client.clone()), any())
        .owns(Api::<VolumeSnapshot>::all(client.clone()), any())
        .owns(Api::<ServiceAccount>::all(client.clone()), any())
        .watches(Api::<PartialObjectMeta<PersistentVolumeClaim>>::all(client.clone()), any(), move |claim| {
            // A claim with a copy trigger wakes the sources that back it up.
            let is_triggered = claim.annotations().contains_key(keys::USE_COPY_TRIGGER);
            let mut woken: Vec<_> = source_store
                .state()
                .into_iter()
                .filter(|source| {
                    is_triggered
                        && source.namespace() == claim.namespace()
                        && source.spec.source_pvc.as_deref() == Some(claim.name_any().as_str())
                })
                .map(|source| ObjectRef::from_obj(&*source))
                .collect();
            woken.sort_by(|a, b| a.name.cmp(&b.name));
            woken
        })
        .run(reconcile::source, |object, error, context| retry(&object, error, &context), context.clone())
        .for_each(|_| std::future::ready(()));
    let destinations = Controller::new(Api::<ReplicationDestination>::all(client.clone()), any())
        .trigger_backoff(Steady(Steady::FIRST))
        .owns(Api::<Job>::all(client.clone()), any())
        .owns(Api::<PersistentVolumeClaim>::all(client.clone()), any())
        .owns(Api::<VolumeSnapshot>::all(client.clone()), any())
        .owns(Api::<ServiceAccount>::all(client.clone()), any())
        .run(
            reconcile::destination,
            |object, error, context| retry(&object, error, &context),
            context.clone(),
        )
        .for_each(|_| std::future::ready(()));
    let claims = populate::controller(&context)
        .trigger_backoff(Steady(Steady::FIRST))
        .run(populate::reconcile, |object, error, context| retry(&object, error, &context), context.clone())
        .for_each(|_| std::future::ready(()));
    let maintenances = Controller::new(Api::<KopiaMaintenance>::all(client.clone()), any())
        .trigger_backoff(Steady(Steady::FIRST))
        .owns(Api::<CronJob>::all(client.clone()), any())
        .owns(Api::<Job>::all(client.clone()), any())
        .watches(
            Api::<PartialObjectMeta<Job>>::all(client.clone()),
            any().labels(&format!("{}=true", keys::KOPIA_MAINTENANCE)),
            |job| {
                // Jobs of a CronJob belong to it, not to the KopiaMaintenance.
                let name = job.labels().get(keys::MAINTENANCE_NAME).cloned();
                name.map(|name| ObjectRef::new(&name).within(&job.namespace().unwrap_or_default()))
            },
        )
        .run(maintain::reconcile, |object, error, context| retry(&object, error, &context), context.clone())
        .for_each(|_| std::future::ready(()));
    // Polled in this order at every wake-up: no chance decides who goes first.
    futures::pin_mut!(sources, destinations, claims, maintenances);
    std::future::poll_fn(|wake| {
        use std::future::Future;
        let done = [
            sources.as_mut().poll(wake).is_ready(),
            destinations.as_mut().poll(wake).is_ready(),
            claims.as_mut().poll(wake).is_ready(),
            maintenances.as_mut().poll(wake).is_ready(),
        ];
        if done.iter().any(|done| *done) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
