//! Reconcilers for ReplicationSource, ReplicationDestination and KopiaMaintenance, and the volume populator.
//!
//! [`run`] serves the three kinds and the populator with one kube client until it is dropped. Decisions are
//! pure functions of what was observed ([`plan`]); reading ([`observe`]) and writing ([`execute`]) stand
//! apart from them. It never opens a repository: what happened inside comes back by `contract`. It never
//! reads the system's clock, its environment or chance: [`Settings`] brings them.
//!
//! # Guarantees
//! The same cluster history and clock give the same requests: no concurrency limit, no jitter, no unordered
//! iteration. Field names, object names, labels and texts are those of VolSync's Kopia fork; where that loses
//! data, [`Profile::Safe`] does not, and [`Profile::Original`] does as the fork.
//!
//! Read next: [`plan`], then [`populate`] and [`maintain`].
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

pub mod act;
pub mod condition;
pub mod cron;
pub mod event;
pub mod execute;
pub mod identity;
pub mod lease;
pub mod log;
pub mod machine;
pub mod maintain;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod observed;
pub mod obstacle;
pub mod plan;
pub mod populate;
pub mod reconcile;
mod serve;
pub mod subject;
pub mod text;
mod unread;
mod wake;

pub use contract::Profile;
pub use metrics::Metrics;
pub use subject::Role;

use event::Recorder;
use observed::Setting;
use reconcile::Context;

/// A clock: each call tells the present time. Waiting uses tokio's clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How failed reconciles are retried: doubling, without chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for Backoff {
    /// 5 ms doubling to 1000 s, as client-go's rate limiter.
    fn default() -> Self {
        Self { first: Duration::from_millis(5), max: Duration::from_secs(1000) }
    }
}

impl Backoff {
    /// Gives the pause after the n-th failure in a row, counting from 1.
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
}

/// What a controller needs besides a client.
#[derive(Clone)]
pub struct Settings {
    /// Policy where the original loses data.
    pub profile: Profile,
    /// The clock.
    pub now: Now,
    /// The image that mover containers are given.
    pub mover_image: String,
    /// Proxy variables to hand on to movers.
    pub proxies: BTreeMap<String, String>,
    /// Where to count; keep a clone to read it.
    pub metrics: Metrics,
    /// How failed reconciles are retried.
    pub backoff: Backoff,
    /// Component named in events about replication objects and claims.
    pub event_source: String,
    /// Component named in events about maintenance.
    pub maintenance_event_source: String,
    /// How much of the end of a mover's log the status shows, bytes.
    pub log_bytes_max: usize,
    /// How often the pod of a Job is tried again, instead of the original's numbers.
    pub job_backoff_limit: Option<i32>,
    /// After so many seconds of silence a watch is taken for broken: a client's usual 290 if `None`. Zero never
    /// does, which is right only where a connection cannot be lost unnoticed.
    pub watch_timeout: Option<u32>,
}

impl Settings {
    /// The usual settings.
    pub fn new(profile: Profile, now: Now, mover_image: impl Into<String>) -> Self {
        Self {
            profile,
            now,
            mover_image: mover_image.into(),
            proxies: BTreeMap::new(),
            metrics: Metrics::new(),
            backoff: Backoff::default(),
            event_source: "volsync-controller".into(),
            maintenance_event_source: "volsync-maintenance-controller".into(),
            log_bytes_max: contract::pod::LOG_TAIL_BYTES,
            job_backoff_limit: None,
            watch_timeout: None,
        }
    }
}

/// Runs all reconcilers until dropped.
///
/// # Cancellation
/// Dropping the future stops the reconcilers at their next await; what they were doing is taken up again by
/// the next run from the status it finds.
///
/// The future is boxed so that it is compiled here: an `async fn` is compiled by every crate that polls it.
pub fn run(client: kube::Client, settings: Settings) -> BoxFuture<'static, ()> {
    let recorder = |source: &str| Recorder::new(client.clone(), source);
    let context = Arc::new(Context {
        client: client.clone(),
        setting: Setting {
            profile: settings.profile,
            image: settings.mover_image.clone(),
            proxies: settings.proxies.clone(),
            log_bytes_max: settings.log_bytes_max,
            job_backoff_limit: settings.job_backoff_limit,
        },
        now: settings.now.clone(),
        recorder: recorder(&settings.event_source),
        maintenance_recorder: recorder(&settings.maintenance_event_source),
        metrics: settings.metrics.clone(),
        backoff: settings.backoff,
        failures: Mutex::default(),
        watch: kube::runtime::watcher::Config { timeout: settings.watch_timeout, ..Default::default() },
    });
    Box::pin(serve::all(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let check = |failures: u32, millis: u64| {
            assert_eq!(backoff.after(failures), Duration::from_millis(millis), "{failures}");
        };
        check(1, 5);
        check(2, 10);
        check(11, 5 * 1024);
        check(18, 655_360);
        check(19, 1_000_000);
        check(u32::MAX, 1_000_000);
    }
}
