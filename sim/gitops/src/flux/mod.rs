//! Follows Flux: which Kustomizations there are, what each builds, with which variables.
//!
//! Promises that a parent's patches and variables reach its children, that every resource keeps the
//! file a person would edit, and that what was not built is named. Does not fetch anything. Read
//! `kustomize` for one directory, `patch` for patches, `substitution` for variables.

mod kustomize;
mod patch;
mod substitution;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::load::{Files, Options, normal};
use crate::model::{Problem, Severity, Skipped, Unknown};
use crate::yaml::{Document, Origin};
use kustomize::{Builder, Overlay};
use substitution::Variables;

/// The group of Flux's Kustomization.
const FLUX: &str = "kustomize.toolkit.fluxcd.io";

/// A resource as the cluster would get it.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The resource.
    pub document: Document,
    /// The Flux Kustomization that brought it: name and origin.
    pub owner: Option<Owner>,
    /// Variables it asked for and did not get.
    pub unknown: Vec<Unknown>,
}

/// A Flux Kustomization, as far as its resources are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its namespace, if told.
    pub namespace: String,
    /// Where it stands.
    pub origin: Origin,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Keys of `postBuild.substitute` that no resource asked for.
    pub dead_variables: BTreeSet<String>,
    /// The outermost Kustomization that leads to it.
    pub top: String,
}

/// What rendering gave.
#[derive(Debug, Default)]
pub struct Rendering {
    /// Resources, in the order of building.
    pub resources: Vec<Rendered>,
    /// Documents of files that no build reached; known to exist, not applied.
    pub unreferenced: Vec<Document>,
    /// How many Flux Kustomizations were followed.
    pub kustomizations: usize,
}

pub(crate) fn render(files: &mut Files, options: &Options) -> Rendering {
    let mut walk = Walk {
        builder: Builder::new(files, options),
        options,
        rendering: Rendering::default(),
        visited: BTreeSet::new(),
        known: Vec::new(),
    };
    walk.known = walk.builder.files.documents.values().flatten().cloned().collect();
    walk.all();
    let Walk { builder, mut rendering, .. } = walk;
    let consumed = builder.consumed;
    for (path, documents) in &builder.files.documents {
        if consumed.contains(path) {
            continue;
        }
        if is_loose(path, &builder.files.documents) {
            for document in documents.iter().filter(|document| !document.is(FLUX, "Kustomization")) {
                let done = substitution::apply(document, &Variables::only(&options.variables));
                let (document, unknown) = match done {
                    Ok(done) => done,
                    Err(problem) => {
                        builder.files.problems.push(problem);
                        continue;
                    }
                };
                rendering.resources.push(Rendered { document, owner: None, unknown });
            }
        } else {
            rendering.unreferenced.extend(documents.iter().cloned());
        }
    }
    rendering
}

/// Whether a file that no build reached would be applied all the same: nothing above it is a kustomization.
fn is_loose(path: &Path, documents: &BTreeMap<PathBuf, Vec<Document>>) -> bool {
    let is_kustomization = path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization"));
    let own = path.parent().is_some_and(|parent| Files::kustomization(parent).is_some());
    let under_component = path.ancestors().skip(1).any(|directory| {
        Files::kustomization(directory)
            .and_then(|file| documents.get(&file))
            .is_some_and(|documents| documents.iter().any(|document| document.kind() == "Component"))
    });
    !is_kustomization && !own && !under_component
}

struct Walk<'a> {
    builder: Builder<'a>,
    options: &'a Options,
    rendering: Rendering,
    visited: BTreeSet<(Origin, String, String)>,
    known: Vec<Document>,
}

