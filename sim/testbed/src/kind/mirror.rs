//! The mirror of a real cluster: watches what a scenario touches, and writes what changes into the record.
//!
//! One watch per kind over all namespaces; what lies in other scenarios' namespaces is left out. Looks are
//! answered from the mirror once a watch is complete, so that what a look sees and what the record tells are
//! one; [`Mirror::saw`] lets a writer wait until its own write is seen. Changes are told late by what a watch
//! needs (milliseconds); changes between two looks of a watch that restarts are lost, as they are for any
//! controller. It writes nothing into the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use apiserver::{Verb, Write};
use futures::StreamExt as _;
use json::Value;
use kube::{
    Api,
    api::{DynamicObject, LogParams},
    runtime::watcher,
};
use tokio::sync::watch;

use super::api::Objects;
use crate::{
    actor::cluster::{name, namespace, text},
    record::{Record, What},
    tap,
};

/// What is watched; other kinds are asked for one by one.
const KINDS: &[&str] = &[
    "Namespace",
    "Pod",
    "Job",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "VolumeSnapshot",
    "VolumeSnapshotContent",
    "ReplicationSource",
    "ReplicationDestination",
    "KopiaMaintenance",
    "Secret",
    "Event",
];

type Key = (String, String, String);

/// What a scenario's part of the cluster holds.
#[derive(Clone)]
pub(super) struct Mirror {
    inner: Arc<Mutex<Inner>>,
    revision: Arc<watch::Sender<u64>>,
    record: Record,
    objects: Objects,
    mine: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, Arc<Value>>,
    complete: BTreeSet<String>,
    /// What stands in the cluster while a watch begins again.
    listed: BTreeMap<String, BTreeSet<Key>>,
    followed: BTreeSet<String>,
}

impl Mirror {
    /// Starts watching; `mine` says which namespaces belong to the scenario. Must be called on a runtime.
    pub fn start(objects: Objects, record: Record, mine: Arc<dyn Fn(&str) -> bool + Send + Sync>) -> Self {
        let mirror =
            Self { inner: Arc::default(), revision: Arc::new(watch::Sender::new(0)), record, objects, mine };
        for kind in KINDS {
            if let Some(api) = mirror.objects.all(kind) {
                tokio::spawn(mirror.clone().follow(kind, api));
            }
        }
        mirror
    }

    /// Changes with every change that is seen.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Waits until every watch has told what stands there.
    pub async fn complete(&self, limit: Duration) -> Result<(), String> {
        let wanted: BTreeSet<_> = KINDS
            .iter()
            .filter(|kind| self.objects.known(kind).is_some())
            .map(|kind| (*kind).to_owned())
            .collect();
        let mut revision = self.revision();
        let all = async {
            while !wanted.is_subset(&self.lock().complete) {
                if revision.changed().await.is_err() {
                    break;
                }
            }
        };
        let done = tokio::time::timeout(limit, all).await;
        done.map_err(|_| {
            let missing: Vec<_> = wanted.difference(&self.lock().complete).cloned().collect();
            format!("the watches of {} told nothing within {} s", missing.join(", "), limit.as_secs())
        })
    }

    /// Whether looks at a kind are answered here.
    pub fn has(&self, kind: &str) -> bool {
        self.lock().complete.contains(plain(kind))
    }

