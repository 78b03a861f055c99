//! The way in: paths and streams become documents, documents become the model.
//!
//! Promises a deterministic order (by path), that files which hold no manifests are passed over, that
//! templates are named and not guessed at, and that memory does not grow with what backups do not
//! need. Reads files only below the given paths, and what they refer to. Does not render: see `flux`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::flux;
use crate::model::{Counts, Model, Problem, Skipped};
use crate::storage::Character;
use crate::yaml::{Document, Stream, parse};

/// Bytes of a file up to which every document is parsed; beyond, only the kinds that matter are.
const THOROUGH_BYTES: usize = 4 << 20;
/// Bytes of kept documents; a repository of a thousand apps has about 20 MiB.
const KEPT_BYTES_MAX: usize = 512 << 20;

/// One thing to read.
pub enum Input {
    /// A file or a directory.
    Path(PathBuf),
    /// Bytes from elsewhere, such as a renderer on standard input.
    Stream {
        /// What to call it in messages; `-` for standard input.
        name: String,
        /// The bytes.
        reader: Box<dyn Read>,
    },
}

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Values for variables that the input leaves unset.
    pub variables: BTreeMap<String, String>,
    /// What storage classes are, by name.
    pub classes: BTreeMap<String, Character>,
    /// A program that builds a kustomization when the own builder meets something it does not know:
    /// the command without the directory, such as `["kubectl", "kustomize"]`.
    pub kustomize: Option<Vec<String>>,
}

/// Reads everything and returns the model.
///
/// # Errors
/// [`Error`] when nothing can be read; what concerns single documents is in [`Model::problems`].
/// # Guarantees
/// The same bytes and options give the same model.
pub fn read(inputs: Vec<Input>, options: &Options) -> Result<Model, Error> {
    let mut files = Files::default();
    let mut names = Vec::new();
    for input in inputs {
        match input {
            Input::Path(path) => {
                names.push(path.display().to_string());
                files.add(&path)?;
            }
            Input::Stream { name, reader } => {
                names.push(name.clone());
                files.stream(Path::new(&name), Box::new(BufReader::with_capacity(1 << 16, reader)))?;
            }
        }
    }
    if files.manifests == 0 && files.problems.is_empty() {
        return Err(Error::NoManifests { paths: names.join(", "), files: files.counts.files });
    }
    let rendered = flux::render(&mut files, options);
    Ok(crate::assemble::assemble(files, rendered, options))
}

/// The documents of all files, and what was noticed while reading them.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) documents: BTreeMap<PathBuf, Vec<Document>>,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) skipped: BTreeSet<Skipped>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) counts: Counts,
    manifests: usize,
    kept_bytes: usize,
}