impl Walk<'_> {
    fn all(&mut self) {
        let raw: Vec<Document> =
            self.known.iter().filter(|document| document.is(FLUX, "Kustomization")).cloned().collect();
        let tops = self.top_directories(&raw);
        let mut children = BTreeSet::new();
        let mut from_tops = Vec::new();
        for directory in &tops {
            let built = self.builder.build(directory, &Overlay::default());
            children.extend(
                built
                    .iter()
                    .filter(|document| document.is(FLUX, "Kustomization"))
                    .map(|document| document.origin.clone()),
            );
            from_tops.extend(built);
        }
        for kustomization in &raw {
            if let Some((directory, overlay)) = self.target(kustomization, true) {
                let quiet = self.builder.notes();
                let built = self.builder.build(&directory, &overlay);
                self.builder.restore(quiet);
                children.extend(
                    built
                        .iter()
                        .filter(|document| {
                            document.is(FLUX, "Kustomization") && document.origin != kustomization.origin
                        })
                        .map(|document| document.origin.clone()),
                );
            }
        }
        self.builder.consumed.clear();
        for directory in &tops {
            // Marks the files of the directory as reached.
            let quiet = self.builder.notes();
            self.builder.build(directory, &Overlay::default());
            self.builder.restore(quiet);
        }
        let own = Variables::only(&self.options.variables);
        self.emit(from_tops, None, &own, "");
        for kustomization in raw.iter().filter(|kustomization| !children.contains(&kustomization.origin)) {
            self.follow(kustomization, "");
        }
        if !self.rendering.resources.iter().any(|rendered| is_backup(&rendered.document)) {
            self.lone_components(&own);
        }
    }

    /// Directories with a kustomization that nothing else refers to.
    fn top_directories(&mut self, raw: &[Document]) -> Vec<PathBuf> {
        let mut directories = BTreeSet::new();
        let mut referenced = BTreeSet::new();
        let files: Vec<PathBuf> = self
            .builder
            .files
            .documents
            .keys()
            .filter(|path| path.file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case("kustomization")))
            .cloned()
            .collect();
        for file in files {
            let directory = file.parent().map(Path::to_owned).unwrap_or_default();
            let Some(value) = self.builder.kustomization_value(&directory) else { continue };
            for list in ["resources", "components", "bases"] {
                for entry in
                    value.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
                {
                    referenced.insert(normal(&directory.join(entry)));
                }
            }
            if value.get("kind").and_then(Value::as_str) != Some("Component") {
                directories.insert(directory);
            }
        }
        for kustomization in raw {
            if let Some((directory, _)) = self.target(kustomization, true) {
                if Files::kustomization(&directory).is_none() {
                    // Flux generates a kustomization over everything below.
                    let below: Vec<_> =
                        directories.iter().filter(|other| other.starts_with(&directory)).cloned().collect();
                    referenced.extend(below);
                }
                referenced.insert(directory);
            }
        }
        directories.into_iter().filter(|directory| !referenced.contains(directory)).collect()
    }

    /// Components that no Kustomization in the input uses, when there is nothing else.
    fn lone_components(&mut self, own: &Variables) {
        let files: Vec<(PathBuf, Origin)> = self
            .builder
            .files
            .documents
            .iter()
            .filter_map(|(path, documents)| {
                Some((
                    path.clone(),
                    documents
                        .iter()
                        .find(|document| document.is("kustomize.config.k8s.io", "Component"))?
                        .origin
                        .clone(),
                ))
            })
            .collect();
        let mut inner = BTreeSet::new();
        for (file, _) in &files {
            let directory = file.parent().map(Path::to_owned).unwrap_or_default();
            if let Some(value) = self.builder.kustomization_value(&directory) {
                for list in ["resources", "components"] {
                    inner.extend(
                        value
                            .get(list)
                            .and_then(Value::as_array)
                            .into_iter()
                            .flatten()
                            .filter_map(Value::as_str)
                            .map(|entry| normal(&directory.join(entry))),
                    );
                }
            }
        }
        for (file, origin) in files {
            let directory = file.parent().map(Path::to_owned).unwrap_or_default();
            if inner.contains(&directory) {
                continue;
            }
            let documents = self.builder.build(&directory, &Overlay::default());
            if documents.iter().any(is_backup) {
                self.builder.files.skipped.insert(Skipped {
                    what: format!("users of the Component {}", directory.display()),
                    why: "no Flux Kustomization in the input uses it; it is read by itself, with the variables of --set".into(),
                    origin,
                });
                self.emit(documents, None, own, "");
            }
        }
    }

    fn follow(&mut self, kustomization: &Document, top: &str) {
        let path = kustomization.str(&["spec", "path"]).unwrap_or_default().to_owned();
        if !self.visited.insert((kustomization.origin.clone(), kustomization.name().to_owned(), path)) {
            return;
        }
        let Some((directory, overlay)) = self.target(kustomization, false) else { return };
        self.rendering.kustomizations += 1;
        let mut documents = self.builder.build(&directory, &overlay);
        for document in &mut documents {
            for field in ["labels", "annotations"] {
                if let Some(common) =
                    kustomization.at(&["spec", "commonMetadata", field]).and_then(Value::as_object)
                {
                    kustomize::mark(&mut document.value, field, common);
                }
            }
        }
        let variables = Variables::of(kustomization, &self.known, &self.options.variables);
        let top = if top.is_empty() {
            format!("{}@{}", kustomization.name(), directory.display())
        } else {
            top.to_owned()
        };
        let owner = Owner {
            name: kustomization.name().to_owned(),
            namespace: kustomization.namespace().to_owned(),
            origin: kustomization.origin.clone(),
            suspended: kustomization.at(&["spec", "suspend"]) == Some(&json!(true)),
            dead_variables: variables.dead(kustomization, &documents),
            top: top.clone(),
        };
        self.emit(documents, Some(&owner), &variables, &top);
    }

    fn emit(&mut self, documents: Vec<Document>, owner: Option<&Owner>, variables: &Variables, top: &str) {
        for document in documents {
            let (document, unknown) = match substitution::apply(&document, variables) {
                Ok(done) => done,
                Err(problem) => {
                    self.builder.files.problems.push(problem);
                    continue;
                }
            };
            if document.is(FLUX, "Kustomization") {
                self.follow(&document, top);
            } else {
                self.rendering.resources.push(Rendered { document, owner: owner.cloned(), unknown });
            }
        }
    }

    /// The directory a Flux Kustomization builds, and what it lays over it.
    fn target(&mut self, kustomization: &Document, quiet: bool) -> Option<(PathBuf, Overlay)> {
        let path = kustomization.str(&["spec", "path"]).unwrap_or("./");
        let from = Path::new(&*kustomization.origin.file).parent().unwrap_or(Path::new("")).to_owned();
        let Some(directory) = self.find(&from, path) else {
            if !quiet {
                self.builder.files.skipped.insert(Skipped {
                    what: format!("Flux Kustomization {}", kustomization.name()),
                    why: format!("its path {path} is not in the input"),
                    origin: kustomization.line_of(&["spec", "path"]),
                });
            }
            return None;
        };
        let list = |field: &str| {
            kustomization.at(&["spec", field]).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let text = |field: &str| kustomization.str(&["spec", field]).map(str::to_owned);
        let overlay = Overlay {
            components: list("components").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            namespace: text("targetNamespace"),
            name_prefix: text("namePrefix"),
            name_suffix: text("nameSuffix"),
            patches: list("patches"),
            origin: Some(kustomization.origin.clone()),
            generate: true,
        };
        Some((directory, overlay))
    }

    /// A path in a source's artifact is relative to the repository's root, which the input need not begin at.
    fn find(&self, from: &Path, path: &str) -> Option<PathBuf> {
        let relative = normal(Path::new(path.trim_start_matches('/')));
        let mut candidates: Vec<PathBuf> = from.ancestors().map(Path::to_owned).collect();
        if from.is_relative() {
            candidates.extend((1..=6).map(|up| std::iter::repeat_n("..", up).collect::<PathBuf>()));
        }
        if let Some(root) = candidates
            .iter()
            .find(|root| Files::is_dir(&root.join(".git")) || Files::is_file(&root.join(".git")))
        {
            let directory = normal(&root.join(&relative));
            if Files::is_dir(&directory) {
                return Some(directory);
            }
        }
        candidates.extend(self.builder.files.roots.iter().cloned());
        candidates
            .into_iter()
            .filter(|root| !relative.as_os_str().is_empty() || self.builder.files.roots.contains(root))
            .map(|root| normal(&root.join(&relative)))
            .find(|directory| Files::is_dir(directory))
    }
}

/// Whether a resource is about data that somebody may want back.
fn is_backup(document: &Document) -> bool {
    matches!(
        document.kind(),
        "PersistentVolumeClaim"
            | "ReplicationSource"
            | "ReplicationDestination"
            | "ResourceSet"
            | "SnapshotPolicy"
            | "Restore"
    )
}

/// A build that kustomize would refuse.
fn refused(message: String, cure: &str, origin: Origin) -> Problem {
    Problem::new("kustomize-build", Severity::Error, message, cure).at(origin)
}
