//! The record of a run: what happened, in order, with virtual times and stable point ids.
//!
//! Everything that changes something is an [`Event`]: API writes, cluster events, conditions, volume,
//! blob, Job and pod operations, log lines, faults and verdicts. The record promises that the same seed
//! gives the same bytes ([`Event::to_line`]); it holds no wall time, no address and no random name that
//! does not come from the seed. It judges nothing: oracles and reports read it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::Timestamp;
use json::Value;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the record, from 0 without gaps.
    pub sequence: u64,
    /// Virtual time.
    pub at: Timestamp,
    /// Stable id of the point: seam, actor, operation, class, how-manieth.
    pub point: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

impl Event {
    /// The event as one line of NDJSON, without the line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("an event holds strings, numbers and JSON only")
    }
}

/// What happened, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum What {
    /// An object of the API server changed.
    ApiWrite {
        /// Who wrote: `user`, `controller`, `kubelet`, `job-controller`, …
        caller: String,
        /// `create`, `update`, `patch`, `delete`, …
        verb: String,
        /// Group, version and plural: `batch/v1/jobs`, `v1/pods`.
        resource: String,
        /// The kind: `Job`.
        object_kind: String,
        /// Namespace; empty for cluster-scoped objects.
        namespace: String,
        /// Object name.
        name: String,
        /// The revision the write got.
        resource_version: u64,
        /// First 16 hex digits of the SHA-256 of the stored object without its managed fields.
        digest: String,
        /// What a timeline needs: phase, counts, times of a sync, readiness; by field path.
        fields: BTreeMap<String, Value>,
    },
    /// A Kubernetes event was recorded or counted again.
    ClusterEvent {
        /// Namespace of the object it is about.
        namespace: String,
        /// Kind and name: `ReplicationSource/app`.
        object: String,
        /// `Normal` or `Warning`.
        #[serde(rename = "type")]
        class: String,
        /// The reason.
        reason: String,
        /// The message.
        message: String,
        /// Who reports.
        component: String,
        /// How often so far.
        count: u64,
    },
    /// A condition of an object changed.
    Condition {
        /// Namespace; empty for cluster-scoped objects.
        namespace: String,
        /// Kind and name.
        object: String,
        /// The condition's type.
        #[serde(rename = "type")]
        class: String,
        /// `True`, `False`, `Unknown`.
        status: String,
        /// The reason.
        reason: String,
        /// The message.
        message: String,
    },
    /// An operation on a volume.
    Volume {
        /// The volume, by claim (`ns/claim`) or by its own name.
        volume: String,
        /// `create`, `clone`, `cut`, `fill`, `change`, `destroy`, `write-back`, …
        operation: String,
        /// What else is to say; empty if nothing.
        detail: String,
    },
    /// An operation on a store.
    Blob {
        /// The store's location.
        store: String,
        /// Who did it.
        actor: String,
        /// `get`, `put`, `list`, `delete`, …
        operation: String,
        /// The blob.
        id: String,
        /// Bytes moved.
        bytes: u64,
        /// Empty, or how it failed.
        error: String,
    },
    /// Something happened to a Job.
    Job {
        /// Namespace.
        namespace: String,
        /// Job name.
        name: String,
        /// `created`, `pod-failed`, `complete`, `failed`, `deleted`.
        operation: String,
        /// Reason or count; empty if nothing.
        detail: String,
    },
    /// Something happened to a pod.
    Pod {
        /// Namespace.
        namespace: String,
        /// Pod name.
        name: String,
        /// `scheduled`, `started`, `terminated`, `signal`, `killed`, `evicted`, `waiting`.
        operation: String,
        /// Exit code, reason, node; empty if nothing.
        detail: String,
    },
    /// A line of a mover's log.
    MoverLog {
        /// Namespace.
        namespace: String,
        /// Pod name.
        pod: String,
        /// The line, without its end.
        line: String,
    },
    /// A call of a CSI sidecar to its driver.
    Csi {
        /// The driver.
        driver: String,
        /// `CreateVolume`, `CreateSnapshot`, …
        operation: String,
        /// The id the driver locks on.
        id: String,
        /// `OK`, or the gRPC code and text.
        result: String,
    },
    /// A fault changed its state.
    Fault {
        /// The fault's name.
        name: String,
        /// `armed`, `fired`, `lifted`.
        state: String,
        /// Where it fired, or what it aims at.
        target: String,
    },
    /// A step of a scenario began or ended.
    Step {
        /// The step's text.
        text: String,
        /// `begins`, `passed`, `failed`.
        state: String,
    },
    /// A judgement.
    Verdict {
        /// Which oracle or expectation.
        oracle: String,
        /// `passed`, `violated`, `stalled`, `unsupported`, …
        outcome: String,
        /// Why.
        reason: String,
    },
    /// Anything else worth a line (subject restarted, driver restarted, namespace destroyed).
    Note {
        /// The text.
        text: String,
    },
}

/// Is called with each event as it happens, in order.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

/// The record of one bed; cheap to clone, all clones are one record.
#[derive(Clone)]
pub struct Record {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    next: u64,
    keep: Option<usize>,
    points: BTreeMap<String, u64>,
    observers: Vec<Observer>,
}

impl Record {
    /// An empty record on this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, inner: Arc::default() }
    }

    /// Appends an event; `place` is the point without its count (`seam/actor/operation/class`), which is
    /// added here.
    pub fn push(&self, place: &str, what: What) -> u64 {
        let at = self.clock.now();
        let mut inner = self.lock();
        let nth = match inner.points.get_mut(place) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                inner.points.insert(place.to_owned(), 0);
                0
            }
        };
        let event = Event { sequence: inner.next, at, point: format!("{place}#{nth}"), what };
        inner.next += 1;
        let mut observers = std::mem::take(&mut inner.observers);
        for observer in &mut observers {
            observer(&event);
        }
        inner.observers = observers;
        let sequence = event.sequence;
        inner.events.push_back(event);
        if let Some(keep) = inner.keep {
            while inner.events.len() > keep {
                inner.events.pop_front();
            }
        }
        sequence
    }

    /// Notes a line of text.
    pub fn note(&self, text: impl Into<String>) {
        self.push("bed/note", What::Note { text: text.into() });
    }

    /// All events still held, in order.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.iter().cloned().collect()
    }

    /// The events from sequence number `from` on.
    pub fn since(&self, from: u64) -> Vec<Event> {
        self.lock().events.iter().filter(|event| event.sequence >= from).cloned().collect()
    }

    /// The sequence number that the next event will get.
    pub fn next_sequence(&self) -> u64 {
        self.lock().next
    }

    /// Adds an observer; it sees events from now on. It must not push events itself.
    pub fn observe(&self, observer: impl FnMut(&Event) + Send + 'static) {
        self.lock().observers.push(Box::new(observer));
    }

    /// Holds only the newest `count` events in memory (observers still see all): for runs of a year.
    pub fn keep_newest(&self, count: usize) {
        self.lock().keep = Some(count);
    }

    /// The whole record as NDJSON.
    pub fn to_ndjson(&self) -> String {
        let mut text = String::new();
        for event in &self.lock().events {
            text.push_str(&event.to_line());
            text.push('\n');
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no observer panics while the record is locked")
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("events", &self.lock().next).finish_non_exhaustive()
    }
}
