//! The recording's arm of the comparison: what the script did to whom, and what was seen.

use std::collections::BTreeSet;

use json::Value;

use super::{
    case::{Case, text_of},
    compare::{Contents, Run},
    host,
    view::{self, Mark, SUBJECTS, mask},
};

/// Pauses shorter than this are not long enough for anything to settle.
const SETTLING_SECONDS: f64 = 5.0;

/// The objects whose status is compared after a step, each with its label: what the script waited for,
/// and everything after a long pause and at the end.
pub fn marks_of(case: &Case, number: usize, step: &Value) -> Vec<(String, String)> {
    let subjects =
        case.manifests.iter().filter(|object| SUBJECTS.contains(&text_of(&object["kind"]).as_str()));
    let names = subjects
        .map(|object| format!("{}/{}", text_of(&object["kind"]), text_of(&object["metadata"]["name"])));
    let objects: Vec<_> = match (step["do"].as_str().unwrap_or_default(), step["until"].as_str()) {
        ("sleep", _) if step["seconds"].as_f64().unwrap_or_default() < SETTLING_SECONDS => Vec::new(),
        ("sleep" | "end", _) => names.collect(),
        (_, Some(until)) if until.starts_with("maintenance ") => {
            names.filter(|name| name.starts_with("KopiaMaintenance/")).collect()
        }
        (_, Some(until)) => {
            let first = until.split_whitespace().next().unwrap_or_default();
            names
                .filter(|name| {
                    name == first || *name == format!("KopiaMaintenance/{}", first.trim_end_matches(':'))
                })
                .collect()
        }
        _ => Vec::new(),
    };
    objects.into_iter().map(|object| (format!("{object} after step {number}"), object)).collect()
}

/// The names that the script itself created.
pub fn users(case: &Case) -> BTreeSet<String> {
    let name =
        |object: &Value| format!("{}/{}", text_of(&object["kind"]), text_of(&object["metadata"]["name"]));
    case.manifests.iter().map(name).collect()
}

/// What was recorded, ready to be compared.
pub fn recorded(case: &Case) -> Run {
    let mut marks = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        // The time of a pause is that of its beginning.
        let pause = if step["do"] == "sleep" { step["seconds"].as_f64().unwrap_or_default() } else { 0.0 };
        let until = step["t"].as_f64().unwrap_or_default() + pause + 0.05;
        marks.extend(marks_of(case, number + 1, step).into_iter().map(|(label, object)| Mark {
            label,
            object,
            until,
        }));
    }
    let looks = case.logs.iter().filter(|(pod, _)| pod.starts_with("look-"));
    Run {
        view: view::view(&case.trace, &users(case), &marks),
        repositories: case
            .repositories
            .iter()
            .map(|(tag, seen)| (tag.clone(), recorded_contents(case, tag, seen)))
            .collect(),
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

/// How retention is written down.
pub fn retention(policy: &Value) -> String {
    ["keepLatest", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepAnnual"]
        .map(|key| format!("{key} {}", policy["retention"][key]))
        .join(", ")
}

/// What the owner of maintenance is entered as.
pub const OWNER: &str = "owner of maintenance";

/// The owner of maintenance when the repository was looked at. Two KopiaMaintenances that run
/// in the same minute take the ownership from each other, and whose container is restarted last has it.
pub fn owner(case: &Case, tag: &str, name: &str) -> String {
    let before = case.steps.iter().take_while(|step| step["tag"] != tag);
    let alive: i32 = before
        .filter(|step| step["kind"] == "KopiaMaintenance")
        .map(|step| match step["do"].as_str() {
            Some("create") => 1,
            Some("delete") => -1,
            _ => 0,
        })
        .sum();
    if alive > 1 && !name.starts_with("root@") { "<one of several in turn>".to_owned() } else { mask(name) }
}

fn recorded_contents(case: &Case, tag: &str, seen: &Value) -> Contents {
    let snapshots = seen["snapshots"].as_array().into_iter().flatten().map(|snapshot| {
        let (source, summary) = (&snapshot["source"], &snapshot["rootEntry"]["summ"]);
        let number = |key: &str| summary[key].as_u64().unwrap_or_default();
        (
            format!(
                "{}@{}:{}",
                text_of(&source["userName"]),
                text_of(&source["host"]),
                text_of(&source["path"])
            ),
            format!(
                "{} files {} symlinks {} dirs {} bytes{}",
                number("files"),
                number("symlinks"),
                number("dirs"),
                number("size"),
                if text_of(&snapshot["incomplete"]).is_empty() { "" } else { " incomplete" },
            ),
        )
    });
    let policies = seen["policies"].as_object().into_iter().flatten();
    let policies = policies.map(|(target, policy)| (format!("policy of {target}"), retention(policy)));
    let owner = (OWNER.to_owned(), owner(case, tag, &text_of(&seen["maintenance"]["owner"])));
    contents(snapshots.chain(policies).chain([owner]))
}
