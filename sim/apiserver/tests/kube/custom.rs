//! Custom resources at run time.

use apiserver::{ApiServer, Sequencing};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Api, Discovery};
use serde_json::{Value, json};

use super::objects::refused;
use super::{client, server, tick};

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "replicationsources.volsync.backube"},
        "spec": {
            "group": "volsync.backube", "scope": "Namespaced",
            "names": {"kind": "ReplicationSource", "plural": "replicationsources", "shortNames": ["rs"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Source", "type": "string", "jsonPath": ".spec.sourcePVC"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                    "spec": {"type": "object", "properties": {
                        "sourcePVC": {"type": "string"},
                        "paused": {"type": "boolean", "default": false},
                        "kopia": {"type": "object", "properties": {
                            "copyMethod": {"type": "string", "enum": ["Direct", "None", "Clone", "Snapshot"]},
                            "cacheCapacity": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true,
                                "pattern": "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$"},
                        }},
                    }},
                    "status": {"type": "object", "properties": {"lastSyncTime": {"type": "string", "format": "date-time"}}},
                }}},
            }],
        },
    })
}

async fn register(server: &ApiServer) -> Api<DynamicObject> {
    let client = client(server, "one");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::from_value(definition()).expect("definition");
    let created = definitions.create(&PostParams::default(), &definition).await.expect("registered");
    let conditions = created.status.and_then(|status| status.conditions).expect("conditions");
    assert!(
        conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
    );
    let kind = GroupVersionKind::gvk("volsync.backube", "v1alpha1", "ReplicationSource");
    Api::default_namespaced_with(client, &ApiResource::from_gvk(&kind))
}

fn source(spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": {"name": "x"}, "spec": spec}))
        .expect("object")
}

#[tokio::test(start_paused = true)]
async fn a_definition_makes_its_endpoints_live_and_its_schema_law() {
    let server = server(Sequencing::Immediate);
    let before: Api<DynamicObject> = Api::default_namespaced_with(
        client(&server, "one"),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("volsync.backube", "v1alpha1", "ReplicationSource")),
    );
    assert_eq!(refused(before.list(&ListParams::default()).await).0, 404);
    let sources = register(&server).await;
    let discovery = Discovery::new(client(&server, "one")).run().await.expect("discovery");
    assert!(discovery.has_group("volsync.backube"));

    let (code, message) = refused(
        sources.create(&PostParams::default(), &source(&json!({"kopia": {"copyMethod": "Foo"}}))).await,
    );
    assert_eq!(code, 422);
    assert_eq!(
        message,
        r#"ReplicationSource.volsync.backube "x" is invalid: spec.kopia.copyMethod: Unsupported value: "Foo": supported values: "Direct", "None", "Clone", "Snapshot""#
    );

    let unknown = source(&json!({"kopia": {"copyMethod": "Clone", "snapshotClassName": "a"}, "other": 1}));
    let strict = http::Request::post(
        "/apis/volsync.backube/v1alpha1/namespaces/default/replicationsources?fieldValidation=Strict",
    )
    .body(serde_json::to_vec(&unknown).expect("text"))
    .expect("request");
    let (code, message) = refused(client(&server, "one").request::<DynamicObject>(strict).await);
    assert_eq!(code, 400);
    assert!(message.contains(r#"strict decoding error: unknown field "spec.kopia.snapshotClassName", unknown field "spec.other""#), "{message}");
    let created = sources.create(&PostParams::default(), &unknown).await.expect("pruned");
    assert_eq!(created.data["spec"], json!({"paused": false, "kopia": {"copyMethod": "Clone"}}));
    assert_eq!(created.metadata.generation, Some(1));
}

#[tokio::test(start_paused = true)]
async fn status_has_its_own_door() {
    let server = server(Sequencing::Immediate);
    let sources = register(&server).await;
    let mut object = source(&json!({"sourcePVC": "a"}));
    object.data["status"] = json!({"lastSyncTime": "2026-01-01T00:00:00Z"});
    let created = sources.create(&PostParams::default(), &object).await.expect("created");
    assert_eq!(created.data.get("status"), None);
    let patch = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"sourcePVC": "b"}, "status": {"lastSyncTime": "2026-01-02T00:00:00Z"}});
    let patched =
        sources.patch_status("x", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patched");
    assert_eq!(patched.data["spec"]["sourcePVC"], "a");
    assert_eq!(patched.data["status"]["lastSyncTime"], "2026-01-02T00:00:00Z");
    assert_eq!((patched.metadata.generation, patched.metadata.labels), (Some(1), None));
    let wrong = json!({"status": {"lastSyncTime": "soon"}});
    let (code, message) =
        refused(sources.patch_status("x", &PatchParams::default(), &Patch::Merge(&wrong)).await);
    assert_eq!(code, 422);
    assert!(message.contains("status.lastSyncTime in body must be of type date-time"), "{message}");
    let changed = sources
        .patch("x", &PatchParams::default(), &Patch::Merge(json!({"spec": {"sourcePVC": "c"}})))
        .await
        .expect("patched");
    assert_eq!(changed.metadata.generation, Some(2));
    let mut blind = changed.clone();
    blind.metadata.resource_version = None;
    let (code, message) = refused(sources.replace("x", &PostParams::default(), &blind).await);
    assert_eq!(code, 422);
    assert_eq!(
        message,
        r#"ReplicationSource.volsync.backube "x" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"#
    );
    let strategic = sources.patch("x", &PatchParams::default(), &Patch::Strategic(json!({"spec": {}}))).await;
    assert_eq!(refused(strategic).0, 415);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_definition_takes_its_objects_along() {
    let server = server(tick());
    let sources = register(&server).await;
    sources.create(&PostParams::default(), &source(&json!({}))).await.expect("created");
    let definitions: Api<CustomResourceDefinition> = Api::all(client(&server, "one"));
    definitions
        .delete("replicationsources.volsync.backube", &DeleteParams::default())
        .await
        .expect("deleted");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(refused(sources.list(&ListParams::default()).await).0, 404);
    assert_eq!(refused(definitions.get("replicationsources.volsync.backube").await).0, 404);
    let again = register(&server).await;
    assert_eq!(again.list(&ListParams::default()).await.expect("list").items.len(), 0);
}
