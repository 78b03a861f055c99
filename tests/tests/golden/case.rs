//! One recorded case: what the user did, and what a watcher of a real cluster saw.
//!
//! Reads a folder of recordings as its README describes it; interprets nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use json::Value;

/// A watch notification.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Seconds since the first sight of the namespace, one decimal.
    pub at: f64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub change: String,
    /// The object as it was sent.
    pub object: Value,
}

/// A recorded case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Folder name, such as `a-manual`.
    pub name: String,
    /// Every object the script created, in order.
    pub manifests: Vec<Value>,
    /// What the script did, in order.
    pub steps: Vec<Value>,
    /// What a watcher saw, in order.
    pub trace: Vec<Notification>,
    /// The log of each pod.
    pub logs: BTreeMap<String, String>,
    /// What a Kopia client saw, by tag.
    pub repositories: BTreeMap<String, Value>,
}

impl Case {
    /// The namespace of the case.
    pub fn namespace(&self) -> String {
        format!("g-{}", self.name)
    }

    /// Reads one folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let name = folder.file_name().context("a case is a folder")?.to_string_lossy().into_owned();
        let text = fs::read_to_string(folder.join("manifests.yaml"))?;
        let manifests = serde_saphyr::from_multiple::<Value>(&text).context("manifests.yaml")?;
        let lines = |text: String| -> Result<Vec<Value>> {
            text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
        };
        let steps = lines(fs::read_to_string(folder.join("steps.jsonl"))?)?;
        let trace = lines(unzip(&folder.join("trace.jsonl.gz"))?)?
            .into_iter()
            .map(|mut line| Notification {
                at: line["t"].as_f64().unwrap_or_default(),
                change: line["type"].as_str().unwrap_or_default().to_owned(),
                object: {
                    let kind = line["kind"].take();
                    let mut object = line["object"].take();
                    if object["kind"].is_null() {
                        object["kind"] = kind;
                    }
                    object
                },
            })
            .collect();
        let logs = lines(unzip(&folder.join("logs.jsonl.gz"))?)?
            .into_iter()
            .map(|line| (text_of(&line["pod"]), text_of(&line["log"])))
            .collect();
        let mut repositories = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(tag) = file.strip_prefix("repository-").and_then(|rest| rest.strip_suffix(".json")) {
                repositories.insert(tag.to_owned(), serde_json::from_str(&fs::read_to_string(&path)?)?);
            }
        }
        Ok(Self { name, manifests, steps, trace, logs, repositories })
    }
}

/// A string field's text; empty for anything else.
pub fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn unzip(path: &Path) -> Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(path)?).read_to_string(&mut text)?;
    Ok(text)
}

/// The folder of recordings: `FIREDRILL_GOLDEN_VOLSYNC`, else beside the checkout; `None` where there is none.
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FIREDRILL_GOLDEN_VOLSYNC").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden-volsync"),
        PathBuf::from,
    );
    folder.is_dir().then_some(folder)
}

/// All cases, sorted by name.
pub fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let mut folders: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("steps.jsonl").is_file())
        .collect();
    folders.sort();
    folders.iter().map(|folder| Case::read(folder).with_context(|| folder.display().to_string())).collect()
}
