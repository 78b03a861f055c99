//! A scenario moved to other namespaces, so that many can be played in one real cluster side by side.
//!
//! Every name, every manifest, every kubectl line and every field that holds a namespace is rewritten by one
//! function from namespace to namespace; what names none lives in the moved default. The match arms are
//! exhaustive, so that a new step cannot be forgotten. Texts that an expectation looks for stay as they
//! are. It knows no cluster and plays nothing.

use json::Value;

use crate::{
    Expect,
    fields::Fields,
    kubectl::{Kubectl, Verb},
    name::{DEFAULT_NAMESPACE, Name, ObjectRef},
    scenario::Scenario,
    step::{Act, Await, Build, Claim, Place, Step},
};

/// From a namespace to the one that stands for it.
pub type To<'a> = &'a dyn Fn(&str) -> String;

/// The scenario with all its namespaces moved.
///
/// # Errors
/// A sentence about manifests that are no YAML.
pub fn moved(scenario: &Scenario, to: To<'_>) -> Result<Scenario, String> {
    let mut scenario = scenario.clone();
    for step in &mut scenario.steps {
        match step {
            Step::Given(build) => move_build(build, to)?,
            Step::When(act) => move_act(act, to)?,
            Step::Then(expect) => move_expect(expect, to),
        }
    }
    Ok(scenario)
}

/// An object of a manifest with its namespaces moved.
pub fn move_object(object: &mut Value, to: To<'_>) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "Namespace" {
        if let Some(name) = object.pointer("/metadata/name").and_then(Value::as_str).map(to) {
            object["metadata"]["name"] = Value::from(name);
        }
    } else if !is_cluster_scoped(&kind) {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        object["metadata"]["namespace"] = Value::from(to(namespace.unwrap_or(DEFAULT_NAMESPACE)));
    }
    for (key, value) in object.as_object_mut().into_iter().flatten() {
        if key != "metadata" {
            move_values(value, to);
        }
    }
}

/// Whether objects of a kind live outside of namespaces.
pub fn is_cluster_scoped(kind: &str) -> bool {
    matches!(
        kind,
        "Namespace"
            | "Node"
            | "PersistentVolume"
            | "StorageClass"
            | "VolumeSnapshotClass"
            | "VolumeSnapshotContent"
            | "CustomResourceDefinition"
            | "CSIDriver"
            | "VolumePopulator"
    )
}

/// Moves every string below a key that ends in `namespace`.
fn move_values(value: &mut Value, to: To<'_>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if is_namespace_key(key) => *text = to(text).into(),
                    other => move_values(other, to),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| move_values(value, to)),
        _ => {}
    }
}

fn is_namespace_key(key: &str) -> bool {
    key == "namespace" || key.ends_with("Namespace")
}

fn move_name(name: &mut Name, to: To<'_>) {
    *name = name.within(to(name.namespace()));
}

fn move_names<'a>(names: impl IntoIterator<Item = &'a mut Name>, to: To<'_>) {
    names.into_iter().for_each(|name| move_name(name, to));
}

fn move_ref(object: &mut ObjectRef, to: To<'_>) {
    if object.kind == "Namespace" {
        object.name = object.name.sibling(to(object.name.name()));
    } else if !is_cluster_scoped(&object.kind) {
        move_name(&mut object.name, to);
    }
}

fn move_fields(fields: &mut Fields, to: To<'_>) {
    *fields = fields
        .iter()
        .map(|(path, value)| {
            let mut value = value.clone();
            match &mut value {
                Value::String(text) if path.rsplit('.').next().is_some_and(is_namespace_key) => {
                    *text = to(text).into();
                }
                other => move_values(other, to),
            }
            (path.clone(), value)
        })
        .collect();
}

fn move_manifests(text: &str, to: To<'_>) -> Result<String, String> {
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| format!("the manifests are no YAML: {error}"))?;
    let moved = objects.into_iter().filter(|object| !object.is_null()).map(|mut object| {
        move_object(&mut object, to);
        // JSON is YAML.
        object.to_string()
    });
    Ok(moved.collect::<Vec<_>>().join("\n---\n"))
}

fn move_line(line: &Kubectl, to: To<'_>) -> Result<Kubectl, String> {
    let namespace = to(line.namespace().unwrap_or(DEFAULT_NAMESPACE));
    let manifests = match line.verb() {
        Verb::Apply { manifests } => Some(move_manifests(manifests, to)?),
        _ => None,
    };
    Ok(line.within(namespace, manifests))
}

fn move_claim(claim: &mut Claim, to: To<'_>) {
    move_names(std::iter::once(&mut claim.name).chain(&mut claim.filled_from), to);
}

fn move_build(build: &mut Build, to: To<'_>) -> Result<(), String> {
    match build {
        Build::Volume(volume) => move_name(&mut volume.name, to),
        Build::Claim(claim) => move_claim(claim, to),
        Build::Repository(repository) => {
            move_name(&mut repository.name, to);
            if let Some(Place::Claim(claim)) = &mut repository.on {
                move_name(claim, to);
            }
        }
        Build::ReplicationSource(source) => {
            move_names([&mut source.name, &mut source.of, &mut source.into], to);
            move_fields(&mut source.fields, to);
        }
        Build::ReplicationDestination(destination) => {
            move_names([&mut destination.name, &mut destination.from], to);
            move_names(destination.of.iter_mut().chain(&mut destination.into), to);
            move_fields(&mut destination.fields, to);
        }
        Build::Maintenance(maintenance) => {
            move_names([&mut maintenance.name, &mut maintenance.of], to);
            move_fields(&mut maintenance.fields, to);
        }
        Build::Manifests(text) => *text = move_manifests(text, to)?,
        Build::Namespace(namespace) => *namespace = to(namespace),
        Build::Fault(_) | Build::LeaderElection => {}
    }
    Ok(())
}

