//! The recording's arm of the comparison: what the script did to whom, and what was seen.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    case::{Case, text_of},
    compare::{Contents, Run},
    host,
    view::{self, Mark, mask},
};

/// The moments at which statuses are compared: every wait of the script for a subject.
pub fn mark_of(step: &Value) -> Option<(String, String)> {
    let until = step["until"].as_str()?;
    let object = until.split_whitespace().next()?;
    let is_subject = object.starts_with("Replication") || object.starts_with("KopiaMaintenance");
    is_subject.then(|| (format!("{until} @{}", step["t"]), object.to_owned()))
}

/// The names that the script itself created.
pub fn users(case: &Case) -> BTreeSet<String> {
    let name = |object: &Value| format!("{}/{}", text_of(&object["kind"]), text_of(&object["metadata"]["name"]));
    case.manifests.iter().map(name).collect()
}

/// What was recorded, ready to be compared.
pub fn recorded(case: &Case) -> Run {
    let marks: Vec<_> = case
        .steps
        .iter()
        .filter_map(|step| {
            let (label, object) = mark_of(step)?;
            Some(Mark { label, object, until: step["t"].as_f64().unwrap_or_default() + 0.05 })
        })
        .collect();
    let looks = case.logs.iter().filter(|(pod, _)| pod.starts_with("look-"));
    Run {
        view: view::view(&case.trace, &users(case), &marks),
        repositories: case.repositories.iter().map(|(tag, seen)| (tag.clone(), recorded_contents(seen))).collect(),
        looks: looks.map(|(pod, log)| (pod.clone(), host::recorded(log))).collect(),
    }
}

/// Groups snapshots by identity: each identity with the sizes of its snapshots, oldest first.
pub fn contents(snapshots: impl Iterator<Item = (String, String)>) -> Contents {
    let mut contents = Contents::new();
    for (identity, text) in snapshots {
        contents.entry(mask(&identity)).or_default().push(text);
    }
    contents
}

fn recorded_contents(seen: &Value) -> Contents {
    contents(seen["snapshots"].as_array().into_iter().flatten().map(|snapshot| {
        let (source, summary) = (&snapshot["source"], &snapshot["rootEntry"]["summ"]);
        let number = |key: &str| summary[key].as_u64().unwrap_or_default();
        (
            format!("{}@{}:{}", text_of(&source["userName"]), text_of(&source["host"]), text_of(&source["path"])),
            format!(
                "{} files {} symlinks {} dirs {} bytes{}",
                number("files"),
                number("symlinks"),
                number("dirs"),
                number("size"),
                if text_of(&snapshot["incomplete"]).is_empty() { "" } else { " incomplete" },
            ),
        )
    }))
}

