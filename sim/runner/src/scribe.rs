//! The scribe: follows a record while it grows, writes it to a file and keeps what expectations ask for.
//!
//! Long runs make records of hundreds of megabytes, so nobody holds one whole: the scribe hashes and
//! writes each line as it comes, keeps a book (syncs, events, conditions, failed Jobs, mover logs,
//! firings), gathers the timeline, and takes down evidence for the step that is being played. It promises
//! that the file holds exactly the bytes that were hashed. It judges nothing and reads no clock.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::Timestamp;
use json::Value;
use scenario::{Name, ObjectRef};
use sha2::{Digest as _, Sha256};
use testbed::record::{Event, Record, What};

use crate::{
    outcome::Evidence,
    timeline::{Gatherer, Timeline},
};

/// No step shows more lines; the record has the rest.
const EVIDENCE_MAX: usize = 120;

/// Follows one record; cheap to clone.
#[derive(Clone)]
pub struct Scribe(Arc<Mutex<Inner>>);

/// What expectations ask for.
#[derive(Debug, Default)]
pub struct Book {
    /// The times at which a replication's `lastSyncTime` changed, by kind, namespace and name.
    pub syncs: BTreeMap<(String, String, String), Vec<Timestamp>>,
    /// Events: namespace, `Kind/name`, type, reason and message.
    pub events: Vec<Seen>,
    /// Jobs that failed or whose pod failed, by namespace: name and what happened.
    pub failed_jobs: BTreeMap<String, Vec<(String, String)>>,
    /// Log lines by namespace and pod.
    pub logs: BTreeMap<(String, String), Vec<String>>,
    /// Pods in order of start, by namespace.
    pub started: BTreeMap<String, Vec<String>>,
    /// How often each fault fired.
    pub fired: BTreeMap<String, u64>,
    /// The times at which each counted sync of a replication source had begun.
    starts: BTreeMap<(String, String), Vec<Timestamp>>,
    started_at: BTreeMap<(String, String), (String, Timestamp)>,
    last_sync: BTreeMap<(String, String, String), String>,
}

/// A cluster event that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Namespace.
    pub namespace: String,
    /// `Kind/name`.
    pub object: String,
    /// `Normal` or `Warning`.
    pub class: String,
    /// Reason and message.
    pub text: String,
}

struct Inner {
    book: Book,
    timeline: Gatherer,
    evidence: Vec<Evidence>,
    evidence_more: u64,
    hash: Sha256,
    file: Option<BufWriter<File>>,
    trouble: Option<io::Error>,
    count: u64,
}

/// What is left when a record is complete.
#[derive(Debug)]
pub struct Closed {
    /// How many events.
    pub events: u64,
    /// SHA-256 of all lines.
    pub digest: String,
    /// The picture.
    pub timeline: Timeline,
}

impl Scribe {
    /// Follows a record from its first event, writing it to `path` if one is given.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn follow(record: &Record, path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(File::create).transpose()?.map(BufWriter::new);
        let scribe = Self(Arc::new(Mutex::new(Inner {
            book: Book::default(),
            timeline: Gatherer::default(),
            evidence: Vec::new(),
            evidence_more: 0,
            hash: Sha256::new(),
            file,
            trouble: None,
            count: 0,
        })));
        for event in record.events() {
            scribe.lock().see(&event);
        }
        let follower = scribe.clone();
        record.observe(move |event| follower.lock().see(event));
        Ok(scribe)
    }

    /// Asks the book.
    pub fn ask<T>(&self, question: impl FnOnce(&Book) -> T) -> T {
        question(&self.lock().book)
    }

    /// The evidence gathered since the last call, and how many lines more there were.
    pub fn take_evidence(&self) -> (Vec<Evidence>, u64) {
        let mut inner = self.lock();
        let more = std::mem::take(&mut inner.evidence_more);
        (std::mem::take(&mut inner.evidence), more)
    }

    /// Ends the record.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn close(&self, end: Timestamp) -> io::Result<Closed> {
        let mut inner = self.lock();
        if let Some(trouble) = inner.trouble.take() {
            return Err(trouble);
        }
        if let Some(mut file) = inner.file.take() {
            file.flush()?;
        }
        let digest = hex::encode(inner.hash.clone().finalize());
        let timeline = std::mem::take(&mut inner.timeline).finish(end);
        Ok(Closed { events: inner.count, digest, timeline })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no question panics while the book is open")
    }
}

impl Inner {
    fn see(&mut self, event: &Event) {
        let mut line = event.to_line();
        line.push('\n');
        self.hash.update(line.as_bytes());
        self.count += 1;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(line.as_bytes())
        {
            self.trouble = Some(error);
            self.file = None;
        }
        self.timeline.see(event);
        self.book.see(event);
        if let Some((class, text)) = evidence(event) {
            if self.evidence.len() < EVIDENCE_MAX {
                let (sequence, at) = (event.sequence, event.at);
                self.evidence.push(Evidence { sequence, at, class: class.to_owned(), text });
            } else {
                self.evidence_more += 1;
            }
        }
    }
}

