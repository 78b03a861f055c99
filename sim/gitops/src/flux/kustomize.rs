//! Builds one directory the way kustomize does, as far as backups need it.
//!
//! Promises resources, Components, generators without name hashes, namespace, prefixes, labels,
//! annotations and patches in kustomize's order; what a kustomization holds beyond that goes to a
//! `kustomize` program if one is named, and is otherwise named as skipped. A missing file is named and
//! the rest is built: the input may be a part of a repository. Never fetches a remote resource.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::{patch, refused};
use crate::load::{Files, Options, normal, on_disk};
use crate::model::{Problem, Skipped};
use crate::yaml::{Document, Origin, Stream, parse};

/// What Flux lays over the kustomization of a directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlay {
    pub(super) components: Vec<String>,
    pub(super) namespace: Option<String>,
    pub(super) name_prefix: Option<String>,
    pub(super) name_suffix: Option<String>,
    pub(super) patches: Vec<Value>,
    pub(super) origin: Option<Origin>,
    /// Whether a missing kustomization is generated over everything below, as Flux does.
    pub(super) generate: bool,
}

/// Fields of a kustomization that this builder knows, or that cannot change what backups see.
const KNOWN: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "components",
    "bases",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "images",
    "replicas",
    "configurations",
    "crds",
    "openapi",
    "buildMetadata",
    "sortOptions",
];

/// Kinds without a namespace, as far as they meet a namespace transformer in such repositories.
const CLUSTER_SCOPED: &[&str] = &[
    "Namespace",
    "StorageClass",
    "VolumeSnapshotClass",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ClusterSecretStore",
    "ClusterPolicy",
    "PriorityClass",
    "ClusterIssuer",
    "ClusterRepository",
    "IngressClass",
    "GatewayClass",
    "ClusterExternalSecret",
];

pub(super) struct Builder<'a> {
    pub(super) files: &'a mut Files,
    pub(super) consumed: BTreeSet<PathBuf>,
    options: &'a Options,
    stack: Vec<PathBuf>,
}

/// What has been noted so far, to be taken back after a trial build.
pub(super) struct Notes {
    skipped: BTreeSet<Skipped>,
    problems: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(files: &'a mut Files, options: &'a Options) -> Self {
        Self { files, consumed: BTreeSet::new(), options, stack: Vec::new() }
    }

    pub(super) fn notes(&self) -> Notes {
        Notes { skipped: self.files.skipped.clone(), problems: self.files.problems.len() }
    }

    pub(super) fn restore(&mut self, notes: Notes) {
        self.files.skipped = notes.skipped;
        self.files.problems.truncate(notes.problems);
    }

    fn skip(&mut self, what: impl Into<String>, why: impl Into<String>, origin: Origin) {
        self.files.skipped.insert(Skipped { what: what.into(), why: why.into(), origin });
    }

    fn problem(&mut self, problem: Problem) {
        if !self.files.problems.contains(&problem) {
            self.files.problems.push(problem);
        }
    }

