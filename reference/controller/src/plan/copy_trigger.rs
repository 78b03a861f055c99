//! The copy trigger: a claim's annotations that hold back and release its copies.
//!
//! Pure. Source: section 2.10 of the behaviour specification.
use std::collections::BTreeMap;

use api::names as keys;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use crate::act::{Act, Kind};

/// How long a copy may wait before people are told.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// Whether a copy may be made.
#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// Nothing holds it.
    Open,
    /// A new trigger has come.
    Go(Vec<Act>),
    /// None has.
    Wait {
        /// What to tell.
        acts: Vec<Act>,
        /// Whether it waits for too long.
        timed_out: bool,
    },
}

fn annotations(claim: &PersistentVolumeClaim) -> BTreeMap<String, String> {
    claim.metadata.annotations.clone().unwrap_or_default()
}

fn patch(claim: &PersistentVolumeClaim, annotations: &serde_json::Value) -> Act {
    Act::Patch {
        kind: Kind::Claim,
        name: claim.metadata.name.clone().unwrap_or_default(),
        patch: json!({"metadata": {"annotations": annotations}}),
    }
}

/// Decides whether a copy of a claim may start now.
pub fn gate(claim: &PersistentVolumeClaim, now: Timestamp) -> Gate {
    let known = annotations(claim);
    if !known.contains_key(keys::USE_COPY_TRIGGER) {
        return Gate::Open;
    }
    let name = claim.metadata.name.clone().unwrap_or_default();
    let trigger = known.get(keys::COPY_TRIGGER).filter(|trigger| !trigger.is_empty());
    if let Some(trigger) = trigger
        && known.get(keys::LATEST_COPY_TRIGGER) != Some(trigger)
    {
        let mut acts = Vec::new();
        if known.get(keys::LATEST_COPY_STATUS).map(String::as_str) != Some("InProgress") {
            let status =
                json!({keys::LATEST_COPY_STATUS: "InProgress", keys::LATEST_COPY_WAITING_SINCE: null});
            acts.push(patch(claim, &status));
            acts.push(Act::normal(
                "SrcPVCCopyTriggerReceived",
                format!("copy-trigger {trigger} received for PersistentVolumeClaim/{name}"),
            ));
        }
        return Gate::Go(acts);
    }
    let since: Option<Timestamp> =
        known.get(keys::LATEST_COPY_WAITING_SINCE).and_then(|since| since.parse().ok());
    let waiting = known.get(keys::LATEST_COPY_STATUS).map(String::as_str) == Some("WaitingForTrigger");
    let mut acts = Vec::new();
    if since.is_none() || !waiting {
        let since = since.unwrap_or(now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        acts.push(patch(
            claim,
            &json!({keys::LATEST_COPY_STATUS: "WaitingForTrigger", keys::LATEST_COPY_WAITING_SINCE: since}),
        ));
        acts.push(Act::normal(
            "SrcPVCWaitingForCopyTrigger",
            format!("waiting for copy-trigger to be modified for PersistentVolumeClaim/{name}"),
        ));
    }
    let timed_out = since.is_some_and(|since| now.duration_since(since) > PATIENCE);
    if timed_out {
        acts.push(Act::warning(
            "SrcPVCTimeoutWaitingForCopyTrigger",
            format!("timed out waiting for copy-trigger to be modified for PersistentVolumeClaim/{name}"),
        ));
    }
    Gate::Wait { acts, timed_out }
}

/// Marks a trigger as used once its copy is made.
pub fn completed(claim: &PersistentVolumeClaim) -> Vec<Act> {
    let known = annotations(claim);
    let in_progress = known.get(keys::LATEST_COPY_STATUS).map(String::as_str) == Some("InProgress");
    if !known.contains_key(keys::USE_COPY_TRIGGER) || !in_progress {
        return Vec::new();
    }
    let trigger = known.get(keys::COPY_TRIGGER).cloned().unwrap_or_default();
    let name = claim.metadata.name.clone().unwrap_or_default();
    vec![
        patch(claim, &json!({keys::LATEST_COPY_STATUS: "Completed", keys::LATEST_COPY_TRIGGER: trigger})),
        Act::normal(
            "SrcPVCCopyUsingCopyTriggerCompleted",
            format!("copy using copy-trigger {trigger} completed for PersistentVolumeClaim/{name}"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(annotations: &[(&str, &str)]) -> PersistentVolumeClaim {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.name = Some("data".into());
        claim.metadata.annotations =
            Some(annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        claim
    }
    fn reasons(acts: &[Act]) -> Vec<&'static str> {
        acts.iter()
            .filter_map(|act| if let Act::Event { reason, .. } = act { Some(*reason) } else { None })
            .collect()
    }

    #[test]
    fn copies_wait_for_a_new_trigger() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().expect("an instant");
        assert_eq!(gate(&claim(&[]), now), Gate::Open);
        let Gate::Wait { acts, timed_out } = gate(&claim(&[(keys::USE_COPY_TRIGGER, "")]), now) else {
            panic!("it waits");
        };
        assert_eq!((reasons(&acts), timed_out), (vec!["SrcPVCWaitingForCopyTrigger"], false));
        let waiting = [
            (keys::USE_COPY_TRIGGER, "yes"),
            (keys::COPY_TRIGGER, "a"),
            (keys::LATEST_COPY_TRIGGER, "a"),
            (keys::LATEST_COPY_STATUS, "WaitingForTrigger"),
            (keys::LATEST_COPY_WAITING_SINCE, "2026-03-01T09:49:59Z"),
        ];
        let Gate::Wait { acts, timed_out } = gate(&claim(&waiting), now) else { panic!("it waits") };
        assert_eq!((reasons(&acts), timed_out), (vec!["SrcPVCTimeoutWaitingForCopyTrigger"], true));
        let mut released = waiting;
        released[1].1 = "b";
        let Gate::Go(acts) = gate(&claim(&released), now) else { panic!("it goes") };
        assert_eq!(reasons(&acts), ["SrcPVCCopyTriggerReceived"]);
    }

    #[test]
    fn a_used_trigger_is_recorded_once() {
        let mut used = vec![
            (keys::USE_COPY_TRIGGER, "yes"),
            (keys::COPY_TRIGGER, "b"),
            (keys::LATEST_COPY_STATUS, "InProgress"),
        ];
        assert_eq!(reasons(&completed(&claim(&used))), ["SrcPVCCopyUsingCopyTriggerCompleted"]);
        used[2].1 = "Completed";
        assert_eq!(completed(&claim(&used)), []);
    }
}
