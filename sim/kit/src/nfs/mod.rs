//! NFS beside a real cluster: a server with faults, and a mount helper for nodes whose kernel has no NFS.
//!
//! Both speak version 3 (RFC 1813) with the words of `nfs3_types`; the RPC around them ([`wire`]) is ours, since
//! the server must know who calls and the client must wait, give up and come back as a kernel's does. Read
//! [`server`] and [`mount`] for the two programs, [`ctl`] for the third, which talks to the first.
pub mod ctl;
pub mod mount;
pub mod server;
pub mod status;
pub mod wire;

/// Shows what happens on standard error; `RUST_LOG` chooses how much.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,fuser=warn"));
    // A second call in one process keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}

/// Waits for SIGTERM or Ctrl-C.
async fn told_to_end() -> std::io::Result<()> {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = term.recv() => Ok(()),
        ended = tokio::signal::ctrl_c() => ended,
    }
}
