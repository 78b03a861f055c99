//! Everything behind the lock, and what all verbs share: decoding, admission, committing.
//!
//! What a write sets in motion (garbage collection, emptying a namespace) is queued as [`Work`].
//! Never waits and never reads a clock but the one passed in. The verbs stand in `verbs`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use json::{Value, json};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::access::{self, finalizers, is_deleting, list, number, remove, set, text};
use crate::failure::{Cause, Failure, quoted};
use crate::options::{Attributes, Operation, Options};
use crate::resource::{Registry, Resource};
use crate::server::{Verb, Write};
use crate::store::{Place, Retention, Store, Stored};
use crate::work::Work;
use crate::{builtin, crd, kinds};

/// The finalizer that makes a deletion wait for dependents.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes a deletion keep dependents.
pub(crate) const ORPHAN: &str = "orphan";

/// What the server does about fields that a schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in a header.
    #[default]
    Warn,
    /// Refuse.
    Strict,
}

/// Who asks, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub caller: String,
    /// Owner of the fields that the request sets.
    pub manager: String,
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    /// Sentences for `Warning` headers.
    pub warnings: Vec<String>,
}

impl Call {
    pub fn new(caller: &str) -> Self {
        Self { caller: caller.to_owned(), manager: caller.to_owned(), ..Self::default() }
    }
}

type Tap = Arc<dyn Fn(&Write) + Send + Sync>;

/// Everything behind the lock.
pub(crate) struct State {
    pub store: Store,
    pub registry: Registry,
    pub options: Options,
    pub work: VecDeque<Work>,
    pub logs: BTreeMap<(String, String, String), String>,
    taps: Vec<Tap>,
    random: ChaCha8Rng,
}

