//! S3 through a socket: the promises of every store, and what becomes of requests in bad weather.
//!
//! The server of `support/s3_server.rs` needs nothing; `tests/minio.rs` runs the promises against a MinIO.

#[path = "support/promises.rs"]
mod promises;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engine::{
    blob::s3::{self, Options, Patience},
    store::{ErrorKind, SharedStore},
};
use http::Method;
use promises::keeps_the_promises;
use s3_server::{BUCKET, CA, Server, Weather};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn open(options: &Options) -> SharedStore {
    s3::open(options).unwrap()
}

#[test]
fn s3_keeps_the_promises() {
    let server = Server::start(false);
    block_on(keeps_the_promises(&*open(&server.options(""))));
}

#[test]
fn s3_keeps_the_promises_below_a_prefix_and_behind_tls() {
    let server = Server::start(true);
    let options = Options { disable_tls: false, root_ca_pem: Some(CA.to_vec()), ..server.options("a/b/") };
    block_on(async {
        keeps_the_promises(&*open(&options)).await;
        assert!(server.folder.path().join(BUCKET).join("a/b/kopia.repository").exists());
        let above = open(&Options { prefix: "a/".to_owned(), ..options.clone() });
        assert_eq!(above.list("").await.unwrap(), []);
        // Nobody vouches for the server: no retry helps, and none is tried.
        let before = server.seen().len();
        let error = open(&Options { root_ca_pem: None, ..options }).list("").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
        assert!(error.detail.contains("UnknownIssuer") && error.detail.contains("custom CA"), "{error}");
        assert_eq!(server.seen().len(), before);
    });
}

#[test]
fn listings_of_many_pages_are_whole() {
    let server = Server::start(false);
    for i in 0..2_345 {
        std::fs::write(server.folder.path().join(BUCKET).join(format!("p{i:04}")), "x").unwrap();
    }
    std::fs::write(server.folder.path().join(BUCKET).join(".storageconfig"), "{}").unwrap();
    let store = open(&server.options(""));
    let listed = block_on(store.list("")).unwrap();
    assert_eq!(listed.len(), 2_345);
    assert!(listed.is_sorted_by(|a, b| a.id < b.id));
    let before = server.seen().len();
    assert_eq!(block_on(store.list("p23")).unwrap().len(), 45);
    assert_eq!(server.seen().len() - before, 1, "the server sorts out the names");
}

#[test]
fn large_blobs_go_in_parts_and_are_seen_whole_or_not_at_all() {
    let server = Server::start(false);
    let store = open(&server.options("r/"));
    let large = Bytes::from(support::noise(5, 50 << 20));
    block_on(store.put("p1", large.clone())).unwrap();
    let parts = server.seen().iter().filter(|seen| seen.contains("partNumber")).count();
    assert_eq!(parts, 4, "{:?}", server.seen());
    assert_eq!(block_on(store.get("p1", None)).unwrap(), large);
    // No part arrives.
    server.weather(
        |method, _| {
            if method == Method::PUT { Weather::Refuse(403, "AccessDenied") } else { Weather::Fair }
        },
    );
    assert_eq!(block_on(store.put("p2", large.clone())).unwrap_err().kind, ErrorKind::Denied);
    server.weather(|_, _| Weather::Fair);
    assert_eq!(block_on(store.stat("p2")).unwrap_err().kind, ErrorKind::NotFound);
    assert!(server.seen().iter().any(|seen| seen.starts_with("DELETE") && seen.contains("uploadId")));
    // Everything arrives, and the last answer is lost.
    let (met, mut forecast) = first(1, Weather::Cut);
    let mut begun = false;
    server.weather(move |method, path| {
        let is_last = method == Method::POST && met.load(Ordering::SeqCst) == 0;
        // The first POST begins the upload.
        if is_last && begun {
            forecast(method, path)
        } else {
            begun |= method == Method::POST;
            Weather::Fair
        }
    });
    block_on(store.put("p3", large.clone())).unwrap();
    assert_eq!(block_on(store.get("p3", None)).unwrap(), large);
}

