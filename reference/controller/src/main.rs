//! The controller as a process: flags, a client, leader election, the reconcilers, and HTTP for probes and
//! metrics.
//!
//! The only place of this crate that reads the clock, chance and the environment. Works on any cluster that
//! a kubeconfig or a pod's service account reaches, plain HTTP included. Whoever loses the Lease ends with a
//! failure at once: two controllers at work are worse than none for a moment.
mod process;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser as _;
use controller::Settings;
use controller::lease::Elector;

use process::arguments::Arguments;
use process::http::{self, Ready};

/// How long a Lease may take to give back.
const FAREWELL: Duration = Duration::from_secs(3);
/// Between two questions whether the cluster is there.
const QUESTION: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let election = arguments.election(chance()?)?;
    let client = arguments.client().await?;
    let profile = arguments.profile();
    #[expect(clippy::disallowed_methods, reason = "a process is where time comes in")]
    let now: controller::Now = Arc::new(jiff::Timestamp::now);
    let mut settings = Settings::new(profile, now.clone(), arguments.mover_image.as_str());
    settings.job_backoff_limit = arguments.backoff_limit;
    for name in contract::environment::PROXY {
        if let Ok(value) = std::env::var(name) {
            settings.proxies.insert(name.to_owned(), value);
        }
    }
    let ready = Ready::default();
    let addresses = [arguments.metrics_bind_address, arguments.health_probe_bind_address];
    for address in addresses.into_iter().flatten() {
        http::start(address, settings.metrics.clone(), ready.clone()).await?;
    }
    let mut elector = election.map(|options| Elector::new(client.clone(), options, now));
    let mut stop = std::pin::pin!(stopped());
    tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        () = turn(&client, elector.as_mut(), &ready) => {}
    }
    tracing::info!(profile = profile.as_str(), mover = arguments.mover_image, "reconciling");
    let work = controller::run(client, settings);
    let Some(elector) = &mut elector else {
        return tokio::select! {
            biased;
            () = &mut stop => Ok(()),
            () = work => anyhow::bail!("the reconcilers ended"),
        };
    };
    // The reconcilers stop with the end of this statement, before the Lease is given back.
    tokio::select! {
        biased;
        () = &mut stop => {}
        lost = elector.hold() => return Err(anyhow::Error::new(lost).context("this controller does not lead any more")),
        () = work => anyhow::bail!("the reconcilers ended"),
    }
    match tokio::time::timeout(FAREWELL, elector.release()).await {
        Ok(Ok(())) => tracing::info!("the lease was given back"),
        Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given back and will run out"),
        Err(_) => tracing::warn!("the cluster does not answer; the lease will run out"),
    }
    Ok(())
}

/// Waits until the cluster answers, and until it is this process's turn.
async fn turn(client: &kube::Client, elector: Option<&mut Elector>, ready: &Ready) {
    if let Some(elector) = elector {
        elector.acquire(|| ready.store(true, Ordering::Relaxed)).await;
        tracing::info!("this controller leads");
        return;
    }
    while let Err(error) = client.apiserver_version().await {
        tracing::warn!(%error, "the cluster does not answer");
        tokio::time::sleep(QUESTION).await;
    }
    ready.store(true, Ordering::Relaxed);
}

/// A number that tells this process from every other.
fn chance() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|error| anyhow::anyhow!("the operating system gives no random number: {error}"))
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
