//! Determinism: the same seed gives the same writes, whatever the order in which tasks are polled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::{ApiServer, Sequencing};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{client, server, tick};

/// Names the environment variable by which this test finds itself in a second process.
const CHILD: &str = "FIREDRILL_APISERVER_SEQUENCE_CHILD";

/// Counts its visits in the map's data and keeps a secret beside it.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<kube::Client>) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced((*client).clone());
    let secrets: Api<Secret> = Api::default_namespaced((*client).clone());
    let visits: u32 = map.data.as_ref().and_then(|data| data.get("visits")?.parse().ok()).unwrap_or(0);
    if visits < 10 {
        let patch = json!({"data": {"visits": (visits + 1).to_string()}});
        maps.patch(&map.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": map.name_any(), "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": map.name_any(), "uid": map.uid(), "controller": true,
        }]}, "stringData": {"visits": visits.to_string()}});
        secrets.patch(&map.name_any(), &PatchParams::apply("counter"), &Patch::Apply(&secret)).await?;
    }
    Ok(Action::requeue(Duration::from_mins(1)))
}

/// Lets stock Controllers work on one another's objects for some minutes; returns every write.
fn trace(sequencing: Sequencing) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let server = server(sequencing);
        let writes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&writes);
        server.tap(move |write| {
            let line = format!(
                "{} {:?} {} {}/{} {}",
                write.resource_version, write.verb, write.caller, write.namespace, write.name, write.object
            );
            seen.lock().expect("writes").push(line);
        });
        let mut controllers = Vec::new();
        for caller in ["one", "two"] {
            controllers.push(start(&server, caller));
        }
        let user: Api<ConfigMap> = Api::default_namespaced(client(&server, "user"));
        for n in 0..8 {
            let map: ConfigMap =
                serde_json::from_value(json!({"metadata": {"name": format!("m{n}")}})).expect("map");
            user.create(&PostParams::default(), &map).await.expect("created");
        }
        tokio::time::sleep(Duration::from_mins(8)).await;
        for n in 0..4 {
            user.delete(&format!("m{n}"), &kube::api::DeleteParams::background()).await.expect("deleted");
        }
        tokio::time::sleep(Duration::from_mins(10)).await;
        for controller in controllers {
            controller.abort();
        }
        std::mem::take(&mut *writes.lock().expect("writes"))
    })
}

fn start(server: &ApiServer, caller: &str) -> tokio::task::JoinHandle<()> {
    let client = client(server, caller);
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let controller =
        Controller::new(maps, watcher::Config::default()).owns(secrets, watcher::Config::default());
    tokio::spawn(
        controller
            .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(5)), Arc::new(client))
            .for_each(|_| std::future::ready(())),
    )
}

#[test]
fn two_processes_write_the_same() {
    let own = trace(tick());
    if std::env::var_os(CHILD).is_some() {
        println!("TRACE {}", own.join("\u{1f}"));
        return;
    }
    assert!(own.len() > 150, "the controllers worked: {}", own.len());
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &own {
        *kinds.entry(line.split(' ').nth(1).unwrap_or_default()).or_default() += 1;
    }
    assert!(
        kinds.get("Delete").is_some_and(|count| *count == 8),
        "maps and the secrets they own go: {kinds:?}"
    );
    for _ in 0..2 {
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["sequence::two_processes_write_the_same", "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("a second process");
        let text = String::from_utf8_lossy(&output.stdout);
        let other = text.lines().find_map(|line| line.split_once("TRACE ")).expect("its trace").1;
        let other: Vec<&str> = other.split('\u{1f}').collect();
        let first = own.iter().zip(&other).position(|(a, b)| a != b);
        assert_eq!((first, own.len()), (None, other.len()), "first difference at {first:?}");
    }
}
