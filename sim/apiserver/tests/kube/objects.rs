//! Reading and writing objects: what a permissive double would get wrong.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::json;

use super::{client, server, tick};
use apiserver::Sequencing;

fn made<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("a typed object")
}

fn config(name: &str) -> ConfigMap {
    made(json!({"metadata": {"name": name}, "data": {"a": "1"}}))
}

/// The status of a refused request.
pub(crate) fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_writers_is_refused() {
    let server = server(tick());
    let jobs: Api<Job> = Api::default_namespaced(client(&server, "one"));
    let job: Job = made(json!({
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }));
    let created = jobs.create(&PostParams::default(), &job).await.expect("created");
    let mut first = created.clone();
    first.spec.as_mut().expect("spec").suspend = Some(true);
    let mut second = created.clone();
    second.spec.as_mut().expect("spec").parallelism = Some(3);
    jobs.replace("x", &PostParams::default(), &first).await.expect("the first writer wins");
    let (code, message) = refused(jobs.replace("x", &PostParams::default(), &second).await);
    assert_eq!(code, 409);
    assert_eq!(
        message,
        r#"Operation cannot be fulfilled on jobs.batch "x": the object has been modified; please apply your changes to the latest version and try again"#
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_name_twice_and_a_missing_name_are_refused() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    maps.create(&PostParams::default(), &config("x")).await.expect("created");
    let (code, message) = refused(maps.create(&PostParams::default(), &config("x")).await);
    assert_eq!((code, message.as_str()), (409, r#"configmaps "x" already exists"#));
    let (code, message) = refused(maps.get("y").await);
    assert_eq!((code, message.as_str()), (404, r#"configmaps "y" not found"#));
    let (code, message) = refused(maps.create(&PostParams::default(), &config("Bad_Name")).await);
    assert_eq!(code, 422);
    assert!(message.starts_with(r#"ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of"#), "{message}");
    let elsewhere: Api<ConfigMap> = Api::namespaced(client(&server, "one"), "nowhere");
    let (code, message) = refused(elsewhere.create(&PostParams::default(), &config("x")).await);
    assert_eq!((code, message.as_str()), (404, r#"namespaces "nowhere" not found"#));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_is_no_write() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    let created = maps.create(&PostParams::default(), &config("x")).await.expect("created");
    let again = maps.replace("x", &PostParams::default(), &created).await.expect("replaced");
    assert_eq!(again.metadata.resource_version, created.metadata.resource_version);
    let patched = maps
        .patch("x", &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "1"}})))
        .await
        .expect("patched");
    assert_eq!(patched.metadata.resource_version, created.metadata.resource_version);
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_do_not_leak_into_each_other() {
    let server = server(Sequencing::Immediate);
    let jobs: Api<Job> = Api::default_namespaced(client(&server, "one"));
    let job: Job = made(json!({
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
        "status": {"succeeded": 9},
    }));
    let created = jobs.create(&PostParams::default(), &job).await.expect("created");
    assert_eq!(created.status.as_ref().and_then(|status| status.succeeded), None);
    assert_eq!(created.metadata.generation, Some(1));
    let by_status = json!({"spec": {"parallelism": 5}, "status": {"active": 1}});
    let patched =
        jobs.patch_status("x", &PatchParams::default(), &Patch::Merge(&by_status)).await.expect("patched");
    assert_eq!(patched.spec.as_ref().and_then(|spec| spec.parallelism), Some(1));
    assert_eq!(patched.status.as_ref().and_then(|status| status.active), Some(1));
    assert_eq!(patched.metadata.generation, Some(1));
    let by_spec = json!({"spec": {"parallelism": 5}, "status": {"active": 7}});
    let patched = jobs.patch("x", &PatchParams::default(), &Patch::Merge(&by_spec)).await.expect("patched");
    assert_eq!(patched.status.as_ref().and_then(|status| status.active), Some(1));
    assert_eq!(patched.metadata.generation, Some(2));
    let (code, message) = refused(
        jobs.patch(
            "x",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}})),
        )
        .await,
    );
    assert_eq!(code, 422);
    assert!(
        message.starts_with(r#"Job.batch "x" is invalid: spec.template: Invalid value: {"#)
            && message.ends_with("field is immutable"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_holds_a_deleted_object() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    let mut held = config("x");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.expect("created");
    let marked = maps.delete("x", &DeleteParams::default()).await.expect("deletion is accepted");
    let marked = marked.left().expect("the object, since it is held");
    assert!(marked.metadata.deletion_timestamp.is_some());
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let (code, message) = refused(maps.patch("x", &PatchParams::default(), &Patch::Merge(&more)).await);
    assert_eq!(code, 422);
    assert!(message.contains("no new finalizers can be added if the object is being deleted"), "{message}");
    maps.patch("x", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await
        .expect("released");
    assert_eq!(refused(maps.get("x").await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn preconditions_guard_a_deletion() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    maps.create(&PostParams::default(), &config("x")).await.expect("created");
    let params = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some("other".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let (code, message) = refused(maps.delete("x", &params).await);
    assert_eq!(code, 409);
    assert!(
        message.contains("Precondition failed: UID in precondition: other, UID in object meta: "),
        "{message}"
    );
}

fn owned(name: &str, owner: &ConfigMap, blocks: bool) -> ConfigMap {
    let mut map = config(name);
    map.metadata.owner_references = Some(vec![made(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid, "blockOwnerDeletion": blocks,
    }))]);
    map
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner_or_are_orphaned() {
    let server = server(tick());
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    for (policy, survives) in [
        (PropagationPolicy::Background, false),
        (PropagationPolicy::Foreground, false),
        (PropagationPolicy::Orphan, true),
    ] {
        let owner = maps.create(&PostParams::default(), &config("owner")).await.expect("owner");
        let child = maps.create(&PostParams::default(), &owned("child", &owner, true)).await.expect("child");
        maps.create(&PostParams::default(), &owned("grandchild", &child, true)).await.expect("grandchild");
        let params = DeleteParams { propagation_policy: Some(policy.clone()), ..DeleteParams::default() };
        maps.delete("owner", &params).await.expect("deleted");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(refused(maps.get("owner").await).0, 404, "{policy:?}");
        assert_eq!(maps.get_opt("child").await.expect("read").is_some(), survives, "{policy:?}");
        assert_eq!(maps.get_opt("grandchild").await.expect("read").is_some(), survives, "{policy:?}");
        if survives {
            assert_eq!(maps.get("child").await.expect("child").metadata.owner_references, None);
            maps.delete("child", &DeleteParams::background()).await.expect("deleted");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
    // An owner that was never there counts as gone.
    let mut ghost = config("ghost");
    ghost.metadata.uid = Some("ffffffff-0000-4000-8000-000000000000".to_owned());
    maps.create(&PostParams::default(), &owned("lost", &ghost, false)).await.expect("created");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(refused(maps.get("lost").await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_job_deleted_without_a_policy_keeps_its_pods() {
    let server = server(tick());
    let jobs: Api<Job> = Api::default_namespaced(client(&server, "one"));
    let pods: Api<Pod> = Api::default_namespaced(client(&server, "one"));
    let job: Job = made(json!({
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }));
    let job = jobs.create(&PostParams::default(), &job).await.expect("job");
    let pod: Pod = made(json!({
        "metadata": {"generateName": "x-", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": job.metadata.uid, "controller": true}]},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    }));
    let pod = pods.create(&PostParams::default(), &pod).await.expect("pod");
    let name = pod.metadata.name.expect("a generated name");
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    jobs.delete("x", &DeleteParams::default()).await.expect("deleted");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let kept = pods.get(&name).await.expect("the pod stays");
    assert_eq!(kept.metadata.owner_references, None);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_when_it_is_empty_and_takes_nothing_new() {
    let server = server(tick());
    let namespaces: Api<Namespace> = Api::all(client(&server, "one"));
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "one"), "app");
    let created = namespaces
        .create(&PostParams::default(), &made(json!({"metadata": {"name": "app"}})))
        .await
        .expect("namespace");
    assert_eq!(created.metadata.labels.expect("labels")["kubernetes.io/metadata.name"], "app");
    let mut held = config("held");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.expect("created");
    maps.create(&PostParams::default(), &config("free")).await.expect("created");
    namespaces.delete("app", &DeleteParams::default()).await.expect("deletion begins");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let namespace = namespaces.get("app").await.expect("still there");
    let status = namespace.status.expect("status");
    assert_eq!(status.phase.as_deref(), Some("Terminating"));
    let condition = status
        .conditions
        .expect("conditions")
        .into_iter()
        .find(|condition| condition.type_ == "NamespaceFinalizersRemaining")
        .expect("condition");
    assert_eq!(
        condition.message.as_deref(),
        Some(
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        )
    );
    let (code, message) = refused(maps.create(&PostParams::default(), &config("late")).await);
    assert_eq!(
        (code, message.as_str()),
        (
            403,
            r#"configmaps "late" is forbidden: unable to create new content in namespace app because it is being terminated"#
        )
    );
    assert_eq!(maps.list(&ListParams::default()).await.expect("list").items.len(), 1);
    maps.patch("held", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await
        .expect("released");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(refused(namespaces.get("app").await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_waits_for_its_kubelet() {
    let server = server(Sequencing::Immediate);
    let pods: Api<Pod> = Api::default_namespaced(client(&server, "one"));
    let pod: Pod = made(
        json!({"metadata": {"name": "x"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}),
    );
    pods.create(&PostParams::default(), &pod).await.expect("created");
    pods.patch_status("x", &PatchParams::default(), &Patch::Merge(json!({"status": {"phase": "Running"}})))
        .await
        .expect("running");
    let marked = pods.delete("x", &DeleteParams::default()).await.expect("accepted").left().expect("the pod");
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    assert!(pods.get("x").await.is_ok());
    pods.delete("x", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await
        .expect("ended");
    assert_eq!(refused(pods.get("x").await).0, 404);
    let nobody: Pod = made(
        json!({"metadata": {"name": "y"}, "spec": {"serviceAccountName": "ghost", "containers": [{"name": "c", "image": "i"}]}}),
    );
    let (code, message) = refused(pods.create(&PostParams::default(), &nobody).await);
    assert_eq!(
        (code, message.as_str()),
        (
            403,
            r#"pods "y" is forbidden: error looking up service account default/ghost: serviceaccount "ghost" not found"#
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_takes_its_log_along() {
    let server = server(Sequencing::Immediate);
    let pods: Api<Pod> = Api::default_namespaced(client(&server, "one"));
    let pod: Pod =
        made(json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}));
    pods.create(&PostParams::default(), &pod).await.expect("created");
    server.append_pod_log("default", "x", "c", "one\n");
    server.append_pod_log("default", "y", "c", "other\n");
    assert_eq!(pods.logs("x", &LogParams::default()).await.expect("a log"), "one\n");
    pods.delete("x", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await
        .expect("deleted");
    pods.create(&PostParams::default(), &pod).await.expect("created again");
    let (code, message) = refused(pods.logs("x", &LogParams::default()).await);
    assert_eq!(code, 400, "{message}");
    let other: Pod =
        made(json!({"metadata": {"name": "y"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}));
    pods.create(&PostParams::default(), &other).await.expect("created");
    assert_eq!(pods.logs("y", &LogParams::default()).await.expect("a log"), "other\n");
}
