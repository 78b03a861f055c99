//! A controller of your own on an embedded cluster: a virtual day in milliseconds.
//!
//! The controller below is an ordinary kube-rs one: it keeps `data.greeting` of every labelled ConfigMap at
//! `hello`, and looks again every hour. Replace it by yours; copy the rest.
//! Run with `cargo run -p testbed --example own_controller`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use json::json;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{Controller, controller::Action, watcher},
};
use testbed::bed::Embedded;

struct Context {
    client: Client,
    looks: Arc<AtomicU32>,
}

async fn reconcile(object: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, kube::Error> {
    context.looks.fetch_add(1, Ordering::Relaxed);
    if object.data.as_ref().and_then(|data| data.get("greeting")).is_none_or(|greeting| greeting != "hello") {
        let api: Api<ConfigMap> =
            Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"data": {"greeting": "hello"}}));
        api.patch(&object.name_any(), &PatchParams::default(), &patch).await?;
    }
    Ok(Action::requeue(Duration::from_secs(3600)))
}

async fn run(client: Client, looks: Arc<AtomicU32>) {
    let watched = watcher::Config::default().labels("greet=yes");
    Controller::new(Api::<ConfigMap>::all(client.clone()), watched)
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_secs(5)),
            Arc::new(Context { client, looks }),
        )
        .for_each(|_| async {})
        .await;
}

#[expect(clippy::disallowed_methods, reason = "an example shows how little real time a virtual day takes")]
fn main() {
    let begin = std::time::Instant::now();
    let looks = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&looks);
    let mut bed =
        Embedded::builder().seed(7).controller(move |client| run(client, Arc::clone(&counter))).build();

    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "card", "namespace": "default", "labels": {"greet": "yes"}},
    });
    bed.create(&object).expect("a ConfigMap");
    let greeted = bed.wait_until("a greeting", Duration::from_secs(60), |bed| {
        (bed.field("ConfigMap", "default", "card", "/data/greeting") == "hello").then_some(bed.now())
    });
    println!("greeted at {}", greeted.expect("the controller runs"));

    bed.patch("ConfigMap", "default", "card", &json!({"data": {"greeting": "go away"}}))
        .expect("a rude edit");
    bed.advance(Duration::from_secs(24 * 3600));
    assert_eq!(bed.field("ConfigMap", "default", "card", "/data/greeting"), "hello");
    println!(
        "{}: {} looks in a virtual day, {:?} real",
        bed.now(),
        looks.load(Ordering::Relaxed),
        begin.elapsed()
    );
}
