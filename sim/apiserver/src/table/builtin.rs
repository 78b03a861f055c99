//! Columns of built-in kinds, behind the name.

use jiff::Timestamp;
use json::Value;

use super::{age, duration};
use crate::access::{at, is_deleting, list, number, text};
use crate::resource::Resource;

/// Names and priorities.
pub(super) fn columns(resource: &Resource) -> &'static [(&'static str, i64)] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[("Ready", 0), ("Status", 0), ("Restarts", 0), ("Age", 0), ("IP", 1), ("Node", 1)],
        ("", "namespaces") => &[("Status", 0), ("Age", 0)],
        ("", "nodes") => &[("Status", 0), ("Roles", 0), ("Age", 0), ("Version", 0)],
        ("", "configmaps") => &[("Data", 0), ("Age", 0)],
        ("", "secrets") => &[("Type", 0), ("Data", 0), ("Age", 0)],
        ("", "services") => &[("Type", 0), ("Cluster-IP", 0), ("External-IP", 0), ("Port(s)", 0), ("Age", 0)],
        ("", "serviceaccounts") => &[("Secrets", 0), ("Age", 0)],
        ("", "events") => &[("Last Seen", 0), ("Type", 0), ("Reason", 0), ("Object", 0), ("Message", 0)],
        ("", "persistentvolumeclaims") => &[
            ("Status", 0),
            ("Volume", 0),
            ("Capacity", 0),
            ("Access Modes", 0),
            ("StorageClass", 0),
            ("VolumeAttributesClass", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        ("", "persistentvolumes") => &[
            ("Capacity", 0),
            ("Access Modes", 0),
            ("Reclaim Policy", 0),
            ("Status", 0),
            ("Claim", 0),
            ("StorageClass", 0),
            ("VolumeAttributesClass", 0),
            ("Reason", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        ("apps", "deployments") => &[("Ready", 0), ("Up-to-date", 0), ("Available", 0), ("Age", 0)],
        ("apps", "statefulsets") => &[("Ready", 0), ("Age", 0)],
        ("apps", "daemonsets" | "replicasets") => &[("Desired", 0), ("Current", 0), ("Ready", 0), ("Age", 0)],
        ("batch", "jobs") => &[("Status", 0), ("Completions", 0), ("Duration", 0), ("Age", 0)],
        ("batch", "cronjobs") => &[
            ("Schedule", 0),
            ("Timezone", 0),
            ("Suspend", 0),
            ("Active", 0),
            ("Last Schedule", 0),
            ("Age", 0),
        ],
        ("storage.k8s.io", "storageclasses") => &[
            ("Provisioner", 0),
            ("ReclaimPolicy", 0),
            ("VolumeBindingMode", 0),
            ("AllowVolumeExpansion", 0),
            ("Age", 0),
        ],
        ("coordination.k8s.io", "leases") => &[("Holder", 0), ("Age", 0)],
        ("apiextensions.k8s.io", _) => &[("Created At", 0)],
        _ => &[("Age", 0)],
    }
}

/// The cells, as many as there are columns.
pub(super) fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<String> {
    let count = |path: &[&str]| number(object, path).unwrap_or(0).to_string();
    let word = |path: &[&str]| text(object, path).to_owned();
    let or_none = |path: &[&str]| match text(object, path) {
        "" => "<none>".to_owned(),
        found => found.to_owned(),
    };
    let size = |path: &[&str]| at(object, path).and_then(Value::as_object).map_or(0, |map| map.len());
    let born = age(text(object, &["metadata", "creationTimestamp"]), now);
    let ready = |ready: &[&str]| format!("{}/{}", count(ready), count(&["spec", "replicas"]));
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => {
            let statuses = list(object, &["status", "containerStatuses"]);
            let up =
                statuses.iter().filter(|status| at(status, &["ready"]) == Some(&Value::Bool(true))).count();
            let restarts: i64 = statuses.iter().filter_map(|status| number(status, &["restartCount"])).sum();
            vec![
                format!("{up}/{}", list(object, &["spec", "containers"]).len()),
                pod_status(object),
                restarts.to_string(),
                born,
                or_none(&["status", "podIP"]),
                or_none(&["spec", "nodeName"]),
            ]
        }
        ("", "namespaces") => vec![word(&["status", "phase"]), born],
        ("", "nodes") => {
            let is_ready = list(object, &["status", "conditions"]).iter().any(|condition| {
                text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True"
            });
            let mut status = if is_ready { "Ready" } else { "NotReady" }.to_owned();
            if at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
                status.push_str(",SchedulingDisabled");
            }
            vec![status, roles(object), born, word(&["status", "nodeInfo", "kubeletVersion"])]
        }
        ("", "configmaps") => vec![(size(&["data"]) + size(&["binaryData"])).to_string(), born],
        ("", "secrets") => vec![word(&["type"]), size(&["data"]).to_string(), born],
        ("", "services") => {
            let ports: Vec<String> = list(object, &["spec", "ports"])
                .iter()
                .map(|port| format!("{}/{}", number(port, &["port"]).unwrap_or(0), text(port, &["protocol"])))
                .collect();
            let ports = if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") };
            vec![word(&["spec", "type"]), or_none(&["spec", "clusterIP"]), "<none>".to_owned(), ports, born]
        }
        ("", "serviceaccounts") => vec![list(object, &["secrets"]).len().to_string(), born],
        ("", "events") => event(object, now),
        ("", "persistentvolumeclaims") => {
            let is_bound = !text(object, &["spec", "volumeName"]).is_empty();
            let status =
                if is_deleting(object) { "Terminating".to_owned() } else { word(&["status", "phase"]) };
            let (capacity, modes) = if is_bound {
                (
                    word(&["status", "capacity", "storage"]),
                    access_modes(list(object, &["status", "accessModes"])),
                )
            } else {
                (String::new(), String::new())
            };
            let class = word(&["spec", "storageClassName"]);
            let attributes = match text(object, &["spec", "volumeAttributesClassName"]) {
                "" => "<unset>",
                name => name,
            };
            vec![
                status,
                word(&["spec", "volumeName"]),
                capacity,
                modes,
                class,
                attributes.to_owned(),
                born,
                word(&["spec", "volumeMode"]),
            ]
        }
        ("", "persistentvolumes") => {
            let status =
                if is_deleting(object) { "Terminating".to_owned() } else { word(&["status", "phase"]) };
            let claim = match text(object, &["spec", "claimRef", "name"]) {
                "" => String::new(),
                name => format!("{}/{name}", text(object, &["spec", "claimRef", "namespace"])),
            };
            let attributes = match text(object, &["spec", "volumeAttributesClassName"]) {
                "" => "<unset>",
                name => name,
            };
            vec![
                word(&["spec", "capacity", "storage"]),
                access_modes(list(object, &["spec", "accessModes"])),
                word(&["spec", "persistentVolumeReclaimPolicy"]),
                status,
                claim,
                word(&["spec", "storageClassName"]),
                attributes.to_owned(),
                word(&["status", "reason"]),
                born,
                word(&["spec", "volumeMode"]),
            ]
        }
        ("apps", "deployments") => vec![
            ready(&["status", "readyReplicas"]),
            count(&["status", "updatedReplicas"]),
            count(&["status", "availableReplicas"]),
            born,
        ],
        ("apps", "statefulsets") => vec![ready(&["status", "readyReplicas"]), born],
        ("apps", "daemonsets") => vec![
            count(&["status", "desiredNumberScheduled"]),
            count(&["status", "currentNumberScheduled"]),
            count(&["status", "numberReady"]),
            born,
        ],
        ("apps", "replicasets") => vec![
            count(&["spec", "replicas"]),
            count(&["status", "replicas"]),
            count(&["status", "readyReplicas"]),
            born,
        ],
        ("batch", "jobs") => job(object, now, born),
        ("batch", "cronjobs") => {
            let last = match text(object, &["status", "lastScheduleTime"]) {
                "" => "<none>".to_owned(),
                time => age(time, now),
            };
            let suspended = at(object, &["spec", "suspend"]) == Some(&Value::Bool(true));
            vec![
                word(&["spec", "schedule"]),
                or_none(&["spec", "timeZone"]),
                if suspended { "True" } else { "False" }.to_owned(),
                list(object, &["status", "active"]).len().to_string(),
                last,
                born,
            ]
        }
        ("storage.k8s.io", "storageclasses") => {
            let expands = at(object, &["allowVolumeExpansion"]) == Some(&Value::Bool(true));
            vec![
                word(&["provisioner"]),
                word(&["reclaimPolicy"]),
                word(&["volumeBindingMode"]),
                expands.to_string(),
                born,
            ]
        }
        ("coordination.k8s.io", "leases") => vec![word(&["spec", "holderIdentity"]), born],
        ("apiextensions.k8s.io", _) => vec![word(&["metadata", "creationTimestamp"])],
        _ => vec![born],
    }
}

