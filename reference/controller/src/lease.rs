//! Leader election: of several controllers one works, by a Lease of the cluster.
//!
//! [`Elector::acquire`] waits until the Lease is ours, [`Elector::hold`] renews it and returns when it is
//! lost: whoever leads must then stop at once, best by ending the process, because another may already work.
//! The protocol is client-go's: the holder writes a time into the Lease; others watch whether the Lease
//! changes, by their own clock, and take it when it has not for as long as it says. So clocks of nodes need
//! not agree. Every write is against the version that was read; of two that want the Lease one is refused.
//!
//! # Guarantees
//! While [`Elector::hold`] has not returned, nobody else has taken the Lease that plays by the rules: it gives
//! up (`renew_deadline`) before others may take (`duration`).
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use tokio::time::Instant;

use crate::Now;

/// Which Lease, who asks, and how long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who asks; different for every process.
    pub identity: String,
    /// How long a Lease that nobody renews is respected.
    pub duration: Duration,
    /// How long the holder tries to renew before it gives up; shorter than `duration`.
    pub renew_deadline: Duration,
    /// Between two tries.
    pub retry: Duration,
}

impl Options {
    /// The usual times: 15 s, 10 s, 2 s, as client-go's.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Why the Lease is not ours any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else has it.
    #[error("the lease was taken by {holder:?}")]
    Taken {
        /// Who.
        holder: String,
    },
    /// It could not be renewed in time; somebody else may take it at any moment.
    #[error("the lease could not be renewed for {} s", .after.as_secs())]
    NotRenewed {
        /// The time that was tried.
        after: Duration,
        /// The last refusal; absent when the cluster did not answer at all.
        #[source]
        source: Option<kube::Error>,
    },
}

/// How one try ended.
#[derive(Debug, PartialEq, Eq)]
enum Try {
    /// The Lease is ours.
    Held,
    /// It is somebody else's.
    Other(String),
    /// It changed between look and write.
    Raced,
}

/// Takes part in an election.
pub struct Elector {
    leases: Api<Lease>,
    options: Options,
    now: Now,
    /// The version of the Lease that was last seen, and when it was first seen.
    seen: Option<(Option<String>, Instant)>,
}

impl Elector {
    /// Enters the election; nothing is written yet.
    pub fn new(client: Client, options: Options, now: Now) -> Self {
        Self { leases: Api::namespaced(client, &options.namespace), options, now, seen: None }
    }

    /// Waits until the Lease is ours.
    ///
    /// `answered` is called when the cluster has answered for the first time, so that a process can call
    /// itself ready while it waits its turn.
    pub async fn acquire(&mut self, mut answered: impl FnMut()) {
        let mut waits_for = String::new();
        loop {
            match self.attempt().await {
                Ok(Try::Held) => {
                    answered();
                    return;
                }
                Ok(Try::Other(holder)) => {
                    answered();
                    if holder != waits_for {
                        tracing::info!(
                            lease = self.options.name,
                            holder,
                            "waiting: another controller leads"
                        );
                        waits_for = holder;
                    }
                }
                Ok(Try::Raced) => answered(),
                Err(error) => {
                    tracing::warn!(lease = self.options.name, %error, "the lease could not be read or written");
                }
            }
            tokio::time::sleep(self.options.retry).await;
        }
    }

    /// Renews the Lease until it is lost.
    pub async fn hold(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.options.retry).await;
            let left = self.options.renew_deadline.saturating_sub(renewed.elapsed());
            let source = match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(Try::Held)) => {
                    renewed = Instant::now();
                    continue;
                }
                Ok(Ok(Try::Other(holder))) => return Lost::Taken { holder },
                Ok(Ok(Try::Raced)) | Err(_) => None,
                Ok(Err(error)) => Some(error),
            };
            if let Some(error) = &source {
                tracing::warn!(lease = self.options.name, %error, "the lease could not be renewed");
            }
            if renewed.elapsed() >= self.options.renew_deadline {
                return Lost::NotRenewed { after: self.options.renew_deadline, source };
            }
        }
    }

    /// Gives the Lease back, so that the next one need not wait; call it after the work has stopped.
    ///
    /// # Errors
    /// Whatever the cluster says; the Lease then runs out by itself.
    pub async fn release(&mut self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.options.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.options.identity.as_str()) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(self.now()));
        self.leases.replace(&self.options.name, &PostParams::default(), &lease).await.map(drop)
    }

    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.now());
        let is_ours = before
            .is_some_and(|before| before.holder_identity.as_deref() == Some(self.options.identity.as_str()));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: i32::try_from(self.options.duration.as_secs()).ok(),
            acquire_time: before
                .filter(|_| is_ours)
                .and_then(|before| before.acquire_time.clone())
                .or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if is_ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Looks at the Lease, and takes or renews it if that is ours to do.
    async fn attempt(&mut self) -> Result<Try, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.options.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.options.name.clone()),
                    namespace: Some(self.options.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            return ours(self.leases.create(&PostParams::default(), &lease).await);
        };
        let version = lease.resource_version();
        let since = match &self.seen {
            Some((known, since)) if *known == version => *since,
            _ => {
                let since = Instant::now();
                self.seen = Some((version, since));
                since
            }
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let respected = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let is_others = !holder.is_empty() && holder != self.options.identity;
        if is_others && since.elapsed() < Duration::from_secs(respected) {
            return Ok(Try::Other(holder));
        }
        lease.spec = Some(self.spec(Some(&spec)));
        ours(self.leases.replace(&self.options.name, &PostParams::default(), &lease).await)
    }
}

/// A write that was accepted made the Lease ours; one that came too late did not.
fn ours(written: Result<Lease, kube::Error>) -> Result<Try, kube::Error> {
    match written {
        Ok(_) => Ok(Try::Held),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Try::Raced),
        Err(error) => Err(error),
    }
}
