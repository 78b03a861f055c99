//! One client's connection: each request to the store and its answer back, suffering what is armed.
//!
//! Path, query, `Host` and every signed header go on as they came, so that signatures stay good. A client's
//! connection has at most one to the store, used again as long as both want.
use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use fault::{Seam, Verdict};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use tokio::sync::Mutex;

use super::{Proxy, body::Suffering, operation::Operation, troubles::Armament};
use crate::s3_control::{Cap, Trouble};

/// What answers are made of.
pub type Answer = Response<BoxBody<Bytes, io::Error>>;

/// S3 refuses signatures beyond this.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// Headers that belong to one connection and are not passed on.
const HOP: [&str; 5] = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"];

/// The connection is to be cut.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// A trouble cut it.
    #[error("cut on purpose")]
    OnPurpose,
    /// The store went away in the middle.
    #[error("the connection to the store ended")]
    Store(#[source] hyper::Error),
}

/// One client's connection.
pub struct Connection {
    proxy: Arc<Proxy>,
    store: Mutex<Option<SendRequest<Suffering>>>,
}

/// What the troubles at one request add up to.
#[derive(Default)]
struct Suffered {
    latency: Duration,
    bytes_per_second: Option<u64>,
    reset: Option<(u64, Arc<Armament>)>,
    skew: Option<SignedDuration>,
}

impl Connection {
    /// A connection to this proxy.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy, store: Mutex::default() }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`Cut`] where the client's connection is to be closed without an answer.
    pub async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Cut> {
        let operation =
            Operation::of(request.method(), request.uri(), request.headers(), self.proxy.name.as_deref());
        let answer = self.suffer(&operation, request).await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        self.proxy.count(operation.name, status);
        answer
    }

    async fn suffer(&self, operation: &Operation, request: Request<Incoming>) -> Result<Answer, Cut> {
        let register = self.proxy.troubles.register();
        let Operation { actor, class, name, .. } = operation;
        let (_, verdict) = register.pass(Seam::Store, actor, name, class).await;
        if let Verdict::Fail { .. } = verdict {
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "Service Unavailable"));
        }
        let mut suffered = Suffered::default();
        for one in self.proxy.troubles.at(operation) {
            match one.what {
                Trouble::SlowDown => {
                    one.strike();
                    let words = "Please reduce your request rate.";
                    return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", words));
                }
                Trouble::Slow { latency_ms, bytes_per_second } => {
                    one.strike();
                    suffered.latency += Duration::from_millis(latency_ms);
                    suffered.bytes_per_second =
                        suffered.bytes_per_second.into_iter().chain(bytes_per_second).min();
                }
                // Struck when the body gets there.
                Trouble::Reset { after_bytes } => suffered.reset = Some((after_bytes, one)),
                Trouble::Skewed { by_seconds } => {
                    one.strike();
                    let by = SignedDuration::from_secs(by_seconds);
                    if operation.is_signed && by.unsigned_abs() > SKEW_MAX {
                        let words =
                            "The difference between the request time and the server's time is too large.";
                        let mut refused = refusal(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", words);
                        date(refused.headers_mut(), by);
                        return Ok(refused);
                    }
                    suffered.skew = Some(by);
                }
                Trouble::Capped { then: Cap::StorageFull, .. } if !operation.writes() => {}
                Trouble::Capped { then, .. } => {
                    one.strike();
                    return match then {
                        Cap::Refuse => Err(Cut::OnPurpose),
                        Cap::StorageFull => Ok(refusal(
                            StatusCode::INSUFFICIENT_STORAGE,
                            "XMinioStorageFull",
                            "Storage backend has reached its minimum free drive threshold. Please delete a few objects to proceed.",
                        )),
                        Cap::CapExceeded => {
                            Ok(refusal(StatusCode::FORBIDDEN, "cap_exceeded", "Transaction cap exceeded."))
                        }
                    };
                }
            }
        }
        tokio::time::sleep(suffered.latency).await;
        self.forward(request, suffered).await
    }

    async fn forward(&self, request: Request<Incoming>, suffered: Suffered) -> Result<Answer, Cut> {
        let (mut head, body) = request.into_parts();
        clean(&mut head.headers);
        // The side with the body is the side that is cut.
        let is_sending = !body.is_end_stream();
        let (out, back) = if is_sending { (suffered.reset, None) } else { (None, suffered.reset) };
        let mut request = Request::new(Suffering::new(body, suffered.bytes_per_second, out));
        *request.method_mut() = head.method;
        *request.headers_mut() = head.headers;
        let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
        // A path that came in goes out.
        *request.uri_mut() = target.parse().unwrap_or_default();
        let mut store = self.store.lock().await;
        let mut sender = match store.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => match self.proxy.connect().await {
                Ok(sender) => sender,
                Err(error) => {
                    tracing::warn!(%error, upstream = %self.proxy.upstream, "cannot reach the store");
                    let words = format!("cannot reach {}: {error}", self.proxy.upstream);
                    return Ok(refusal(StatusCode::BAD_GATEWAY, "BadGateway", &words));
                }
            },
        };
        if sender.ready().await.is_err() {
            return Ok(refusal(StatusCode::BAD_GATEWAY, "BadGateway", "the store closed the connection"));
        }
        let answer = sender.send_request(request).await.map_err(Cut::Store)?;
        *store = Some(sender);
        drop(store);
        let (mut head, body) = answer.into_parts();
        clean(&mut head.headers);
        if let Some(by) = suffered.skew {
            date(&mut head.headers, by);
        }
        let body = Suffering::new(body, suffered.bytes_per_second, back);
        Ok(Response::from_parts(head, body.boxed()))
    }
}

fn clean(headers: &mut HeaderMap) {
    for name in HOP {
        headers.remove(name);
    }
}

/// Dates an answer by a clock that is off.
fn date(headers: &mut HeaderMap, by: SignedDuration) {
    let shown = now().checked_add(by).unwrap_or(Timestamp::MAX);
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&shown);
    if let Some(value) = text.ok().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::DATE, value);
    }
}

#[expect(clippy::disallowed_methods, reason = "a proxy dates real answers by the machine's clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// A refusal in S3's own form.
fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let body = Full::new(Bytes::from(xml)).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// A stream as hyper takes it.
pub type Io<S> = TokioIo<S>;