fn move_act(act: &mut Act, to: To<'_>) -> Result<(), String> {
    match act {
        Act::PassPeriods { of, .. } | Act::EvictMover(of) | Act::SignalMover { of, .. } => move_name(of, to),
        Act::Await(wanted) => match wanted {
            Await::Synchronised { source: name, .. }
            | Await::HasSynchronised { source: name, .. }
            | Await::MoverStarted(name)
            | Await::Failed(name)
            | Await::Restored(name)
            | Await::Bound(name) => move_name(name, to),
            Await::Event { object, .. } | Await::Condition { object, .. } => move_ref(object, to),
            Await::AnotherLeader => {}
        },
        Act::Create(build) => move_build(build, to)?,
        Act::Change { volume, .. } | Act::Write { volume, .. } => move_name(volume, to),
        Act::Delete(object) | Act::Destroy(object) | Act::Trigger { object, .. } => move_ref(object, to),
        Act::Configure { object, fields } => {
            move_ref(object, to);
            move_fields(fields, to);
        }
        Act::Drain(namespace) => *namespace = to(namespace),
        Act::Run { line, .. } => *line = move_line(line, to)?,
        Act::Pass(_)
        | Act::Remember(_)
        | Act::Lift(_)
        | Act::StopController
        | Act::RestartController
        | Act::KillLeader
        | Act::RebootNode
        | Act::RestartCsi(_) => {}
    }
    Ok(())
}

fn move_expect(expect: &mut Expect, to: To<'_>) {
    match expect {
        Expect::SnapshotHolds { source: one, volume: other, .. }
        | Expect::ClaimHolds { claim: one, volume: other, .. }
        | Expect::RestoresElsewhere { repository: one, volume: other }
        | Expect::NotVisible { of: one, to: other } => move_names([one, other], to),
        Expect::Synchronised { source: name, .. }
        | Expect::ClaimEmpty(name)
        | Expect::ClaimBound { claim: name, .. }
        | Expect::Snapshots { source: name, .. }
        | Expect::NoDuplicateSnapshot(name)
        | Expect::JobFailed(name)
        | Expect::LatestImage { destination: name, .. }
        | Expect::NothingRestored(name)
        | Expect::RepositoryVerifies(name)
        | Expect::RepositoryFails { repository: name, .. }
        | Expect::SameRepository(name)
        | Expect::MaintenanceOwner { repository: name, .. }
        | Expect::Overdue { source: name, .. }
        | Expect::LastSyncWithin { source: name, .. }
        | Expect::Synchronising { source: name, .. } => move_name(name, to),
        Expect::LastRun { of: object, .. }
        | Expect::MoverLog { of: object, .. }
        | Expect::Condition { object, .. }
        | Expect::Event { object, .. }
        | Expect::Exists { object, .. } => move_ref(object, to),
        Expect::Object { object, has } => {
            move_ref(object, to);
            move_fields(has, to);
        }
        Expect::Metric { labels, .. } => {
            let labels_moved = labels.iter().map(|(key, value)| match value.as_str() {
                Some(text) if is_namespace_key(key) || key == "obj_namespace" => {
                    (key.clone(), Value::from(to(text)))
                }
                _ => (key.clone(), value.clone()),
            });
            *labels = labels_moved.collect();
        }
        Expect::FaultFired(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phrase;

    fn check(words: &str, expected: &str) {
        let mut scenario = Scenario::new("x");
        let sentence = phrase::Sentence::new(phrase::Keyword::Then, words);
        scenario.steps = vec![phrase::read(&sentence).unwrap()];
        let moved = moved(&scenario, &|namespace| format!("s7-{namespace}")).unwrap();
        let text = serde_json::to_string(&moved.steps[0]).unwrap();
        assert!(text.contains(expected), "{text} has no {expected}");
        assert!(!text.contains("s7-s7-"), "{text} was moved twice");
    }

    #[test]
    fn names_move_and_what_names_no_namespace_lives_in_the_moved_default() {
        check("\"app\" has synchronised once", "s7-default/app");
        check("the claim \"media/plex\" holds nothing", "s7-media/plex");
    }

    #[test]
    fn manifests_and_namespaces_in_them_move() {
        let to: To<'_> = &|namespace| format!("s7-{namespace}");
        let text = move_manifests(
            "kind: Namespace\nmetadata: {name: default}\n---\nkind: Secret\nmetadata: {name: x}\nspec: {sourceIdentity: {sourceNamespace: media}}",
            to,
        );
        let text = text.unwrap();
        assert!(
            text.contains(r#""name":"s7-default""#) && text.contains(r#""namespace":"s7-default""#),
            "{text}"
        );
        assert!(text.contains(r#""sourceNamespace":"s7-media""#), "{text}");
    }

    #[test]
    fn kubectl_lines_move_and_keep_their_words() {
        let line: Kubectl = "kubectl -n media delete pvc data".parse().unwrap();
        let moved = move_line(&line, &|namespace| format!("s7-{namespace}")).unwrap();
        assert_eq!(
            (moved.namespace(), moved.to_string().as_str()),
            (Some("s7-media"), "kubectl -n media delete pvc data")
        );
    }
}