impl Files {
    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let open = |source| Error::Open { path: path.to_owned(), source };
        let path = &normal(path);
        let meta = std::fs::metadata(on_disk(path)).map_err(open)?;
        if meta.is_dir() {
            self.roots.push(path.clone());
            self.walk(path)
        } else {
            if let Some(parent) = path.parent() {
                self.roots.push(parent.to_owned());
            }
            self.file(path)
        }
    }

    fn walk(&mut self, directory: &Path) -> Result<(), Error> {
        let open = |source| Error::Open { path: directory.to_owned(), source };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(on_disk(directory)).map_err(open)? {
            let entry = entry.map_err(open)?;
            entries.push((entry.file_name(), entry.file_type().map_err(open)?));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, kind) in entries {
            let text = name.to_string_lossy();
            let path = normal(&directory.join(&name));
            if kind.is_dir() {
                if !text.starts_with('.') && text != "node_modules" {
                    self.walk(&path)?;
                }
            } else if is_manifest_name(&path)
                && std::fs::metadata(on_disk(&path)).is_ok_and(|meta| meta.is_file())
            {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    /// Reads one file once.
    fn file(&mut self, path: &Path) -> Result<(), Error> {
        if self.documents.contains_key(path) {
            return Ok(());
        }
        let file = std::fs::File::open(on_disk(path))
            .map_err(|source| Error::Open { path: path.to_owned(), source })?;
        self.stream(path, Box::new(BufReader::with_capacity(1 << 16, file)))
    }

    fn stream(&mut self, path: &Path, reader: Box<dyn BufRead>) -> Result<(), Error> {
        let name = path.display().to_string();
        let mut kept = Vec::new();
        let mut seen = 0;
        self.counts.files += 1;
        for chunk in Stream::new(reader, &name) {
            let chunk = chunk?;
            seen += chunk.text.len();
            let Some(kind) = top_kind(&chunk.text) else { continue };
            self.manifests += 1;
            let matters = is_relevant(&kind);
            if !matters && seen > THOROUGH_BYTES {
                continue;
            }
            self.counts.documents += 1;
            match parse(&chunk.text, &chunk.origin) {
                Ok(value) if matters => {
                    self.kept_bytes += chunk.text.len();
                    if self.kept_bytes > KEPT_BYTES_MAX {
                        return Err(Error::InputTooLarge {
                            file: name,
                            line: chunk.origin.line,
                            limit: KEPT_BYTES_MAX,
                        });
                    }
                    let document = Document { value, origin: chunk.origin, text: chunk.text.into() };
                    if document.kind().ends_with("List") {
                        let items = document
                            .at(&["items"])
                            .and_then(|items| items.as_array())
                            .cloned()
                            .unwrap_or_default();
                        kept.extend(items.into_iter().map(|value| Document { value, ..document.clone() }));
                    } else {
                        kept.push(document);
                    }
                }
                Ok(_) => {}
                Err(_) if chunk.text.contains("{{") => {
                    self.skipped.insert(Skipped {
                        what: format!("template of a {kind}"),
                        why:
                            "a Helm or Jinja template is not rendered here: pipe the renderer's output into -"
                                .into(),
                        origin: chunk.origin,
                    });
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        self.documents.insert(path.to_owned(), kept);
        Ok(())
    }

    /// The documents of a file that a kustomization names, read now if need be; `None` if there is no such file.
    pub(crate) fn resource(&mut self, path: &Path) -> Option<Vec<Document>> {
        if !self.documents.contains_key(path) {
            if !on_disk(path).is_file() {
                return None;
            }
            if let Err(error) = self.file(path) {
                self.problems.push(Problem::new(
                    "unreadable",
                    crate::model::Severity::Broken,
                    error.to_string(),
                    "see the message",
                ));
                return None;
            }
        }
        self.documents.get(path).cloned()
    }

    /// The text of a small file next to the manifests.
    pub(crate) fn text(path: &Path) -> Option<String> {
        let file = std::fs::File::open(on_disk(path)).ok()?;
        let mut text = String::new();
        file.take(crate::yaml::DOCUMENT_BYTES_MAX as u64).read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub(crate) fn is_dir(path: &Path) -> bool {
        on_disk(path).is_dir()
    }

    pub(crate) fn is_file(path: &Path) -> bool {
        on_disk(path).is_file()
    }

    /// The kustomization file of a directory.
    pub(crate) fn kustomization(directory: &Path) -> Option<PathBuf> {
        ["kustomization.yaml", "kustomization.yml", "Kustomization"]
            .into_iter()
            .map(|name| normal(&directory.join(name)))
            .find(|path| Self::is_file(path))
    }
}

/// An empty path means the working directory.
pub(crate) fn on_disk(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Resolves `.` and `..` by their text alone.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

fn is_manifest_name(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
}

/// The kind at the top level of a document, read without parsing it.
fn top_kind(text: &str) -> Option<String> {
    let tidy = |rest: &str| {
        rest.trim()
            .split(['#', ',', '}'])
            .next()
            .unwrap_or_default()
            .trim()
            .trim_matches(['"', '\''])
            .to_owned()
    };
    let by_line = text
        .lines()
        .find_map(|line| line.strip_prefix("kind:").or_else(|| line.strip_prefix("\"kind\":")))
        .map(tidy);
    by_line.or_else(|| {
        // JSON and flow style: the first `kind` is good enough, what is parsed decides.
        let flow = text.trim_start().starts_with(['{', '[']);
        let at = flow
            .then(|| text.find("\"kind\"").map(|at| at + 6).or_else(|| text.find("kind:").map(|at| at + 4)))
            .flatten()?;
        Some(tidy(text[at..].trim_start().trim_start_matches(':').lines().next().unwrap_or_default()))
    })
}

/// Kinds that tell something about claims and their backups.
fn is_relevant(kind: &str) -> bool {
    const KINDS: &[&str] = &[
        "PersistentVolumeClaim",
        "ReplicationSource",
        "ReplicationDestination",
        "KopiaMaintenance",
        "Secret",
        "ConfigMap",
        "Namespace",
        "StorageClass",
        "VolumeSnapshotClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ClusterPolicy",
        "Kustomization",
        "Component",
        "HelmRelease",
        "ResourceSet",
        "ResourceSetInputProvider",
        "SnapshotPolicy",
        "SnapshotSchedule",
        "Restore",
        "ClusterRepository",
        "Repository",
        "Backup",
        "Snapshot",
        "StatefulSet",
        "Deployment",
        "DaemonSet",
        "Schedule",
    ];
    KINDS.contains(&kind)
        || kind.ends_with("Secret")
        || kind.ends_with("Secrets")
        || kind.ends_with("List")
        || kind == "OnePasswordItem"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_without_parsing() {
        for (text, expected) in [
            ("apiVersion: v1\nkind: Secret # x\n", Some("Secret")),
            ("{\"apiVersion\": \"v1\", \"kind\": \"Secret\"}", Some("Secret")),
            ("{apiVersion: v1, kind: Secret}", Some("Secret")),
            ("spec:\n  kind: Secret\n", None),
            ("a: 1\n", None),
        ] {
            assert_eq!(top_kind(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_resolved_by_their_text() {
        for (path, expected) in [
            ("./a/../b", "b"),
            ("a/./b/../../c", "c"),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(normal(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    /// A rendered cluster of 200 MB, made on the fly: nothing of it lies on a disk.
    struct Rendered {
        left: usize,
        buffer: Vec<u8>,
        at: usize,
    }

    impl Read for Rendered {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            if self.at == self.buffer.len() {
                if self.left == 0 {
                    return Ok(0);
                }
                self.left -= 1;
                self.at = 0;
                if self.left == 0 {
                    self.buffer = b"---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: last, namespace: n}\nspec: {resources: {requests: {storage: 1Gi}}}\n".to_vec();
                }
            }
            let count = out.len().min(self.buffer.len() - self.at);
            out[..count].copy_from_slice(&self.buffer[self.at..self.at + count]);
            self.at += count;
            Ok(count)
        }
    }

    #[test]
    fn two_hundred_megabytes_are_read_as_a_stream() {
        let mut document =
            b"---\napiVersion: v1\nkind: Grafana\nmetadata: {name: big}\ndata:\n  text: |\n".to_vec();
        while document.len() < 1 << 20 {
            document.extend(std::iter::repeat_n(b' ', 4));
            document.extend(std::iter::repeat_n(b'x', 4000));
            document.push(b'\n');
        }
        let reader = Rendered { left: 201, at: document.len(), buffer: document };
        let model =
            read(vec![Input::Stream { name: "-".into(), reader: Box::new(reader) }], &Options::default())
                .unwrap();
        assert_eq!(model.apps.len(), 1, "the claim at the end is found");
        assert!(
            model.counts.documents < 10,
            "what is beyond the thorough part is not parsed: {:?}",
            model.counts
        );
    }
}
