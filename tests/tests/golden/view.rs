//! A run as it is compared: what the operator created, in which order, and where it settled.
//!
//! Both arms, the recording and the replay, are notifications of a watcher; this module turns either into
//! the same [`View`]. What chance, time or other components decide is masked, as the recordings' README
//! advises; what is masked stands in [`mask`] and [`Shape::of`] and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use json::{Map, Value, json};
use regex::Regex;

use super::case::{Notification, text_of};

/// Kinds that the operator itself creates.
const OWN: &[&str] =
    &["CronJob", "Job", "PersistentVolumeClaim", "Role", "RoleBinding", "ServiceAccount", "VolumeSnapshot"];

/// Kinds whose settled status is compared.
pub const SUBJECTS: &[&str] = &["KopiaMaintenance", "ReplicationDestination", "ReplicationSource"];

/// One object as created: what is compared of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Kind and masked name.
    pub id: String,
    /// Labels, masked.
    pub labels: Value,
    /// Owners: kind and masked name.
    pub owners: Vec<String>,
    /// The specification (or rules, or subjects), masked.
    pub spec: Value,
}

/// A creation or the first mark of a deletion.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its second.
    pub at: f64,
    /// `+` or `-`, kind and masked name, numbered by its occurrence.
    pub mark: String,
    /// Who caused it: the controlling owner.
    pub owner: String,
}

/// A run, ready to be compared.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every object that the operator created, in order of creation, each distinct shape once per name.
    pub objects: Vec<Shape>,
    /// Creations and deletions.
    pub order: Vec<Step>,
    /// The last status of each subject, at each mark.
    pub settled: BTreeMap<String, Value>,
    /// Events of the operator: object, type and reason.
    pub events: BTreeSet<String>,
}

/// Replaces what chance and time decide: UIDs, time stamps in names, random suffixes.
pub fn mask(text: &str) -> String {
    thread_local! {
        static RULES: Vec<(Regex, &'static str)> = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
            (r"-20\d{12}\b", "-<time>"),
            // Whichever mover came first owns maintenance for ever.
            (r"^root@volsync-(?:src|dst)-[a-z0-9.-]+-[a-z0-9]{5}$", "root@<first mover's pod>"),
            (r"(kopia-maint-.+-[0-9a-f]{16})-\d{8}", "$1-<minute>"),
        ]
        .map(|(pattern, by)| (Regex::new(pattern).expect("a valid pattern"), by))
        .to_vec();
    }
    RULES.with(|rules| {
        rules.iter().fold(text.to_owned(), |text, (rule, by)| rule.replace_all(&text, *by).into_owned())
    })
}

fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(mask(text)),
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (mask(key), masked(value))).collect())
        }
        other => other.clone(),
    }
}