    /// The kustomization of a directory; its `kind` may be left out, so it is read by name.
    pub(super) fn kustomization_value(&mut self, directory: &Path) -> Option<Value> {
        let file = Files::kustomization(directory)?;
        let text = Files::text(&file)?;
        let name = file.display().to_string();
        let chunk = Stream::new(text.as_bytes(), &name).next()?.ok()?;
        match parse(&chunk.text, &chunk.origin) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(problem);
                None
            }
        }
    }

    /// Builds a directory under an overlay.
    pub(super) fn build(&mut self, directory: &Path, overlay: &Overlay) -> Vec<Document> {
        let file = Files::kustomization(directory);
        let origin = Origin::new(
            &file.clone().unwrap_or_else(|| directory.join("kustomization.yaml")).display().to_string(),
            1,
        );
        let mut kustomization = match (&file, overlay.generate) {
            (Some(_), _) => self.kustomization_value(directory).unwrap_or_else(|| json!({})),
            (None, true) => json!({"resources": generated(directory)}),
            (None, false) => {
                self.problem(refused(
                    format!("{} has no kustomization.yaml", directory.display()),
                    "add one, or name the files themselves",
                    origin.clone(),
                ));
                return Vec::new();
            }
        };
        let Some(map) = kustomization.as_object_mut() else {
            self.problem(refused(
                format!("{} is not a mapping", origin.file),
                "see kustomize's documentation of the file",
                origin.clone(),
            ));
            return Vec::new();
        };
        extend(map, "components", overlay.components.iter().cloned().map(Value::from).collect());
        extend(map, "patches", overlay.patches.clone());
        for (field, value) in [
            ("namespace", &overlay.namespace),
            ("namePrefix", &overlay.name_prefix),
            ("nameSuffix", &overlay.name_suffix),
        ] {
            if let Some(value) = value {
                map.insert(field.to_owned(), json!(value));
            }
        }
        self.accumulate(directory, &kustomization, &origin, overlay.origin.as_ref(), Vec::new())
    }

    fn accumulate(
        &mut self,
        directory: &Path,
        kustomization: &Value,
        origin: &Origin,
        overlaid: Option<&Origin>,
        mut documents: Vec<Document>,
    ) -> Vec<Document> {
        if self.stack.contains(&directory.to_owned()) && self.stack.len() > 32 {
            self.problem(refused(
                format!("{} refers to itself", directory.display()),
                "break the circle of resources",
                origin.clone(),
            ));
            return documents;
        }
        self.stack.push(directory.to_owned());
        if let Some(file) = Files::kustomization(directory) {
            self.consumed.insert(file);
        }
        let beyond: Vec<String> = kustomization
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .filter(|key| !KNOWN.contains(&key.as_str()))
            .collect();
        let rendered = if beyond.is_empty() { None } else { self.beyond(directory, &beyond, origin) };
        let whole = rendered.is_some();
        if let Some(mut rendered) = rendered {
            documents.append(&mut rendered);
        }
        let entries = |field: &str| -> Vec<String> {
            kustomization
                .get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        if !whole {
            for entry in entries("resources").into_iter().chain(entries("bases")) {
                documents.extend(self.resource(directory, &entry, origin));
            }
            self.generators(directory, kustomization, origin, &mut documents);
        }
        for entry in entries("components") {
            let at = overlaid.unwrap_or(origin).clone();
            let inner = normal(&directory.join(&entry));
            if is_remote(&entry) {
                self.skip(format!("component {entry}"), "remote: it is not fetched", at);
            } else if Files::kustomization(&inner).is_none() {
                self.skip(format!("component {entry}"), "it is not in the input", at);
            } else if let Some(value) = self.kustomization_value(&inner) {
                let file = Files::kustomization(&inner).unwrap_or_default();
                documents = self.accumulate(
                    &inner,
                    &value,
                    &Origin::new(&file.display().to_string(), 1),
                    None,
                    documents,
                );
            }
        }
        self.transform(directory, kustomization, overlaid.unwrap_or(origin), &mut documents);
        self.stack.pop();
        documents
    }

    fn resource(&mut self, directory: &Path, entry: &str, origin: &Origin) -> Vec<Document> {
        if is_remote(entry) {
            self.skip(format!("resource {entry}"), "remote: it is not fetched", origin.clone());
            return Vec::new();
        }
        let path = normal(&directory.join(entry));
        if Files::is_dir(&path) {
            if self
                .kustomization_value(&path)
                .is_some_and(|value| value.get("kind").and_then(Value::as_str) == Some("Component"))
            {
                self.problem(refused(format!("{entry} is a Component and stands under resources: kustomize refuses the build, nothing of it reaches the cluster"), "move it to components", origin.clone()));
                return Vec::new();
            }
            return self.build(&path, &Overlay::default());
        }
        if let Some(documents) = self.files.resource(&path) {
            self.consumed.insert(path);
            documents
        } else {
            self.skip(format!("resource {entry}"), "the file is not in the input", origin.clone());
            Vec::new()
        }
    }

    fn generators(
        &mut self,
        directory: &Path,
        kustomization: &Value,
        origin: &Origin,
        documents: &mut Vec<Document>,
    ) {
        for (field, kind) in [("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")] {
            for generator in kustomization.get(field).and_then(Value::as_array).into_iter().flatten() {
                let name = generator.get("name").and_then(Value::as_str).unwrap_or_default();
                let mut data = Map::new();
                let list = |key: &str| -> Vec<String> {
                    generator
                        .get(key)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect()
                };
                for entry in list("files") {
                    let (key, path) = entry.split_once('=').map_or_else(
                        || (entry.rsplit('/').next().unwrap_or(&entry).to_owned(), entry.clone()),
                        |(key, path)| (key.to_owned(), path.to_owned()),
                    );
                    match Files::text(&normal(&directory.join(&path))) {
                        Some(text) => {
                            data.insert(key, json!(text));
                        }
                        None => self.skip(
                            format!("file {path} of {kind} {name}"),
                            "the file is not in the input",
                            origin.clone(),
                        ),
                    }
                }
                for entry in list("literals") {
                    if let Some((key, value)) = entry.split_once('=') {
                        data.insert(key.to_owned(), json!(value.trim_matches(['"', '\''])));
                    }
                }
                for path in list("envs") {
                    match Files::text(&normal(&directory.join(&path))) {
                        Some(text) => data.extend(
                            text.lines()
                                .filter_map(|line| line.split_once('='))
                                .filter(|(key, _)| !key.starts_with('#'))
                                .map(|(key, value)| (key.trim().to_owned(), json!(value.trim()))),
                        ),
                        None => self.skip(
                            format!("env file {path} of {kind} {name}"),
                            "the file is not in the input",
                            origin.clone(),
                        ),
                    }
                }
                let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
                if let Some(namespace) = generator.get("namespace") {
                    value["metadata"]["namespace"] = namespace.clone();
                }
                value[if kind == "Secret" { "stringData" } else { "data" }] = Value::Object(data);
                for options in
                    [kustomization.get("generatorOptions"), generator.get("options")].into_iter().flatten()
                {
                    for field in ["labels", "annotations"] {
                        if let Some(marks) = options.get(field).and_then(Value::as_object) {
                            mark(&mut value, field, marks);
                        }
                    }
                }
                documents.push(Document::made(value, origin.clone()));
            }
        }
    }

    fn transform(
        &mut self,
        directory: &Path,
        kustomization: &Value,
        origin: &Origin,
        documents: &mut [Document],
    ) {
        let strings = |field: &str| -> Vec<Value> {
            kustomization.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let mut patches: Vec<Value> = strings("patchesStrategicMerge")
            .into_iter()
            .map(|entry| match entry.as_str() {
                Some(text) if text.contains('\n') || text.contains(": ") => json!({"patch": text}),
                Some(path) => json!({"path": path}),
                None => json!({"patch": entry}),
            })
            .collect();
        patches.extend(strings("patches"));
        patches.extend(strings("patchesJson6902"));
        for entry in patches {
            let text = match (entry.get("patch"), entry.get("path").and_then(Value::as_str)) {
                (Some(Value::String(text)), _) => text.clone(),
                (Some(other), _) => crate::yaml::emit(other),
                (None, Some(path)) => {
                    if let Some(text) = Files::text(&normal(&directory.join(path))) {
                        self.consumed.insert(normal(&directory.join(path)));
                        text
                    } else {
                        self.skip(format!("patch {path}"), "the file is not in the input", origin.clone());
                        continue;
                    }
                }
                (None, None) => continue,
            };
            for problem in patch::apply(&text, entry.get("target"), documents, origin) {
                self.problem(problem);
            }
        }
        if let Some(namespace) = kustomization.get("namespace").and_then(Value::as_str) {
            for document in documents.iter_mut() {
                if document.kind() == "Namespace" && document.api_version() == "v1" {
                    document.value["metadata"]["name"] = json!(namespace);
                } else if !CLUSTER_SCOPED.contains(&document.kind()) {
                    document.value["metadata"]["namespace"] = json!(namespace);
                }
            }
        }
        let text = |field: &str| kustomization.get(field).and_then(Value::as_str).unwrap_or_default();
        let (prefix, suffix) = (text("namePrefix"), text("nameSuffix"));
        if !prefix.is_empty() || !suffix.is_empty() {
            for document in documents
                .iter_mut()
                .filter(|document| !matches!(document.kind(), "Namespace" | "CustomResourceDefinition"))
            {
                document.value["metadata"]["name"] = json!(format!("{prefix}{}{suffix}", document.name()));
            }
        }
        let labels = kustomization.get("commonLabels").and_then(Value::as_object).into_iter();
        let pairs = kustomization
            .get("labels")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("pairs")?.as_object());
        for marks in labels.chain(pairs) {
            for document in documents.iter_mut() {
                mark(&mut document.value, "labels", marks);
            }
        }
        if let Some(marks) = kustomization.get("commonAnnotations").and_then(Value::as_object) {
            for document in documents.iter_mut() {
                mark(&mut document.value, "annotations", marks);
            }
        }
    }

    /// Lets the named program build a directory whose kustomization holds more than is known here.
    fn beyond(&mut self, directory: &Path, fields: &[String], origin: &Origin) -> Option<Vec<Document>> {
        let what = format!("{} of {}", fields.join(", "), directory.display());
        let is_component = self
            .kustomization_value(directory)
            .is_some_and(|value| value.get("kind").and_then(Value::as_str) == Some("Component"));
        let Some(command) =
            self.options.kustomize.as_ref().filter(|command| !command.is_empty() && !is_component)
        else {
            let why = if is_component {
                "not built here, and kustomize builds no Component by itself"
            } else {
                "not built here: install kustomize, or pipe a renderer's output into -"
            };
            self.skip(what, why, origin.clone());
            return None;
        };
        let output = Command::new(&command[0]).args(&command[1..]).arg(on_disk(directory)).output();
        match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let mut documents = Vec::new();
                for chunk in Stream::new(text.as_bytes(), &origin.file).flatten() {
                    if let Ok(value) = parse(&chunk.text, origin) {
                        documents.push(Document { value, origin: origin.clone(), text: chunk.text.into() });
                    }
                }
                Some(documents)
            }
            Ok(output) => {
                let message =
                    String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
                self.skip(what, format!("{} failed: {message}", command.join(" ")), origin.clone());
                None
            }
            Err(error) => {
                self.skip(what, format!("{} cannot be run: {error}", command.join(" ")), origin.clone());
                None
            }
        }
    }
}

