//! Pods, and the pod templates of everything that makes pods.

use json::{Map, Value, json};

use crate::access::{self, at, default, list, list_mut, map_mut, number, set, text};
use crate::failure::{Cause, Failure, quoted};
use crate::state::State;

const TOKEN_MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Defaults of a pod.
pub(super) fn default_fields(pod: &mut Value) {
    default_spec(pod, &["spec"]);
    let Some(spec) = pod.get_mut("spec") else { return };
    default(spec, &["enableServiceLinks"], true);
    // Limits stand in for requests that are not given.
    for field in ["containers", "initContainers"] {
        for container in list_mut(spec, &[field]) {
            let limits = at(container, &["resources", "limits"]).and_then(Value::as_object).cloned();
            if let Some(limits) = limits
                && let Some(requests) = map_mut(container, &["resources", "requests"])
            {
                for (name, value) in limits {
                    requests.entry(name).or_insert(value);
                }
            }
        }
    }
}

/// Defaults of a pod spec, in a pod or a template.
pub(super) fn default_spec(object: &mut Value, path: &[&str]) {
    let Some(spec) = access::at_mut(object, path).filter(|spec| spec.is_object()) else { return };
    default(spec, &["restartPolicy"], "Always");
    default(spec, &["dnsPolicy"], "ClusterFirst");
    default(spec, &["schedulerName"], "default-scheduler");
    default(spec, &["terminationGracePeriodSeconds"], 30);
    default(spec, &["securityContext"], json!({}));
    // The older spelling of the service account follows the newer one.
    let account = match (text(spec, &["serviceAccountName"]), text(spec, &["serviceAccount"])) {
        ("", old) => old.to_owned(),
        (new, _) => new.to_owned(),
    };
    if account.is_empty() {
        super::drop_empty(spec, &["serviceAccountName"]);
        super::drop_empty(spec, &["serviceAccount"]);
    } else {
        set(spec, &["serviceAccountName"], account.clone());
        set(spec, &["serviceAccount"], account);
    }
    let is_on_host = at(spec, &["hostNetwork"]) == Some(&json!(true));
    for field in ["initContainers", "containers"] {
        for container in list_mut(spec, &[field]) {
            default_container(container, is_on_host);
        }
    }
    for volume in list_mut(spec, &["volumes"]) {
        default_volume(volume);
    }
    drop_empty_lists(spec);
}

