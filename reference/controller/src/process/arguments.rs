//! Flags of the controller, each also a variable where a chart sets it.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use controller::{Profile, lease};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Reconciles ReplicationSource, ReplicationDestination and KopiaMaintenance.
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    /// Kubeconfig file; without it the usual places are tried, the pod's service account included.
    #[arg(long, value_name = "FILE", conflicts_with = "in_cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Uses the pod's service account.
    #[arg(long)]
    pub in_cluster: bool,
    /// What to do where the original operator loses data.
    #[arg(long, value_enum, default_value = "safe")]
    pub profile: ProfileName,
    /// Address for metrics over plain HTTP, such as 0.0.0.0:8080; none is served without it.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_bind_address: Option<SocketAddr>,
    /// Address for /healthz and /readyz, such as 0.0.0.0:8081; none is served without it, unless with the
    /// metrics.
    #[arg(long, value_name = "ADDRESS")]
    pub health_probe_bind_address: Option<SocketAddr>,
    /// Image of mover containers.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "RELATED_IMAGE_KOPIA_CONTAINER",
        default_value = "firedrill/mover:latest"
    )]
    pub mover_image: String,
    /// How often the pod of a mover Job is tried again, instead of VolSync's 8 (backup, restore) and 5
    /// (maintenance).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(0..=100))]
    pub backoff_limit: Option<i32>,
    /// Works only while this process holds the Lease; several may then run.
    #[arg(long)]
    pub leader_elect: bool,
    /// Name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "firedrill-controller")]
    pub lease_name: String,
    /// Namespace of the Lease; in a pod its own is the default.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// How long a Lease that nobody renews is respected, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub lease_seconds: u32,
    /// Name of this process in the Lease; the host's name by default.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,
}

/// The profile's word on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum ProfileName {
    /// Loses nothing.
    Safe,
    /// As VolSync's Kopia fork.
    Original,
}

impl Arguments {
    /// The profile that is meant.
    pub fn profile(&self) -> Profile {
        match self.profile {
            ProfileName::Safe => Profile::Safe,
            ProfileName::Original => Profile::Original,
        }
    }

    /// How to take part in the election, if that is wanted; `unique` tells this process from an earlier one
    /// of the same name.
    ///
    /// # Errors
    /// No namespace or no name is known, or the time is too short.
    pub fn election(&self, unique: u64) -> anyhow::Result<Option<lease::Options>> {
        if !self.leader_elect {
            return Ok(None);
        }
        let Some(namespace) = self.lease_namespace.clone().filter(|namespace| !namespace.is_empty()) else {
            bail!("--leader-elect needs --lease-namespace (or POD_NAMESPACE)");
        };
        if self.lease_seconds < 3 {
            bail!("--lease-seconds must be 3 or more: a holder needs time to renew");
        }
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
        let name = match &self.identity {
            Some(name) if !name.is_empty() => name.clone(),
            _ => host().context("this host has no name; give --identity")?,
        };
        let duration = Duration::from_secs(self.lease_seconds.into());
        Ok(Some(lease::Options {
            duration,
            renew_deadline: duration * 2 / 3,
            retry: duration * 2 / 15,
            ..lease::Options::new(namespace, &self.lease_name, format!("{name}_{unique:016x}"))
        }))
    }

    /// A client for the cluster that is meant.
    ///
    /// # Errors
    /// None is found, or what was found cannot be used.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
                kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .with_context(|| format!("the kubeconfig {} names no cluster to use", path.display()))?
            }
            None if self.in_cluster => kube::Config::incluster()
                .context("this process does not run in a pod with a service account")?,
            None => {
                kube::Config::infer().await.context("no cluster found; give --kubeconfig or --in-cluster")?
            }
        };
        kube::Client::try_from(config).context("failed to build a client")
    }
}