fn access_modes(modes: &[Value]) -> String {
    let short = modes.iter().filter_map(Value::as_str).map(|mode| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    short.collect::<Vec<_>>().join(",")
}

fn roles(node: &Value) -> String {
    let prefix = "node-role.kubernetes.io/";
    let labels = at(node, &["metadata", "labels"]).and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flat_map(|labels| labels.keys())
        .filter_map(|label| label.strip_prefix(prefix))
        .collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn pod_status(pod: &Value) -> String {
    let mut status = match text(pod, &["status", "reason"]) {
        "" => text(pod, &["status", "phase"]),
        reason => reason,
    }
    .to_owned();
    for container in list(pod, &["status", "containerStatuses"]) {
        for state in ["waiting", "terminated"] {
            let reason = text(container, &["state", state, "reason"]);
            if !reason.is_empty() {
                reason.clone_into(&mut status);
            } else if let Some(code) = number(container, &["state", "terminated", "exitCode"]) {
                status = format!("ExitCode:{code}");
            }
        }
    }
    if is_deleting(pod) && !matches!(status.as_str(), "Completed" | "Error") {
        "Terminating".to_owned()
    } else {
        status
    }
}

fn job(object: &Value, now: Timestamp, born: String) -> Vec<String> {
    let holds = |kind: &str| {
        list(object, &["status", "conditions"])
            .iter()
            .any(|condition| text(condition, &["type"]) == kind && text(condition, &["status"]) == "True")
    };
    let status = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if is_deleting(object) {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let succeeded = number(object, &["status", "succeeded"]).unwrap_or(0);
    let completions = match (
        number(object, &["spec", "completions"]),
        number(object, &["spec", "parallelism"]).unwrap_or(0),
    ) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let begin = text(object, &["status", "startTime"]).parse::<Timestamp>();
    let end = text(object, &["status", "completionTime"]).parse::<Timestamp>();
    let took = match (begin, end) {
        (Ok(begin), Ok(end)) => duration(end.duration_since(begin).as_secs()),
        (Ok(begin), Err(_)) => duration(now.duration_since(begin).as_secs()),
        _ => String::new(),
    };
    vec![status.to_owned(), completions, took, born]
}

fn event(event: &Value, now: Timestamp) -> Vec<String> {
    let times = [
        &["series", "lastObservedTime"][..],
        &["lastTimestamp"],
        &["eventTime"],
        &["firstTimestamp"],
        &["metadata", "creationTimestamp"],
    ];
    let last = times.iter().map(|path| text(event, path)).find(|time| !time.is_empty()).unwrap_or_default();
    let object = format!(
        "{}/{}",
        text(event, &["involvedObject", "kind"]).to_lowercase(),
        text(event, &["involvedObject", "name"])
    );
    vec![
        age(last, now),
        text(event, &["type"]).to_owned(),
        text(event, &["reason"]).to_owned(),
        object,
        text(event, &["message"]).trim().to_owned(),
    ]
}