/// Go leaves empty lists and maps of these fields out when it writes them.
fn drop_empty_lists(spec: &mut Value) {
    if let Some(spec) = spec.as_object_mut() {
        let omitted = [
            "volumes",
            "initContainers",
            "imagePullSecrets",
            "tolerations",
            "hostAliases",
            "nodeSelector",
            "topologySpreadConstraints",
            "readinessGates",
        ];
        spec.retain(|key, value| !(omitted.contains(&key.as_str()) && is_empty(value)));
        spec.retain(|_, value| !value.is_null());
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn default_container(container: &mut Value, is_on_host: bool) {
    if !container.is_object() {
        return;
    }
    let image = text(container, &["image"]);
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    let has_digest = image.contains('@');
    let is_latest = !has_digest && tag.is_none_or(|tag| tag == "latest");
    default(container, &["imagePullPolicy"], if is_latest { "Always" } else { "IfNotPresent" });
    default(container, &["terminationMessagePath"], "/dev/termination-log");
    default(container, &["terminationMessagePolicy"], "File");
    default(container, &["resources"], json!({}));
    if let Some(container) = container.as_object_mut() {
        let omitted = ["command", "args", "env", "envFrom", "ports", "volumeMounts", "volumeDevices"];
        container.retain(|key, value| !(omitted.contains(&key.as_str()) && is_empty(value)));
        container.retain(|_, value| !value.is_null());
    }
    for port in list_mut(container, &["ports"]) {
        default(port, &["protocol"], "TCP");
        if is_on_host && let Some(number) = number(port, &["containerPort"]) {
            default(port, &["hostPort"], number);
        }
    }
    for variable in list_mut(container, &["env"]) {
        // An empty value is written as no value.
        super::drop_empty(variable, &["value"]);
        if at(variable, &["valueFrom", "fieldRef"]).is_some() {
            default(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
        }
        if at(variable, &["valueFrom", "resourceFieldRef"]).is_some() {
            default(variable, &["valueFrom", "resourceFieldRef", "divisor"], "0");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                default(probe, &[field], value);
            }
            if at(probe, &["httpGet"]).is_some() {
                default(probe, &["httpGet", "path"], "/");
                default(probe, &["httpGet", "scheme"], "HTTP");
            }
        }
    }
}

fn default_volume(volume: &mut Value) {
    let Some(map) = volume.as_object() else { return };
    if map.keys().all(|key| key == "name") {
        set(volume, &["emptyDir"], json!({}));
    }
    for kind in ["secret", "configMap", "projected", "downwardAPI"] {
        if at(volume, &[kind]).is_some() {
            default(volume, &[kind, "defaultMode"], 420);
        }
    }
    if at(volume, &["hostPath"]).is_some() {
        default(volume, &["hostPath", "type"], "");
    }
    for source in list_mut(volume, &["projected", "sources"]) {
        if at(source, &["serviceAccountToken"]).is_some() {
            default(source, &["serviceAccountToken", "expirationSeconds"], 3600);
        }
        for item in list_mut(source, &["downwardAPI", "items"]) {
            if at(item, &["fieldRef"]).is_some() {
                default(item, &["fieldRef", "apiVersion"], "v1");
            }
        }
    }
}

/// What the plug-ins ServiceAccount, DefaultTolerationSeconds and Priority add.
pub(super) fn fill_new(state: &mut State, pod: &mut Value) -> Result<(), Failure> {
    let namespace = access::namespace(pod).to_owned();
    default(pod, &["spec", "serviceAccountName"], "default");
    let account = text(pod, &["spec", "serviceAccountName"]).to_owned();
    set(pod, &["spec", "serviceAccount"], account.clone());
    let accounts = state.resource("v1", "ServiceAccount")?;
    let Some(found) = state.store.get(&accounts, &namespace, &account).cloned() else {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {} not found",
            quoted(&account)
        );
        return Err(Failure::forbidden("", "pods", access::name(pod), &why));
    };
    let wants_token = at(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| at(&found.value, &["automountServiceAccountToken"]))
        .and_then(Value::as_bool)
        .unwrap_or(true);
    if wants_token {
        mount_token(state, pod);
    }
    let secrets = list(&found.value, &["imagePullSecrets"]);
    if !secrets.is_empty() {
        default(pod, &["spec", "imagePullSecrets"], secrets.to_vec());
    }
    tolerate_node_trouble(pod);
    let class = text(pod, &["spec", "priorityClassName"]).to_owned();
    let classes = state.resource("scheduling.k8s.io/v1", "PriorityClass")?;
    let (mut priority, mut preemption) = (0, "PreemptLowerPriority".to_owned());
    match class.as_str() {
        "" => {}
        "system-node-critical" => priority = 2_000_001_000,
        "system-cluster-critical" => priority = 2_000_000_000,
        name => {
            let Some(found) = state.store.get(&classes, "", name) else {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(Failure::forbidden("", "pods", access::name(pod), &why));
            };
            priority = number(&found.value, &["value"]).unwrap_or(0);
            let policy = text(&found.value, &["preemptionPolicy"]);
            if !policy.is_empty() {
                policy.clone_into(&mut preemption);
            }
        }
    }
    set(pod, &["spec", "priority"], priority);
    default(pod, &["spec", "preemptionPolicy"], preemption);
    let quality = quality(pod);
    set(pod, &["status"], json!({"phase": "Pending", "qosClass": quality}));
    Ok(())
}

fn mount_token(state: &mut State, pod: &mut Value) {
    let is_mounted = |container: &Value| {
        list(container, &["volumeMounts"]).iter().any(|mount| text(mount, &["mountPath"]) == TOKEN_MOUNT)
    };
    let containers = ["containers", "initContainers"].iter().flat_map(|field| list(pod, &["spec", field]));
    if containers.clone().count() == 0 || containers.clone().all(is_mounted) {
        return;
    }
    let volume = format!("kube-api-access-{}", state.next_suffix());
    let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_MOUNT});
    for field in ["containers", "initContainers"] {
        for container in list_mut(pod, &["spec", field]) {
            if !is_mounted(container) {
                push(container, "volumeMounts", mount.clone());
            }
        }
    }
    let source = json!({"name": volume, "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ],
        "defaultMode": 420,
    }});
    if let Some(spec) = pod.get_mut("spec") {
        push(spec, "volumes", source);
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    if let Some(map) = object.as_object_mut() {
        match map.entry(field).or_insert_with(|| json!([])) {
            Value::Array(items) => items.push(item),
            other => *other = json!([item]),
        }
    }
}

