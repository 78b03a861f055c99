//! Turns a model into worlds to play: one for each set of apps that share a repository.
//!
//! Promises that what is applied is what the manifests say; what had to be changed or invented so that
//! an embedded bed can play it is listed as assumed. Pure: it starts nothing.

use std::collections::{BTreeMap, BTreeSet};

use gitops::model::{App, Claim, Location, Model, Mover, Object, Policy, SecretKind};
use gitops::storage::Character;
use json::{Value, json};
use testbed::bed::StorageClassSpec;

/// One world: what is applied, and what must exist beneath it.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// A name for progress and files.
    pub name: String,
    /// Storage classes.
    pub classes: Vec<StorageClassSpec>,
    /// Snapshot classes, ready to apply.
    pub snapshot_classes: Vec<Value>,
    /// NFS exports as server and path.
    pub exports: BTreeSet<(String, String)>,
    /// Buckets as endpoint and name.
    pub buckets: BTreeSet<(String, String)>,
    /// Namespaces that are used.
    pub namespaces: BTreeSet<String>,
    /// Namespaces, Secrets, ConfigMaps and maintenance, in the order of applying.
    pub shared: Vec<Value>,
    /// The apps.
    pub apps: Vec<AppPlan>,
    /// What was changed or invented to play it.
    pub assumed: Vec<String>,
}

/// One app of a world.
#[derive(Debug, Clone)]
pub struct AppPlan {
    /// Its position in [`Model::apps`].
    pub index: usize,
    /// The app as read.
    pub app: App,
    /// Claims, sources and destinations, ready to apply.
    pub objects: Vec<Value>,
}

/// The namespace in which a drill's own pods live is the app's; their names begin like this.
pub const POD_PREFIX: &str = "app-";

/// Plans the worlds for the chosen apps.
pub fn worlds(model: &Model, chosen: &[usize]) -> Vec<World> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &index in chosen {
        let own = places(&model.apps[index]);
        let (mut joined, rest): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group| group.iter().any(|other| !places(&model.apps[*other]).is_disjoint(&own)));
        let mut group: Vec<usize> = joined.drain(..).flatten().collect();
        group.push(index);
        groups = rest;
        groups.push(group);
    }
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.sort();
    groups.into_iter().enumerate().map(|(at, group)| world(model, at, &group)).collect()
}

fn movers(app: &App) -> impl Iterator<Item = (&Object, &Mover, &'static str)> {
    let sources = app.sources.iter().map(|source| (&source.object, &source.mover, "volsync-src-"));
    sources.chain(
        app.destinations.iter().map(|destination| (&destination.object, &destination.mover, "volsync-dst-")),
    )
}

fn places(app: &App) -> BTreeSet<(String, String)> {
    movers(app)
        .filter_map(|(object, mover, _)| Some((object.cluster.clone(), mover.location.as_ref()?.to_string())))
        .collect()
}

fn world(model: &Model, at: usize, group: &[usize]) -> World {
    let mut world = World { name: format!("world-{}", at + 1), ..World::default() };
    let cluster = &model.apps[group[0]].key.cluster;
    let mut secrets = BTreeSet::new();
    let mut played = Played::default();
    for &index in group {
        let app = &model.apps[index];
        world.namespaces.insert(app.key.namespace.clone());
        for (object, mover, _) in movers(app) {
            world.namespaces.insert(object.namespace.clone());
            secrets.insert((object.namespace.clone(), mover.repository.clone()));
            world
                .exports
                .extend(mover.exports.iter().map(|export| (export.server.clone(), export.path.clone())));
            store(&mut world, mover.location.as_ref());
        }
        let mut objects: Vec<Value> =
            app.claims.iter().map(|claim| claim.object.object.clone().into()).collect();
        for (object, _, job) in movers(app) {
            objects.push(play(model, object, "/spec/kopia", job, &mut played));
        }
        world.apps.push(AppPlan { index, app: app.clone(), objects });
    }
    let locations: BTreeSet<&Location> = world
        .apps
        .iter()
        .flat_map(|plan| {
            movers(&plan.app).filter_map(|(_, mover, _)| mover.location.as_ref()).collect::<Vec<_>>()
        })
        .collect();
    let mut maintenance = Vec::new();
    for kept in model.maintenance.iter().filter(|kept| {
        kept.object.cluster == *cluster
            && kept.location.as_ref().is_some_and(|location| locations.contains(location))
    }) {
        secrets.insert((kept.object.namespace.clone(), kept.repository.clone()));
        world.namespaces.insert(kept.object.namespace.clone());
        world.exports.extend(kept.exports.iter().map(|export| (export.server.clone(), export.path.clone())));
        maintenance.push(play(model, &kept.object, "/spec", "kopia-maint-", &mut played));
    }
    world.exports.extend(played.exports.iter().cloned());
    world.assumed.extend(played.assumed.iter().cloned());
    for namespace in &world.namespaces {
        let declared =
            model.namespaces.iter().find(|object| object.name == *namespace && object.cluster == *cluster);
        world.shared.push(declared.map_or_else(
            || json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            |object| object.object.clone().into(),
        ));
    }
    for (namespace, name) in &secrets {
        let found = model.secrets.iter().find(|secret| {
            secret.object.namespace == *namespace
                && secret.object.name == *name
                && secret.object.cluster == *cluster
        });
        if let Some(secret) = found.filter(|secret| secret.kind != SecretKind::Absent) {
            world.shared.push(played.secret(secret.object.object.clone().into(), &secret.values));
        }
    }
    world.shared.extend(
        model
            .config_maps
            .iter()
            .filter(|map| world.namespaces.contains(&map.namespace))
            .map(|map| map.object.clone().into()),
    );
    world.shared.extend(maintenance);
    classes(model, &mut world);
    world
}

