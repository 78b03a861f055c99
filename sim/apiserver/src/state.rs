//! The verbs that change objects: create, update, patch, delete; and what stands behind all of them.
//!
//! Everything happens under one lock, so a verb is a plain function from state to state. The order inside a
//! verb is the real server's: decode (prune, default), admission, system fields, validation, managed fields,
//! store. What a write sets in motion (garbage collection, emptying a namespace) is queued as [`Work`].
//!
//! Never waits and never reads a clock but the one passed in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use crate::access::{self, at, copy, finalizers, is_deleting, list, map_mut, number, remove, set, text};
use crate::direct::{Delete, Patch, Propagation};
use crate::failure::{Cause, Failure, quoted};
use crate::options::{Attributes, ManagedFields, Operation, Options};
use crate::resource::{Registry, Resource};
use crate::selector::Selector;
use crate::server::{Verb, Write};
use crate::store::{Place, Store, Stored};
use crate::work::Work;
use crate::{builtin, convert, crd, kinds, managed, patch, validate};

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

/// What became of a deletion.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object left the store.
    Gone(Arc<Stored>),
    /// The object waits for finalizers or for its grace period.
    Marked(Arc<Stored>),
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
            store: Store::new(shelves, options.history),
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
            failure.message = format!("no matches for kind {} in version {}", quoted(kind), quoted(api_version));
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

    fn next_uid(&mut self) -> String {
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

    fn commit(&mut self, resource: &Resource, call: &Call, subresource: &str, verb: Verb, object: Value) -> Arc<Stored> {
        let write = self.store.commit(resource, &call.caller, subresource, verb, object);
        for tap in &self.taps {
            tap(&write);
        }
        let place = Place { shelf: resource.shelf, key: (write.namespace.clone(), write.name.clone()) };
        self.follow(resource, &place, &write);
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            crd::serve(self, &write);
        }
        let last = self.store.shelves[resource.shelf].since(write.resource_version - 1).next().map(|event| Arc::clone(&event.object));
        last.or_else(|| self.store.at(&place).cloned()).unwrap_or_else(|| unreachable!("history keeps at least the newest event"))
    }

    /// Creates an object.
    pub fn create(&mut self, call: &mut Call, resource: &Arc<Resource>, namespace: &str, object: Value) -> Result<Arc<Stored>, Failure> {
        let mut object = object;
        decode(resource, &mut object)?;
        if map_mut(&mut object, &["metadata"]).is_none() {
            return Err(Failure::bad_request("metadata must be an object"));
        }
        if !text(&object, &["metadata", "resourceVersion"]).is_empty() {
            let mut failure = Failure::internal("");
            "resourceVersion should not be set on objects to be created".clone_into(&mut failure.message);
            return Err(failure);
        }
        place_in_namespace(resource, namespace, &mut object)?;
        convert::to_storage(resource, &mut object);
        let shares_labels = kinds::shares_labels(resource, &object);
        Self::normalise(call, resource, &mut object)?;
        let metadata = map_mut(&mut object, &["metadata"]).unwrap_or_else(|| unreachable!("checked above"));
        for key in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
            metadata.remove(key);
        }
        if resource.namespaced {
            self.check_namespace(resource, namespace, access::name(&object))?;
        }
        if resource.has_status {
            remove(&mut object, &["status"]);
        }
        kinds::fill_new(self, resource, &mut object)?;
        self.mutate(call, Operation::Create, resource, "", namespace, None, &mut object)?;
        place_in_namespace(resource, namespace, &mut object)?;
        self.name_new(resource, &mut object)?;
        let uid = self.next_uid();
        set(&mut object, &["metadata", "uid"], uid);
        let now = self.now();
        set(&mut object, &["metadata", "creationTimestamp"], now.clone());
        if resource.counts_generation {
            set(&mut object, &["metadata", "generation"], 1);
        }
        kinds::complete_new(self, resource, &mut object, shares_labels);
        let mut causes = validate::metadata(resource, &object);
        if let Some(custom) = &resource.custom {
            causes.extend(custom.schema.validate(&object));
        }
        causes.extend(kinds::validate_new(resource, &object));
        if !causes.is_empty() {
            return Err(invalid(resource, access::name(&object), &causes));
        }
        self.validate(call, Operation::Create, resource, "", namespace, None, &object)?;
        let name = access::name(&object).to_owned();
        if self.store.get(resource, namespace, &name).is_some() {
            return Err(Failure::already_exists(&resource.group, &resource.plural, &name));
        }
        if self.options.managed_fields == ManagedFields::Always || object.pointer("/metadata/managedFields").is_some() {
            managed::track_create(resource, &call.manager, &now, &mut object);
        } else {
            remove(&mut object, &["metadata", "managedFields"]);
        }
        if call.dry_run {
            return Ok(self.unsaved(object));
        }
        Ok(self.commit(resource, call, "", Verb::Create, object))
    }

    /// An object as an answer that was not stored.
    fn unsaved(&self, object: Value) -> Arc<Stored> {
        Stored::unsaved(object, self.store.version)
    }

    /// Prunes and defaults, as decoding does.
    fn normalise(call: &mut Call, resource: &Resource, object: &mut Value) -> Result<(), Failure> {
        if let Some(custom) = &resource.custom {
            let unknown = custom.schema.prune(object);
            match call.field_validation {
                FieldValidation::Strict if !unknown.is_empty() => {
                    let listed: Vec<String> = unknown.iter().map(|path| format!("unknown field {}", quoted(path))).collect();
                    return Err(Failure::bad_request(format!("strict decoding error: {}", listed.join(", "))));
                }
                FieldValidation::Warn => call.warnings.extend(unknown.iter().map(|path| format!("unknown field {}", quoted(path)))),
                _ => {}
            }
            custom.schema.fill_defaults(object);
        }
        kinds::default_fields(resource, object);
        drop_empty_metadata(object);
        Ok(())
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), Failure> {
        let namespaces = self.resource("v1", "Namespace")?;
        let found = self.get(&namespaces, "", namespace)?;
        if is_deleting(&found.value) {
            let mut failure = Failure::forbidden(
                &resource.group,
                &resource.plural,
                name,
                &format!("unable to create new content in namespace {namespace} because it is being terminated"),
            );
            failure.details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(failure);
        }
        Ok(())
    }

    fn name_new(&mut self, resource: &Resource, object: &mut Value) -> Result<(), Failure> {
        if !access::name(object).is_empty() {
            return Ok(());
        }
        let prefix = text(object, &["metadata", "generateName"]).to_owned();
        if prefix.is_empty() {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(invalid(resource, "", &[cause]));
        }
        let namespace = access::namespace(object).to_owned();
        loop {
            let name = format!("{}{}", &prefix[..prefix.len().min(58)], self.next_suffix());
            if self.store.get(resource, &namespace, &name).is_none() {
                set(object, &["metadata", "name"], name);
                return Ok(());
            }
        }
    }

    /// Replaces an object or one of its subresources.
    pub fn update(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        (namespace, name): (&str, &str),
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Stored>, Failure> {
        let mut object = object;
        decode(resource, &mut object)?;
        if access::name(&object) != name {
            return Err(Failure::bad_request(if access::name(&object).is_empty() {
                "name must be provided".to_owned()
            } else {
                format!("the name of the object ({}) does not match the name on the URL ({name})", access::name(&object))
            }));
        }
        place_in_namespace(resource, namespace, &mut object)?;
        convert::to_storage(resource, &mut object);
        let old = self.get(resource, namespace, name)?;
        if text(&object, &["metadata", "resourceVersion"]).is_empty() && resource.custom.is_some() {
            let cause = Cause {
                field: "metadata.resourceVersion".to_owned(),
                reason: "FieldValueInvalid",
                message: "Invalid value: 0x0: must be specified for an update".to_owned(),
            };
            return Err(invalid(resource, name, &[cause]));
        }
        self.replace(call, resource, subresource, &old, object, None)
    }

    /// Takes a new state of a stored object through all checks into the store.
    pub(crate) fn replace(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        subresource: &str,
        old: &Arc<Stored>,
        object: Value,
        applied: Option<managed::Applied>,
    ) -> Result<Arc<Stored>, Failure> {
        let mut object = object;
        let before = &*old.value;
        let namespace = access::namespace(before).to_owned();
        let name = access::name(before).to_owned();
        check_still_same(resource, before, &object)?;
        if map_mut(&mut object, &["metadata"]).is_none() {
            return Err(Failure::bad_request("metadata must be an object"));
        }
        for key in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "generateName"] {
            copy(before, &mut object, &["metadata", key]);
        }
        set(&mut object, &["metadata", "resourceVersion"], old.version.to_string());
        isolate(resource, subresource, before, &mut object);
        Self::normalise(call, resource, &mut object)?;
        kinds::prepare_update(self, resource, subresource, before, &mut object)?;
        self.mutate(call, Operation::Update, resource, subresource, &namespace, Some(before), &mut object)?;
        let mut causes = validate::metadata(resource, &object);
        causes.extend(validate::metadata_update(before, &object));
        if let Some(custom) = &resource.custom {
            causes.extend(custom.schema.validate(&object));
        }
        causes.extend(kinds::validate_update(resource, subresource, before, &object));
        if !causes.is_empty() {
            return Err(invalid(resource, &name, &causes));
        }
        self.validate(call, Operation::Update, resource, subresource, &namespace, Some(before), &object)?;
        if resource.counts_generation && differs_in_spec(resource, before, &object) {
            let generation = number(before, &["metadata", "generation"]).unwrap_or(0) + 1;
            set(&mut object, &["metadata", "generation"], generation);
        }
        let now = self.now();
        self.track(resource, call, subresource, &now, before, &mut object, applied);
        drop_empty_metadata(&mut object);
        if object == *before {
            return Ok(Arc::clone(old));
        }
        if call.dry_run {
            return Ok(self.unsaved(object));
        }
        let verb = if is_done_waiting(resource, &object) { Verb::Delete } else { Verb::Update };
        Ok(self.commit(resource, call, subresource, verb, object))
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `replace`, called once")]
    fn track(
        &self,
        resource: &Resource,
        call: &Call,
        subresource: &str,
        now: &str,
        before: &Value,
        object: &mut Value,
        applied: Option<managed::Applied>,
    ) {
        if let Some(applied) = applied {
            managed::track_apply(resource, applied, subresource, now, before, object);
        } else if self.options.managed_fields == ManagedFields::Always || at(before, &["metadata", "managedFields"]).is_some() {
            managed::track_update(resource, &call.manager, subresource, now, before, object);
        } else {
            remove(object, &["metadata", "managedFields"]);
        }
    }

    /// Patches an object or one of its subresources; an apply creates what is missing.
    pub fn patch(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        (namespace, name): (&str, &str),
        subresource: &str,
        patch: Patch,
    ) -> Result<Arc<Stored>, Failure> {
        if let Patch::Apply { object, manager, force } = patch {
            return self.apply(call, resource, (namespace, name), subresource, object, &manager, force);
        }
        let old = self.get(resource, namespace, name)?;
        let mut object = convert::present(resource, &old.value).into_owned();
        match patch {
            Patch::Json(operations) => patch::json(resource, name, &mut object, &operations)?,
            Patch::Merge(change) => {
                if !change.is_object() {
                    return Err(Failure::bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}"));
                }
                json_patch::merge(&mut object, &change);
            }
            Patch::Strategic(change) => {
                if resource.custom.is_some() {
                    return Err(Failure::unsupported_media_type(
                        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                    ));
                }
                patch::strategic(&mut object, &change)?;
            }
            Patch::Apply { .. } => unreachable!("handled above"),
        }
        decode(resource, &mut object)?;
        if access::name(&object) != name {
            let cause = Cause::invalid("metadata.name", &json!(access::name(&object)), "field is immutable");
            return Err(invalid(resource, name, &[cause]));
        }
        place_in_namespace(resource, namespace, &mut object)?;
        convert::to_storage(resource, &mut object);
        self.replace(call, resource, subresource, &old, object, None)
    }

    #[expect(clippy::too_many_arguments, reason = "mirrors the parts of an apply request")]
    fn apply(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        (namespace, name): (&str, &str),
        subresource: &str,
        object: Value,
        manager: &str,
        force: bool,
    ) -> Result<Arc<Stored>, Failure> {
        let mut wanted = object;
        if manager.is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            let mut failure = Failure::invalid("meta.k8s.io", "PatchOptions", "", &[cause]);
            failure.details["kind"] = json!("PatchOptions");
            return Err(failure);
        }
        decode(resource, &mut wanted)?;
        if list(&wanted, &["metadata", "managedFields"]).iter().next().is_some() {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        if access::name(&wanted).is_empty() {
            set(&mut wanted, &["metadata", "name"], name);
        }
        if access::name(&wanted) != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                access::name(&wanted)
            )));
        }
        place_in_namespace(resource, namespace, &mut wanted)?;
        convert::to_storage(resource, &mut wanted);
        if let Some(custom) = &resource.custom {
            let unknown = custom.schema.prune(&mut wanted);
            if !unknown.is_empty() {
                let listed: Vec<String> = unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
                let mut failure = Failure::internal("");
                failure.message = format!("failed to create typed patch object ({namespace}/{name}; {}, Kind={}): {}", resource.api_version(), resource.kind, listed.join(", "));
                return Err(failure);
            }
        }
        let Some(old) = self.store.get(resource, namespace, name).cloned() else {
            if !subresource.is_empty() {
                return Err(Failure::not_found(&resource.group, &resource.plural, name));
            }
            let entry = managed::first_apply(resource, manager, &self.now(), &wanted);
            set(&mut wanted, &["metadata", "managedFields"], json!([entry]));
            return self.create(call, resource, namespace, wanted);
        };
        let (merged, applied) = managed::merge(resource, manager, subresource, force, &old.value, &wanted)?;
        self.replace(call, resource, subresource, &old, merged, Some(applied))
    }

    /// Deletes an object, or marks it while something holds it.
    pub fn delete(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        (namespace, name): (&str, &str),
        options: &Delete,
    ) -> Result<Deleted, Failure> {
        let old = self.get(resource, namespace, name)?;
        let before = &*old.value;
        check_preconditions(resource, before, options)?;
        self.validate(call, Operation::Delete, resource, "", namespace, Some(before), &Value::Null)?;
        if resource.is("batch", "jobs") && options.propagation.is_none() {
            call.warnings.push("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning".to_owned());
        }
        let mut object = before.clone();
        let held_by = deletion_finalizers(resource, before, options.propagation);
        if held_by.is_empty() {
            remove(&mut object, &["metadata", "finalizers"]);
        } else {
            set(&mut object, &["metadata", "finalizers"], held_by);
        }
        let grace = kinds::grace_period(resource, before, options.grace_period_seconds);
        let held_grace = number(before, &["metadata", "deletionGracePeriodSeconds"]);
        if !is_deleting(before) {
            let until = (self.options.now)() + jiff::SignedDuration::from_secs(grace);
            set(&mut object, &["metadata", "deletionTimestamp"], timestamp(until));
            set(&mut object, &["metadata", "deletionGracePeriodSeconds"], grace);
            if let Some(generation) = number(before, &["metadata", "generation"]) {
                set(&mut object, &["metadata", "generation"], generation + 1);
            }
            kinds::mark_deleting(resource, &mut object);
        } else if held_grace.is_some_and(|held| grace < held) {
            let until = (self.options.now)() + jiff::SignedDuration::from_secs(grace);
            set(&mut object, &["metadata", "deletionTimestamp"], timestamp(until));
            set(&mut object, &["metadata", "deletionGracePeriodSeconds"], grace);
        }
        let is_held = !is_done_waiting(resource, &object);
        if call.dry_run {
            let answer = self.unsaved(object);
            return Ok(if is_held { Deleted::Marked(answer) } else { Deleted::Gone(answer) });
        }
        if is_held {
            if object == *before {
                return Ok(Deleted::Marked(old));
            }
            return Ok(Deleted::Marked(self.commit(resource, call, "", Verb::Update, object)));
        }
        // The last state that watchers see is the one before the deletion was asked for.
        let last = if is_deleting(before) { object } else { before.clone() };
        Ok(Deleted::Gone(self.commit(resource, call, "", Verb::Delete, last)))
    }

    /// Deletes every selected object; returns them as they were.
    pub fn delete_collection(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        selector: &Selector,
        options: &Delete,
    ) -> Result<Vec<Arc<Stored>>, Failure> {
        let selected: Vec<Arc<Stored>> =
            self.store.shelves[resource.shelf].select(selector).map(|(_, stored)| Arc::clone(stored)).collect();
        for stored in &selected {
            let at = (access::namespace(&stored.value), access::name(&stored.value));
            match self.delete(call, resource, at, options) {
                Err(failure) if failure.code != 404 => return Err(failure),
                _ => {}
            }
        }
        Ok(selected)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of an admission request")]
    fn mutate(
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
    fn validate(
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
fn decode(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
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

fn place_in_namespace(resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), Failure> {
    if !resource.namespaced {
        remove(object, &["metadata", "namespace"]);
        return Ok(());
    }
    let given = access::namespace(object);
    if given.is_empty() {
        set(object, &["metadata", "namespace"], namespace);
    } else if given != namespace {
        return Err(Failure::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    Ok(())
}

/// Refuses an update that was made from another state, or of another object.
fn check_still_same(resource: &Resource, before: &Value, object: &Value) -> Result<(), Failure> {
    let name = access::name(before);
    let given = access::uid(object);
    if !given.is_empty() && given != access::uid(before) {
        let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {}", access::uid(before));
        return Err(Failure::conflict(&resource.group, &resource.plural, name, &why));
    }
    let given = text(object, &["metadata", "resourceVersion"]);
    if !given.is_empty() && given != text(before, &["metadata", "resourceVersion"]) {
        return Err(Failure::modified(&resource.group, &resource.plural, name));
    }
    Ok(())
}

fn check_preconditions(resource: &Resource, before: &Value, options: &Delete) -> Result<(), Failure> {
    let checks = [
        ("UID", &options.uid, access::uid(before)),
        ("ResourceVersion", &options.resource_version, text(before, &["metadata", "resourceVersion"])),
    ];
    for (what, wanted, found) in checks {
        if let Some(wanted) = wanted
            && wanted != found
        {
            let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
            return Err(Failure::conflict(&resource.group, &resource.plural, access::name(before), &why));
        }
    }
    Ok(())
}

/// Keeps a write to the part of the object that it was sent to.
fn isolate(resource: &Resource, subresource: &str, before: &Value, object: &mut Value) {
    if !resource.has_status {
        return;
    }
    if subresource == "status" {
        let status = remove(object, &["status"]);
        let metadata = remove(object, &["metadata"]).unwrap_or_default();
        let mut kept = before.clone();
        if resource.custom.is_none() {
            // Built-in resources let a status write change labels and annotations.
            let owners = at(before, &["metadata", "ownerReferences"]).cloned();
            set(&mut kept, &["metadata"], metadata);
            match owners {
                Some(owners) => set(&mut kept, &["metadata", "ownerReferences"], owners),
                None => drop(remove(&mut kept, &["metadata", "ownerReferences"])),
            }
        } else if let Some(managed_fields) = metadata.get("managedFields") {
            set(&mut kept, &["metadata", "managedFields"], managed_fields.clone());
        }
        match status {
            Some(status) => set(&mut kept, &["status"], status),
            None => drop(remove(&mut kept, &["status"])),
        }
        *object = kept;
    } else if subresource.is_empty() {
        copy(before, object, &["status"]);
    }
}

/// Whether anything but metadata (and a status with a subresource of its own) changed.
fn differs_in_spec(resource: &Resource, before: &Value, after: &Value) -> bool {
    if resource.custom.is_none() && !resource.group.starts_with("admissionregistration") && before.get("spec").is_some() {
        return before.get("spec") != after.get("spec");
    }
    let ignored = |key: &str| matches!(key, "metadata" | "apiVersion" | "kind") || (key == "status" && resource.has_status);
    let rest = |object: &Value| -> Map<String, Value> {
        let map = object.as_object().cloned().unwrap_or_default();
        map.into_iter().filter(|(key, _)| !ignored(key)).collect()
    };
    rest(before) != rest(after)
}

/// Whether a marked object has nothing left that holds it.
fn is_done_waiting(resource: &Resource, object: &Value) -> bool {
    let is_finished = !resource.is("", "namespaces") || list(object, &["spec", "finalizers"]).is_empty();
    is_deleting(object)
        && finalizers(object).next().is_none()
        && number(object, &["metadata", "deletionGracePeriodSeconds"]).is_none_or(|grace| grace == 0)
        && is_finished
}

/// The finalizers of an object once its deletion has been asked for.
fn deletion_finalizers(resource: &Resource, object: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let has = |wanted: &str| finalizers(object).any(|finalizer| finalizer == wanted);
    let effective = propagation.unwrap_or_else(|| {
        if has(ORPHAN) {
            Propagation::Orphan
        } else if has(FOREGROUND) {
            Propagation::Foreground
        } else if resource.orphans_by_default {
            Propagation::Orphan
        } else {
            Propagation::Background
        }
    });
    let mut kept: Vec<String> =
        finalizers(object).filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND).map(str::to_owned).collect();
    match effective {
        Propagation::Background => {}
        Propagation::Foreground => kept.push(FOREGROUND.to_owned()),
        Propagation::Orphan => kept.push(ORPHAN.to_owned()),
    }
    kept
}

/// Empty maps and lists in metadata are as good as absent, and the real server does not store them.
fn drop_empty_metadata(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}
