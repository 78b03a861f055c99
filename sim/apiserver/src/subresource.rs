//! Subresources other than status: scale, log, eviction, binding, finalize, token.

use http::Method;
use json::{Value, json};

use crate::access::{at, default, list, remove, set, text};
use crate::direct::{Delete, Patch};
use crate::failure::Failure;
use crate::request::{Answer, Query, Request};
use crate::resource::{Resource, Scale};
use crate::route::{Target, read_patch};
use crate::selector::label_selector_matches;
use crate::server::ApiServer;
use crate::state::State;

/// Answers a request to a subresource.
pub(crate) fn answer(
    server: &ApiServer,
    request: &Request,
    query: &Query,
    target: &Target,
) -> Result<Answer, Failure> {
    let resource = &target.resource;
    match (target.subresource.as_str(), &request.method) {
        ("log", &Method::GET) if resource.is("", "pods") => log(server, query, target),
        ("eviction", &Method::POST) if resource.is("", "pods") => evict(server, request, query, target),
        ("binding", &Method::POST) if resource.is("", "pods") => bind(server, request, query, target),
        ("finalize", &Method::PUT) if resource.is("", "namespaces") => {
            let mut call = request.call(query)?;
            let stored = server.lock().update(
                &mut call,
                resource,
                ("", &target.name),
                "finalize",
                request.value()?,
            )?;
            Ok(server.one(request, query, resource, &stored, 200))
        }
        ("token", &Method::POST) if resource.is("", "serviceaccounts") => {
            server.lock().get(resource, &target.namespace, &target.name)?;
            let mut token = request.value()?;
            default(&mut token, &["spec", "expirationSeconds"], 3600);
            set(
                &mut token,
                &["status"],
                json!({"token": format!("simulated:{}:{}", target.namespace, target.name)}),
            );
            Ok(Answer::json(201, &token))
        }
        ("ephemeralcontainers" | "resize", &Method::PATCH | &Method::PUT) if resource.is("", "pods") => {
            let mut call = request.call(query)?;
            let at = (target.namespace.as_str(), target.name.as_str());
            let mut state = server.lock();
            let stored = if request.method == Method::PUT {
                state.update(&mut call, resource, at, &target.subresource, request.value()?)?
            } else {
                state.patch(&mut call, resource, at, &target.subresource, read_patch(request, query)?)?
            };
            drop(state);
            Ok(server.one(request, query, resource, &stored, 200))
        }
        ("scale", method) if resource.scale.is_some() => scale(server, request, query, target, method),
        _ => Err(Failure::no_such_path()),
    }
}

/// Returns what a container wrote.
fn log(server: &ApiServer, query: &Query, target: &Target) -> Result<Answer, Failure> {
    let state = server.lock();
    let pod = state.get(&target.resource, &target.namespace, &target.name)?;
    let containers: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|field| list(&pod.value, &["spec", field]))
        .map(|container| text(container, &["name"]))
        .collect();
    let asked = query.get("container");
    let container = match (asked, containers.as_slice()) {
        ("", [only]) => *only,
        ("", _) => {
            let defaulted =
                at(&pod.value, &["metadata", "annotations", "kubectl.kubernetes.io/default-container"]);
            match defaulted.and_then(Value::as_str) {
                Some(name) => name,
                None => {
                    return Err(Failure::bad_request(format!(
                        "a container name must be specified for pod {}, choose one of: [{}]",
                        target.name,
                        containers.join(" ")
                    )));
                }
            }
        }
        (name, all) if all.contains(&name) => name,
        (name, _) => {
            return Err(Failure::bad_request(format!(
                "container {name} is not valid for pod {}",
                target.name
            )));
        }
    };
    let key = (target.namespace.clone(), target.name.clone(), container.to_owned());
    let Some(written) = state.logs.get(&key) else {
        let phase = text(&pod.value, &["status", "phase"]);
        if query.flag("previous") || phase != "Pending" {
            return Ok(Answer::text(""));
        }
        return Err(Failure::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: ContainerCreating",
            target.name
        )));
    };
    let mut shown = written.as_str();
    if let Some(lines) = query.number("tailLines")? {
        shown = tail(shown, lines as usize);
    }
    if let Some(limit) = query.number("limitBytes")? {
        let end = shown
            .char_indices()
            .map(|(index, letter)| index + letter.len_utf8())
            .take_while(|end| *end <= limit as usize)
            .last();
        shown = &shown[..end.unwrap_or(0)];
    }
    Ok(Answer::text(shown.to_owned()))
}

fn tail(text: &str, lines: usize) -> &str {
    let starts: Vec<usize> = text
        .split_inclusive('\n')
        .scan(0, |at, line| {
            let start = *at;
            *at += line.len();
            Some(start)
        })
        .collect();
    let skipped = starts.len().saturating_sub(lines);
    starts.get(skipped).map_or("", |start| &text[*start..])
}

