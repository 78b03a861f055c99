//! A run: the id and owner that everything made in it bears, its network, its directory, and its end.
//!
//! A run first removes what dead runs left ([`crate::sweep`]), then makes things that bear its labels, and in the
//! end removes all that bear its id, whether or not their handles still exist. Ctrl-C and SIGTERM do the same through
//! [`Run::interrupted`]; a killed process leaves its things to the next run.

use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use testcontainers::bollard::{Docker, models::NetworkCreateRequest};
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock};

use crate::{
    Error, cache, engine,
    mark::{self, Owner},
    sweep::{self, Swept, Which},
};

/// How a run is to behave.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Leave everything in place at the end; [`crate::sweep::sweep`] with the run's id removes it.
    pub keep: bool,
}

/// A run. Clones are the same run.
#[derive(Debug, Clone)]
pub struct Run(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    keep: bool,
    docker: Docker,
    found: engine::Found,
    swept: Swept,
    directory: PathBuf,
    network: Mutex<bool>,
    /// Read by what is being made, written by the end of the run, which makes it true.
    ended: Arc<RwLock<bool>>,
}

impl Run {
    /// Connects, checks the engine, removes what dead runs left, and begins.
    pub fn start(options: RunOptions) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(async move {
            let docker = engine::connect().await?;
            let found = engine::check(&docker).await?;
            let swept = sweep::sweep(&docker, Which::LeftBehind).await?;
            let id = fresh_id();
            let directory = cache::root().join("runs").join(&id);
            fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
            let owner = directory.join("owner");
            let mut mark = Owner::this_process().label();
            if options.keep {
                mark = format!("{} {mark}", mark::KEEP);
            }
            fs::write(&owner, mark).map_err(Error::file("write", &owner))?;
            let network = Mutex::new(false);
            let (keep, ended) = (options.keep, Arc::default());
            Ok(Self(Arc::new(Inner { id, keep, docker, found, swept, directory, network, ended })))
        })
    }

    /// Six letters and digits that tell this run from every other.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The engine's client.
    pub fn docker(&self) -> &Docker {
        &self.0.docker
    }

    /// What the check at the start found.
    pub fn engine(&self) -> &engine::Found {
        &self.0.found
    }

    /// What dead runs had left, and is gone now.
    pub fn swept(&self) -> &Swept {
        &self.0.swept
    }

    /// Says whether everything stays in place at the end.
    pub fn keeps(&self) -> bool {
        self.0.keep
    }

    /// A directory of this machine for the run's files, such as kubeconfigs; removed with the run.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The labels of everything this run makes.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (mark::RUN.to_owned(), self.id().to_owned()),
            (mark::OWNER.to_owned(), Owner::this_process().label()),
        ]);
        if self.0.keep {
            labels.insert(mark::KEEP.to_owned(), "true".to_owned());
        }
        labels
    }

    /// A name for something of this run that no other run uses: `firedrill-<id>-<name>`.
    pub fn name(&self, name: &str) -> String {
        format!("firedrill-{}-{name}", self.id())
    }

    /// The run's network, made at the first call: clusters and siblings of a run see each other by name.
    pub async fn network(&self) -> Result<String, Error> {
        let name = format!("firedrill-{}", self.id());
        let _busy = self.busy().await?;
        let mut made = self.0.network.lock().await;
        if !*made {
            let request = NetworkCreateRequest {
                name: name.clone(),
                driver: Some("bridge".to_owned()),
                labels: Some(self.labels().into_iter().collect()),
                options: Some(
                    [("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "true".to_owned())].into(),
                ),
                ..Default::default()
            };
            self.0
                .docker
                .create_network(request)
                .await
                .map_err(Error::docker(format!("make the network {name}")))?;
            *made = true;
        }
        Ok(name)
    }

    /// Says that something is being made, until the guard goes; an error once the run has ended. Not to be nested.
    pub(crate) async fn busy(&self) -> Result<OwnedRwLockReadGuard<bool>, Error> {
        let ended = self.0.ended.clone().read_owned().await;
        if *ended {
            return Err(Error::Ended { run: self.id().to_owned() });
        }
        Ok(ended)
    }

    /// Ends the run: everything that bears its id is removed, unless it keeps. What the engine was still making when
    /// its maker was interrupted is waited for, and goes as well; what is asked for later is refused.
    pub fn finish(&self) -> BoxFuture<'_, Result<Swept, Error>> {
        Box::pin(async move {
            if self.0.keep {
                return Ok(Swept::default());
            }
            *self.0.ended.write().await = true;
            sweep::sweep(&self.0.docker, Which::Run(self.id())).await
        })
    }

    /// Comes back when the process is asked to end (Ctrl-C, SIGTERM, SIGHUP), with the exit code for that.
    ///
    /// Whoever drives the run selects on it, calls [`Run::finish`] and exits:
    /// a second Ctrl-C meanwhile ends the process at once, and the next run sweeps.
    pub async fn interrupted() -> i32 {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds =
            [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143), (SignalKind::hangup(), 129)];
        let waits = kinds.into_iter().map(|(kind, code)| {
            Box::pin(async move {
                match signal(kind) {
                    Ok(mut signals) => {
                        signals.recv().await;
                        code
                    }
                    Err(_) => std::future::pending().await,
                }
            })
        });
        futures::future::select_all(waits).await.0
    }
}

fn fresh_id() -> String {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    bytes.iter().map(|byte| char::from(alphabet[usize::from(byte & 31)])).collect()
}
