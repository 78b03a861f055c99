//! The cluster as actors see it: the API server's verbs for one caller, and a mirror that is never stale.
//!
//! The mirror follows the server's tap, so a look costs nothing and is always current; real components
//! have caches that lag, which only the subject shall have here. Writes go straight to the server. Events
//! are counted as the real recorder does and expire after an hour (see [`super::expiry`]).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use apiserver::{ApiServer, Delete, Direct, Failure};
use json::{Value, json};
use tokio::sync::watch;

pub use super::mirror::Known;
use super::{Actor, Queue, Resource, mirror::World, resource};
use crate::{clock::Clock, record::Record, tap};

/// A change of an object, as the tap reports it.
pub type Change = apiserver::Write;

/// An actor with the queue of what it must look at.
type Driven = (Arc<dyn Actor>, Arc<Queue>);

pub(crate) struct Shared {
    server: ApiServer,
    world: Mutex<World>,
    clock: Clock,
    record: Record,
    revision: watch::Sender<u64>,
    actors: OnceLock<Vec<Driven>>,
    seed: u64,
}

/// The cluster for one caller; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    direct: Direct,
    caller: Arc<str>,
}

impl Cluster {
    /// Wraps a fresh server and follows its tap.
    pub fn new(server: ApiServer, clock: Clock, record: Record, seed: u64, verbose: bool) -> Self {
        let shared = Arc::new(Shared {
            server: server.clone(),
            world: Mutex::default(),
            clock,
            record,
            revision: watch::Sender::new(0),
            actors: OnceLock::new(),
            seed,
        });
        let cluster =
            Self { shared: Arc::clone(&shared), direct: server.direct("bed"), caller: Arc::from("bed") };
        // A fresh server holds its own namespaces, with what belongs into each, before anybody can follow it.
        for (kind, plural) in
            [("Namespace", "namespaces"), ("ServiceAccount", "serviceaccounts"), ("ConfigMap", "configmaps")]
        {
            for object in
                cluster.direct.list("v1", kind, "", &apiserver::Selection::default()).unwrap_or_default()
            {
                shared.world().hold(plural, object);
            }
        }
        let weak = Arc::downgrade(&shared);
        // The server lives in `shared` and holds this closure: a strong handle here would be a circle.
        server.tap(move |change| {
            let Some(shared) = weak.upgrade() else { return };
            shared.world().apply(change);
            tap::record(&shared.record, change, verbose);
            if let Some(actors) = shared.actors.get() {
                let view = View(&shared);
                for (actor, queue) in actors {
                    for key in actor.keys(change, &view) {
                        queue.push(key);
                    }
                }
            }
            shared.revision.send_modify(|revision| *revision += 1);
        });
        cluster
    }

    /// Sets the actors that follow the cluster, once, in the order in which they hear of changes.
    pub fn attach(&self, actors: Vec<(Arc<dyn Actor>, Arc<Queue>)>) {
        assert!(self.shared.actors.set(actors).is_ok(), "actors are attached once");
    }

