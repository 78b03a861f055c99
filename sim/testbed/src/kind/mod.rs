//! A bed on a real cluster, in real time: real kubelets, real snapshots, real mounts.
//!
//! [`Bed::attach`] takes a cluster that stands prepared ([`Coordinates`]) and gives one scenario namespaces of
//! its own in it. It does the verbs of [`crate::verbs`] through the cluster's API, as a user would; data goes
//! into claims and comes back through a hand in a pod, which sees what every pod sees. The bed writes a record
//! like the embedded one's, but its times and its order are those of the machine: no two runs are equal. It
//! needs what stands in the coordinates; what it cannot do it calls unsupported, with the reason. It reads
//! the real clock, because the cluster lives by it. Read [`mirror`] for how it sees, [`trees`] for how data
//! travels, [`faults`] for what stands behind each fault's name.

mod api;
mod beside;
mod claims;
mod coordinates;
mod damage;
mod elsewhere;
mod faults;
pub mod ground;
mod hand;
mod leaks;
mod mirror;
mod places;
mod pods;
mod subject;
mod trees;
mod verbs;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};

pub use coordinates::{
    COORDINATES, Coordinates, Driver, MARK, MARKED, Machine, Nas, ObjectStore, SubjectPlace,
};

use crate::{bed::Stalled, clock::Clock, record::Record};
use api::{Objects, chain};
use mirror::Mirror;

/// The longest that anything is waited for in real time; a wait's own deadline may be shorter.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// How long the cluster's first answers may take.
const ATTACH: Duration = Duration::from_secs(60);
/// How often a level is looked at although nothing was seen to change.
const LOOK: Duration = Duration::from_millis(500);
/// After so long a wait says on standard error what it waits for.
const QUIET: Duration = Duration::from_secs(2);

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig is missing or wrong.
    #[error("the kubeconfig {path} cannot be used: {why}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The server does not answer.
    #[error("the cluster at {server} does not answer: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        why: String,
    },
    /// Nobody has marked this cluster as one for tests.
    #[error(
        "the cluster at {server} is not marked as one for fire drills, so nothing is done to it: if it may be \
         filled with test data, broken and cleared, say so with `kubectl create namespace {MARKED}` and \
         `kubectl label namespace {MARKED} {MARK}=allowed`"
    )]
    Unmarked {
        /// Its address.
        server: String,
    },
    /// What the cluster tells about itself is no JSON, or not of this version.
    #[error("the ConfigMap {MARKED}/{COORDINATES} of the cluster at {server} cannot be read: {why}")]
    Untold {
        /// Its address.
        server: String,
        /// Why.
        why: String,
    },
    /// The operating system gave no threads.
    #[error("no runtime could be started")]
    Runtime {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// One scenario's part of a real cluster.
pub struct Bed {
    runtime: tokio::runtime::Runtime,
    at: Coordinates,
    prefix: String,
    clock: Clock,
    record: Record,
    objects: Objects,
    mirror: Mirror,
    claims: BTreeMap<(String, String), claims::History>,
    armed: faults::Armed,
    damage: damage::Damage,
    /// Buckets that were made: whether on the store with TLS, and their names.
    buckets: BTreeSet<(bool, String)>,
    machines: u64,
    pods: u64,
}

impl Bed {
    /// Takes a part of a cluster for one scenario: every namespace that begins with `prefix`.
    ///
    /// # Errors
    /// See [`Error`]; a cluster without the mark is refused.
    pub fn attach(at: Coordinates, prefix: &str) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|source| Error::Runtime { source })?;
        let (objects, server) = runtime.block_on(connect(&at))?;
        runtime.block_on(marked(&objects, &server))?;
        let unreachable = |why: String| Error::Unreachable { server: server.clone(), why };
        let clock = Clock::start(real_now(), runtime.handle().clone());
        let record = Record::new(clock.clone());
        let mine = prefix.to_owned();
        let mirror = {
            let _entered = runtime.enter();
            Mirror::start(
                objects.clone(),
                record.clone(),
                Arc::new(move |namespace: &str| namespace.starts_with(&mine)),
            )
        };
        runtime.block_on(mirror.complete(ATTACH)).map_err(unreachable)?;
        record.note(format!("a part of the cluster at {server} was taken: namespaces {prefix}…"));
        Ok(Self {
            runtime,
            at,
            prefix: prefix.to_owned(),
            clock,
            record,
            objects,
            mirror,
            claims: BTreeMap::new(),
            armed: faults::Armed::default(),
            damage: damage::Damage::default(),
            buckets: BTreeSet::new(),
            machines: 0,
            pods: 0,
        })
    }

    /// What an attached cluster tells about itself: its own coordinates, reached as `at` says.
    ///
    /// # Errors
    /// See [`Error`]; a cluster without the mark is refused, and one that tells nothing is told what to do.
    pub fn coordinates(at: &Coordinates) -> Result<Coordinates, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Runtime { source })?;
        let (objects, server) = runtime.block_on(connect(at))?;
        runtime.block_on(marked(&objects, &server))?;
        let told = runtime.block_on(objects.get("ConfigMap", MARKED, COORDINATES));
        let told =
            told.map_err(|failure| Error::Unreachable { server: server.clone(), why: failure.message })?;
        let text = told.as_ref().and_then(|map| map["data"][COORDINATES].as_str());
        let missing =
            || "it is missing; a cluster that `firedrill run --bed kind --keep` left has one".to_owned();
        let text = text.ok_or_else(|| Error::Untold { server: server.clone(), why: missing() })?;
        let told: Coordinates = serde_json::from_str(text)
            .map_err(|error| Error::Untold { server: server.clone(), why: error.to_string() })?;
        Ok(Coordinates {
            bed: at.bed.clone(),
            kubeconfig: at.kubeconfig.clone(),
            context: at.context.clone(),
            ..told
        })
    }

    /// The name that a scenario's namespace has in the cluster.
    pub fn namespace(prefix: &str, namespace: &str) -> String {
        format!("{prefix}{namespace}")
    }

    /// Makes sure that a namespace exists; on this bed each belongs to the scenario by its prefix.
    fn ensure_namespace(&mut self, namespace: &str) -> Result<(), apiserver::Failure> {
        if namespace.is_empty() || self.mirror.get("Namespace", "", namespace).is_some() {
            return Ok(());
        }
        let object = json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let made = self.runtime.block_on(self.objects.apply(&object))?;
        self.runtime.block_on(self.mirror.saw(&made, false));
        Ok(())
    }

    /// Waits until a probe of the cluster gives a value; looks after each change that is seen, and now and then.
    #[expect(clippy::disallowed_methods, reason = "a real cluster lives by the real clock")]
    fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, Stalled> {
        let deadline = deadline.min(PATIENCE);
        let begins = Instant::now();
        let mut revision = self.mirror.revision();
        let mut told = QUIET;
        loop {
            revision.borrow_and_update();
            if let Some(value) = probe(self) {
                return Ok(value);
            }
            let waited = begins.elapsed();
            if waited >= deadline {
                return Err(Stalled { what: what.to_owned(), waited: deadline, clock: "real" });
            }
            if waited >= told {
                eprintln!("{} s: waiting for {what}", waited.as_secs());
                told *= 2;
            }
            self.runtime.block_on(async {
                let _ = tokio::time::timeout(LOOK, revision.changed()).await;
            });
        }
    }
}

