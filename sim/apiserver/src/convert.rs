//! Spellings of one object: stored in one form, shown in the version that was asked for.
//!
//! Custom resources convert by `apiVersion` alone (strategy `None`; there are no conversion webhooks).
//! Events of `events.k8s.io` are core events with other field names.

use std::borrow::Cow;
use std::sync::Arc;

use json::Value;

use crate::access::{remove, set, text};
use crate::resource::Resource;

/// Field names of an event: `events.k8s.io/v1` and core.
const EVENT_FIELDS: &[(&[&str], &[&str])] = &[
    (&["note"], &["message"]),
    (&["regarding"], &["involvedObject"]),
    (&["reportingController"], &["reportingComponent"]),
    (&["deprecatedSource"], &["source"]),
    (&["deprecatedFirstTimestamp"], &["firstTimestamp"]),
    (&["deprecatedLastTimestamp"], &["lastTimestamp"]),
    (&["deprecatedCount"], &["count"]),
];

/// Turns an object from the form of its resource into the stored one.
pub(crate) fn to_storage(resource: &Resource, object: &mut Value) {
    if is_new_event(resource) {
        for (new, core) in EVENT_FIELDS {
            if let Some(value) = remove(object, new) {
                set(object, core, value);
            }
        }
        set(object, &["apiVersion"], "v1");
    }
}

/// Shows a stored object in the form of a resource.
pub(crate) fn present<'a>(resource: &Resource, stored: &'a Value) -> Cow<'a, Value> {
    let api_version = resource.api_version();
    if text(stored, &["apiVersion"]) == api_version {
        return Cow::Borrowed(stored);
    }
    let mut shown = stored.clone();
    if is_new_event(resource) {
        for (new, core) in EVENT_FIELDS {
            if let Some(value) = remove(&mut shown, core) {
                set(&mut shown, new, value);
            }
        }
    }
    set(&mut shown, &["apiVersion"], api_version);
    Cow::Owned(shown)
}

/// As [`present`], without a copy where the stored form is the one that is asked for.
pub(crate) fn shared(resource: &Resource, stored: &Arc<Value>) -> Arc<Value> {
    match present(resource, stored) {
        Cow::Borrowed(_) => Arc::clone(stored),
        Cow::Owned(shown) => Arc::new(shown),
    }
}

fn is_new_event(resource: &Resource) -> bool {
    resource.is("events.k8s.io", "events")
}
