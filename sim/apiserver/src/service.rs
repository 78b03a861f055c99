//! The tower face of the server.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::Full;

use crate::failure::Failure;
use crate::server::ApiServer;

/// The body of an answer.
#[derive(Debug)]
pub struct Body(Full<Bytes>);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// A tower service that answers one caller's requests.
#[derive(Clone)]
pub struct ApiService {
    server: ApiServer,
    caller: String,
}

impl ApiService {
    pub(crate) fn new(server: ApiServer, caller: &str) -> Self {
        Self { server, caller: caller.to_owned() }
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

    fn call(&mut self, _request: http::Request<B>) -> Self::Future {
        let _ = (&self.server, &self.caller);
        let text = Failure::internal("no store yet").to_status().to_string();
        Box::pin(async move { Ok(http::Response::new(Body(Full::new(Bytes::from(text))))) })
    }
}