/// Deletes a pod unless a disruption budget holds it.
fn evict(server: &ApiServer, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
    let mut call = request.call(query)?;
    let body = request.value()?;
    let mut state = server.lock();
    let pod = state.get(&target.resource, &target.namespace, &target.name)?;
    if let Some(budget) = exhausted_budget(&state, &target.namespace, &pod.value) {
        let mut failure = Failure::too_many_requests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            10,
        );
        failure.details = json!({"causes": [{
            "reason": "DisruptionBudget",
            "message": format!("The disruption budget {budget} needs more healthy pods before another pod can be evicted"),
        }]});
        return Err(failure);
    }
    let wanted = at(&body, &["deleteOptions"]).cloned().unwrap_or_default();
    let options = Delete {
        uid: at(&wanted, &["preconditions", "uid"]).and_then(Value::as_str).map(str::to_owned),
        grace_period_seconds: at(&wanted, &["gracePeriodSeconds"]).and_then(Value::as_i64),
        dry_run: call.dry_run,
        ..Delete::default()
    };
    state.delete(&mut call, &target.resource, (&target.namespace, &target.name), &options)?;
    Ok(Answer::json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

fn exhausted_budget(state: &State, namespace: &str, pod: &Value) -> Option<String> {
    let budgets = state.registry.by_kind("policy/v1", "PodDisruptionBudget")?;
    let labels = at(pod, &["metadata", "labels"]);
    if matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending") {
        return None;
    }
    state.store.shelves[budgets.shelf].objects.iter().find_map(|((at_namespace, name), budget)| {
        let selects = at_namespace == namespace
            && at(&budget.value, &["spec", "selector"])
                .is_some_and(|selector| label_selector_matches(selector, labels));
        let allowed =
            at(&budget.value, &["status", "disruptionsAllowed"]).and_then(Value::as_i64).unwrap_or(0);
        (selects && allowed <= 0).then(|| name.clone())
    })
}

/// Puts a pod on a node, as the scheduler does.
fn bind(server: &ApiServer, request: &Request, query: &Query, target: &Target) -> Result<Answer, Failure> {
    let mut call = request.call(query)?;
    let binding = request.value()?;
    let node = text(&binding, &["target", "name"]).to_owned();
    let mut state = server.lock();
    let pod = state.get(&target.resource, &target.namespace, &target.name)?;
    let bound = text(&pod.value, &["spec", "nodeName"]);
    if !bound.is_empty() {
        let why = format!("pod {} is already assigned to node \"{bound}\"", target.name);
        return Err(Failure::conflict("", "pods/binding", &target.name, &why));
    }
    let now = state.now();
    let mut object = (*pod.value).clone();
    set(&mut object, &["spec", "nodeName"], node);
    let mut conditions = list(&object, &["status", "conditions"]).to_vec();
    conditions.retain(|condition| text(condition, &["type"]) != "PodScheduled");
    conditions.push(
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    set(&mut object, &["status", "conditions"], conditions);
    state.replace(&mut call, &target.resource, "binding", &pod, object, None)?;
    Ok(Answer::json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

fn scale(
    server: &ApiServer,
    request: &Request,
    query: &Query,
    target: &Target,
    method: &Method,
) -> Result<Answer, Failure> {
    let Some(paths) = &target.resource.scale else { return Err(Failure::no_such_path()) };
    let at_name = (target.namespace.as_str(), target.name.as_str());
    let mut state = server.lock();
    let stored = state.get(&target.resource, at_name.0, at_name.1)?;
    let mut shown = scale_of(&target.resource, paths, &stored.value);
    match *method {
        Method::GET => return Ok(Answer::json(200, &shown)),
        Method::PUT => shown = request.value()?,
        Method::PATCH => match read_patch(request, query)? {
            Patch::Merge(change) | Patch::Strategic(change) => shown.merge(&change),
            Patch::Json(operations) => {
                crate::patch::json(&target.resource, &target.name, &mut shown, &operations)?;
            }
            Patch::Apply { object, .. } => shown.merge(&object),
        },
        _ => return Err(Failure::method_not_allowed()),
    }
    let given = text(&shown, &["metadata", "resourceVersion"]);
    if !given.is_empty() && given != stored.version.to_string() {
        return Err(Failure::modified(&target.resource.group, &target.resource.plural, &target.name));
    }
    let replicas = at(&shown, &["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
    let mut object = (*stored.value).clone();
    let path: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
    set(&mut object, &path, replicas);
    let mut call = request.call(query)?;
    let updated = state.replace(&mut call, &target.resource, "scale", &stored, object, None)?;
    Ok(Answer::json(200, &scale_of(&target.resource, paths, &updated.value)))
}

fn scale_of(resource: &Resource, paths: &Scale, object: &Value) -> Value {
    let count = |path: &[String]| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        at(object, &path).and_then(Value::as_i64).unwrap_or(0)
    };
    let selector = match &paths.label_selector {
        Some(path) => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            text(object, &path).to_owned()
        }
        None => at(object, &["spec", "selector", "matchLabels"])
            .and_then(Value::as_object)
            .map(|labels| {
                let pairs: Vec<String> = labels
                    .iter()
                    .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                    .collect();
                pairs.join(",")
            })
            .unwrap_or_default(),
    };
    let mut metadata = at(object, &["metadata"]).cloned().unwrap_or_default();
    for key in ["labels", "annotations", "managedFields", "finalizers", "ownerReferences", "generation"] {
        remove(&mut metadata, &[key]);
    }
    let _ = resource;
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": count(&paths.spec_replicas)},
        "status": {"replicas": count(&paths.status_replicas), "selector": selector},
    })
}
