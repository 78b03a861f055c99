//! One driver: how a call is locked, meets faults, is carried out and counted.
//!
//! As ceph-csi does: the id of a call is locked until the call ends, a second call for it is answered
//! `Aborted`, and a call goes on when its caller has gone away at its deadline. A call that hangs therefore
//! keeps its lock. [`Driver::restart`] is what a restarted process does to all that: calls in flight end, locks
//! are gone, what is on disk stays.
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use fault::{Id, Register, Seam, Verdict};
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, oneshot},
    task::AbortHandle,
};
use tonic::{Code, Response, Status};

use super::{
    Character, DriverSpec,
    inventory::{Inventory, Record, Source, Thing},
    mounts::{Mounts, is_mounted},
};
use crate::control;

/// How many copies CephFS makes at once.
const CEPHFS_CLONES: usize = 4;

/// A copy that runs in the background.
#[derive(Clone, Debug)]
pub(super) enum Copying {
    /// It runs, or waits for its turn.
    Running(Arc<AtomicBool>),
    /// It ended badly; the next call tells and starts again.
    Failed(String),
}

#[derive(Default)]
struct Memory {
    in_flight: BTreeSet<String>,
    tasks: BTreeMap<u64, AbortHandle>,
    next_task: u64,
    calls: BTreeMap<String, u64>,
    copying: BTreeMap<String, Copying>,
    /// Snapshots that a fault holds back from being ready, with the fault.
    unready: BTreeMap<String, Id>,
}

/// One driver.
pub struct Driver {
    pub(super) name: String,
    pub(super) character: Character,
    pub(super) node: String,
    pub(super) inventory: Inventory,
    pub(super) mounts: Arc<Mounts>,
    pub(super) clone_rate: u64,
    pub(super) copies: Arc<Semaphore>,
    faults: Register,
    memory: Mutex<Memory>,
}

impl Driver {
    /// A driver over its folder below `root`. What was in use on this node and is mounted nowhere anymore is in use no
    /// longer: a node that lost its power has lost its mounts, and its kubelet unstages only what a pod still has.
    pub fn open(
        spec: &DriverSpec,
        node: &str,
        root: &Path,
        mounts: Arc<Mounts>,
        faults: Register,
        clone_rate: u64,
    ) -> io::Result<Self> {
        let inventory = Inventory::open(&root.join(&spec.name))?;
        inventory.forget_uses(node, |target| is_mounted(target).map(|is_mounted| !is_mounted))?;
        Ok(Self {
            name: spec.name.clone(),
            character: spec.character,
            node: node.to_owned(),
            inventory,
            mounts,
            clone_rate,
            copies: Arc::new(Semaphore::new(CEPHFS_CLONES)),
            faults,
            memory: Mutex::default(),
        })
    }

