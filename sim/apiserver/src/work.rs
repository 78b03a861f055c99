//! What the server does by itself after a write: owner garbage collection, namespaces.
//!
//! In a real cluster these are controllers with their own watches. Here a write queues [`Work`], and each
//! piece is performed alone: at once when requests are answered at once, or as one more entry of the
//! sequencer, ordered like a request. The writes of these actors show up in the tap under their own names
//! (`garbage-collector`, `namespace-controller`, `serviceaccount-controller`, `root-ca-publisher`).
//!
//! Promises: a dependent goes when its last owner is gone and not before; a reference to an owner that
//! never existed counts as gone; an owner that is named in another namespace counts as gone; a dependent
//! whose owner's resource is unknown stays. Foreground deletion waits for dependents with
//! `blockOwnerDeletion`, orphaning strips the reference. A namespace goes when it is empty.
//!
//! Does not remove protection finalizers (`kubernetes.io/pvc-protection`): that is the business of actors
//! that know who uses a volume.

use std::collections::BTreeMap;

use json::{Value, json};

use crate::access::{self, finalizers, is_deleting, list, map_mut, set, text};
use crate::direct::{Delete, Propagation};
use crate::resource::Resource;
use crate::server::{Verb, Write};
use crate::state::{Call, FOREGROUND, ORPHAN, State};
use crate::store::Place;

/// One thing to do after a write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Look whether a dependent still has an owner.
    Dependent(Place),
    /// An object waits for its dependents.
    Foreground(Place),
    /// An object waits until its dependents have forgotten it.
    Orphan(Place),
    /// A new namespace gets what every namespace has.
    FillNamespace(String),
    /// A terminating namespace is emptied, and finished when it is empty.
    EmptyNamespace(String),
    /// The objects of a deleted definition go, then the definition.
    EmptyDefinition(String),
}

impl State {
    /// Queues what a write sets in motion.
    pub(crate) fn follow(&mut self, resource: &Resource, place: &Place, write: &Write) {
        let object = &*write.object;
        if resource.is("", "namespaces") {
            match write.verb {
                Verb::Create => self.work.push_back(Work::FillNamespace(write.name.clone())),
                Verb::Update if is_deleting(object) => {
                    self.work.push_back(Work::EmptyNamespace(write.name.clone()));
                }
                _ => {}
            }
        }
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions")
            && write.verb == Verb::Update
            && is_deleting(object)
        {
            self.work.push_back(Work::EmptyDefinition(write.name.clone()));
        }
        if write.verb == Verb::Delete {
            if resource.custom.is_some() {
                let definition = format!("{}.{}", resource.plural, resource.group);
                if self.definition(&definition).is_some_and(|(_, stored)| is_deleting(&stored.value)) {
                    self.work.push_back(Work::EmptyDefinition(definition));
                }
            }
            let uid = access::uid(object);
            for dependent in self.store.dependents_of(uid) {
                self.work.push_back(Work::Dependent(dependent));
            }
            // An owner may have waited for this one.
            for owner in list(object, &["metadata", "ownerReferences"]) {
                if let Some(owner) = self.store.place_of(text(owner, &["uid"])).cloned()
                    && self
                        .store
                        .at(&owner)
                        .is_some_and(|owner| is_deleting(&owner.value) && has(&owner.value, FOREGROUND))
                {
                    self.work.push_back(Work::Foreground(owner));
                }
            }
            if !write.namespace.is_empty() && self.is_terminating(&write.namespace) {
                self.work.push_back(Work::EmptyNamespace(write.namespace.clone()));
            }
            return;
        }
        let owners = list(object, &["metadata", "ownerReferences"]);
        if !owners.is_empty()
            && write
                .previous
                .as_ref()
                .is_none_or(|previous| list(previous, &["metadata", "ownerReferences"]) != owners)
            && owners.iter().any(|owner| self.is_gone(object, owner))
        {
            self.work.push_back(Work::Dependent(place.clone()));
        }
        if is_deleting(object) {
            if has(object, FOREGROUND) {
                self.work.push_back(Work::Foreground(place.clone()));
            }
            if has(object, ORPHAN) {
                self.work.push_back(Work::Orphan(place.clone()));
            }
        }
    }

