//! Doors in memory, and stores and trees that misbehave on purpose.
use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use contract::{Location, Outcome, Request};
use engine::{
    blob::memory::MemoryStore,
    context::{Client, Entropy},
    store::{Error, ErrorKind, Metadata, SharedStore, Store},
    tree::{WriteTree, local::LocalTree},
};
use jiff::{SignedDuration, Timestamp};
use mover::{ActionEnd, Doors, OpenStore, RunAction};
use tempfile::TempDir;
use tokio::sync::watch;

/// What happens at the given operation of the store, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Never,
    /// The run is told to stop.
    Stop(u64),
    /// This operation and all after it fail.
    Fail(u64, ErrorKind),
    /// This operation alone fails.
    FailOnce(u64, ErrorKind),
}

/// A store that counts its operations and misbehaves at one of them.
#[derive(Debug)]
pub struct Interfering {
    inner: SharedStore,
    at: At,
    trace: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    yields: bool,
}

impl Interfering {
    async fn point(&self, operation: &'static str, id: &str) -> Result<(), Error> {
        let index = {
            let mut trace = self.trace.lock().expect("not poisoned");
            trace.push(format!("{operation} {id}"));
            trace.len() as u64 - 1
        };
        let fail = |kind| Err(Error::new(kind, operation, id, "interfered"));
        let result = match self.at {
            At::Stop(at) if at == index => {
                self.stop.send_replace(true);
                Ok(())
            }
            At::Fail(at, kind) if index >= at => fail(kind),
            At::FailOnce(at, kind) if index == at => fail(kind),
            _ => Ok(()),
        };
        if self.yields {
            tokio::task::yield_now().await;
        }
        result
    }
}

#[async_trait::async_trait]
impl Store for Interfering {
    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        self.point("get", id).await?;
        self.inner.get(id, range).await
    }
    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        self.point("put", id).await?;
        self.inner.put(id, bytes).await
    }
    async fn put_new(&self, id: &str, bytes: Bytes) -> Result<(), Error> {
        self.point("put", id).await?;
        self.inner.put_new(id, bytes).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Metadata>, Error> {
        self.point("list", prefix).await?;
        self.inner.list(prefix).await
    }
    async fn stat(&self, id: &str) -> Result<Metadata, Error> {
        self.point("stat", id).await?;
        self.inner.stat(id).await
    }
    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.point("delete", id).await?;
        self.inner.delete(id).await
    }
}

struct Stores(SharedStore);

#[async_trait::async_trait]
impl OpenStore for Stores {
    async fn open(&self, _: &Location) -> Result<SharedStore, Error> {
        Ok(self.0.clone())
    }
    async fn prepare(&self, _: &Location) -> Result<SharedStore, Error> {
        Ok(self.0.clone())
    }
}

/// An action that tells the run to stop while it works, and ends well.
struct Stopper(watch::Sender<bool>);

#[async_trait::async_trait]
impl RunAction for Stopper {
    async fn run(&self, command: &str) -> ActionEnd {
        if command == "stop" {
            self.0.send_replace(true);
        }
        ActionEnd { code: 0, output: String::new() }
    }
}

/// The time of the stage: each run has an hour of its own, in which time stands still.
fn time(hour: &AtomicI64) -> Timestamp {
    let start: Timestamp = "2026-01-01T03:00:00Z".parse().expect("a time");
    start + SignedDuration::from_hours(hour.load(Ordering::Relaxed))
}

/// One store, one data volume and one restore target.
pub struct Stage {
    folder: TempDir,
    pub store: Arc<MemoryStore>,
    pub variables: BTreeMap<String, String>,
    pub yields: bool,
    hour: Arc<AtomicI64>,
}

/// How a run ended, with its log and the operations of the store.
pub struct Ended {
    pub outcome: Outcome,
    pub log: String,
    pub trace: Vec<String>,
}

impl Stage {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["data", "restored"] {
            fs::create_dir(folder.path().join(name)).expect("made");
        }
        fs::write(folder.path().join("data/file"), "content").expect("written");
        fs::write(folder.path().join("data/other"), vec![7; 100_000]).expect("written");
        let hour = Arc::new(AtomicI64::new(0));
        let clock = hour.clone();
        let variables = [
            ("KOPIA_PASSWORD", "password of the stage"),
            ("KOPIA_REPOSITORY", "s3://bucket/prefix"),
            ("DATA_DIR", "/data"),
            ("KOPIA_OVERRIDE_USERNAME", "app"),
            ("KOPIA_OVERRIDE_HOSTNAME", "media"),
        ];
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self {
            folder,
            store: Arc::new(MemoryStore::new(Arc::new(move || time(&clock)))),
            variables,
            yields: false,
            hour,
        }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }
    pub fn backup(&mut self, at: At) -> Ended {
        let tree = LocalTree::open(self.path("data")).expect("opened");
        self.backup_of(Arc::new(tree), at)
    }
    pub fn backup_of(&mut self, tree: Arc<dyn WriteTree>, at: At) -> Ended {
        self.run("backup", tree, at)
    }
    pub fn restore(&mut self) -> Ended {
        let tree = LocalTree::open(self.path("restored")).expect("opened");
        self.restore_into(Arc::new(tree), At::Never)
    }
    pub fn restore_into(&mut self, tree: Arc<dyn WriteTree>, at: At) -> Ended {
        self.run("restore", tree, at)
    }
    fn run(&mut self, argument: &str, data: Arc<dyn WriteTree>, at: At) -> Ended {
        let seed = self.hour.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        let clock = self.hour.clone();
        let (told, stop) = watch::channel(false);
        let trace = Arc::new(Mutex::new(Vec::new()));
        let store = Interfering {
            inner: self.store.clone(),
            at,
            trace: trace.clone(),
            stop: told.clone(),
            yields: self.yields,
        };
        let log = Arc::new(Mutex::new(String::new()));
        let sink = log.clone();
        let doors = Doors {
            stores: Arc::new(Stores(Arc::new(store))),
            data: Some(data),
            now: Arc::new(move || time(&clock)),
            entropy: Entropy::from_seed([seed; 32]),
            process: Client { username: "root".into(), hostname: "volsync-src-app-x7k2p".into() },
            log: Arc::new(move |line: &str| {
                let mut log = sink.lock().expect("not poisoned");
                log.push_str(line);
                log.push('\n');
            }),
            stop,
            actions: Arc::new(Stopper(told)),
            read_file: Arc::new(|_| Err(io::ErrorKind::NotFound.into())),
        };
        let request = Request::from_env(&[argument.to_owned()], &self.variables).expect("a valid request");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let outcome = runtime.block_on(mover::run(request, doors));
        let log = log.lock().expect("not poisoned").clone();
        assert!(!log.contains("password of the stage"));
        let trace = trace.lock().expect("not poisoned").clone();
        Ended { outcome, log, trace }
    }
}
