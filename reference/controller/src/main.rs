//! The controller as a process: flags, a client, the reconcilers, and metrics over HTTP.
//!
//! The only place of this crate that reads the clock and the environment. Works on any cluster that a
//! kubeconfig or a pod's service account reaches, plain HTTP included.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use controller::{Metrics, Profile, Settings};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Reconciles ReplicationSource, ReplicationDestination and KopiaMaintenance.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Kubeconfig file; without it the usual places are tried, the pod's service account included.
    #[arg(long, value_name = "FILE", conflicts_with = "in_cluster")]
    kubeconfig: Option<PathBuf>,
    /// Uses the pod's service account.
    #[arg(long)]
    in_cluster: bool,
    /// What to do where the original operator loses data.
    #[arg(long, value_enum, default_value = "safe")]
    profile: ProfileName,
    /// Address for metrics over plain HTTP, such as 0.0.0.0:8080; none is served without it.
    #[arg(long, value_name = "ADDRESS")]
    metrics_bind_address: Option<SocketAddr>,
    /// Image of mover containers.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "RELATED_IMAGE_KOPIA_CONTAINER",
        default_value = "firedrill/mover:latest"
    )]
    mover_image: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileName {
    /// Loses nothing.
    Safe,
    /// As VolSync's Kopia fork.
    Original,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let client = client(&arguments).await?;
    let profile = match arguments.profile {
        ProfileName::Safe => Profile::Safe,
        ProfileName::Original => Profile::Original,
    };
    #[expect(clippy::disallowed_methods, reason = "a process is where time comes in")]
    let now = Arc::new(jiff::Timestamp::now);
    let mut settings = Settings::new(profile, now, arguments.mover_image);
    for name in contract::environment::PROXY {
        if let Ok(value) = std::env::var(name) {
            settings.proxies.insert(name.to_owned(), value);
        }
    }
    if let Some(address) = arguments.metrics_bind_address {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen for metrics on {address}"))?;
        tokio::spawn(serve(listener, settings.metrics.clone()));
    }
    tracing::info!(profile = profile.as_str(), "reconciling");
    tokio::select! {
        biased;
        () = stopped() => Ok(()),
        () = controller::run(client, settings) => anyhow::bail!("the reconcilers ended"),
    }
}

async fn client(arguments: &Arguments) -> anyhow::Result<kube::Client> {
    let config = match &arguments.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} names no cluster to use", path.display()))?
        }
        None if arguments.in_cluster => {
            kube::Config::incluster().context("this process does not run in a pod with a service account")?
        }
        None => kube::Config::infer().await.context("no cluster found; give --kubeconfig or --in-cluster")?,
    };
    kube::Client::try_from(config).context("failed to build a client")
}

/// Waits for the process to be told to stop.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz`.
async fn serve(listener: tokio::net::TcpListener, metrics: Metrics) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics failed");
                continue;
            }
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (status, body) = match request.uri().path() {
                    "/metrics" => (http::StatusCode::OK, metrics.text()),
                    "/healthz" | "/readyz" => (http::StatusCode::OK, "ok".to_owned()),
                    _ => (http::StatusCode::NOT_FOUND, "not found".to_owned()),
                };
                async move {
                    let mut response = http::Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for metrics broke");
            }
        });
    }
}
