//! Events: core/v1 objects, repeated ones counted instead of repeated.
//!
//! As client-go's recorder: the same object, type, reason and message become one Event whose `count` grows;
//! an object that has too much to say is silenced (25 at once, then one every five minutes). A failure to
//! write an event never fails a reconcile. Times are the controller's clock, names its nanoseconds.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use crate::unread::Unread;

/// How many events an object may have at once.
const BURST: u32 = 25;
/// How long until it may have one more.
const REFILL: SignedDuration = SignedDuration::from_mins(5);

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// A word for machines.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

#[derive(Default)]
struct Memory {
    known: BTreeMap<(String, Note), (String, i32)>,
    budgets: BTreeMap<String, (u32, Timestamp)>,
    last_name: i128,
}

/// Writes events of one component.
pub struct Recorder {
    client: Client,
    component: String,
    memory: Mutex<Memory>,
}

enum Write {
    Create(String),
    Count(String, i32),
}

impl Recorder {
    /// Starts a recorder.
    pub fn new(client: Client, component: impl Into<String>) -> Self {
        Self { client, component: component.into(), memory: Mutex::default() }
    }

    /// Describes an object as events name it.
    pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
        ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: object.meta().name.clone(),
            namespace: object.meta().namespace.clone(),
            resource_version: object.resource_version(),
            uid: object.uid(),
            ..ObjectReference::default()
        }
    }

    /// Writes an event about an object.
    pub async fn publish(&self, about: &ObjectReference, note: Note, now: Timestamp) {
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".into());
        let events = Unread::of::<Event>(&self.client, Some(&namespace));
        let Some(write) = self.remember(about, &note, now) else { return };
        let result = match write {
            Write::Create(name) => events.create(&self.event(about, note, name, now)).await,
            Write::Count(name, count) => {
                let patch = json!({"count": count, "lastTimestamp": Time(now)});
                events.merge(&name, patch).await
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, namespace, "an event could not be written");
        }
    }

    /// Decides between a new event, a higher count, and silence.
    fn remember(&self, about: &ObjectReference, note: &Note, now: Timestamp) -> Option<Write> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let object = about.uid.clone().unwrap_or_default();
        let (left, since) = memory.budgets.get(&object).copied().unwrap_or((BURST, now));
        let refills = (now.duration_since(since).as_secs() / REFILL.as_secs()).max(0);
        let since = since + SignedDuration::from_secs(refills * REFILL.as_secs());
        let left = left.saturating_add(u32::try_from(refills).unwrap_or(BURST)).min(BURST);
        let left = left.checked_sub(1)?;
        memory.budgets.insert(object.clone(), (left, since));
        if let Some((name, count)) = memory.known.get_mut(&(object.clone(), note.clone())) {
            *count += 1;
            return Some(Write::Count(name.clone(), *count));
        }
        // Two events of one instant need two names.
        let nanos = now.as_nanosecond().max(memory.last_name + 1);
        memory.last_name = nanos;
        let name = format!("{}.{nanos:x}", about.name.as_deref().unwrap_or_default());
        memory.known.insert((object, note.clone()), (name.clone(), 1));
        Some(Write::Create(name))
    }

    fn event(&self, about: &ObjectReference, note: Note, name: String, now: Timestamp) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: about.clone(),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
            reason: Some(note.reason.into()),
            message: Some(note.message),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource { component: Some(self.component.clone()), host: None }),
            reporting_component: Some(self.component.clone()),
            ..Event::default()
        }
    }
}
