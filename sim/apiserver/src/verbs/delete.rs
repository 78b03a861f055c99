//! Deleting objects: at once, or marked while something holds them.

use std::sync::Arc;

use json::Value;

use crate::access::{self, finalizers, is_deleting, number, remove, set, text};
use crate::direct::{Delete, Propagation};
use crate::failure::Failure;
use crate::kinds;
use crate::options::Operation;
use crate::resource::Resource;
use crate::selector::Selector;
use crate::server::Verb;
use crate::state::{Call, FOREGROUND, ORPHAN, State, is_done_waiting, is_finalized, timestamp};
use crate::store::Stored;

/// What became of a deletion.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object left the store.
    Gone(Arc<Stored>),
    /// The object waits for finalizers or for its grace period.
    Marked(Arc<Stored>),
}

impl State {
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
        let held_by = deletion_finalizers(resource, before, options.propagation);
        let grace = kinds::grace_period(resource, before, options.grace_period_seconds);
        if !is_deleting(before) && held_by.is_empty() && grace == 0 && is_finalized(resource, before) {
            // The last state that watchers see is the one before the deletion was asked for.
            let last = before.clone();
            return Ok(Deleted::Gone(if call.dry_run {
                self.unsaved(last)
            } else {
                self.commit(resource, call, "", Verb::Delete, last)
            }));
        }
        let mut object = before.clone();
        if held_by.is_empty() {
            remove(&mut object, &["metadata", "finalizers"]);
        } else {
            set(&mut object, &["metadata", "finalizers"], held_by);
        }
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
        Ok(Deleted::Gone(self.commit(resource, call, "", Verb::Delete, object)))
    }

    /// Deletes every selected object; returns them as they were.
    pub fn delete_collection(
        &mut self,
        call: &mut Call,
        resource: &Arc<Resource>,
        selector: &Selector,
        options: &Delete,
    ) -> Result<Vec<Arc<Stored>>, Failure> {
        let selected: Vec<Arc<Stored>> = self.store.shelves[resource.shelf]
            .select(selector)
            .map(|(_, stored)| Arc::clone(stored))
            .collect();
        for stored in &selected {
            let at = (access::namespace(&stored.value), access::name(&stored.value));
            match self.delete(call, resource, at, options) {
                Err(failure) if failure.code != 404 => return Err(failure),
                _ => {}
            }
        }
        Ok(selected)
    }
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
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            );
            return Err(Failure::conflict(&resource.group, &resource.plural, access::name(before), &why));
        }
    }
    Ok(())
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
    let mut kept: Vec<String> = finalizers(object)
        .filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND)
        .map(str::to_owned)
        .collect();
    match effective {
        Propagation::Background => {}
        Propagation::Foreground => kept.push(FOREGROUND.to_owned()),
        Propagation::Orphan => kept.push(ORPHAN.to_owned()),
    }
    kept
}