    /// One object.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plain(kind).to_owned(), namespace.to_owned(), name.to_owned());
        self.lock().objects.get(&key).map(|object| (**object).clone())
    }

    /// All objects of a kind in a namespace or (empty) everywhere, sorted.
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let inner = self.lock();
        let from = (plain(kind).to_owned(), namespace.to_owned(), String::new());
        let range = inner
            .objects
            .range(from..)
            .take_while(|((of, at, _), _)| of == plain(kind) && (namespace.is_empty() || at == namespace));
        range.map(|(_, object)| (**object).clone()).collect()
    }

    /// Waits until a written object (or what came after it) is seen here; gives up quietly, because the
    /// next look only is a little early then.
    pub async fn saw(&self, written: &Value, gone: bool) {
        let kind = text(written, "/kind").to_owned();
        if !self.has(&kind) {
            return;
        }
        let key = (kind, namespace(written).to_owned(), name(written).to_owned());
        let (uid, version) = (text(written, "/metadata/uid"), version(written));
        let mut revision = self.revision();
        let seen = async {
            loop {
                let there = self.lock().objects.get(&key).cloned();
                let is_seen = match there {
                    Some(object) if gone => {
                        text(&object, "/metadata/uid") != uid
                            || !object["metadata"]["deletionTimestamp"].is_null()
                    }
                    Some(object) => crate::kind::mirror::version(&object) >= version,
                    None => gone,
                };
                if is_seen || revision.changed().await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), seen).await;
    }

    async fn follow(self, kind: &'static str, api: Api<DynamicObject>) {
        let config = watcher::Config::default();
        let mut stream = std::pin::pin!(watcher::watcher(api, config));
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => {
                    self.lock().listed.insert(kind.to_owned(), BTreeSet::new());
                }
                Ok(watcher::Event::InitApply(object)) => {
                    let object = self.objects.plain(kind, object);
                    self.lock().listed.entry(kind.to_owned()).or_default().insert(key(kind, &object));
                    self.see(kind, object, false);
                }
                Ok(watcher::Event::InitDone) => self.settle(kind),
                Ok(watcher::Event::Apply(object)) => self.see(kind, self.objects.plain(kind, object), false),
                Ok(watcher::Event::Delete(object)) => self.see(kind, self.objects.plain(kind, object), true),
                Err(error) => {
                    // The watcher begins again by itself; a server that is away for a moment is no news.
                    tracing::debug!(kind, %error, "a watch ended");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        }
    }

    /// What was not listed when a watch began again is gone.
    fn settle(&self, kind: &str) {
        let gone: Vec<_> = {
            let mut inner = self.lock();
            let listed = inner.listed.remove(kind).unwrap_or_default();
            inner.complete.insert(kind.to_owned());
            let known = inner.objects.iter().filter(|(key, _)| key.0 == kind && !listed.contains(key));
            known.map(|(_, object)| (**object).clone()).collect()
        };
        for object in gone {
            self.see(kind, object, true);
        }
        self.revision.send_modify(|revision| *revision += 1);
    }

    fn see(&self, kind: &str, object: Value, gone: bool) {
        if !self.is_mine(kind, &object) {
            return;
        }
        let object = Arc::new(object);
        let key = key(kind, &object);
        let previous = {
            let mut inner = self.lock();
            if gone { inner.objects.remove(&key) } else { inner.objects.insert(key, Arc::clone(&object)) }
        };
        let is_news = gone || previous.as_ref().is_none_or(|before| version(before) != version(&object));
        if is_news {
            self.tell(kind, &object, previous.as_ref(), gone);
        }
        self.revision.send_modify(|revision| *revision += 1);
    }

    fn is_mine(&self, kind: &str, object: &Value) -> bool {
        match kind {
            "Namespace" => (self.mine)(name(object)),
            "PersistentVolume" => (self.mine)(text(object, "/spec/claimRef/namespace")),
            "VolumeSnapshotContent" => (self.mine)(text(object, "/spec/volumeSnapshotRef/namespace")),
            _ => (self.mine)(namespace(object)),
        }
    }

    /// Writes what a change means into the record.
    fn tell(&self, kind: &str, object: &Arc<Value>, previous: Option<&Arc<Value>>, gone: bool) {
        let Some((resource, _)) = self.objects.known(kind) else { return };
        let verb = match (gone, previous) {
            (true, _) => Verb::Delete,
            (false, None) => Verb::Create,
            (false, Some(_)) => Verb::Update,
        };
        let (caller, subresource) = writer(object);
        let write = Write {
            caller,
            verb,
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.plural.clone(),
            subresource: if verb == Verb::Update { subresource } else { String::new() },
            kind: kind.to_owned(),
            namespace: namespace(object).to_owned(),
            name: name(object).to_owned(),
            resource_version: version(object),
            object: Arc::clone(object),
            previous: previous.cloned(),
        };
        tap::record(&self.record, &write, true);
        match kind {
            "Job" => self.tell_job(object, previous, verb),
            "Pod" => self.tell_pod(object, previous, gone),
            _ => {}
        }
    }

    fn tell_job(&self, job: &Value, previous: Option<&Arc<Value>>, verb: Verb) {
        let push = |operation: &str, detail: String| {
            let what = What::Job {
                namespace: namespace(job).to_owned(),
                name: name(job).to_owned(),
                operation: operation.to_owned(),
                detail,
            };
            self.record.push(&format!("job/cluster/{operation}"), what);
        };
        match verb {
            Verb::Create => push("created", String::new()),
            Verb::Delete => push("deleted", String::new()),
            Verb::Update => {}
        }
        let failed = |job: &Value| job.pointer("/status/failed").and_then(Value::as_u64).unwrap_or(0);
        let before = previous.map_or(0, |job| failed(job));
        for nth in before..failed(job) {
            push("pod-failed", format!("{} of {}", nth + 1, job["spec"]["backoffLimit"]));
        }
        for (class, operation) in [("Complete", "complete"), ("Failed", "failed")] {
            let is_so = |job: &Value| condition(job, class);
            if let Some(reason) = is_so(job)
                && previous.and_then(|job| is_so(job)).is_none()
            {
                push(operation, reason);
            }
        }
    }

    fn tell_pod(&self, pod: &Value, previous: Option<&Arc<Value>>, gone: bool) {
        let push = |operation: &str, detail: String| {
            let what = What::Pod {
                namespace: namespace(pod).to_owned(),
                name: name(pod).to_owned(),
                operation: operation.to_owned(),
                detail,
            };
            self.record.push(&format!("pod/cluster/{operation}"), what);
        };
        let phase = |pod: &Value| text(pod, "/status/phase").to_owned();
        let before = previous.map(|pod| phase(pod)).unwrap_or_default();
        let now = phase(pod);
        if gone {
            push("deleted", String::new());
        } else if now != before {
            match now.as_str() {
                "Running" => push("started", text(pod, "/spec/nodeName").to_owned()),
                "Succeeded" | "Failed" => push("terminated", ending(pod)),
                _ => {}
            }
        }
        let is_mover = !text(pod, "/metadata/labels/job-name").is_empty();
        if is_mover && !gone && matches!(now.as_str(), "Running" | "Succeeded" | "Failed") {
            let uid = text(pod, "/metadata/uid").to_owned();
            if self.lock().followed.insert(uid) {
                let (namespace, name) = (namespace(pod).to_owned(), name(pod).to_owned());
                tokio::spawn(self.clone().follow_log(namespace, name));
            }
        }
    }

    /// Takes a mover's log into the record, line by line, until it ends.
    async fn follow_log(self, namespace: String, pod: String) {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.objects.client().clone(), &namespace);
        let params = LogParams { follow: true, ..LogParams::default() };
        let stream = match pods.log_stream(&pod, &params).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(namespace, pod, %error, "a log could not be followed");
                return;
            }
        };
        let mut lines = futures::AsyncBufReadExt::lines(stream);
        while let Some(Ok(line)) = lines.next().await {
            let what = What::MoverLog { namespace: namespace.clone(), pod: pod.clone(), line };
            self.record.push("log/kubelet/line", what);
            self.revision.send_modify(|revision| *revision += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while the mirror is locked")
    }
}

