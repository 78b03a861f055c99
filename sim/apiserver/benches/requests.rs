//! Requests per second through the tower service, against a service that does nothing.
//!
//! The yardstick is one virtual year of an hourly sync, about 500,000 requests: at 100,000 requests per CPU
//! minute (600 µs each) that is five minutes; the aim is to stay far below.

use std::sync::Arc;
use std::time::Duration;

use apiserver::{ApiServer, ManagedFields, Options, Sequencing};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use json::{Value, json};
use tower::{Service, ServiceExt as _};

fn server(sequencing: Sequencing, managed_fields: ManagedFields) -> ApiServer {
    let mut options = Options::new(Arc::new(|| Timestamp::UNIX_EPOCH), 1).sequencing(sequencing);
    options.managed_fields = managed_fields;
    let server = ApiServer::new(options);
    let user = server.direct("user");
    for n in 0..100 {
        let container = json!({"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": format!("j{n}"), "namespace": "default"},
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
        });
        user.create(job).expect("created");
    }
    server
}

fn request(method: &str, path: &str, body: &Value) -> http::Request<Full<Bytes>> {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/merge-patch+json");
    request.body(Full::new(body)).expect("request")
}

async fn send<S, B>(service: &mut S, request: http::Request<Full<Bytes>>) -> usize
where
    S: Service<http::Request<Full<Bytes>>, Response = http::Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let response = service.ready().await.expect("ready").call(request).await.expect("answer");
    assert!(response.status().is_success());
    response.into_body().collect().await.expect("body").to_bytes().len()
}

fn requests(criterion: &mut Criterion) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("runtime")
    };
    let mut group = criterion.benchmark_group("requests");
    group.throughput(Throughput::Elements(1));
    let job = "/apis/batch/v1/namespaces/default/jobs/j7";

    group.bench_function("bare tower call", |bencher| {
        let runtime = runtime();
        let mut service = tower::service_fn(|request: http::Request<Full<Bytes>>| async move {
            let body = request.into_body().collect().await.expect("body").to_bytes();
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body)))
        });
        bencher.iter(|| runtime.block_on(send(&mut service, request("GET", job, &Value::Null))));
    });
    group.bench_function("get", |bencher| {
        let runtime = runtime();
        let mut service = server(Sequencing::Immediate, ManagedFields::Always).service("user");
        bencher.iter(|| runtime.block_on(send(&mut service, request("GET", job, &Value::Null))));
    });
    group.bench_function("list 100", |bencher| {
        let runtime = runtime();
        let mut service = server(Sequencing::Immediate, ManagedFields::Always).service("user");
        bencher.iter(|| {
            runtime.block_on(send(&mut service, request("GET", "/apis/batch/v1/jobs", &Value::Null)))
        });
    });
    let writes = [
        ("patch status", Sequencing::Immediate, ManagedFields::Always),
        ("patch status, no managed fields", Sequencing::Immediate, ManagedFields::FromFirstApply),
        ("patch status, one per tick", Sequencing::Tick(Duration::from_millis(1)), ManagedFields::Always),
    ];
    for (name, sequencing, managed_fields) in writes {
        group.bench_function(name, |bencher| {
            let runtime = runtime();
            let mut service = server(sequencing, managed_fields).service("user");
            let mut n = 0_u64;
            bencher.iter(|| {
                n += 1;
                let body = json!({"status": {"active": n}});
                runtime.block_on(send(&mut service, request("PATCH", &format!("{job}/status"), &body)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
