//! `/metrics`, `/healthz` and `/readyz` over plain HTTP.
//!
//! Healthy is a process that answers; ready is one that the cluster has answered, leading or waiting its
//! turn. Both addresses serve all three paths; who may reach which is the chart's business.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use controller::Metrics;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Whether the cluster has answered.
pub type Ready = Arc<AtomicBool>;

/// Starts to serve on an address.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(address: SocketAddr, metrics: Metrics, ready: Ready) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen for HTTP on {address}"))?;
    tokio::spawn(serve(listener, metrics, ready));
    Ok(())
}

fn answer(path: &str, metrics: &Metrics, ready: &Ready) -> (StatusCode, String) {
    match path {
        "/metrics" => (StatusCode::OK, metrics.text()),
        "/healthz" => (StatusCode::OK, "ok".to_owned()),
        "/readyz" if ready.load(Ordering::Relaxed) => (StatusCode::OK, "ok".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not answered yet".to_owned()),
        _ => (StatusCode::NOT_FOUND, "not found".to_owned()),
    }
}

async fn serve(listener: TcpListener, metrics: Metrics, ready: Ready) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection failed");
                continue;
            }
        };
        let (metrics, ready) = (metrics.clone(), ready.clone());
        tokio::spawn(async move {
            let respond = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (status, body) = answer(request.uri().path(), &metrics, &ready);
                async move {
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), respond);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection broke");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_was_answered() {
        let (metrics, ready) = (Metrics::new(), Ready::default());
        let status = |path: &str| answer(path, &metrics, &ready).0;
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/healthz"), StatusCode::OK);
        ready.store(true, Ordering::Relaxed);
        assert_eq!(status("/readyz"), StatusCode::OK);
        assert_eq!(status("/metrics"), StatusCode::OK);
        assert_eq!(status("/"), StatusCode::NOT_FOUND);
    }
}