    /// One call: lock, fault, work, unlock. `work` blocks; it is told whether a fault wants the call answered
    /// without being done (for a snapshot: answered as not ready), and by which fault.
    pub(super) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        thing: Thing,
        id: &str,
        class: &str,
        work: impl FnOnce(&Arc<Self>, Option<Id>) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let result = self.carried_out(operation, thing, id, class, work).await;
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        *self.memory().calls.entry(format!("{operation}/{code:?}")).or_insert(0) += 1;
        match &result {
            Ok(_) => tracing::info!(driver = self.name, operation, id, class, "done"),
            Err(status) => {
                tracing::warn!(driver = self.name, operation, id, class, ?code, message = status.message());
            }
        }
        result.map(Response::new)
    }

    async fn carried_out<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        thing: Thing,
        id: &str,
        class: &str,
        work: impl FnOnce(&Arc<Self>, Option<Id>) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        if !self.memory().in_flight.insert(id.to_owned()) {
            let thing = thing.name();
            return Err(Status::aborted(format!(
                "an operation with the given {thing} ID {id} already exists"
            )));
        }
        let lock = Lock { driver: Arc::clone(self), id: id.to_owned() };
        let (answer, answered) = oneshot::channel();
        let (driver, class) = (Arc::clone(self), class.to_owned());
        let number = {
            let mut memory = self.memory();
            memory.next_task += 1;
            memory.next_task
        };
        // Its own task: the call goes on when the caller has gone away.
        let task = tokio::spawn(async move {
            let result = match driver.met(operation, &class).await {
                Ok(swallowed) => {
                    let worker = Arc::clone(&driver);
                    tokio::task::spawn_blocking(move || work(&worker, swallowed))
                        .await
                        .unwrap_or_else(|error| Err(Status::internal(format!("the call broke: {error}"))))
                }
                Err(status) => Err(status),
            };
            driver.memory().tasks.remove(&number);
            drop(lock);
            // The caller may have gone away at its deadline.
            let _ = answer.send(result);
        });
        self.memory().tasks.insert(number, task.abort_handle());
        if task.is_finished() {
            self.memory().tasks.remove(&number);
        }
        answered.await.unwrap_or_else(|_| Err(Status::unavailable("error reading from server: EOF")))
    }

    /// What a call meets: an error, or nothing after all waiting, or the fault that wants it not done.
    async fn met(&self, operation: &str, class: &str) -> Result<Option<Id>, Status> {
        let decision = self.faults.at(Seam::Csi, &self.name, operation, class);
        match decision.verdict {
            Verdict::Proceed => Ok(None),
            Verdict::Fail { code, message } => Err(Status::new(code_named(&code), message)),
            Verdict::Hang => {
                if let Some(id) = decision.by {
                    self.faults.lifted(id).await;
                }
                Ok(None)
            }
            Verdict::Delay(by) => {
                tokio::time::sleep(by).await;
                Ok(None)
            }
            Verdict::Swallow | Verdict::Corrupt(_) => Ok(decision.by),
            Verdict::Kill(_) => Err(Status::unavailable("error reading from server: EOF")),
        }
    }

    /// Loses what lives in memory only: calls in flight end, their locks are gone.
    pub fn restart(&self) {
        let (tasks, copying) = {
            let mut memory = self.memory();
            memory.in_flight.clear();
            memory.unready.clear();
            (std::mem::take(&mut memory.tasks), std::mem::take(&mut memory.copying))
        };
        for task in tasks.values() {
            task.abort();
        }
        for copy in copying.into_values() {
            if let Copying::Running(stopped) = copy {
                stopped.store(true, Ordering::SeqCst);
            }
        }
        tracing::warn!(driver = self.name, "restarted: {} calls in flight ended", tasks.len());
    }

    /// What the driver holds.
    pub fn held(&self) -> io::Result<control::Inventory> {
        let shown = |record: Record| {
            let used_by = record.staged.iter().chain(&record.published).cloned().collect();
            let source = record.source.map(|source| source.handle);
            let Record { name, object, bytes, .. } = record;
            (record.handle, control::Held { name, object, bytes, source, used_by })
        };
        let volumes = self.inventory.all(Thing::Volume)?.into_iter().map(shown).collect();
        let snapshots = self.inventory.all(Thing::Snapshot)?.into_iter().map(shown).collect();
        let memory = self.memory();
        Ok(control::Inventory {
            character: self.character.name().to_owned(),
            volumes,
            snapshots,
            in_flight: memory.in_flight.iter().cloned().collect(),
            calls: memory.calls.clone(),
        })
    }

    /// The record of a volume or snapshot, or `NotFound`.
    pub(super) fn found(&self, thing: Thing, handle: &str) -> Result<Record, Status> {
        let found = self.inventory.find(thing, handle).map_err(internal)?;
        let name = if thing == Thing::Volume { "volume" } else { "snapshot" };
        found.ok_or_else(|| Status::not_found(format!("{name} id {handle} not found")))
    }

    /// How faults call what a handle stands for: the object's name while the record is there.
    pub(super) fn class(&self, thing: Thing, handle: &str) -> String {
        let found = self.inventory.find(thing, handle).ok().flatten();
        found.map_or_else(|| handle.to_owned(), |record| record.class().to_owned())
    }

    /// Where the data of a source lies.
    pub(super) fn source(&self, source: &Source) -> Result<(Record, std::path::PathBuf), Status> {
        let record = self.found(source.thing, &source.handle)?;
        Ok((record, self.inventory.data(source.thing, &source.handle)))
    }

    /// Whether a snapshot may be used, as far as faults are concerned.
    pub(super) fn is_ready(&self, handle: &str) -> bool {
        self.memory().unready.get(handle).is_none_or(|fault| self.faults.is_over(*fault))
    }

    /// Remembers what the last call about a snapshot was told.
    pub(super) fn note_ready(&self, handle: &str, held_back: Option<Id>) {
        let mut memory = self.memory();
        match held_back {
            Some(fault) => memory.unready.insert(handle.to_owned(), fault),
            None => memory.unready.remove(handle),
        };
    }

    pub(super) fn copying(&self, handle: &str) -> Option<Copying> {
        self.memory().copying.get(handle).cloned()
    }

    pub(super) fn note_copying(&self, handle: &str, copying: Option<Copying>) {
        let mut memory = self.memory();
        match copying {
            Some(copying) => memory.copying.insert(handle.to_owned(), copying),
            None => memory.copying.remove(handle),
        };
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder of a driver's lock panics")
    }
}

/// An id in flight; free again when this is dropped.
struct Lock {
    driver: Arc<Driver>,
    id: String,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.driver.memory().in_flight.remove(&self.id);
    }
}

/// The real time: what a driver stamps on what it makes.
#[expect(clippy::disallowed_methods, reason = "a driver of a real cluster stamps real time")]
pub(super) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Trouble of the disk: full is the caller's affair, the rest is ours.
pub(super) fn internal(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Status::resource_exhausted(format!("the driver's disk is full: {error}"))
        }
        _ => Status::internal(error.to_string()),
    }
}

/// The code of this name; faults spell it as gRPC does.
fn code_named(name: &str) -> Code {
    let codes = (0..17).map(Code::from_i32);
    codes.into_iter().find(|code| format!("{code:?}") == name).unwrap_or(Code::Unknown)
}