impl State {
    pub fn new(options: Options) -> Self {
        let mut registry = Registry::default();
        let shelves = builtin::register(&mut registry);
        let mut state = Self {
            store: Store::new(shelves, Retention { count: options.history, age: options.history_age }),
            registry,
            random: ChaCha8Rng::seed_from_u64(options.seed),
            options,
            work: VecDeque::new(),
            logs: BTreeMap::new(),
            taps: Vec::new(),
        };
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            if let Ok(resource) = state.resource("v1", "Namespace") {
                // A fresh store refuses nothing.
                let _ = state.create(&mut Call::new("kube-apiserver"), &resource, "", namespace);
            }
        }
        while let Some(work) = state.work.pop_front() {
            state.perform(&work);
        }
        state
    }

    pub fn tap(&mut self, tap: Tap) {
        self.taps.push(tap);
    }

    /// Finds the resource of a kind.
    pub fn resource(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>, Failure> {
        self.registry.by_kind(api_version, kind).cloned().ok_or_else(|| {
            let mut failure = Failure::no_such_path();
            failure.message =
                format!("no matches for kind {} in version {}", quoted(kind), quoted(api_version));
            failure
        })
    }

    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Stored>, Failure> {
        self.store
            .get(resource, namespace, name)
            .cloned()
            .ok_or_else(|| Failure::not_found(&resource.group, &resource.plural, name))
    }

    pub fn now(&self) -> String {
        timestamp((self.options.now)())
    }

    pub(crate) fn next_uid(&mut self) -> String {
        let mut bytes = [0_u8; 16];
        self.random.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Five letters as the real server puts behind `generateName`.
    pub fn next_suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(LETTERS[self.random.next_u32() as usize % LETTERS.len()])).collect()
    }

    pub(crate) fn commit(
        &mut self,
        resource: &Resource,
        call: &Call,
        subresource: &str,
        verb: Verb,
        object: Value,
    ) -> Arc<Stored> {
        let now = (self.options.now)();
        let write = self.store.commit(now, resource, &call.caller, subresource, verb, object);
        for tap in &self.taps {
            tap(&write);
        }
        let place = Place { shelf: resource.shelf, key: (write.namespace.clone(), write.name.clone()) };
        self.follow(resource, &place, &write);
        if verb == Verb::Delete && resource.is("", "pods") {
            // A node keeps what a pod printed as long as the pod.
            self.logs.retain(|(namespace, pod, _), _| (&*place.key.0, &*place.key.1) != (namespace, pod));
        }
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            crd::serve(self, &write);
        }
        let last = self.store.shelves[resource.shelf]
            .since(write.resource_version - 1)
            .next()
            .map(|event| Arc::clone(&event.object));
        last.or_else(|| self.store.at(&place).cloned())
            .unwrap_or_else(|| unreachable!("history keeps at least the newest event"))
    }

    /// An object as an answer that was not stored.
    pub(crate) fn unsaved(&self, object: Value) -> Arc<Stored> {
        Stored::unsaved(object, self.store.version)
    }

    /// Prunes and defaults, as decoding does.
    pub(crate) fn normalise(call: &mut Call, resource: &Resource, object: &mut Value) -> Result<(), Failure> {
        if let Some(custom) = &resource.custom {
            let unknown = custom.schema.prune(object);
            match call.field_validation {
                FieldValidation::Strict if !unknown.is_empty() => {
                    let listed: Vec<String> =
                        unknown.iter().map(|path| format!("unknown field {}", quoted(path))).collect();
                    return Err(Failure::bad_request(format!(
                        "strict decoding error: {}",
                        listed.join(", ")
                    )));
                }
                FieldValidation::Warn => {
                    call.warnings
                        .extend(unknown.iter().map(|path| format!("unknown field {}", quoted(path))));
                }
                _ => {}
            }
            custom.schema.fill_defaults(object);
        }
        kinds::default_fields(resource, object);
        drop_empty_metadata(object);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an admission request")]
    pub(crate) fn mutate(
        &self,
        call: &Call,
        operation: Operation,
        resource: &Resource,
        subresource: &str,
        namespace: &str,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Result<(), Failure> {
        let name = access::name(object).to_owned();
        for admission in &self.options.admission {
            let attributes = self.attributes(call, operation, resource, subresource, namespace, &name, old);
            admission.mutate(&attributes, object)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an admission request")]
    pub(crate) fn validate(
        &self,
        call: &Call,
        operation: Operation,
        resource: &Resource,
        subresource: &str,
        namespace: &str,
        old: Option<&Value>,
        object: &Value,
    ) -> Result<(), Failure> {
        let name = access::name(if object.is_null() { old.unwrap_or(object) } else { object });
        for admission in &self.options.admission {
            let attributes = self.attributes(call, operation, resource, subresource, namespace, name, old);
            admission.validate(&attributes, object)?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an admission request")]
    fn attributes<'a>(
        &'a self,
        call: &'a Call,
        operation: Operation,
        resource: &'a Resource,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
        old: Option<&'a Value>,
    ) -> Attributes<'a> {
        let namespace_object = (!namespace.is_empty())
            .then(|| self.registry.by_kind("v1", "Namespace"))
            .flatten()
            .and_then(|namespaces| self.store.get(namespaces, "", namespace))
            .map(|stored| &*stored.value);
        Attributes {
            caller: &call.caller,
            operation,
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource,
            kind: &resource.kind,
            namespace,
            name,
            old,
            namespace_object,
        }
    }
}

/// A time as Kubernetes writes it: whole seconds, UTC.
pub(crate) fn timestamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Failure {
    Failure::invalid(&resource.group, &resource.kind, name, causes)
}

/// Checks that an object is of the resource it was sent to; fills in what is missing.
pub(crate) fn decode(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request("the object provided is unrecognized (must be of type Object)"));
    }
    for (key, expected) in [("apiVersion", resource.api_version()), ("kind", resource.kind.clone())] {
        let given = text(object, &[key]);
        if given.is_empty() {
            set(object, &[key], expected);
        } else if given != expected {
            return Err(Failure::bad_request(format!(
                "{} in version {} cannot be handled as a {}: the {} provided ({given}) does not match the expected {expected}",
                text(object, &["kind"]),
                quoted(text(object, &["apiVersion"])),
                resource.kind,
                if key == "kind" { "kind" } else { "API version" },
            )));
        }
    }
    Ok(())
}

pub(crate) fn place_in_namespace(
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Failure> {
    if !resource.namespaced {
        remove(object, &["metadata", "namespace"]);
        return Ok(());
    }
    let given = access::namespace(object);
    if given.is_empty() {
        set(object, &["metadata", "namespace"], namespace);
    } else if given != namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Whether a marked object has nothing left that holds it.
pub(crate) fn is_done_waiting(resource: &Resource, object: &Value) -> bool {
    is_deleting(object)
        && finalizers(object).next().is_none()
        && number(object, &["metadata", "deletionGracePeriodSeconds"]).is_none_or(|grace| grace == 0)
        && is_finalized(resource, object)
}

/// Whether nothing is left in what a namespace has beside its metadata's finalizers.
pub(crate) fn is_finalized(resource: &Resource, object: &Value) -> bool {
    !resource.is("", "namespaces") || list(object, &["spec", "finalizers"]).is_empty()
}

/// Empty maps and lists in metadata are as good as absent, and the real server does not store them.
pub(crate) fn drop_empty_metadata(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}
