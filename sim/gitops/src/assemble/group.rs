//! Groups claims, sources and destinations into apps.
//!
//! Promises that everything which touches the same claim is one app, and that the app carries the name
//! of the Kustomization that brought it if that brought only this one, else the claim's. Deterministic.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::read::{Part, writer};
use super::{Placed, Secrets};
use crate::model::{App, Claim, Destination, Key, Object, SecretKind, Source, Unknown};

type Place = (String, String);

pub(crate) fn apps(placed: &[Placed], parts: Vec<Part>, secrets: &Secrets<'_>) -> Vec<App> {
    let mut sets = Sets::new(parts.len());
    let place = |at: usize| -> Place { (placed[at].cluster.clone(), placed[at].namespace.clone()) };
    let mut by_claim = BTreeMap::<(Place, String), usize>::new();
    let mut by_destination = BTreeMap::<(Place, String), usize>::new();
    let mut by_identity = BTreeMap::<(String, String), usize>::new();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Claim(at, claim) => {
                join(&mut sets, &mut by_claim, (place(*at), claim.object.name.clone()), index);
            }
            Part::Source(at, source) => {
                join(&mut sets, &mut by_claim, (place(*at), source.claim.clone()), index);
                join(
                    &mut sets,
                    &mut by_identity,
                    (placed[*at].cluster.clone(), source.identity.to_string()),
                    index,
                );
            }
            Part::Destination(at, destination) => {
                join(&mut sets, &mut by_destination, (place(*at), destination.object.name.clone()), index);
                join(
                    &mut sets,
                    &mut by_identity,
                    (placed[*at].cluster.clone(), destination.identity.to_string()),
                    index,
                );
                if let Some(claim) = &destination.claim {
                    join(&mut sets, &mut by_claim, (place(*at), claim.clone()), index);
                }
            }
        }
    }
    for (index, part) in parts.iter().enumerate() {
        if let Part::Claim(at, claim) = part
            && let Some(destination) =
                claim.filled_by.as_ref().and_then(|name| by_destination.get(&(place(*at), name.clone())))
        {
            sets.join(index, *destination);
        }
    }
    // A destination that nothing refers to still belongs to the app that its Kustomization brings, if that is one.
    let owner = |part: &Part| {
        let (Part::Claim(at, _) | Part::Source(at, _) | Part::Destination(at, _)) = part;
        placed[*at].owner.as_ref().map(|owner| (owner.origin.clone(), owner.name.clone()))
    };
    let mut by_owner = BTreeMap::<_, BTreeSet<usize>>::new();
    for (index, part) in parts.iter().enumerate() {
        if let (Some(owner), Part::Source(..) | Part::Claim(..)) = (owner(part), part) {
            let root = sets.root(index);
            by_owner.entry(owner).or_default().insert(root);
        }
    }
    for (index, part) in parts.iter().enumerate() {
        if let (Part::Destination(..), Some(owner)) = (part, owner(part))
            && let Some(roots) = by_owner.get(&owner).filter(|roots| roots.len() == 1)
        {
            let root = *roots.first().unwrap_or(&index);
            sets.join(index, root);
        }
    }
    let mut groups = BTreeMap::<usize, Vec<Part>>::new();
    let mut owned = BTreeMap::<_, BTreeSet<usize>>::new();
    for (index, part) in parts.into_iter().enumerate() {
        let root = sets.root(index);
        if let Some(owner) = owner(&part) {
            owned.entry(owner).or_default().insert(root);
        }
        groups.entry(root).or_default().push(part);
    }
    let mut apps: Vec<App> = groups.into_values().map(|group| app(placed, group, &owned, secrets)).collect();
    apps.sort_by(|a, b| a.key.cmp(&b.key).then(a.origin.cmp(&b.origin)));
    apps
}

fn join<K: Ord>(sets: &mut Sets, map: &mut BTreeMap<K, usize>, key: K, index: usize) {
    let first = *map.entry(key).or_insert(index);
    sets.join(first, index);
}

/// Disjoint sets.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        self.0[high] = low;
    }
}