impl Book {
    /// How often a replication has synchronised.
    pub fn syncs_of(&self, kind: &str, name: &Name) -> &[Timestamp] {
        let key = (kind.to_owned(), name.namespace().to_owned(), name.name().to_owned());
        self.syncs.get(&key).map_or(&[], |list| list.as_slice())
    }

    /// When each counted sync of a replication source had begun.
    pub fn sync_starts(&self, source: &Name) -> &[Timestamp] {
        let key = (source.namespace().to_owned(), source.name().to_owned());
        self.starts.get(&key).map_or(&[], |list| list.as_slice())
    }

    /// Whether an event of an object contains a text.
    pub fn has_event(&self, object: &ObjectRef, class: Option<&str>, contains: &str) -> bool {
        let wanted = format!("{}/{}", object.kind, object.name.name());
        self.events.iter().any(|seen| {
            seen.object == wanted
                && seen.namespace == object.name.namespace()
                && class.is_none_or(|class| seen.class == class)
                && seen.text.contains(contains)
        })
    }

    fn see(&mut self, event: &Event) {
        match &event.what {
            What::ApiWrite { object_kind, namespace, name, fields, verb, .. }
                if object_kind == "ReplicationSource" || object_kind == "ReplicationDestination" =>
            {
                let key = (object_kind.clone(), namespace.clone(), name.clone());
                let time = fields.get("status.lastSyncTime").and_then(Value::as_str);
                let place = (namespace.clone(), name.clone());
                if let Some(started) = fields.get("status.lastSyncStartTime").and_then(Value::as_str)
                    && self.started_at.get(&place).is_none_or(|(known, _)| known != started)
                {
                    self.started_at.insert(place.clone(), (started.to_owned(), event.at));
                }
                match time {
                    _ if verb == "delete" => {
                        self.last_sync.remove(&key);
                    }
                    Some(time) if self.last_sync.get(&key).map(String::as_str) != Some(time) => {
                        self.last_sync.insert(key.clone(), time.to_owned());
                        if object_kind == "ReplicationSource" {
                            let start = self.started_at.remove(&place).map_or(event.at, |(_, at)| at);
                            self.starts.entry(place).or_default().push(start);
                        }
                        self.syncs.entry(key).or_default().push(event.at);
                    }
                    _ => {}
                }
            }
            What::ClusterEvent { namespace, object, class, reason, message, .. } => {
                let text = format!("{reason}: {message}");
                let known =
                    self.events.iter().rev().take(200).any(|seen| {
                        seen.text == text && seen.object == *object && seen.namespace == *namespace
                    });
                if !known {
                    let (namespace, object, class) = (namespace.clone(), object.clone(), class.clone());
                    self.events.push(Seen { namespace, object, class, text });
                }
            }
            What::Job { namespace, name, operation, detail }
                if operation == "failed" || operation == "pod-failed" =>
            {
                self.failed_jobs
                    .entry(namespace.clone())
                    .or_default()
                    .push((name.clone(), format!("{operation} {detail}")));
            }
            What::Pod { namespace, name, operation, .. } if operation == "started" => {
                self.started.entry(namespace.clone()).or_default().push(name.clone());
            }
            What::MoverLog { namespace, pod, line } => {
                let lines = self.logs.entry((namespace.clone(), pod.clone())).or_default();
                lines.push(line.clone());
            }
            What::Fault { name, state, .. } if state == "fired" => {
                *self.fired.entry(name.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// The line that a reader is shown for an event, if it is worth one.
fn evidence(event: &Event) -> Option<(&'static str, String)> {
    Some(match &event.what {
        What::ClusterEvent { namespace, object, class, reason, message, .. } => {
            ("event", format!("{class} {reason} {namespace}/{object}: {message}"))
        }
        What::Condition { namespace, object, class, status, reason, message } => {
            ("condition", format!("{namespace}/{object} {class}={status} {reason}: {message}"))
        }
        What::Job { namespace, name, operation, detail } => {
            ("job", format!("{namespace}/{name} {operation} {detail}"))
        }
        What::Pod { namespace, name, operation, detail } if operation != "scheduled" => {
            ("pod", format!("{namespace}/{name} {operation} {detail}"))
        }
        What::MoverLog { namespace, pod, line } => ("log", format!("{namespace}/{pod}: {line}")),
        What::Csi { driver, operation, id, result } if result != "OK" => {
            ("csi", format!("{driver} {operation} {id}: {result}"))
        }
        What::Fault { name, state, target } => ("fault", format!("{name} {state} {target}")),
        What::Volume { volume, operation, detail } => ("volume", format!("{volume} {operation} {detail}")),
        What::Verdict { oracle, outcome, reason } => ("verdict", format!("{oracle}: {outcome} {reason}")),
        What::Note { text } => ("note", text.clone()),
        What::ApiWrite { caller, verb, object_kind, namespace, name, .. } if caller == "user" => {
            ("object", format!("user {verb} {object_kind} {namespace}/{name}"))
        }
        _ => return None,
    })
}
