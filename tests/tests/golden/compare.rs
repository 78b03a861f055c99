//! Compares a replay with a recording, in the order that the recordings' README gives.
//!
//! The result is a list of differences, most important first; an empty list means equal. It knows neither
//! beds nor files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::view::{Shape, View};

/// Recorded notifications closer than this are not ordered: each kind has its own watch.
const TOGETHER_SECONDS: f64 = 0.6;

/// What a repository holds, by identity: how many snapshots of which content, and the policies that differ.
pub type Contents = BTreeMap<String, Vec<String>>;

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Objects, order, settled status, events.
    pub view: View,
    /// Repository contents by tag.
    pub repositories: BTreeMap<String, Contents>,
    /// What pods that look saw, by pod.
    pub looks: BTreeMap<String, BTreeSet<String>>,
}

/// All differences of a replay from the recording, most important first.
pub fn differences(recorded: &Run, replayed: &Run) -> Vec<String> {
    let mut found = objects(&recorded.view.objects, &replayed.view.objects);
    found.extend(order(&recorded.view.order, &replayed.view.order));
    found.extend(maps("settled status", &recorded.view.settled, &replayed.view.settled));
    found.extend(maps("repository", &recorded.repositories, &replayed.repositories));
    found.extend(maps("contents seen by", &recorded.looks, &replayed.looks));
    for event in recorded.view.events.difference(&replayed.view.events) {
        found.push(format!("event missing: {event}"));
    }
    for event in replayed.view.events.difference(&recorded.view.events) {
        found.push(format!("event too many: {event}"));
    }
    found
}

fn objects(recorded: &[Shape], replayed: &[Shape]) -> Vec<String> {
    let mut found = Vec::new();
    for shape in recorded {
        if replayed.contains(shape) {
            continue;
        }
        match replayed.iter().find(|other| other.id == shape.id && !recorded.contains(other)) {
            None => found.push(format!("object missing: {}", shape.id)),
            Some(other) if other.labels != shape.labels => {
                found.push(format!("{}: labels {} instead of {}", shape.id, other.labels, shape.labels));
            }
            Some(other) if other.owners != shape.owners => {
                found.push(format!("{}: owners {:?} instead of {:?}", shape.id, other.owners, shape.owners));
            }
            Some(other) => found.push(format!("{}: {}", shape.id, first_difference("", &shape.spec, &other.spec))),
        }
    }
    let known: BTreeSet<_> = recorded.iter().map(|shape| &shape.id).collect();
    for shape in replayed.iter().filter(|shape| !known.contains(&shape.id)) {
        found.push(format!("object too many: {}", shape.id));
    }
    found
}

/// The first place where two values differ, as a path with both sides.
fn first_difference(path: &str, recorded: &Value, replayed: &Value) -> String {
    match (recorded, replayed) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            let differing = keys.into_iter().find(|key| left.get(*key) != right.get(*key));
            let Some(key) = differing else { return format!("{path} equal") };
            let absent = Value::Null;
            let path = format!("{path}.{key}");
            first_difference(&path, left.get(key).unwrap_or(&absent), right.get(key).unwrap_or(&absent))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let position = left.iter().zip(right).position(|(left, right)| left != right).unwrap_or_default();
            first_difference(&format!("{path}[{position}]"), &left[position], &right[position])
        }
        _ => format!("{path} is {replayed} instead of {recorded}"),
    }
}

fn order(recorded: &[(f64, String)], replayed: &[(f64, String)]) -> Vec<String> {
    let place: BTreeMap<_, _> = replayed.iter().enumerate().map(|(place, (_, mark))| (mark, place)).collect();
    let known: BTreeSet<_> = recorded.iter().map(|(_, mark)| mark).collect();
    let mut found: Vec<_> = recorded
        .iter()
        .filter(|(_, mark)| !place.contains_key(mark))
        .map(|(at, mark)| format!("order: {mark} (at {at} s) does not happen"))
        .collect();
    for (_, mark) in replayed.iter().filter(|(_, mark)| !known.contains(mark)) {
        found.push(format!("order: {mark} happens and was not recorded"));
    }
    for (index, (at, mark)) in recorded.iter().enumerate() {
        for (later_at, later) in &recorded[index + 1..] {
            let inverted = matches!((place.get(mark), place.get(later)), (Some(first), Some(second)) if first > second);
            if later_at - at > TOGETHER_SECONDS && inverted {
                found.push(format!("order: {later} comes before {mark}"));
            }
        }
    }
    found
}

fn maps<T: std::fmt::Debug + PartialEq>(
    what: &str, recorded: &BTreeMap<String, T>, replayed: &BTreeMap<String, T>,
) -> Vec<String> {
    let keys: BTreeSet<_> = recorded.keys().chain(replayed.keys()).collect();
    keys.into_iter()
        .filter(|key| recorded.get(*key) != replayed.get(*key))
        .map(|key| format!("{what} {key}: {:?} instead of {:?}", replayed.get(key), recorded.get(key)))
        .collect()
}