/// A kind without its group.
fn plain(kind: &str) -> &str {
    kind.split('.').next().unwrap_or(kind)
}

fn key(kind: &str, object: &Value) -> Key {
    (kind.to_owned(), namespace(object).to_owned(), name(object).to_owned())
}

/// The revision of an object; a number on every server that there is.
fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

/// Why a Job has this condition, if it has.
fn condition(job: &Value, class: &str) -> Option<String> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|one| one["type"] == class && one["status"] == "True")?;
    Some(text(found, "/reason").to_owned())
}

/// How a pod's first container ended.
fn ending(pod: &Value) -> String {
    let ended = pod.pointer("/status/containerStatuses/0/state/terminated");
    ended.map_or_else(
        || text(pod, "/status/reason").to_owned(),
        |ended| format!("{} exit {}", text(ended, "/reason"), ended["exitCode"]),
    )
}

/// Who wrote an object last, as its managed fields tell, and which part of it.
fn writer(object: &Value) -> (String, String) {
    let fields = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let newest = fields.into_iter().flatten().max_by_key(|one| text(one, "/time").to_owned());
    newest.map_or_else(
        || ("unknown".to_owned(), String::new()),
        |one| (text(one, "/manager").to_owned(), text(one, "/subresource").to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use json::json;

    use super::*;

    #[test]
    fn the_last_writer_is_the_newest_manager() {
        let object = json!({"metadata": {"managedFields": [
            {"manager": "kubelet", "time": "2026-01-01T00:00:02Z", "subresource": "status"},
            {"manager": "user", "time": "2026-01-01T00:00:01Z"},
        ]}});
        assert_eq!(writer(&object), ("kubelet".to_owned(), "status".to_owned()));
        assert_eq!(writer(&json!({})), ("unknown".to_owned(), String::new()));
    }

    #[test]
    fn a_pod_tells_how_it_ended() {
        let pod = json!({"status": {"containerStatuses": [{"state": {"terminated": {"reason": "Error", "exitCode": 3}}}]}});
        assert_eq!(ending(&pod), "Error exit 3");
        assert_eq!(ending(&json!({"status": {"reason": "Evicted"}})), "Evicted");
    }
}
