//! Patching objects, server-side apply included.

use std::sync::Arc;

use json::{Value, json};

use crate::access::{self, list, set};
use crate::direct::Patch;
use crate::failure::{Cause, Failure};
use crate::resource::Resource;
use crate::state::{Call, State, decode, invalid, place_in_namespace};
use crate::store::Stored;
use crate::{convert, managed, patch};

impl State {
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
                    return Err(Failure::bad_request(
                        "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}",
                    ));
                }
                object.merge(&change);
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
                let listed: Vec<String> =
                    unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
                let mut failure = Failure::internal("");
                failure.message = format!(
                    "failed to create typed patch object ({namespace}/{name}; {}, Kind={}): {}",
                    resource.api_version(),
                    resource.kind,
                    listed.join(", ")
                );
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
}
