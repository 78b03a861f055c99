//! The S3 proxy in front of a small store in this process: what passes, and each trouble it makes.
#![allow(clippy::disallowed_methods, reason = "real sockets take real time")]
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fault::{Aim, Fault};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kit::{
    s3_control::{Ask, Cap, Status, Trouble},
    s3_proxy::{Proxy, Serving},
};
use tokio::net::{TcpListener, TcpStream};

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Keeps objects by path and query, and tells the `Host` it was asked for.
async fn store() -> (SocketAddr, Objects) {
    let objects = Objects::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = objects.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let objects = shared.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let objects = objects.clone();
                    async move {
                        let key = request.uri().path_and_query().unwrap().to_string();
                        let host = request.headers()["host"].clone();
                        let is_put = request.method() == "PUT";
                        // A body that breaks off is no object.
                        let Ok(body) = request.into_body().collect().await else {
                            return Ok::<_, Infallible>(Response::new(Full::default()));
                        };
                        let mut objects = objects.lock().unwrap();
                        let mut answer = Response::new(Full::default());
                        answer.headers_mut().insert("x-host", host);
                        if is_put {
                            objects.insert(key, body.to_bytes());
                        } else if let Some(found) = objects.get(&key) {
                            *answer.body_mut() = Full::new(found.clone());
                        } else {
                            *answer.status_mut() = StatusCode::NOT_FOUND;
                        }
                        Ok(answer)
                    }
                });
                // A cut connection is the proxy's doing.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, objects)
}

struct Bed {
    proxy: Arc<Proxy>,
    address: SocketAddr,
    objects: Objects,
    _serving: Serving,
}

impl Bed {
    async fn new() -> Self {
        let (upstream, objects) = store().await;
        let upstream = format!("http://{upstream}").parse().unwrap();
        let proxy = Proxy::new(upstream, None, Some("main".into())).unwrap();
        let (address, serving) = proxy.listen("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        Self { proxy, address, objects, _serving: serving }
    }
    fn trouble(&self, what: Trouble, operation: &str, aim: Aim) -> Status {
        self.proxy.control(Ask::Trouble { what, operation: operation.into(), aim }).unwrap()
    }
    fn status(&self) -> Status {
        self.proxy.control(Ask::Status).unwrap()
    }
    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<(Response<()>, Bytes), String> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "s3.example:9000")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=app/20260101/us-east-1/s3/aws4_request")
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((Response::from_parts(head, ()), body))
    }
    async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let (head, body) = self.ask("GET", path, b"").await?;
        Ok((head.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
    }
    async fn put(&self, path: &str, body: &[u8]) -> Result<u16, String> {
        Ok(self.ask("PUT", path, body).await?.0.status().as_u16())
    }
}

#[tokio::test]
async fn requests_pass_as_they_are() {
    let bed = Bed::new().await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|byte| (byte % 251) as u8).collect();
    let path = "/main/pre%2Ffix/p1?partNumber=1&uploadId=a%2Bb";
    let (head, _) = bed.ask("PUT", path, &body).await.unwrap();
    assert_eq!(head.headers()["x-host"], "s3.example:9000", "signatures cover it");
    assert!(bed.objects.lock().unwrap()[path] == body);
    let (_, found) = bed.ask("GET", path, b"").await.unwrap();
    assert!(found == body);
    assert_eq!(bed.get("/main/none").await.unwrap().0, 404);
    let answers = bed.status().answers;
    assert_eq!((answers["put"][&200], answers["get"][&200], answers["get"][&404]), (1, 1, 1));
}

