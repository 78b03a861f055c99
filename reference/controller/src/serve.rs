//! Wires the reconcilers to stock kube Controllers and runs them side by side.
//!
//! No concurrency limit, and a back-off for broken watches without jitter: the order of requests depends on
//! the cluster alone. Dropping a controller's stream stops its spawned reconciles.
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use api::{KopiaMaintenance, ReplicationDestination, ReplicationSource};
use futures::{Stream, StreamExt};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::execute::Error;
use crate::reconcile::{self, Context};
use crate::{maintain, populate, wake};

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

/// The objects of a kind: a store of them, and those whose change wakes their reconciler.
fn own<K>(context: &Context) -> (Store<K>, impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let writer = Writer::<K>::default();
    let known = writer.as_reader();
    let events = watcher::watcher(Api::<K>::all(context.client.clone()), context.watch.clone());
    (known, wake::but_for_status(reflector(writer, events)).applied_objects())
}

/// Runs everything until dropped.
pub async fn all(context: Arc<Context>) {
    let client = context.client.clone();
    populate::register(&client).await;
    let backoff = || Steady(Steady::FIRST);
    let (known, sources) = own::<ReplicationSource>(&context);
    let (ringing, woken) = wake::by_children(&context, known.clone(), backoff);
    let sources = Controller::for_stream(sources, known)
        .trigger_backoff(backoff())
        .reconcile_on(woken.sources)
        .run(reconcile::source, |object, error, context| retry(&object, error, &context), context.clone())
        .for_each(|_| std::future::ready(()));
    let (known, destinations) = own::<ReplicationDestination>(&context);
    let destinations = Controller::for_stream(destinations, known)
        .trigger_backoff(backoff())
        .reconcile_on(woken.destinations)
        .run(
            reconcile::destination,
            |object, error, context| retry(&object, error, &context),
            context.clone(),
        )
        .for_each(|_| std::future::ready(()));
    let claims = populate::controller(&context)
        .trigger_backoff(backoff())
        .reconcile_on(woken.claims)
        .run(populate::reconcile, |object, error, context| retry(&object, error, &context), context.clone())
        .for_each(|_| std::future::ready(()));
    let maintenances = Controller::new(Api::<KopiaMaintenance>::all(client.clone()), context.watch.clone())
        .trigger_backoff(backoff())
        .reconcile_on(woken.maintenances)
        .run(maintain::reconcile, |object, error, context| retry(&object, error, &context), context.clone())
        .for_each(|_| std::future::ready(()));
    // Polled in this order at every wake-up: no chance decides who goes first.
    futures::pin_mut!(ringing, sources, destinations, claims, maintenances);
    std::future::poll_fn(|wake| {
        use std::future::Future;
        let done = [
            ringing.as_mut().poll(wake).is_ready(),
            sources.as_mut().poll(wake).is_ready(),
            destinations.as_mut().poll(wake).is_ready(),
            claims.as_mut().poll(wake).is_ready(),
            maintenances.as_mut().poll(wake).is_ready(),
        ];
        if done.iter().any(|done| *done) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