fn tolerate_node_trouble(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_tolerated = list(pod, &["spec", "tolerations"]).iter().any(|toleration| {
            (text(toleration, &["key"]) == key || text(toleration, &["key"]).is_empty())
                && matches!(text(toleration, &["effect"]), "NoExecute" | "")
        });
        if !is_tolerated && let Some(spec) = pod.get_mut("spec") {
            push(
                spec,
                "tolerations",
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
}

/// The quality of service that follows from requests and limits.
fn quality(pod: &Value) -> &'static str {
    let containers: Vec<&Value> =
        ["containers", "initContainers"].iter().flat_map(|field| list(pod, &["spec", field])).collect();
    let part = |container: &Value, part: &str| -> Map {
        let all = at(container, &["resources", part]).and_then(Value::as_object).cloned().unwrap_or_default();
        all.into_iter().filter(|(name, _)| name == "cpu" || name == "memory").collect()
    };
    if containers
        .iter()
        .all(|container| part(container, "requests").is_empty() && part(container, "limits").is_empty())
    {
        return "BestEffort";
    }
    let is_guaranteed = containers.iter().all(|container| {
        let limits = part(container, "limits");
        limits.len() == 2 && part(container, "requests") == limits
    });
    if is_guaranteed { "Guaranteed" } else { "Burstable" }
}

/// Checks a pod spec.
pub(super) fn validate_spec(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let volumes: Vec<&str> = list(spec, &["volumes"]).iter().map(|volume| text(volume, &["name"])).collect();
    for (index, name) in volumes.iter().enumerate() {
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.volumes[{index}].name"), ""));
        } else if volumes[..index].contains(name) {
            causes.push(Cause::duplicate(format!("{path}.volumes[{index}].name"), &json!(name)));
        }
    }
    if list(spec, &["containers"]).is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for field in ["initContainers", "containers"] {
        for (index, container) in list(spec, &[field]).iter().enumerate() {
            let at = format!("{path}.{field}[{index}]");
            let name = text(container, &["name"]);
            if name.is_empty() {
                causes.push(Cause::required(format!("{at}.name"), ""));
            } else {
                let wrong = crate::validate::label(name);
                causes.extend(
                    wrong.iter().map(|detail| Cause::invalid(format!("{at}.name"), &json!(name), detail)),
                );
            }
            if names.contains(&name) {
                causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
            }
            names.push(name);
            if text(container, &["image"]).trim().is_empty() {
                causes.push(Cause::required(format!("{at}.image"), ""));
            }
            for (index, mount) in list(container, &["volumeMounts"]).iter().enumerate() {
                let volume = text(mount, &["name"]);
                if !volumes.contains(&volume) {
                    causes.push(Cause {
                        field: format!("{at}.volumeMounts[{index}].name"),
                        reason: "FieldValueNotFound",
                        message: format!("Not found: {}", quoted(volume)),
                    });
                }
                if text(mount, &["mountPath"]).is_empty() {
                    causes.push(Cause::required(format!("{at}.volumeMounts[{index}].mountPath"), ""));
                }
            }
        }
    }
    let policy = text(spec, &["restartPolicy"]);
    if !matches!(policy, "Always" | "OnFailure" | "Never") {
        let supported = ["Always".to_owned(), "Never".to_owned(), "OnFailure".to_owned()];
        causes.push(Cause::unsupported(format!("{path}.restartPolicy"), &json!(policy), &supported));
    }
    causes
}

/// Checks that a pod's spec only changes where it may.
pub(super) fn validate_update(before: &Value, after: &Value) -> Vec<Cause> {
    let frozen = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for field in ["containers", "initContainers"] {
            for container in list_mut(&mut spec, &[field]) {
                access::remove(container, &["image"]);
                access::remove(container, &["imagePullPolicy"]);
            }
        }
        for field in
            ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"]
        {
            access::remove(&mut spec, &[field]);
        }
        spec
    };
    if frozen(before) == frozen(after) {
        return Vec::new();
    }
    vec![Cause::forbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    )]
}

/// The seconds that a pod gets to end.
pub(super) fn grace_period(pod: &Value, asked: Option<i64>) -> i64 {
    let is_idle = text(pod, &["spec", "nodeName"]).is_empty()
        || matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    let grace =
        asked.or_else(|| number(pod, &["spec", "terminationGracePeriodSeconds"])).unwrap_or(30).max(0);
    if is_idle { 0 } else { grace }
}