impl Shape {
    /// What is compared of an object. Left out: fields that the binder, the scheduler and the API server's
    /// own controllers fill (`volumeName`, `nodeName`), images, and the variable that tells our one image
    /// which of its two movers to be (the original has an image with one).
    pub fn of(object: &Value) -> Self {
        let kind = text_of(&object["kind"]);
        let metadata = &object["metadata"];
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let mut body = Map::new();
        for part in ["spec", "rules", "subjects", "roleRef"] {
            // An empty list and an absent one are the same to the API.
            if object[part].as_array().is_some_and(|list| list.is_empty()) || object[part].is_null() {
                continue;
            }
            body.insert(part.to_owned(), masked(&object[part]));
        }
        let mut spec = Value::Object(body);
        strip(&mut spec);
        Self {
            id: format!("{kind}/{}", mask(&text_of(&metadata["name"]))),
            labels: masked(&metadata["labels"]),
            owners: owners
                .map(|owner| format!("{}/{}", text_of(&owner["kind"]), mask(&text_of(&owner["name"]))))
                .collect(),
            spec,
        }
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for field in ["volumeName", "nodeName", "image"] {
                fields.remove(field);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => {
            items.retain(|item| item["name"] != "MOVER_PROFILE");
            items.iter_mut().for_each(strip);
        }
        _ => {}
    }
}

/// What is compared of a subject's status: words and presence, not times and log texts.
fn settled(status: &Value) -> Value {
    let mut out = Map::new();
    for key in ["lastManualSync", "latestImage", "maintenanceFailures", "activeCronJob"] {
        if !status[key].is_null() {
            out.insert(key.to_owned(), masked(&status[key]));
        }
    }
    for key in
        ["lastSyncTime", "lastSyncStartTime", "lastSyncDuration", "nextSyncTime", "lastMaintenanceTime"]
    {
        out.insert(format!("has {key}"), json!(!status[key].is_null()));
    }
    if let Some(result) = status["latestMoverStatus"]["result"].as_str() {
        out.insert("result".to_owned(), json!(result));
        let log = text_of(&status["latestMoverStatus"]["logs"]);
        out.insert("log ends".to_owned(), json!(log_end(&log)));
    }
    for key in ["requestedIdentity", "availableIdentities"] {
        if !status["kopia"][key].is_null() {
            out.insert(key.to_owned(), masked(&status["kopia"][key]));
        }
    }
    let conditions = status["conditions"].as_array().into_iter().flatten().map(|condition| {
        format!(
            "{}={} {}: {}",
            text_of(&condition["type"]),
            text_of(&condition["status"]),
            text_of(&condition["reason"]),
            mask(&text_of(&condition["message"]))
        )
    });
    out.insert("conditions".to_owned(), json!(conditions.collect::<BTreeSet<_>>()));
    Value::Object(out)
}

/// The last line of a mover's log that its script decides. The original's script copies the standard error
/// of `kopia policy set` in the background: one recorded pod of 36 has these lines behind the script's last.
/// Which identities a restore that finds nothing of its own lists is up to what ran beside it.
fn log_end(log: &str) -> &str {
    let in_background =
        |line: &str| line == "no changes specified" || line.starts_with("Setting policy for ");
    match log.lines().rev().find(|line| !in_background(line)) {
        Some(line) if line.contains(" - Last snapshot: ") => "<an identity>",
        line => line.unwrap_or_default(),
    }
}

/// A moment at which a subject's status is compared: the label, the object, and the last second that counts.
#[derive(Clone, Debug)]
pub struct Mark {
    /// What the script waited for.
    pub label: String,
    /// `Kind/name`.
    pub object: String,
    /// Seconds, as in the notifications.
    pub until: f64,
}

/// Turns notifications into a view. `users` are the objects that the script itself created.
pub fn view(trace: &[Notification], users: &BTreeSet<String>, marks: &[Mark]) -> View {
    let mut view = View::default();
    let mut doomed = BTreeSet::new();
    let mut counts = BTreeMap::new();
    for notification in trace {
        let object = &notification.object;
        let kind = text_of(&object["kind"]);
        let name = text_of(&object["metadata"]["name"]);
        if kind == "Event" {
            let component = text_of(&object["source"]["component"]);
            if component.starts_with("volsync-") {
                let about = &object["involvedObject"];
                view.events.insert(format!(
                    "{}/{} {} {}",
                    text_of(&about["kind"]),
                    mask(&text_of(&about["name"])),
                    text_of(&object["type"]),
                    text_of(&object["reason"])
                ));
            }
            continue;
        }
        if !OWN.contains(&kind.as_str()) || users.contains(&format!("{kind}/{name}")) || name == "default" {
            continue;
        }
        let uid = text_of(&object["metadata"]["uid"]);
        let is_doomed =
            !object["metadata"]["deletionTimestamp"].is_null() || notification.change == "DELETED";
        let mark = if notification.change == "ADDED" {
            let shape = Shape::of(object);
            let mark = format!("+{}", shape.id);
            if !view.objects.contains(&shape) {
                view.objects.push(shape);
            }
            mark
        } else if is_doomed && doomed.insert(uid) {
            format!("-{kind}/{}", mask(&name))
        } else {
            continue;
        };
        let count = counts.entry(mark.clone()).or_insert(0_u32);
        *count += 1;
        let owner = Shape::of(object).owners.first().cloned().unwrap_or_default();
        view.order.push(Step { at: notification.at, mark: format!("{mark} #{count}"), owner });
    }
    for mark in marks {
        let mut statuses = trace.iter().filter(|notification| {
            let object = &notification.object;
            let kind = text_of(&object["kind"]);
            SUBJECTS.contains(&kind.as_str())
                && notification.at <= mark.until
                && format!("{kind}/{}", text_of(&object["metadata"]["name"])) == mark.object
        });
        if let Some(notification) = statuses.next_back() {
            view.settled.insert(mark.label.clone(), settled(&notification.object["status"]));
        }
    }
    view
}