#[tokio::test]
async fn a_throttling_store_answers_503_to_whom_it_is_aimed_at() {
    let bed = Bed::new().await;
    bed.trouble(Trouble::SlowDown, "put", Aim::class("main/p"));
    assert_eq!(bed.put("/main/p1", b"x").await, Ok(503));
    assert_eq!(bed.put("/main/xn0_1", b"x").await, Ok(200));
    assert_eq!(bed.get("/main/p1").await.unwrap().0, 404);
    bed.proxy.control(Ask::Arm(Fault::named("store-unavailable").unwrap())).unwrap();
    let (code, text) = bed.get("/main/xn0_1").await.unwrap();
    assert!(code == 503 && text.contains("<Code>ServiceUnavailable</Code>"), "{text}");
    let armed = bed.proxy.control(Ask::Reset).unwrap().armed;
    assert_eq!(armed.iter().map(|one| one.firings).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(bed.put("/main/p1", b"x").await, Ok(200));
    assert!(bed.proxy.control(Ask::Arm(Fault::named("store-bit-rot").unwrap())).is_err());
}

#[tokio::test]
async fn a_slow_store_takes_its_time_each_way() {
    let bed = Bed::new().await;
    bed.put("/main/p1", &vec![1; 300_000]).await.unwrap();
    bed.trouble(Trouble::Slow { latency_ms: 200, bytes_per_second: Some(300_000) }, "*", Aim::default());
    for is_put in [true, false] {
        let begin = Instant::now();
        if is_put {
            bed.put("/main/p2", &vec![1; 300_000]).await.unwrap();
        } else {
            assert_eq!(bed.get("/main/p1").await.unwrap().1.len(), 300_000);
        }
        let waited = begin.elapsed();
        assert!(
            (Duration::from_millis(1100)..Duration::from_secs(5)).contains(&waited),
            "{is_put}: {waited:?}"
        );
    }
}

#[tokio::test]
async fn a_body_is_cut_in_the_middle_either_way() {
    let bed = Bed::new().await;
    bed.put("/main/p1", &vec![1; 200_000]).await.unwrap();
    bed.put("/main/p3", b"short").await.unwrap();
    bed.trouble(Trouble::Reset { after_bytes: 100_000 }, "*", Aim::default());
    assert!(bed.get("/main/p1").await.is_err());
    assert!(bed.put("/main/p2", &vec![1; 200_000]).await.is_err());
    assert!(!bed.objects.lock().unwrap().contains_key("/main/p2"));
    assert_eq!(bed.get("/main/p3").await.unwrap().1, "short", "a short body is through before the cut");
    assert_eq!(bed.status().armed[0].firings, 2, "only what was cut counts");
    bed.proxy.control(Ask::Lift(1)).unwrap();
    assert_eq!(bed.put("/main/p2", &vec![1; 200_000]).await, Ok(200));
}

#[tokio::test]
async fn a_cut_is_a_reset_and_not_an_end() {
    let bed = Bed::new().await;
    bed.put("/main/p1", &vec![1; 200_000]).await.unwrap();
    bed.trouble(Trouble::Reset { after_bytes: 50_000 }, "get", Aim::default());
    let address = bed.address;
    let read = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /main/p1 HTTP/1.1\r\nHost: s3\r\n\r\n").unwrap();
        // The reset must find bytes that were not read.
        std::thread::sleep(Duration::from_millis(300));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all.len())
    });
    let read = read.await.unwrap();
    assert!(
        read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_clock_that_is_off_dates_answers_and_refuses_signatures() {
    let bed = Bed::new().await;
    bed.put("/main/p1", b"x").await.unwrap();
    bed.trouble(Trouble::Skewed { by_seconds: -600 }, "*", Aim { times: Some(1), ..Aim::default() });
    let (head, _) = bed.ask("GET", "/main/p1", b"").await.unwrap();
    let date = jiff::fmt::rfc2822::parse(head.headers()["date"].to_str().unwrap()).unwrap().timestamp();
    let behind = jiff::Timestamp::now().duration_since(date).as_secs();
    assert!((595..=605).contains(&behind), "{behind}");
    bed.trouble(Trouble::Skewed { by_seconds: 3600 }, "*", Aim::default());
    let (code, text) = bed.get("/main/p1").await.unwrap();
    assert!(code == 403 && text.contains("<Code>RequestTimeTooSkewed</Code>"), "{text}");
}

#[tokio::test]
async fn a_cap_serves_so_many_and_no_more() {
    let bed = Bed::new().await;
    bed.trouble(Trouble::Capped { requests: 2, then: Cap::Refuse }, "*", Aim::default());
    assert_eq!(bed.put("/main/p1", b"x").await, Ok(200));
    assert_eq!(bed.get("/main/p1").await.unwrap().0, 200);
    assert!(bed.get("/main/p1").await.is_err());
    assert_eq!(bed.status().answers["get"][&0], 1);
    bed.proxy.control(Ask::Reset).unwrap();
    bed.trouble(Trouble::Capped { requests: 0, then: Cap::StorageFull }, "*", Aim::default());
    assert_eq!(bed.put("/main/p2", b"x").await, Ok(507));
    assert_eq!(bed.get("/main/p1").await.unwrap().0, 200, "what is there can be read");
    bed.trouble(Trouble::Capped { requests: 0, then: Cap::CapExceeded }, "get", Aim::default());
    let (code, text) = bed.get("/main/p1").await.unwrap();
    assert!(code == 403 && text.contains("cap_exceeded"), "{text}");
}

#[tokio::test]
async fn tls_towards_the_client_and_towards_the_store() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(at("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let (store, _) = store().await;
    // A proxy with TLS is the store with TLS of a second one.
    let inner = Proxy::new(format!("http://{store}").parse().unwrap(), None, None).unwrap();
    let tls = kit::s3_proxy::acceptor(&at("cert.pem"), &at("key.pem")).unwrap();
    let (address, _inner) = inner.listen("127.0.0.1:0".parse().unwrap(), Some(tls)).await.unwrap();
    let upstream: hyper::Uri = format!("https://localhost:{}", address.port()).parse().unwrap();
    assert!(Proxy::new(upstream.clone(), None, None).is_err(), "whom to trust must be said");
    let connector = kit::s3_proxy::connector(&at("cert.pem")).unwrap();
    let proxy = Proxy::new(upstream, Some(connector), None).unwrap();
    let (address, serving) = proxy.listen("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let bed = Bed { proxy, address, objects: Objects::default(), _serving: serving };
    assert_eq!(bed.put("/main/p1", b"x").await, Ok(200));
    assert_eq!(bed.get("/main/p1").await.unwrap(), (200, "x".to_owned()));
    assert!(kit::s3_proxy::acceptor(&at("none"), &at("key.pem")).is_err());
}

#[tokio::test]
async fn a_store_that_is_away_is_a_bad_gateway() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::new(format!("http://{closed}").parse().unwrap(), None, None).unwrap();
    let (address, serving) = proxy.listen("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let bed = Bed { proxy, address, objects: Objects::default(), _serving: serving };
    let (code, text) = bed.get("/main/p1").await.unwrap();
    assert!(code == 502 && text.contains(&closed.to_string()), "{text}");
    assert!(Proxy::new("/nowhere".parse().unwrap(), None, None).is_err());
}
