//! Puts rendered resources together: which claims, sources and destinations make one app.
//!
//! Promises that two resources belong together for reasons that the cluster has too (a claim's name, a
//! `dataSourceRef`, VolSync's identity), and only then by the Kustomization that brought them. Invents
//! what Git does not hold, and lists it. Read `read` for single objects, `group` for apps.

mod group;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::flux::{Owner, Rendered, Rendering};
use crate::load::{Files, Options};
use crate::model::{
    Class, Export, Location, Maintenance, Model, Object, Problem, Repository, Secret, SecretKind, Severity,
    SnapshotClass, Unread,
};
use crate::storage::Character;
use crate::yaml::Document;
use crate::{policy, resourceset, secret};

/// A resource with its place settled.
pub(crate) struct Placed {
    pub(crate) document: Document,
    pub(crate) owner: Option<Owner>,
    pub(crate) unknown: Vec<crate::model::Unknown>,
    pub(crate) cluster: String,
    pub(crate) namespace: String,
}

pub(crate) fn assemble(files: Files, mut rendering: Rendering, options: &Options) -> Model {
    let Files { skipped, problems, mut counts, .. } = files;
    counts.kustomizations = rendering.kustomizations;
    let mut model = Model { counts, problems, skipped: skipped.into_iter().collect(), ..Model::default() };
    expand(&mut rendering, &mut model);
    let placed = place(rendering.resources, &mut model);
    let mut secrets = Secrets::new(&placed, &rendering.unreferenced);
    for item in &placed {
        unread(item, &mut model);
    }
    model.policies = policies(&placed);
    let mut context = read::Context { placed: &placed, secrets: &mut secrets, policies: &model.policies };
    let parts = read::parts(&mut context, &mut model.problems);
    model.maintenance = maintenance(&mut context);
    for item in placed.iter().filter(|item| item.document.is("", "Namespace")) {
        model.namespaces.push(object(item));
    }
    for item in placed.iter().filter(|item| item.document.is("", "ConfigMap")) {
        model.config_maps.push(object(item));
    }
    model.apps = group::apps(&placed, parts, &secrets);
    model.counts.kopia_sources = model.apps.iter().map(|app| app.sources.len()).sum();
    model.secrets = secrets.used();
    keep_named_config_maps(&mut model);
    classes(&placed, &mut model, options);
    repositories(&mut model);
    assumptions(&mut model);
    crate::check::run(&mut model);
    model
}

fn expand(rendering: &mut Rendering, model: &mut Model) {
    let all: Vec<Document> = rendering.resources.iter().map(|rendered| rendered.document.clone()).collect();
    let mut out = Vec::new();
    for rendered in std::mem::take(&mut rendering.resources) {
        if rendered.document.is("fluxcd.controlplane.io", "ResourceSet") {
            let (documents, skipped) = resourceset::expand(&rendered.document, &all);
            model.skipped.extend(skipped);
            out.extend(documents.into_iter().map(|document| Rendered {
                document,
                owner: None,
                unknown: rendered.unknown.clone(),
            }));
        } else {
            out.push(rendered);
        }
    }
    rendering.resources = out;
}

/// Settles namespace and cluster of every resource.
fn place(resources: Vec<Rendered>, model: &mut Model) -> Vec<Placed> {
    let mut seen = BTreeSet::new();
    let mut placed: Vec<Placed> = Vec::new();
    let mut without = BTreeMap::<String, String>::new();
    for Rendered { mut document, owner, unknown } in resources {
        let mut namespace = document.namespace().to_owned();
        let scoped = matches!(
            document.kind(),
            "PersistentVolumeClaim"
                | "ReplicationSource"
                | "ReplicationDestination"
                | "KopiaMaintenance"
                | "Secret"
                | "ConfigMap"
                | "ExternalSecret"
                | "HelmRelease"
                | "Deployment"
                | "StatefulSet"
        );
        if namespace.is_empty() && scoped {
            namespace = owner
                .as_ref()
                .map(|owner| owner.namespace.clone())
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or_else(|| "default".to_owned());
            if let Some(owner) = &owner {
                without.insert(owner.name.clone(), namespace.clone());
            }
            document.value["metadata"]["namespace"] = json!(namespace);
        }
        let whose = owner.as_ref().map(|owner| owner.origin.clone());
        let key = (
            document.kind().to_owned(),
            namespace.clone(),
            document.name().to_owned(),
            document.origin.clone(),
            whose,
        );
        if document.value.is_object() && seen.insert(key) {
            placed.push(Placed { document, owner, unknown, cluster: String::new(), namespace });
        }
    }
    for (owner, namespace) in without {
        model.assumed.push(format!("namespace {namespace} for the resources of Kustomization {owner}: neither targetNamespace nor a namespace in the input tells it"));
    }
    name_clusters(&mut placed);
    placed
}

