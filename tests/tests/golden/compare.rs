//! Compares a replay with a recording, in the order that the recordings' README gives.
//!
//! The result is a list of differences, most important first; an empty list means equal. It knows neither
//! beds nor files.

use std::collections::{BTreeMap, BTreeSet};

use json::Value;

use super::view::{Shape, Step, View};

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
    let too_many = replayed.view.events.difference(&recorded.view.events);
    for event in too_many.filter(|event| !may_be_cut_off(event)) {
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
            Some(other) => {
                found.push(format!("{}: {}", shape.id, first_difference("", &shape.spec, &other.spec)));
            }
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
        (Value::Array(left), Value::Array(right)) => {
            let extra =
                |one: &[Value], other: &[Value]| one.iter().find(|item| !other.contains(item)).cloned();
            let (lost, added) = (extra(left, right), extra(right, left));
            format!(
                "{path} has {} items instead of {}: without {lost:?}, with {added:?}",
                right.len(),
                left.len()
            )
        }
        _ => format!("{path} is {replayed} instead of {recorded}"),
    }
}

/// Order counts among the objects of one owner: what two owners do at the same time is decided by chance.
fn order(recorded: &[Step], replayed: &[Step]) -> Vec<String> {
    let place: BTreeMap<_, _> =
        replayed.iter().enumerate().map(|(place, step)| (&step.mark, place)).collect();
    let known: BTreeSet<_> = recorded.iter().map(|step| &step.mark).collect();
    let mut found: Vec<_> = recorded
        .iter()
        .filter(|step| !place.contains_key(&step.mark))
        .map(|step| format!("order: {} (at {} s) does not happen", step.mark, step.at))
        .collect();
    for step in replayed.iter().filter(|step| !known.contains(&step.mark) && !may_be_cut_off(&step.mark)) {
        found.push(format!("order: {} happens and was not recorded", step.mark));
    }
    for (index, earlier) in recorded.iter().enumerate() {
        for later in recorded[index + 1..].iter().filter(|later| later.owner == earlier.owner) {
            let places = (place.get(&earlier.mark), place.get(&later.mark));
            let inverted = matches!(places, (Some(first), Some(second)) if first > second);
            if later.at - earlier.at > TOGETHER_SECONDS && inverted {
                found.push(format!("order: {} comes before {}", later.mark, earlier.mark));
            }
        }
    }
    found
}

/// The end of a population: the volume controller of a real cluster notices that a prime claim lost its
/// volume at once or at its next look around, up to 15 s later; a recording may end before.
fn may_be_cut_off(what: &str) -> bool {
    what.starts_with("-PersistentVolumeClaim/vs-prime-") || what.ends_with(" VolSyncPopulatorFinished")
}

fn maps<T: serde::Serialize + PartialEq>(
    what: &str,
    recorded: &BTreeMap<String, T>,
    replayed: &BTreeMap<String, T>,
) -> Vec<String> {
    let value = |side: Option<&T>| json::to_value(side).unwrap_or_default();
    let keys: BTreeSet<_> = recorded.keys().chain(replayed.keys()).collect();
    keys.into_iter()
        .filter(|key| recorded.get(*key) != replayed.get(*key))
        .map(|key| {
            let (recorded, replayed) = (value(recorded.get(key)), value(replayed.get(key)));
            format!("{what} {key}: {}", first_difference("", &recorded, &replayed))
        })
        .collect()
}
