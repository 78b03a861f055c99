//! The tower face of the server.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header;
use http_body_util::{BodyExt as _, Full};

use crate::failure::Failure;
use crate::options::Sequencing;
use crate::request::{Answer, Request};
use crate::server::ApiServer;
use crate::watch::WatchBody;

/// The body of an answer: whole, or a stream of watch events.
pub struct Body(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Watch(Box<WatchBody>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Whole(_) => "Body(whole)",
            Kind::Watch(_) => "Body(watch)",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(body) => Pin::new(body).poll_frame(cx),
            Kind::Watch(body) => {
                body.poll_line(cx).map(|line| line.map(|line| Ok(http_body::Frame::data(line))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Watch(_) => http_body::SizeHint::default(),
        }
    }
}

/// A tower service that answers one caller's requests.
#[derive(Clone)]
pub struct ApiService {
    server: ApiServer,
    caller: String,
}

impl fmt::Debug for ApiService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiService").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl ApiService {
    pub(crate) fn new(server: ApiServer, caller: &str) -> Self {
        Self { server, caller: caller.to_owned() }
    }

    /// A service whose callers are told apart by their `User-Agent`.
    pub(crate) fn by_user_agent(server: ApiServer) -> Self {
        Self { server, caller: String::new() }
    }
}

impl<B> tower::Service<http::Request<B>> for ApiService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let server = self.server.clone();
        let caller = self.caller.clone();
        Box::pin(async move {
            let answer = match gather(caller, request).await {
                Ok(request) => in_turn(&server, request).await,
                Err(failure) => failure.into(),
            };
            Ok(respond(answer))
        })
    }
}

async fn gather<B: http_body::Body>(caller: String, request: http::Request<B>) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let body =
        body.collect().await.map_err(|_| Failure::bad_request("unable to read the request body"))?.to_bytes();
    let header = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let caller = match caller.as_str() {
        "" => header(header::USER_AGENT)
            .split('/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("http")
            .to_owned(),
        _ => caller,
    };
    Ok(Request {
        caller,
        content_type: header(header::CONTENT_TYPE),
        accept: header(header::ACCEPT),
        user_agent: header(header::USER_AGENT),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        method: parts.method,
        body,
    })
}

async fn in_turn(server: &ApiServer, request: Request) -> Answer {
    match server.inner.options.sequencing {
        Sequencing::Immediate => {
            let answer = server.answer(&request);
            server.settle();
            answer
        }
        Sequencing::Tick(tick) => {
            let receiver = server.inner.sequencer.enqueue(server, tick, request);
            receiver.await.unwrap_or_else(|_| Failure::internal("the server went away").into())
        }
    }
}

fn respond(answer: Answer) -> http::Response<Body> {
    let (code, content_type, kind, warnings) = match answer {
        Answer::Whole { code, content_type, body, warnings } => {
            (code, content_type, Kind::Whole(Full::new(body)), warnings)
        }
        Answer::Watch(body) => (200, "application/json", Kind::Watch(body), Vec::new()),
    };
    let mut response = http::Response::new(Body(kind));
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = header::HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(header::WARNING, value);
        }
    }
    response
}