/// Gives resources of the same name different clusters when different Kustomizations bring them.
fn name_clusters(placed: &mut [Placed]) {
    let mut owners = BTreeMap::<(String, String, String), BTreeSet<String>>::new();
    for item in placed.iter().filter(|item| {
        matches!(
            item.document.kind(),
            "PersistentVolumeClaim" | "ReplicationSource" | "ReplicationDestination"
        )
    }) {
        if let Some(owner) = &item.owner {
            owners
                .entry((
                    item.document.kind().to_owned(),
                    item.namespace.clone(),
                    item.document.name().to_owned(),
                ))
                .or_default()
                .insert(owner.origin.file.to_string());
        }
    }
    // Two files that bring the same object differ first in the part of the path that names the cluster.
    let mut split = BTreeSet::<(String, usize)>::new();
    for files in owners.values().filter(|files| files.len() > 1) {
        let parts: Vec<Vec<&str>> = files.iter().map(|file| file.split('/').collect()).collect();
        let shortest = parts.iter().map(Vec::len).min().unwrap_or(0);
        if let Some(at) = (0..shortest).find(|at| parts.iter().any(|part| part[*at] != parts[0][*at])) {
            split.insert((parts[0][..at].join("/"), at));
        }
    }
    for item in placed {
        if let Some(owner) = &item.owner {
            let file = owner.origin.file.to_string();
            if let Some((_, at)) = split.iter().find(|(prefix, _)| {
                file.strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.starts_with('/') || prefix.is_empty())
            }) {
                file.split('/').nth(*at).unwrap_or_default().clone_into(&mut item.cluster);
            }
        }
    }
}

pub(crate) fn object(item: &Placed) -> Object {
    Object {
        cluster: item.cluster.clone(),
        namespace: item.namespace.clone(),
        name: item.document.name().to_owned(),
        origin: item.document.origin.clone(),
        object: item.document.value.clone(),
    }
}

/// Secrets by name, made usable when first asked for.
pub(crate) struct Secrets<'a> {
    by_name: BTreeMap<(String, String, String), &'a Document>,
    elsewhere: BTreeMap<String, &'a Document>,
    places: secret::Places,
    used: BTreeMap<(String, String, String), Secret>,
    assumed: BTreeMap<(String, String, String), String>,
}

impl<'a> Secrets<'a> {
    fn new(placed: &'a [Placed], unreferenced: &'a [Document]) -> Self {
        let mut by_name = BTreeMap::new();
        for item in placed {
            if let Some(name) = secret::makes(&item.document) {
                by_name.insert((item.cluster.clone(), item.namespace.clone(), name), &item.document);
            }
        }
        let elsewhere =
            unreferenced.iter().filter_map(|document| Some((secret::makes(document)?, document))).collect();
        let documents: Vec<&Document> =
            placed.iter().map(|item| &item.document).chain(unreferenced).collect();
        Self {
            by_name,
            elsewhere,
            places: secret::places(&documents),
            used: BTreeMap::new(),
            assumed: BTreeMap::new(),
        }
    }

    /// The Secret that a resource names, from its own namespace.
    pub(crate) fn get(&mut self, cluster: &str, namespace: &str, name: &str, asked_by: &Document) -> &Secret {
        let key = (cluster.to_owned(), namespace.to_owned(), name.to_owned());
        if !self.used.contains_key(&key) {
            // Resources of one cluster may come without owner: fall back to the nameless cluster.
            let found = self
                .by_name
                .get(&key)
                .or_else(|| self.by_name.get(&(String::new(), namespace.to_owned(), name.to_owned())));
            let secret = match (found, self.elsewhere.get(name)) {
                (Some(document), _) => secret::of(document, name, namespace, cluster, &self.places),
                (None, Some(document)) => {
                    self.assumed.insert(key.clone(), format!("Secret {namespace}/{name}: made by {} ({}), which nothing in the input applies to this namespace", document.title(), document.origin));
                    secret::of(document, name, namespace, cluster, &self.places)
                }
                (None, None) => secret::absent(name, namespace, cluster, asked_by),
            };
            self.used.insert(key.clone(), secret);
        }
        &self.used[&key]
    }

