//! An S3 server in the test's own process, with weather.
//!
//! `s3s` checks signatures and speaks the protocol, `s3s-fs` keeps objects in a folder; the weather decides
//! for each request whether it is served. The keys under `tls/` were made for `localhost`, are good until
//! 2126 and guard nothing.
#![allow(dead_code, reason = "each test uses its own part")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use engine::blob::s3::{Options, Patience};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "hunter2hunter2";
pub const BUCKET: &str = "backups";
/// Who vouches for the server.
pub const CA: &[u8] = include_bytes!("tls/ca.crt");

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// This status with this S3 code.
    Refuse(u16, &'static str),
    /// Never an answer.
    Silence,
    /// The answer's first half.
    Cut,
}

type Forecast = Box<dyn FnMut(&Method, &str) -> Weather + Send>;

/// A running server with one bucket.
pub struct Server {
    pub address: SocketAddr,
    pub folder: tempfile::TempDir,
    forecast: Arc<Mutex<Forecast>>,
    seen: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Server {
    pub fn start(is_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let forecast: Arc<Mutex<Forecast>> = Arc::new(Mutex::new(Box::new(|_, _| Weather::Fair)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let tls = is_tls.then(acceptor);
        let state = (service, forecast.clone(), seen.clone());
        runtime.spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (state, tls) = (state.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(TokioIo::new(socket), state).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(TokioIo::new(socket), state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, folder, forecast, seen, _runtime: runtime }
    }
    /// Decides for each request from now on, by method and path.
    pub fn weather(&self, forecast: impl FnMut(&Method, &str) -> Weather + Send + 'static) {
        *self.forecast.lock().unwrap() = Box::new(forecast);
    }
    /// Method and path with query of each request so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
    /// How to reach it, with few retries.
    pub fn options(&self, prefix: &str) -> Options {
        Options {
            endpoint: self.address.to_string(),
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            region: String::new(),
            disable_tls: true,
            root_ca_pem: None,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            session_token: String::new(),
            patience: Patience {
                connect: std::time::Duration::from_secs(2),
                silence: std::time::Duration::from_secs(20),
                request: std::time::Duration::from_secs(20),
                retries: 3,
            },
        }
    }
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

type State = (S3Service, Arc<Mutex<Forecast>>, Arc<Mutex<Vec<String>>>);
type Answer = Response<BoxBody<Bytes, std::io::Error>>;

async fn serve<I>(io: TokioIo<I>, state: State)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, state.clone()));
    // A client that goes away is no failure of the server.
    let _ = http1::Builder::new().serve_connection(io, service).await;
}

async fn answer(request: Request<Incoming>, (service, forecast, seen): State) -> Result<Answer, Infallible> {
    let address = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    seen.lock().unwrap().push(format!("{} {address}", request.method()));
    let weather = forecast.lock().unwrap()(request.method(), request.uri().path());
    match weather {
        Weather::Silence => std::future::pending().await,
        Weather::Refuse(status, code) => {
            let body = format!("<Error><Code>{code}</Code><Message>It is the weather.</Message></Error>");
            // A body that is not read would be a connection that is not used again.
            let _ = request.into_body().collect().await;
            let body = http_body_util::Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
            Ok(Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body).unwrap())
        }
        Weather::Fair | Weather::Cut => {
            let answer = hyper::service::Service::call(&service, request).await.unwrap();
            let (parts, body) = answer.into_parts();
            let bytes =
                body.collect().await.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
            let broken = || Err(std::io::Error::other("cut"));
            let frames = if weather == Weather::Cut {
                vec![Ok(Frame::data(bytes.slice(..bytes.len() / 2))), broken()]
            } else {
                vec![Ok(Frame::data(bytes))]
            };
            Ok(Response::from_parts(parts, BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))))
        }
    }
}
