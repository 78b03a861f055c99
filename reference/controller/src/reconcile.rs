//! Reconciles replication objects: look, plan, act, until nothing is left to do at once.
//!
//! Stock kube Controllers drive it; watches on owned objects wake it. A failed round is retried with a
//! back-off that doubles and knows no chance. Source: sections 2.1 and 2.2 of the behaviour specification.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::names as keys;
use api::{ReplicationDestination, ReplicationSource, VolumeSnapshot};
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};

use crate::act::{Act, Status};
use crate::condition::{self, Claim};
use crate::event::Recorder;
use crate::execute::{Error, Hands, Next};
use crate::metrics::{About, Metrics};
use crate::observe::observe;
use crate::observed::Setting;
use crate::plan::{finish, plan};
use crate::subject::{Method, Subject};
use crate::unread::Unread;
use crate::{Backoff, Now};

/// How many rounds one reconcile may take.
const ROUNDS_MAX: usize = 8;

/// What all reconcilers share.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// Policy and surroundings.
    pub setting: Setting,
    /// The clock.
    pub now: Now,
    /// Writes events about replication objects and claims.
    pub recorder: Recorder,
    /// Writes events about maintenance.
    pub maintenance_recorder: Recorder,
    /// Counts.
    pub metrics: Metrics,
    /// How failed reconciles are retried.
    pub backoff: Backoff,
    /// Failures in a row by object.
    pub failures: Mutex<BTreeMap<String, u32>>,
    /// How everything is watched.
    pub watch: kube::runtime::watcher::Config,
}

impl Context {
    /// The present instant.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Counts a failure and says how long to wait.
    pub fn failed(&self, key: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
        self.backoff.after(*count)
    }

    /// Forgets failures.
    pub fn succeeded(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Reconciles a ReplicationSource.
pub async fn source(known: Arc<ReplicationSource>, context: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (known.namespace().unwrap_or_default(), known.name_any());
    let api: Api<ReplicationSource> = Api::namespaced(context.client.clone(), &namespace);
    rounds(&context, "source", &namespace, &name, || async {
        Ok(api.get_opt(&name).await?.map(|object| {
            let about = Recorder::reference(&object);
            (Subject::Source(object), about)
        }))
    })
    .await
}

/// Reconciles a ReplicationDestination.
pub async fn destination(known: Arc<ReplicationDestination>, context: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (known.namespace().unwrap_or_default(), known.name_any());
    let api: Api<ReplicationDestination> = Api::namespaced(context.client.clone(), &namespace);
    rounds(&context, "destination", &namespace, &name, || async {
        Ok(api.get_opt(&name).await?.map(|object| {
            let about = Recorder::reference(&object);
            (Subject::Destination(object), about)
        }))
    })
    .await
}

type Read = Option<(Subject, k8s_openapi::api::core::v1::ObjectReference)>;

async fn rounds<F>(
    context: &Context,
    role: &str,
    namespace: &str,
    name: &str,
    read: impl Fn() -> F,
) -> Result<Action, Error>
where
    F: Future<Output = Result<Read, kube::Error>>,
{
    let key = format!("{role}/{namespace}/{name}");
    for _ in 0..ROUNDS_MAX {
        let Some((subject, about)) = read().await.map_err(Error::Cluster)? else {
            if !context.setting.profile.is_original() {
                context.metrics.forget(role, namespace, name);
            }
            context.succeeded(&key);
            return Ok(Action::await_change());
        };
        if subject.metadata().deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        // Boxed: a look at the whole cluster is a large state to keep in every caller.
        let next = Box::pin(round(context, subject, &about)).await?;
        if !next.again {
            context.succeeded(&key);
            return Ok(next.after.map_or_else(Action::await_change, Action::requeue));
        }
    }
    Ok(Action::requeue(Duration::from_secs(1)))
}

/// One look, one plan, its acts.
async fn round(
    context: &Context,
    subject: Subject,
    about: &k8s_openapi::api::core::v1::ObjectReference,
) -> Result<Next, Error> {
    let now = context.now();
    relinquish(context, &subject).await.map_err(Error::Cluster)?;
    let known_status = match &subject {
        Subject::Source(source) => {
            source.status.as_ref().and_then(|status| serde_json::to_value(status).ok())
        }
        Subject::Destination(destination) => {
            destination.status.as_ref().and_then(|status| serde_json::to_value(status).ok())
        }
    };
    let observed = Box::pin(observe(&context.client, subject, context.setting.clone(), now))
        .await
        .map_err(Error::Cluster)?;
    let subject = &observed.subject;
    let measured = About {
        name: subject.name().into(),
        namespace: subject.namespace().into(),
        role: subject.role().as_str(),
        operation: subject.role().operation(),
        repository: crate::plan::known::secret_name(&observed),
    };
    let hands = Hands {
        client: &context.client,
        namespace: subject.namespace(),
        about,
        name: subject.name(),
        resource_version: subject.metadata().resource_version.clone(),
        recorder: &context.recorder,
        metrics: &context.metrics,
        measured: Some(&measured),
        known_status,
        now,
    };
    let acts = plan(&observed, now);
    let planned =
        acts.iter().find_map(|act| if let Act::Status(status) = act { Some(status.clone()) } else { None });
    let result = hands.carry_out(acts).await;
    // What the cluster refused is shown, unless a second look is all it takes.
    if let (Err(error @ Error::Cluster(_)), Some(mut status)) = (&result, planned)
        && !error.is_conflict()
    {
        refused(&mut status, subject, error, now);
        if let Err(error) = hands.status(&status).await {
            tracing::debug!(error = %error.message(), "the refusal could not be shown");
        }
    }
    result
}

/// Shows a refusal: the status as it was, with an `Error` condition.
fn refused(status: &mut Status, subject: &Subject, error: &Error, now: Timestamp) {
    let before = subject.sync();
    if let Some(sync) = status.sync_mut() {
        *sync = before;
        condition::set(&mut sync.conditions, Claim::error(error.message()), None, now);
    }
}

/// Gives up VolumeSnapshots that users marked `do-not-delete` (destinations only).
async fn relinquish(context: &Context, subject: &Subject) -> Result<(), kube::Error> {
    let Subject::Destination(destination) = subject else { return Ok(()) };
    if subject.method(context.setting.profile) == Method::Foreign {
        return Ok(());
    }
    let idle = !finish::wants_clearing(&subject.sync());
    if idle && destination.status.as_ref().is_none_or(|status| status.latest_image.is_none()) {
        return Ok(());
    }
    let snapshots: Api<VolumeSnapshot> = Api::namespaced(context.client.clone(), subject.namespace());
    let marked = snapshots.list(&ListParams::default().labels(keys::DO_NOT_DELETE)).await?.items;
    for snapshot in marked {
        let is_ours = snapshot.owner_references().iter().any(|owner| owner.uid == subject.uid());
        if is_ours && let Act::Patch { name, patch, .. } = finish::relinquish(&snapshot, subject.uid()) {
            let marked = Unread::of::<VolumeSnapshot>(&context.client, Some(subject.namespace()));
            marked.merge(&name, patch).await?;
        }
    }
    Ok(())
}