    pub(crate) fn assumed(&self, cluster: &str, namespace: &str, name: &str) -> Option<&String> {
        self.assumed.get(&(cluster.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn peek(&self, cluster: &str, namespace: &str, name: &str) -> Option<&Secret> {
        self.used.get(&(cluster.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    fn used(self) -> Vec<Secret> {
        self.used.into_values().collect()
    }
}

fn unread(item: &Placed, model: &mut Model) {
    let document = &item.document;
    let movers: Vec<String> = match (document.group(), document.kind()) {
        ("volsync.backube", "ReplicationSource" | "ReplicationDestination") => {
            ["restic", "rclone", "rsync", "rsyncTLS", "syncthing", "external"]
                .into_iter()
                .filter(|mover| document.at(&["spec", mover]).is_some())
                .map(str::to_owned)
                .collect()
        }
        ("kopiur.home-operations.com", _) => vec!["kopiur".to_owned()],
        ("velero.io", _) => vec!["velero".to_owned()],
        ("k8up.io", _) => vec!["k8up".to_owned()],
        ("kyverno.io", "ClusterPolicy") if crate::yaml::emit(&document.value).contains("volsync") => {
            vec!["kyverno".to_owned()]
        }
        _ => Vec::new(),
    };
    for mover in movers {
        model.unread.push(Unread {
            title: document.title(),
            namespace: item.namespace.clone(),
            claim: document.str(&["spec", "sourcePVC"]).map(str::to_owned),
            mover,
            origin: document.origin.clone(),
        });
    }
}

fn policies(placed: &[Placed]) -> Vec<crate::model::Policy> {
    placed
        .iter()
        .filter_map(|item| {
            let bound = placed.iter().any(|other| {
                other.document.kind() == "MutatingAdmissionPolicyBinding"
                    && other.cluster == item.cluster
                    && other.document.str(&["spec", "policyName"]) == Some(item.document.name())
            });
            policy::read(&item.document, &item.cluster, bound)
        })
        .collect()
}

fn maintenance(context: &mut read::Context<'_, '_>) -> Vec<Maintenance> {
    let mut found = Vec::new();
    for item in context.placed.iter().filter(|item| item.document.is("volsync.backube", "KopiaMaintenance")) {
        let document = &item.document;
        let repository = document.str(&["spec", "repository", "repository"]).unwrap_or_default().to_owned();
        let exports = read::exports(document.at(&["spec"]));
        let location = read::locate(context, item, &repository, &exports, "kopia-maint-").0;
        found.push(Maintenance {
            object: object(item),
            repository,
            schedule: document
                .str(&["spec", "trigger", "schedule"])
                .or(document.str(&["spec", "schedule"]))
                .map(str::to_owned),
            active: document.at(&["spec", "enabled"]) != Some(&json!(false))
                && document.at(&["spec", "suspend"]) != Some(&json!(true)),
            exports,
            location,
        });
    }
    found
}

fn keep_named_config_maps(model: &mut Model) {
    let mut named = BTreeSet::new();
    for kopia in model.apps.iter().flat_map(|app| {
        app.sources
            .iter()
            .map(|source| &source.object)
            .chain(app.destinations.iter().map(|destination| &destination.object))
    }) {
        for pointer in ["/spec/kopia/policyConfig/configMapName", "/spec/kopia/customCA/configMapName"] {
            if let Some(name) = kopia.object.pointer(pointer).and_then(Value::as_str) {
                named.insert((kopia.namespace.clone(), name.to_owned()));
            }
        }
    }
    model.config_maps.retain(|map| named.contains(&(map.namespace.clone(), map.name.clone())));
}

/// Storage and snapshot classes that anything names, with what they are.
fn classes(placed: &[Placed], model: &mut Model, options: &Options) {
    let mut names = BTreeSet::new();
    let mut snapshots = BTreeMap::<String, String>::new();
    // What an unknown app names may be a variable's text.
    for app in model.apps.iter().filter(|app| app.unknown.is_empty()) {
        names.extend(app.claims.iter().filter_map(|claim| claim.class.clone()));
        let kopias = app
            .sources
            .iter()
            .map(|source| &source.object.object)
            .chain(app.destinations.iter().map(|destination| &destination.object.object));
        for kopia in kopias.filter_map(|object| object.pointer("/spec/kopia")) {
            let text = |key: &str| kopia.get(key).and_then(Value::as_str).map(str::to_owned);
            names.extend(text("storageClassName"));
            names.extend(text("cacheStorageClassName"));
            if let Some(snapshot) = text("volumeSnapshotClassName") {
                let volume = text("storageClassName")
                    .or_else(|| app.claims.iter().find_map(|claim| claim.class.clone()))
                    .unwrap_or_default();
                snapshots.entry(snapshot).or_insert(volume);
            }
        }
    }
    names.extend(model.maintenance.iter().filter_map(|maintenance| {
        maintenance.object.object.pointer("/spec/cacheStorageClassName")?.as_str().map(str::to_owned)
    }));
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let declared = placed
            .iter()
            .find(|item| item.document.is("storage.k8s.io", "StorageClass") && item.document.name() == name);
        let provisioner = declared.and_then(|item| item.document.str(&["provisioner"]));
        let (character, reason, assumed) = if let Some(character) = options.classes.get(&name) {
            (*character, "said on the command line".to_owned(), false)
        } else if let Some(character) = provisioner.and_then(Character::of_driver) {
            (character, format!("by its provisioner {}", provisioner.unwrap_or_default()), false)
        } else {
            let (character, known) = Character::of_name(&name);
            (
                character,
                if known { "by its name".to_owned() } else { "its name tells nothing".to_owned() },
                true,
            )
        };
        model.classes.push(Class { name, character, reason, assumed });
    }
    for (name, volume) in snapshots {
        let declared = placed.iter().find(|item| {
            item.document.is("snapshot.storage.k8s.io", "VolumeSnapshotClass") && item.document.name() == name
        });
        let driver = declared.and_then(|item| item.document.str(&["driver"])).and_then(Character::of_driver);
        let character = driver
            .or_else(|| model.classes.iter().find(|class| class.name == volume).map(|class| class.character))
            .unwrap_or_else(|| Character::of_name(&name).0);
        model.snapshot_classes.push(SnapshotClass { name, character, assumed: driver.is_none() });
    }
}

/// Which movers meet in one repository.
fn repositories(model: &mut Model) {
    let mut found = BTreeMap::<(String, Location), (BTreeSet<String>, BTreeSet<String>)>::new();
    for app in &model.apps {
        let movers = app
            .sources
            .iter()
            .map(|source| (&source.mover, &source.object))
            .chain(app.destinations.iter().map(|destination| (&destination.mover, &destination.object)));
        for (mover, object) in movers {
            if let Some(location) = &mover.location {
                let entry = found.entry((object.cluster.clone(), location.clone())).or_default();
                entry.0.insert(format!("{}/{}", object.namespace, mover.repository));
                entry.1.extend(mover.password.clone());
            }
        }
    }
    model.repositories = found
        .into_iter()
        .enumerate()
        .map(|(id, ((cluster, location), (secrets, passwords)))| Repository {
            id,
            cluster,
            location,
            secrets: secrets.into_iter().collect(),
            one_password: passwords.len() < 2,
        })
        .collect();
}

fn assumptions(model: &mut Model) {
    let classes = model.classes.iter().filter(|class| class.assumed).map(|class| {
        format!(
            "storage class {} is {} ({}; --class {}=… says otherwise)",
            class.name,
            class.character.word(),
            class.reason,
            class.name
        )
    });
    let snapshots = model.snapshot_classes.iter().filter(|class| class.assumed).map(|class| {
        format!("snapshot class {} cuts snapshots of {} volumes", class.name, class.character.word())
    });
    let exports: BTreeSet<Export> = model
        .apps
        .iter()
        .flat_map(|app| app.sources.iter().flat_map(|source| source.mover.exports.clone()))
        .collect();
    let exports = exports.into_iter().map(|export| {
        format!(
            "NFS export {}:{} exists, is writable by the movers and keeps what it is given",
            export.server, export.path
        )
    });
    let stand_ins = model.secrets.iter().filter(|secret| !secret.invented.is_empty()).map(|secret| {
        format!(
            "values of {} in Secret {}/{}: stand-ins ({})",
            secret.invented.join(", "),
            secret.object.namespace,
            secret.object.name,
            match secret.kind {
                SecretKind::External => "from a secret store",
                SecretKind::Encrypted => "encrypted in Git",
                SecretKind::Plain | SecretKind::Absent => "invented",
            }
        )
    });
    let mut all: Vec<String> = classes.chain(snapshots).chain(exports).chain(stand_ins).collect();
    model.assumed.append(&mut all);
    if model.apps.is_empty() && model.unread.is_empty() && model.problems.is_empty() {
        model.problems.push(Problem::new("nothing-to-drill", Severity::Error, "no claim and no backup was found in the input", "add the paths that hold the PersistentVolumeClaims and ReplicationSources, or pipe the rendered cluster into -"));
    }
}