/// Does not wait long for an answer.
fn impatient(server: &Server) -> SharedStore {
    let options = server.options("");
    let patience = Patience { silence: Duration::from_millis(700), ..options.patience };
    open(&Options { patience, ..options })
}

/// Bad weather for the first `times` requests of a kind.
fn first(times: usize, weather: Weather) -> (Arc<AtomicUsize>, impl FnMut(&Method, &str) -> Weather + Send) {
    let met = Arc::new(AtomicUsize::new(0));
    let count = met.clone();
    (
        met,
        move |_: &Method, _: &str| {
            if count.fetch_add(1, Ordering::SeqCst) < times { weather } else { Weather::Fair }
        },
    )
}

#[test]
fn bad_weather_that_passes_is_not_noticed() {
    let server = Server::start(false);
    let store = impatient(&server);
    let bytes = Bytes::from(support::noise(6, 3 << 20));
    for weather in [Weather::Refuse(503, "SlowDown"), Weather::Refuse(500, "InternalError"), Weather::Silence]
    {
        let (met, forecast) = first(2, weather);
        server.weather(forecast);
        block_on(store.put("p1", bytes.clone())).unwrap();
        assert!(met.load(Ordering::SeqCst) >= 3, "{weather:?} was met");
    }
    for weather in [Weather::Refuse(503, "SlowDown"), Weather::Silence, Weather::Cut] {
        let (met, forecast) = first(2, weather);
        server.weather(forecast);
        assert_eq!(block_on(store.get("p1", None)).unwrap(), bytes, "{weather:?}");
        assert!(met.load(Ordering::SeqCst) >= 2, "{weather:?} was met");
        let (met, forecast) = first(1, weather);
        server.weather(forecast);
        assert_eq!(block_on(store.list("p")).unwrap().len(), 1, "{weather:?}");
        assert!(met.load(Ordering::SeqCst) >= 2, "{weather:?} was met");
    }
}

#[test]
fn bad_weather_that_stays_ends_with_its_reason() {
    let server = Server::start(false);
    let store = impatient(&server);
    let check = |weather: Weather, requests: usize, kind: ErrorKind, words: &str| {
        let (met, forecast) = first(usize::MAX, weather);
        server.weather(forecast);
        let error = block_on(store.put("p1", "x".into())).unwrap_err();
        assert_eq!((error.kind, met.load(Ordering::SeqCst)), (kind, requests), "{error}");
        assert!(error.detail.contains(words), "{error}");
    };
    // The budget of the options: three retries.
    check(Weather::Refuse(503, "SlowDown"), 4, ErrorKind::Unavailable, "503 SlowDown");
    check(Weather::Silence, 4, ErrorKind::Unavailable, "silent");
    check(Weather::Refuse(403, "AccessDenied"), 1, ErrorKind::Denied, "get, put, list and delete");
    check(Weather::Refuse(403, "RequestTimeTooSkewed"), 1, ErrorKind::Denied, "clock");
    check(Weather::Refuse(400, "AuthorizationHeaderMalformed"), 1, ErrorKind::Misconfigured, "AWS_REGION");
    check(Weather::Refuse(409, "XMinioAdminBucketQuotaExceeded"), 1, ErrorKind::NoSpace, "Quota");
}

#[test]
fn wrong_keys_and_wrong_buckets_are_named() {
    let server = Server::start(false);
    let error = |options: &Options| block_on(open(options).get("kopia.repository", None)).unwrap_err();
    let wrong = error(&Options { secret_key: "other".to_owned(), ..server.options("") });
    assert_eq!(wrong.kind, ErrorKind::Denied);
    assert!(
        wrong.detail.contains("AWS_SECRET_ACCESS_KEY") && !wrong.to_string().contains("other"),
        "{wrong}"
    );
    // This server tells a missing bucket in listings only; MinIO and S3 do so always.
    let absent = open(&Options { bucket: "absent".to_owned(), ..server.options("") });
    let wrong = block_on(absent.list("")).unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Misconfigured, "{wrong}");
    assert!(wrong.detail.contains("create the bucket"), "{wrong}");
    assert_eq!(error(&server.options("")).kind, ErrorKind::NotFound);
}
