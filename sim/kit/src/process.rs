//! What every double does as a process: tells what happens on standard error, and ends when it is told to.

/// Shows what happens on standard error; `RUST_LOG` chooses how much.
pub fn log_to_stderr() {
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
///
/// # Errors
/// When signals cannot be listened for.
pub async fn told_to_end() -> std::io::Result<()> {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = term.recv() => Ok(()),
        ended = tokio::signal::ctrl_c() => ended,
    }
}
