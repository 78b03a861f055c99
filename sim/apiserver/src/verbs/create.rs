//! Creating objects.

use std::sync::Arc;

use json::{Value, json};

use crate::access::{self, is_deleting, map_mut, remove, set, text};
use crate::failure::{Cause, Failure};
use crate::options::{ManagedFields, Operation};
use crate::resource::Resource;
use crate::server::Verb;
use crate::state::{Call, State, decode, invalid, place_in_namespace};
use crate::store::Stored;
use crate::{convert, kinds, managed, validate};

impl State {
    /// Creates an object.
    pub fn create(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Stored>, Failure> {
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
        for key in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
        ] {
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
        if self.options.managed_fields == ManagedFields::Always
            || object.pointer("/metadata/managedFields").is_some()
        {
            managed::track_create(resource, &call.manager, &now, &mut object);
        } else {
            remove(&mut object, &["metadata", "managedFields"]);
        }
        if call.dry_run {
            return Ok(self.unsaved(object));
        }
        Ok(self.commit(resource, call, "", Verb::Create, object))
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), Failure> {
        let namespaces = self.resource("v1", "Namespace")?;
        let found = self.get(&namespaces, "", namespace)?;
        if is_deleting(&found.value) {
            let mut failure = Failure::forbidden(
                &resource.group,
                &resource.plural,
                name,
                &format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                ),
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
}