/// What Flux would put into a kustomization it generates: all manifests below, nested kustomizations as such.
fn generated(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut queue = vec![PathBuf::new()];
    while let Some(inner) = queue.pop() {
        let Ok(entries) = std::fs::read_dir(on_disk(&directory.join(&inner))) else { continue };
        for entry in entries.flatten() {
            let path = inner.join(entry.file_name());
            let text = path.display().to_string();
            let full = directory.join(&path);
            if full.is_dir() {
                if Files::kustomization(&full).is_some() {
                    found.push(text);
                } else if !entry.file_name().to_string_lossy().starts_with('.') {
                    queue.push(path);
                }
            } else if path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml") {
                found.push(text);
            }
        }
    }
    found.sort();
    found
}

fn extend(map: &mut Map<String, Value>, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    match map.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.extend(more),
        None => {
            map.insert(field.to_owned(), Value::Array(more));
        }
    }
}

fn is_remote(entry: &str) -> bool {
    entry.contains("://")
        || entry.contains("?ref=")
        || entry.starts_with("github.com/")
        || entry.starts_with("git@")
}

/// Adds labels or annotations to an object.
pub(super) fn mark(value: &mut Value, field: &str, marks: &Map<String, Value>) {
    if !value.is_object() {
        return;
    }
    let slot = &mut value["metadata"][field];
    if !slot.is_object() {
        *slot = json!({});
    }
    for (key, mark) in marks {
        slot[key.as_str()] = mark.clone();
    }
}
