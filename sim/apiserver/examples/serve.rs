//! Serves an empty cluster on a loopback port: `cargo run -p apiserver --example serve -- 8001`.

use std::sync::Arc;

use apiserver::{ApiServer, Options, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8001);
    #[expect(clippy::disallowed_methods, reason = "a server over a socket lives in real time")]
    let now = jiff::Timestamp::now;
    let server = ApiServer::new(Options::new(Arc::new(now), 1));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("kubectl --server=http://127.0.0.1:{port} get namespaces");
    serve(listener, server).await
}
