//! Replacing objects and their subresources.

use std::sync::Arc;

use json::Value;

use crate::access::{self, at, copy, map_mut, number, remove, set, text};
use crate::failure::{Cause, Failure};
use crate::options::{ManagedFields, Operation};
use crate::resource::Resource;
use crate::server::Verb;
use crate::state::{Call, State, decode, drop_empty_metadata, invalid, is_done_waiting, place_in_namespace};
use crate::store::Stored;
use crate::{convert, kinds, managed, validate};

impl State {
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
                format!(
                    "the name of the object ({}) does not match the name on the URL ({name})",
                    access::name(&object)
                )
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
        for key in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "selfLink",
            "generateName",
        ] {
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
        } else if self.options.managed_fields == ManagedFields::Always
            || at(before, &["metadata", "managedFields"]).is_some()
        {
            managed::track_update(resource, &call.manager, subresource, now, before, object);
        } else {
            remove(object, &["metadata", "managedFields"]);
        }
    }
}

/// Refuses an update that was made from another state, or of another object.
fn check_still_same(resource: &Resource, before: &Value, object: &Value) -> Result<(), Failure> {
    let name = access::name(before);
    let given = access::uid(object);
    if !given.is_empty() && given != access::uid(before) {
        let why = format!(
            "Precondition failed: UID in precondition: {given}, UID in object meta: {}",
            access::uid(before)
        );
        return Err(Failure::conflict(&resource.group, &resource.plural, name, &why));
    }
    let given = text(object, &["metadata", "resourceVersion"]);
    if !given.is_empty() && given != text(before, &["metadata", "resourceVersion"]) {
        return Err(Failure::modified(&resource.group, &resource.plural, name));
    }
    Ok(())
}

/// Keeps a write to the part of the object that it was sent to.
fn isolate(resource: &Resource, subresource: &str, before: &Value, object: &mut Value) {
    if !resource.has_status {
        return;
    }
    if subresource == "status" {
        keep_all_but_status(resource, before, object);
    } else if subresource.is_empty() {
        copy(before, object, &["status"]);
    }
}

/// Takes everything but the status (and of built-in resources some metadata) back from what is stored.
fn keep_all_but_status(resource: &Resource, before: &Value, object: &mut Value) {
    if resource.custom.is_none() {
        // Built-in resources let a status write change labels and annotations.
        copy(before, object, &["metadata", "ownerReferences"]);
    } else {
        let managed_fields = remove(object, &["metadata", "managedFields"]);
        if object.get("metadata") != before.get("metadata") {
            copy(before, object, &["metadata"]);
        }
        if let Some(managed_fields) = managed_fields {
            set(object, &["metadata", "managedFields"], managed_fields);
        }
    }
    let (Some(before), Some(object)) = (before.as_object(), object.as_object_mut()) else { return };
    object.retain(|key, _| key == "status" || before.contains_key(key));
    for (key, value) in before {
        // Most of it is as it was: comparing is cheaper than copying.
        if !matches!(key.as_str(), "metadata" | "status") && object.get(key) != Some(value) {
            object.insert(key.clone(), value.clone());
        }
    }
}

/// Whether anything but metadata (and a status with a subresource of its own) changed.
fn differs_in_spec(resource: &Resource, before: &Value, after: &Value) -> bool {
    if resource.custom.is_none()
        && !resource.group.starts_with("admissionregistration")
        && before.get("spec").is_some()
    {
        return before.get("spec") != after.get("spec");
    }
    let ignored = |key: &str| {
        matches!(key, "metadata" | "apiVersion" | "kind") || (key == "status" && resource.has_status)
    };
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else { return before != after };
    // Maps are sorted, so that equal ones give equal sequences.
    let rest_before = before.iter().filter(|(key, _)| !ignored(key));
    rest_before.ne(after.iter().filter(|(key, _)| !ignored(key)))
}