    /// Does one piece of work; what it sets in motion is queued again.
    pub(crate) fn perform(&mut self, work: &Work) {
        match work {
            Work::Dependent(place) => self.judge_dependent(place),
            Work::Foreground(place) => self.advance_foreground(place),
            Work::Orphan(place) => self.advance_orphan(place),
            Work::FillNamespace(name) => self.fill_namespace(name),
            Work::EmptyNamespace(name) => self.empty_namespace(name),
            Work::EmptyDefinition(name) => self.empty_definition(name),
        }
    }

    fn is_terminating(&self, namespace: &str) -> bool {
        self.registry
            .by_kind("v1", "Namespace")
            .and_then(|namespaces| self.store.get(namespaces, "", namespace))
            .is_some_and(|stored| is_deleting(&stored.value))
    }

    /// Whether the owner that a reference names is certainly not there.
    fn is_gone(&self, dependent: &Value, owner: &Value) -> bool {
        let Some(resource) = self.registry.by_kind(text(owner, &["apiVersion"]), text(owner, &["kind"]))
        else {
            return false;
        };
        let namespace = if resource.namespaced { access::namespace(dependent) } else { "" };
        if resource.namespaced && namespace.is_empty() {
            // A dependent of the cluster cannot be owned from a namespace; the real collector leaves it alone.
            return false;
        }
        self.store
            .get(resource, namespace, text(owner, &["name"]))
            .is_none_or(|stored| access::uid(&stored.value) != text(owner, &["uid"]))
    }

    fn resource_at(&self, place: &Place) -> Option<std::sync::Arc<Resource>> {
        let stored = self.store.at(place)?;
        self.registry.by_kind(text(&stored.value, &["apiVersion"]), text(&stored.value, &["kind"])).cloned()
    }