/// The real time.
#[expect(clippy::disallowed_methods, reason = "a real cluster lives by the real clock")]
fn real_now() -> Timestamp {
    Timestamp::now()
}

/// Refuses a cluster that nobody has marked.
async fn marked(objects: &Objects, server: &str) -> Result<(), Error> {
    let mark = objects.get("Namespace", "", MARKED).await;
    let mark =
        mark.map_err(|failure| Error::Unreachable { server: server.to_owned(), why: failure.message })?;
    if mark.is_some_and(|mark| mark["metadata"]["labels"][MARK] == "allowed") {
        return Ok(());
    }
    Err(Error::Unmarked { server: server.to_owned() })
}

async fn connect(at: &Coordinates) -> Result<(Objects, String), Error> {
    let path = at.kubeconfig.display().to_string();
    let wrong = |why: String| Error::Kubeconfig { path: path.clone(), why };
    let kubeconfig = Kubeconfig::read_from(&at.kubeconfig).map_err(|error| wrong(chain(&error)))?;
    let options = KubeConfigOptions { context: at.context.clone(), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| wrong(chain(&error)))?;
    let server = config.cluster_url.to_string();
    let client = kube::Client::try_from(config).map_err(|error| wrong(chain(&error)))?;
    let asked = tokio::time::timeout(ATTACH, Objects::discover(client)).await;
    let objects = asked
        .map_err(|_| format!("no answer within {} s", ATTACH.as_secs()))
        .and_then(|asked| asked.map_err(|error| chain(&error)))
        .map_err(|why| Error::Unreachable { server: server.clone(), why })?;
    Ok((objects, server))
}
