//! Server-side apply: ownership, conflicts, removal.

use apiserver::Sequencing;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::objects::refused;
use super::{client, server};

fn map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

#[tokio::test(start_paused = true)]
async fn a_field_belongs_to_who_applied_it() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    let apply = |manager: &'static str, data: Value, force: bool| {
        let maps = maps.clone();
        async move {
            let mut params = PatchParams::apply(manager);
            params.force = force;
            maps.patch("x", &params, &Patch::Apply(map(&data))).await
        }
    };
    let data = |map: ConfigMap| serde_json::to_value(map.data.unwrap_or_default()).expect("data");
    apply("red", json!({"a": "1", "b": "1"}), false).await.expect("created by apply");
    apply("blue", json!({"c": "1", "b": "1"}), false).await.expect("equal values are shared");
    let (code, message) = refused(apply("blue", json!({"a": "2"}), false).await);
    assert_eq!(
        (code, message.as_str()),
        (409, r#"Apply failed with 1 conflict: conflict with "red": .data.a"#)
    );
    // `b` is still wanted by red, `c` by nobody.
    assert_eq!(
        data(apply("blue", json!({"d": "1"}), false).await.expect("applied")),
        json!({"a": "1", "b": "1", "d": "1"})
    );
    assert_eq!(
        data(apply("red", json!({"a": "1"}), false).await.expect("applied")),
        json!({"a": "1", "d": "1"})
    );
    let forced = apply("blue", json!({"a": "2", "d": "1"}), true).await.expect("forced");
    assert_eq!(data(forced), json!({"a": "2", "d": "1"}));
    // Red lost `a` by force, so leaving it out does not remove it.
    assert_eq!(data(apply("red", json!({}), false).await.expect("applied")), json!({"a": "2", "d": "1"}));
    // A patch takes ownership of what it changes.
    let changed = Patch::Merge(json!({"data": {"d": "9"}}));
    maps.patch(
        "x",
        &PatchParams { field_manager: Some("hand".to_owned()), ..PatchParams::default() },
        &changed,
    )
    .await
    .expect("patched");
    let (code, message) = refused(apply("blue", json!({"a": "2", "d": "1"}), false).await);
    assert_eq!(
        (code, message.as_str()),
        (409, r#"Apply failed with 1 conflict: conflict with "hand" using v1: .data.d"#)
    );
}

#[tokio::test(start_paused = true)]
async fn applying_the_same_twice_writes_once() {
    let server = server(Sequencing::Immediate);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server, "one"));
    let params = PatchParams::apply("red");
    let first = maps.patch("x", &params, &Patch::Apply(map(&json!({"a": "1"})))).await.expect("applied");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let second = maps.patch("x", &params, &Patch::Apply(map(&json!({"a": "1"})))).await.expect("applied");
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
    let managed = first.metadata.managed_fields.expect("managed fields");
    assert_eq!(managed.len(), 1);
    assert_eq!(
        managed[0].fields_v1.as_ref().map(|fields| fields.0.clone()),
        Some(json!({"f:data": {"f:a": {}}}))
    );
}

#[tokio::test(start_paused = true)]
async fn list_items_are_owned_by_their_keys() {
    let server = server(Sequencing::Immediate);
    let deployments: Api<Deployment> = Api::default_namespaced(client(&server, "one"));
    let wanted = |containers: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}},
        })
    };
    let red = PatchParams::apply("red");
    deployments.patch("x", &red, &Patch::Apply(wanted(json!([{"name": "c", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "d", "image": "1"}])))).await.expect("applied");
    let sidecar = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "2"}]}}}});
    deployments.patch("x", &PatchParams::apply("blue"), &Patch::Apply(sidecar)).await.expect("applied");
    let applied = deployments
        .patch("x", &red, &Patch::Apply(wanted(json!([{"name": "c", "image": "3"}]))))
        .await
        .expect("applied");
    let containers = applied.spec.and_then(|spec| spec.template.spec).expect("spec").containers;
    let shown: Vec<(String, String, usize)> = containers
        .into_iter()
        .map(|c| (c.name, c.image.unwrap_or_default(), c.env.unwrap_or_default().len()))
        .collect();
    assert_eq!(shown, [("c".to_owned(), "3".to_owned(), 0), ("side".to_owned(), "2".to_owned(), 0)]);
}
