//! HTTP for the S3 client: hyper, rustls with ring, and an end to every silence.
//!
//! `object_store` brings a transport only together with a second TLS library; this one uses what the rest
//! of the workspace links anyway. A connection that cannot be made in time and a transfer in which nothing
//! moves for a while are failures; a slow one is not. Trust is Mozilla's list as compiled in, or exactly
//! the certificates given: an image needs no certificate files.
use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as Tcp},
    rt::{TokioExecutor, TokioTimer},
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, Sleep};

use super::Patience;

/// Bytes handed over at once: small enough to see a transfer move, large enough not to cost.
const FRAME_BYTES: usize = 64 << 10;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(20);

type Inner = Client<HttpsConnector<Tcp>, Sent>;

/// Carries requests; clones share connections.
#[derive(Clone)]
pub struct Transport {
    inner: Inner,
    silence: Duration,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    /// Trusts the certificates given, or Mozilla's list.
    ///
    /// # Errors
    /// A sentence when the PEM text holds no usable certificate.
    pub fn new(root_ca_pem: Option<&[u8]>, patience: Patience) -> Result<Self, String> {
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(patience.connect));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(IDLE));
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots(root_ca_pem)?)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            // The S3 client counts attempts itself.
            .retry_canceled_requests(false)
            .build(https);
        Ok(Self { inner, silence: patience.silence })
    }
}

fn roots(root_ca_pem: Option<&[u8]>) -> Result<RootCertStore, String> {
    let Some(pem) = root_ca_pem else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate
            .map_err(|error| format!("the custom CA is not a certificate in PEM form: {error}"))?;
        store.add(certificate).map_err(|error| format!("the custom CA cannot be used: {error}"))?;
    }
    if store.is_empty() {
        return Err("the custom CA holds no certificate in PEM form".to_owned());
    }
    Ok(store)
}

impl HttpConnector for Transport {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let moved = Arc::new(AtomicU64::new(0));
        let request = request.map(|body| Sent::new(body, moved.clone()));
        let mut answer = std::pin::pin!(self.inner.request(request));
        let mut seen = 0;
        let answer = loop {
            if let Ok(answer) = tokio::time::timeout(self.silence, &mut answer).await {
                break answer.map_err(|error| failure(&error))?;
            }
            // Still sending is not silence.
            let now = moved.load(Ordering::Relaxed);
            if now == seen {
                return Err(silent(self.silence));
            }
            seen = now;
        };
        Ok(answer.map(|body| HttpResponseBody::new(Received::new(body, self.silence))))
    }
}

fn silent(after: Duration) -> HttpError {
    let text = format!("the store was silent for {} s", after.as_secs());
    HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, text))
}

/// What an error of hyper means for a retry; the text is that of the innermost cause.
fn failure(error: &hyper_util::client::legacy::Error) -> HttpError {
    let mut kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        if error.is::<rustls::Error>() {
            kind = HttpErrorKind::Unknown;
        }
        // rustls stands inside an IO error that does not name it as its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = inner.filter(|inner| inner.is::<rustls::Error>()) {
            (kind, text) = (HttpErrorKind::Unknown, inner.to_string());
        }
        cause = error.source();
    }
    HttpError::new(kind, io::Error::other(text))
}

/// A request's body that tells how much of it was taken.
struct Sent {
    body: HttpRequestBody,
    rest: Bytes,
    left: u64,
    moved: Arc<AtomicU64>,
}

impl Sent {
    fn new(body: HttpRequestBody, moved: Arc<AtomicU64>) -> Self {
        let left = body.content_length() as u64;
        Self { body, rest: Bytes::new(), left, moved }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(FRAME_BYTES);
        let frame = self.rest.split_to(length);
        self.left -= length as u64;
        self.moved.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A response's body in which no silence lasts too long.
struct Received {
    body: Incoming,
    silence: Duration,
    until: Pin<Box<Sleep>>,
}

impl Received {
    fn new(body: Incoming, silence: Duration) -> Self {
        Self { body, silence, until: Box::pin(tokio::time::sleep(silence)) }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let silence = self.silence;
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.until.as_mut().reset(Instant::now() + silence);
            let broken = |error: hyper::Error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        ready!(self.until.as_mut().poll(context));
        Poll::Ready(Some(Err(silent(silence))))
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