    /// The same cluster for another caller.
    #[must_use]
    pub fn for_caller(&self, caller: &str) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            direct: self.shared.server.direct(caller),
            caller: Arc::from(caller),
        }
    }

    /// Who writes through this handle.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The server itself.
    pub fn server(&self) -> &ApiServer {
        &self.shared.server
    }

    /// The verbs of this caller.
    pub fn direct(&self) -> &Direct {
        &self.direct
    }

    /// The bed's clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The bed's record.
    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// The bed's seed.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// Changes with every write to the cluster.
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// Says that something outside the API changed that a waiting probe may look for.
    pub fn nudge(&self) {
        self.shared.revision.send_modify(|revision| *revision += 1);
    }

    /// The present time as objects write it: RFC 3339 in whole seconds.
    pub fn timestamp(&self) -> String {
        timestamp(self.shared.clock.now())
    }

    /// Looks at one object.
    pub fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        View(&self.shared).get(resource, namespace, name)
    }

    /// Looks at all objects of a resource in a namespace, or in all (empty).
    pub fn list(&self, resource: Resource, namespace: &str) -> Vec<Arc<Value>> {
        View(&self.shared).list(resource, namespace)
    }

    /// As [`Cluster::get`] for a resource given by group and plural.
    pub fn get_dynamic(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        View(&self.shared).get_dynamic(group, plural, namespace, name)
    }

    /// As [`Cluster::list`] for a resource given by group and plural.
    pub fn list_dynamic(&self, group: &str, plural: &str, namespace: &str) -> Vec<Arc<Value>> {
        View(&self.shared).list_dynamic(group, plural, namespace)
    }

    /// Finds the resource of a kind, given as `Kind` or `Kind.group`, of which an object was seen.
    pub fn known(&self, kind: &str) -> Option<Known> {
        self.shared.world().known(kind).cloned()
    }

    /// Creates an object; `apiVersion` and `kind` are filled in.
    pub fn create(&self, resource: Resource, mut object: Value) -> Result<Arc<Value>, Failure> {
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        self.direct.create(object)
    }

    /// Reads, changes and writes an object; does nothing if the change changes nothing or the object is gone.
    pub fn change(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), Failure> {
        let Some(stored) = self.get(resource, namespace, name) else { return Ok(()) };
        let mut object = (*stored).clone();
        change(&mut object);
        if object == *stored {
            return Ok(());
        }
        self.direct.update(object).map(drop)
    }

    /// As [`Cluster::change`] for the status: the change is shown metadata and status, because the server takes
    /// nothing else of such a write.
    pub fn change_status(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), Failure> {
        let Some(stored) = self.get(resource, namespace, name) else { return Ok(()) };
        let parts = ["apiVersion", "kind", "metadata", "status"];
        let shown = parts.into_iter().filter_map(|part| Some((part.to_owned(), stored.get(part)?.clone())));
        let mut object = Value::Object(shown.collect());
        change(&mut object);
        if parts.into_iter().all(|part| object.get(part) == stored.get(part)) {
            return Ok(());
        }
        self.direct.update_status(object).map(drop)
    }

    /// Deletes an object; an absent one is not an error.
    pub fn delete(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        options: &Delete,
    ) -> Result<(), Failure> {
        match self.direct.delete(&resource.api_version(), resource.kind, namespace, name, options) {
            Err(failure) if failure.code == 404 => Ok(()),
            other => other,
        }
    }

    /// Adds a finalizer, or takes it away.
    pub fn set_finalizer(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        finalizer: &str,
        wanted: bool,
    ) {
        let has = |object: &Value| {
            let held = object.pointer("/metadata/finalizers").and_then(Value::as_array);
            held.is_some_and(|held| held.iter().any(|each| each == finalizer))
        };
        if self.get(resource, namespace, name).is_none_or(|stored| has(&stored) == wanted) {
            return;
        }
        let result = self.change(resource, namespace, name, |object| {
            let mut list: json::List =
                object.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
            if wanted {
                list.push(json!(finalizer));
            } else {
                list.retain(|each| each != finalizer);
            }
            if list.is_empty() {
                object["metadata"].as_object_mut().expect("metadata is an object").remove("finalizers");
            } else {
                object["metadata"]["finalizers"] = Value::Array(list);
            }
        });
        self.tolerate(result);
    }

    /// Reports an event about an object; a repeated one is counted.
    pub fn report(&self, about: &Value, class: &str, reason: &str, message: &str) {
        let namespace = match text(about, "/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        let now = self.timestamp();
        let uid = text(about, "/metadata/uid");
        let is_same = |event: &&Arc<Value>| {
            text(event, "/reason") == reason
                && text(event, "/message") == message
                && text(event, "/source/component") == &*self.caller
        };
        let same = self.shared.world().events_about(namespace, uid).find(is_same).cloned();
        let result = if let Some(event) = same {
            self.change(resource::EVENT, namespace, text(&event, "/metadata/name"), |event| {
                event["count"] = json!(event["count"].as_u64().unwrap_or(1) + 1);
                event["lastTimestamp"] = json!(now);
            })
        } else {
            let name = text(about, "/metadata/name");
            let suffix = crate::seed::hex(self.shared.seed, &[uid, reason, message, &self.caller, &now], 16);
            self.create(
                resource::EVENT,
                json!({
                    "metadata": {"name": format!("{name}.{suffix}"), "namespace": namespace},
                    "involvedObject": {
                        "apiVersion": about["apiVersion"], "kind": about["kind"], "name": name,
                        "namespace": about.pointer("/metadata/namespace").cloned().unwrap_or(json!("")),
                        "uid": uid, "resourceVersion": about.pointer("/metadata/resourceVersion"),
                    },
                    "reason": reason, "message": message, "type": class, "count": 1,
                    "firstTimestamp": now, "lastTimestamp": now, "eventTime": null,
                    "reportingComponent": &*self.caller, "reportingInstance": "",
                    "source": {"component": &*self.caller},
                }),
            )
            .map(|_| ())
        };
        self.tolerate(result);
    }

    /// Swallows what an actor need not handle: the object is gone, its namespace terminates, or somebody
    /// else wrote first. The change that caused it wakes the actor again.
    pub fn tolerate(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            tracing::debug!(caller = &*self.caller, %failure, "a write was refused");
        }
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no holder of the mirror's lock panics")
    }
}

/// A look at the cluster from within the tap, where nothing may be written.
pub struct View<'a>(&'a Shared);

impl View<'_> {
    /// Looks at one object.
    pub fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.get_dynamic(resource.group, resource.plural, namespace, name)
    }
    /// Looks at all objects of a resource in a namespace, or in all (empty).
    pub fn list(&self, resource: Resource, namespace: &str) -> Vec<Arc<Value>> {
        self.list_dynamic(resource.group, resource.plural, namespace)
    }
    fn get_dynamic(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.world().get(group, plural, namespace, name)
    }
    fn list_dynamic(&self, group: &str, plural: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.0.world().list(group, plural, namespace)
    }
}

/// RFC 3339 in whole seconds, as objects hold times.
pub fn timestamp(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A string of an object by JSON pointer; empty if absent.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The namespace of an object.
pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// The uid of an object.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether an object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// The controlling owner's kind and name, if any.
pub fn controller_of(object: &Value) -> Option<(&str, &str, &str)> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some((text(owner, "/kind"), text(owner, "/name"), text(owner, "/uid")))
}

/// Sets a condition in `status.conditions`, keeping the transition time while the status stays.
pub fn set_condition(object: &mut Value, class: &str, status: &str, reason: &str, message: &str, now: &str) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let list = conditions.as_array_mut().expect("made an array above");
    let mut fresh = json!({"type": class, "status": status, "lastTransitionTime": now});
    if !reason.is_empty() {
        fresh["reason"] = json!(reason);
    }
    if !message.is_empty() {
        fresh["message"] = json!(message);
    }
    if let Some(old) = list.iter_mut().find(|condition| condition["type"] == class) {
        if old["status"] == status {
            fresh["lastTransitionTime"] = old["lastTransitionTime"].clone();
        }
        *old = fresh;
    } else {
        list.push(fresh);
    }
}
