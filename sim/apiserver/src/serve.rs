//! The server over HTTP on a socket, for curl, kubectl and foreign controllers.
//!
//! Real time only: a socket and a paused clock do not mix. No TLS and no credentials, so listen on loopback.
//! A request's caller is the product name of its `User-Agent` (`kubectl`, `curl`).

use std::io;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::server::ApiServer;
use crate::service::ApiService;

/// Serves until the listener fails.
///
/// # Errors
/// What `accept` answers when the listener is of no more use. A connection that breaks ends alone.
/// # Cancellation
/// Dropping the future stops accepting; connections that are open live on in their own tasks.
pub async fn serve(listener: TcpListener, server: ApiServer) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        // Small answers must not wait for more.
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(ApiService::by_user_agent(server.clone()));
        tokio::spawn(async move {
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
}