fn app(
    placed: &[Placed],
    group: Vec<Part>,
    owned: &BTreeMap<(crate::yaml::Origin, String), BTreeSet<usize>>,
    secrets: &Secrets<'_>,
) -> App {
    let (mut claims, mut sources, mut destinations, mut at_all) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for part in group {
        match part {
            Part::Claim(at, claim) => {
                at_all.push(at);
                claims.push(claim);
            }
            Part::Source(at, source) => {
                at_all.push(at);
                sources.push(source);
            }
            Part::Destination(at, destination) => {
                at_all.push(at);
                destinations.push(destination);
            }
        }
    }
    let first = &placed[at_all[0]];
    let owner = at_all.iter().find_map(|at| placed[*at].owner.as_ref());
    let alone = owner.filter(|owner| {
        owned.get(&(owner.origin.clone(), owner.name.clone())).is_some_and(|roots| roots.len() == 1)
    });
    let name = alone.map_or_else(|| name(&claims, &sources, &destinations), |owner| owner.name.clone());
    let unknown: BTreeSet<Unknown> = at_all.iter().flat_map(|at| placed[*at].unknown.clone()).collect();
    let mut assumed = Vec::new();
    let names = sources
        .iter()
        .map(|source| (&source.object, &source.mover))
        .chain(destinations.iter().map(|destination| (&destination.object, &destination.mover)));
    for (object, mover) in names {
        if let Some(text) = secrets.assumed(&object.cluster, &object.namespace, &mover.repository)
            && !assumed.contains(text)
        {
            assumed.push(text.clone());
        }
        if secrets
            .peek(&object.cluster, &object.namespace, &mover.repository)
            .is_some_and(|secret| secret.kind == SecretKind::Absent)
        {
            let text =
                format!("nothing: Secret {}/{} is not in the input", object.namespace, mover.repository);
            if !assumed.contains(&text) {
                assumed.push(text);
            }
        }
    }
    invent_claims(&mut claims, &sources, &destinations, &mut assumed);
    let by_chart = chart_user(placed, first, &claims);
    let by_mover = sources
        .iter()
        .find_map(|source| source.mover.writer)
        .or_else(|| destinations.iter().find_map(|destination| destination.mover.writer));
    assumed.retain(|text| !text.starts_with("nothing: "));
    App {
        key: Key { cluster: first.cluster.clone(), namespace: first.namespace.clone(), name },
        origin: owner.map_or_else(|| first.document.origin.clone(), |owner| owner.origin.clone()),
        claims,
        sources,
        destinations,
        writer: by_chart.or(by_mover),
        unknown: unknown.into_iter().collect(),
        assumed,
        problems: Vec::new(),
    }
}

fn name(claims: &[Claim], sources: &[Source], destinations: &[Destination]) -> String {
    claims
        .first()
        .map(|claim| claim.object.name.clone())
        .or_else(|| sources.first().map(|source| source.object.name.clone()))
        .or_else(|| destinations.first().map(|destination| destination.object.name.clone()))
        .unwrap_or_default()
}

/// A claim that a backup names but Git does not hold: a chart or an operator makes it.
fn invent_claims(
    claims: &mut Vec<Claim>,
    sources: &[Source],
    destinations: &[Destination],
    assumed: &mut Vec<String>,
) {
    for source in sources.iter().filter(|source| !source.claim.is_empty()) {
        if claims.iter().any(|claim| {
            claim.object.name == source.claim && claim.object.namespace == source.object.namespace
        }) {
            continue;
        }
        let capacity =
            destinations.iter().find_map(|destination| destination.capacity_bytes).unwrap_or(1 << 30);
        let class = source.mover.class.clone();
        assumed.push(format!(
            "claim {}/{} of {} bytes: {} names it and the input does not declare it",
            source.object.namespace, source.claim, capacity, source.object.name
        ));
        let mut object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": source.claim, "namespace": source.object.namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": capacity.to_string()}}}});
        if let Some(class) = &class {
            object["spec"]["storageClassName"] = json!(class);
        }
        claims.push(Claim {
            object: Object { name: source.claim.clone(), object, ..source.object.clone() },
            capacity_bytes: Some(capacity),
            class,
            access_modes: vec!["ReadWriteOnce".to_owned()],
            filled_by: None,
            copy_trigger: false,
            declared: false,
        });
    }
}

/// The user that an app-template release runs as when it mounts one of the claims.
fn chart_user(placed: &[Placed], first: &Placed, claims: &[Claim]) -> Option<crate::model::Writer> {
    placed
        .iter()
        .filter(|item| {
            item.document.kind() == "HelmRelease"
                && item.cluster == first.cluster
                && item.namespace == first.namespace
        })
        .find_map(|item| {
            let values = item.document.at(&["spec", "values"])?;
            let mounts = values.get("persistence").and_then(Value::as_object)?.iter().any(|(_, entry)| {
                entry.get("existingClaim").and_then(Value::as_str).is_some_and(|name| {
                    claims.iter().any(|claim| {
                        claim.object.name == name
                            || name == "{{ .Release.Name }}" && claim.object.name == item.document.name()
                    })
                })
            });
            writer(values.pointer("/defaultPodOptions/securityContext").filter(|_| mounts))
        })
}