fn store(world: &mut World, location: Option<&Location>) {
    if let Some(Location::Bucket { bucket, endpoint, .. }) = location {
        let endpoint = if endpoint.is_empty() { "s3.amazonaws.com" } else { endpoint };
        world.buckets.insert((endpoint.to_owned(), bucket.clone()));
    }
}

/// What admission policies would have mounted, played by `moverVolumes`.
#[derive(Default)]
struct Played {
    exports: BTreeSet<(String, String)>,
    assumed: BTreeSet<String>,
    /// Mount points that moved, from where to where.
    moved: BTreeMap<String, String>,
}

impl Played {
    /// A Secret whose repository path follows the mount point.
    fn secret(&self, mut object: Value, values: &BTreeMap<String, String>) -> Value {
        let Some(path) = values.get("KOPIA_REPOSITORY").and_then(|url| url.strip_prefix("filesystem://"))
        else {
            return object;
        };
        for (from, to) in &self.moved {
            if let Some(rest) =
                path.strip_prefix(from.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                object["stringData"]["KOPIA_REPOSITORY"] = json!(format!("filesystem://{to}{rest}"));
            }
        }
        object
    }
}

/// The object with the effect of the policies that are for its mover.
fn play(model: &Model, object: &Object, spec: &str, job: &str, played: &mut Played) -> Value {
    let mut value = Value::from(object.object.clone());
    let of_cluster = |policy: &&Policy| {
        policy.object.cluster == object.cluster
            || policy.object.cluster.is_empty()
            || object.cluster.is_empty()
    };
    for policy in model.policies.iter().filter(of_cluster).filter(|policy| policy.is_for(job)) {
        if let Some(mount) = &policy.mounts {
            let name = mount.mounted_at.trim_matches('/').replace('/', "-");
            let Some(spec) = value.pointer_mut(spec) else { continue };
            let volume = json!({"mountPath": name, "volumeSource": {"nfs": {"server": mount.server, "path": mount.path}}});
            match spec.get_mut("moverVolumes").and_then(Value::as_array_mut) {
                Some(volumes) if volumes.iter().any(|other| other["mountPath"] == volume["mountPath"]) => {}
                Some(volumes) => volumes.push(volume),
                None => spec["moverVolumes"] = json!([volume]),
            }
            played.exports.insert((mount.server.clone(), mount.path.clone()));
            played.moved.insert(mount.mounted_at.clone(), format!("/mnt/{name}"));
            played.assumed.insert(format!("admission policy {} is played by its effect: {}:{} mounted into movers (at /mnt/{name} instead of {})", policy.object.name, mount.server, mount.path, mount.mounted_at));
        } else if let Some(seconds) = policy.jitter_seconds_max {
            played.assumed.insert(format!(
                "admission policy {}: its delay of up to {seconds} s is left out",
                policy.object.name
            ));
        } else {
            played
                .assumed
                .insert(format!("admission policy {} is not understood and not played", policy.object.name));
        }
    }
    value
}

fn classes(model: &Model, world: &mut World) {
    for class in &model.classes {
        let mut spec = StorageClassSpec::new(&class.name, character(class.character));
        spec.snapshot_class = None;
        world.classes.push(spec);
    }
    let is_classless = |claim: &Claim| claim.class.is_none();
    if world.apps.iter().any(|plan| plan.app.claims.iter().any(is_classless)) || world.classes.is_empty() {
        let mut spec = StorageClassSpec::new("firedrill-default", character(Character::Rbd)).default_class();
        spec.snapshot_class = Some("firedrill-default".to_owned());
        world.classes.push(spec);
        world.assumed.push("claims without a storage class get a default class of block storage".to_owned());
    }
    for class in &model.snapshot_classes {
        let driver = StorageClassSpec::new("any", character(class.character)).provisioner;
        world.snapshot_classes.push(json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": class.name}, "driver": driver, "deletionPolicy": "Delete"}));
    }
    // Movers that name no snapshot class take their driver's default one.
    for spec in &world.classes {
        let wanted = json!(spec.provisioner);
        if StorageClassSpec::new("any", spec.character).snapshot_class.is_some()
            && !world
                .snapshot_classes
                .iter()
                .any(|class| class["driver"] == wanted && class.pointer("/metadata/annotations").is_some())
        {
            world.snapshot_classes.push(json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "driver": wanted, "deletionPolicy": "Delete",
                "metadata": {"name": format!("default-{}", spec.name), "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}}}));
        }
    }
}

/// The bed's word for a character.
fn character(character: Character) -> testbed::volume::Character {
    match character {
        Character::Rbd => testbed::volume::Character::Rbd,
        Character::Cephfs => testbed::volume::Character::CephFs,
        Character::Hostpath => testbed::volume::Character::HostPath,
        Character::Zfs => testbed::volume::Character::LocalZfs,
        Character::Nfs => testbed::volume::Character::Nfs,
    }
}