    fn judge_dependent(&mut self, place: &Place) {
        let (Some(stored), Some(resource)) = (self.store.at(place).cloned(), self.resource_at(place)) else {
            return;
        };
        let object = &*stored.value;
        let owners = list(object, &["metadata", "ownerReferences"]);
        let gone: Vec<bool> = owners.iter().map(|owner| self.is_gone(object, owner)).collect();
        if owners.is_empty() || !gone.contains(&true) || is_deleting(object) {
            return;
        }
        let mut call = Call::new("garbage-collector");
        let at = (place.key.0.as_str(), place.key.1.as_str());
        if gone.contains(&false) {
            let mut kept = object.clone();
            let solid: Vec<Value> = owners
                .iter()
                .zip(&gone)
                .filter(|(_, gone)| !**gone)
                .map(|(owner, _)| owner.clone())
                .collect();
            set(&mut kept, &["metadata", "ownerReferences"], solid);
            // Refused by nothing but admission; a refusal leaves the object as it is.
            let _ = self.replace(&mut call, &resource, "", &stored, kept, None);
            return;
        }
        let propagation = if has(object, ORPHAN) {
            Propagation::Orphan
        } else if has(object, FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        let options = Delete {
            uid: Some(access::uid(object).to_owned()),
            propagation: Some(propagation),
            ..Delete::default()
        };
        let _ = self.delete(&mut call, &resource, at, &options);
    }

    fn advance_foreground(&mut self, place: &Place) {
        let (Some(stored), Some(resource)) = (self.store.at(place).cloned(), self.resource_at(place)) else {
            return;
        };
        let object = &*stored.value;
        if !is_deleting(object) || !has(object, FOREGROUND) {
            return;
        }
        let uid = access::uid(object).to_owned();
        let mut is_blocked = false;
        let mut call = Call::new("garbage-collector");
        for dependent in self.store.dependents_of(&uid) {
            let (Some(found), Some(kind)) =
                (self.store.at(&dependent).cloned(), self.resource_at(&dependent))
            else {
                continue;
            };
            let references = list(&found.value, &["metadata", "ownerReferences"]);
            let blocks = references.iter().any(|owner| {
                text(owner, &["uid"]) == uid
                    && owner.get("blockOwnerDeletion").and_then(Value::as_bool) == Some(true)
            });
            let has_other_owner = references
                .iter()
                .any(|owner| text(owner, &["uid"]) != uid && !self.is_gone(&found.value, owner));
            if has_other_owner {
                let mut kept = (*found.value).clone();
                let rest: Vec<Value> =
                    references.iter().filter(|owner| text(owner, &["uid"]) != uid).cloned().collect();
                set(&mut kept, &["metadata", "ownerReferences"], rest);
                let _ = self.replace(&mut call, &kind, "", &found, kept, None);
                continue;
            }
            if !is_deleting(&found.value) {
                let has_dependents = !self.store.dependents_of(access::uid(&found.value)).is_empty();
                let propagation =
                    if has_dependents { Propagation::Foreground } else { Propagation::Background };
                let options = Delete {
                    uid: Some(access::uid(&found.value).to_owned()),
                    propagation: Some(propagation),
                    ..Delete::default()
                };
                let _ = self.delete(&mut call, &kind, (&dependent.key.0, &dependent.key.1), &options);
            }
            is_blocked |= blocks && self.store.at(&dependent).is_some();
        }
        if !is_blocked {
            self.drop_finalizer(&mut call, &resource, place, FOREGROUND);
        }
    }

    fn advance_orphan(&mut self, place: &Place) {
        let (Some(stored), Some(resource)) = (self.store.at(place).cloned(), self.resource_at(place)) else {
            return;
        };
        if !is_deleting(&stored.value) || !has(&stored.value, ORPHAN) {
            return;
        }
        let uid = access::uid(&stored.value).to_owned();
        let mut call = Call::new("garbage-collector");
        for dependent in self.store.dependents_of(&uid) {
            let (Some(found), Some(kind)) =
                (self.store.at(&dependent).cloned(), self.resource_at(&dependent))
            else {
                continue;
            };
            let mut freed = (*found.value).clone();
            let rest: Vec<Value> = list(&freed, &["metadata", "ownerReferences"])
                .iter()
                .filter(|owner| text(owner, &["uid"]) != uid)
                .cloned()
                .collect();
            set(&mut freed, &["metadata", "ownerReferences"], rest);
            let _ = self.replace(&mut call, &kind, "", &found, freed, None);
        }
        self.drop_finalizer(&mut call, &resource, place, ORPHAN);
    }

    fn drop_finalizer(
        &mut self,
        call: &mut Call,
        resource: &std::sync::Arc<Resource>,
        place: &Place,
        finalizer: &str,
    ) {
        let Some(stored) = self.store.at(place).cloned() else { return };
        let mut object = (*stored.value).clone();
        let rest: Vec<String> =
            finalizers(&object).filter(|held| *held != finalizer).map(str::to_owned).collect();
        set(&mut object, &["metadata", "finalizers"], rest);
        let _ = self.replace(call, resource, "", &stored, object, None);
    }

    fn fill_namespace(&mut self, name: &str) {
        let fills = [
            ("serviceaccount-controller", "ServiceAccount", json!({"metadata": {"name": "default"}})),
            (
                "root-ca-publisher",
                "ConfigMap",
                json!({
                    "metadata": {
                        "name": "kube-root-ca.crt",
                        "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."},
                    },
                    "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n(simulated cluster: no certificate)\n-----END CERTIFICATE-----\n"},
                }),
            ),
        ];
        for (actor, kind, object) in fills {
            if let Ok(resource) = self.resource("v1", kind) {
                // The namespace may be terminating again, or the user was faster.
                let _ = self.create(&mut Call::new(actor), &resource, name, object);
            }
        }
    }

    fn empty_namespace(&mut self, name: &str) {
        if !self.is_terminating(name) {
            return;
        }
        let Ok(namespaces) = self.resource("v1", "Namespace") else { return };
        let mut call = Call::new("namespace-controller");
        let content = self.content_of(name);
        for (resource, key) in &content {
            let is_fresh =
                self.store.get(resource, name, key).is_some_and(|stored| !is_deleting(&stored.value));
            if is_fresh {
                let options = Delete { propagation: Some(Propagation::Background), ..Delete::default() };
                let _ = self.delete(&mut call, resource, (name, key), &options);
            }
        }
        let remaining = self.content_of(name);
        let Some(stored) = self.store.get(&namespaces, "", name).cloned() else { return };
        let mut object = (*stored.value).clone();
        if remaining.is_empty() {
            if let Some(spec) = map_mut(&mut object, &["spec"]) {
                spec.remove("finalizers");
            }
            let _ = self.replace(&mut call, &namespaces, "finalize", &stored, object, None);
            return;
        }
        let now = self.now();
        set(&mut object, &["status", "conditions"], self.namespace_conditions(name, &remaining, &now));
        let only_times_differ = strip_times(&object) == strip_times(&stored.value);
        if !only_times_differ {
            let _ = self.replace(&mut call, &namespaces, "status", &stored, object, None);
        }
    }

    fn definition(
        &self,
        name: &str,
    ) -> Option<(std::sync::Arc<Resource>, std::sync::Arc<crate::store::Stored>)> {
        let definitions = self.registry.by_kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")?;
        Some((
            std::sync::Arc::clone(definitions),
            std::sync::Arc::clone(self.store.get(definitions, "", name)?),
        ))
    }

    fn empty_definition(&mut self, name: &str) {
        let Some((definitions, stored)) = self.definition(name) else { return };
        if !is_deleting(&stored.value) {
            return;
        }
        let group = text(&stored.value, &["spec", "group"]);
        let plural = text(&stored.value, &["spec", "names", "plural"]);
        let mut call = Call::new("crd-controller");
        let served = self
            .registry
            .resources
            .values()
            .find(|resource| resource.group == group && resource.plural == plural)
            .cloned();
        if let Some(resource) = served {
            let keys: Vec<_> = self.store.shelves[resource.shelf].objects.keys().cloned().collect();
            for (namespace, name) in &keys {
                if self
                    .store
                    .get(&resource, namespace, name)
                    .is_some_and(|stored| !is_deleting(&stored.value))
                {
                    // What finalizers hold comes back here when it goes.
                    let _ = self.delete(&mut call, &resource, (namespace, name), &Delete::default());
                }
            }
            if !self.store.shelves[resource.shelf].objects.is_empty() {
                return;
            }
        }
        let place = Place { shelf: definitions.shelf, key: (String::new(), name.to_owned()) };
        self.drop_finalizer(&mut call, &definitions, &place, crate::crd::CLEANUP);
    }

    /// What stands in a namespace: in the order of resources and names.
    fn content_of(&self, namespace: &str) -> Vec<(std::sync::Arc<Resource>, String)> {
        let mut seen = std::collections::BTreeSet::new();
        let mut content = Vec::new();
        for resource in
            self.registry.resources.values().filter(|resource| resource.namespaced && !resource.is_review)
        {
            if !seen.insert(resource.shelf) {
                continue;
            }
            let keys = self.store.shelves[resource.shelf]
                .objects
                .range((namespace.to_owned(), String::new())..)
                .take_while(|((at, _), _)| at == namespace);
            content.extend(keys.map(|((_, name), _)| (std::sync::Arc::clone(resource), name.clone())));
        }
        content
    }

    fn namespace_conditions(
        &self,
        namespace: &str,
        remaining: &[(std::sync::Arc<Resource>, String)],
        now: &str,
    ) -> Value {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        for (resource, name) in remaining {
            *counts.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
            if let Some(stored) = self.store.get(resource, namespace, name) {
                for finalizer in finalizers(&stored.value) {
                    *holders.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
        let listed = |counts: &BTreeMap<String, usize>, verb: &str| {
            let parts: Vec<String> = counts
                .iter()
                .map(|(what, count)| format!("{what} {verb} {count} resource instances"))
                .collect();
            parts.join(", ")
        };
        let condition = |kind: &str, holds: bool, reason: &str, message: String| {
            json!({
                "type": kind,
                "status": if holds { "True" } else { "False" },
                "lastTransitionTime": now,
                "reason": reason,
                "message": message,
            })
        };
        let content = format!("Some resources are remaining: {}", listed(&counts, "has"));
        let (held, held_reason, held_message) = if holders.is_empty() {
            (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
        } else {
            let message =
                format!("Some content in the namespace has finalizers remaining: {}", listed(&holders, "in"));
            (true, "SomeFinalizersRemain", message)
        };
        json!([
            condition(
                "NamespaceDeletionDiscoveryFailure",
                false,
                "ResourcesDiscovered",
                "All resources successfully discovered".to_owned()
            ),
            condition(
                "NamespaceDeletionGroupVersionParsingFailure",
                false,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed".to_owned()
            ),
            condition(
                "NamespaceDeletionContentFailure",
                false,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization".to_owned()
            ),
            condition("NamespaceContentRemaining", true, "SomeResourcesRemain", content),
            condition("NamespaceFinalizersRemaining", held, held_reason, held_message),
        ])
    }
}

fn has(object: &Value, wanted: &str) -> bool {
    finalizers(object).any(|finalizer| finalizer == wanted)
}

fn strip_times(namespace: &Value) -> Vec<Value> {
    let mut conditions = list(namespace, &["status", "conditions"]).to_vec();
    for condition in &mut conditions {
        access::remove(condition, &["lastTransitionTime"]);
    }
    conditions
}
