//! CSI drivers: an inventory of volumes and snapshots, and a table of operations in flight.
//!
//! Each call locks its id; while a call hangs in the backend, its caller sees `DeadlineExceeded` after the
//! deadline and every retry `Aborted`, as ceph-csi answers, until the call returns or the driver restarts.
//! What a call meets is asked of the [`fault::Register`]. Calls are idempotent by name. RBD and ZFS clone in
//! an instant; CephFS copies all bytes, four at a time, as its manager does. It does not model depth of
//! clones or limits of snapshots per image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fault::{Register, Seam, Verdict, csi::operation};
use jiff::Timestamp;
use tokio::sync::{Semaphore, oneshot};

use crate::{
    clock::Clock,
    cost::Rate,
    record::{Record, What},
    seed,
    volume::{Character, Snapshot, Volume},
};

/// How long a sidecar waits for its driver (Rook's setting).
pub const DEADLINE: Duration = Duration::from_secs(150);
/// How many copies CephFS makes at once.
const CEPHFS_CLONES: usize = 4;

/// A refused or unanswered call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {code} desc = {message}")]
pub struct RpcError {
    /// gRPC's name of the code.
    pub code: String,
    /// The text.
    pub message: String,
}

impl RpcError {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
    /// Whether the driver has certainly not done it and is not about to.
    pub fn is_final(&self) -> bool {
        !matches!(
            self.code.as_str(),
            "DeadlineExceeded" | "Canceled" | "Unavailable" | "ResourceExhausted" | "Aborted"
        )
    }
}

/// What a new volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing.
    Empty,
    /// A snapshot, by handle.
    Snapshot(String),
    /// A volume, by handle.
    Volume(String),
}

/// A snapshot as the driver reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its handle.
    pub handle: String,
    /// When it was cut.
    pub at: Timestamp,
    /// Smallest size of a volume made from it.
    pub bytes: u64,
    /// Whether it can be used.
    pub is_ready: bool,
}

struct Held {
    volume: Volume,
    bytes: u64,
}

struct HeldSnapshot {
    snapshot: Snapshot,
    bytes: u64,
}

#[derive(Default)]
struct Inventory {
    volumes: BTreeMap<String, Held>,
    snapshots: BTreeMap<String, HeldSnapshot>,
    in_flight: BTreeSet<String>,
    tasks: BTreeMap<u64, tokio::task::AbortHandle>,
    next_task: u64,
}

/// One CSI driver.
pub struct Driver {
    name: String,
    component: String,
    character: Character,
    faults: Register,
    record: Record,
    clock: Clock,
    seed: u64,
    inventory: Mutex<Inventory>,
    copies: Arc<Semaphore>,
}

impl Driver {
    /// A driver without volumes.
    pub fn new(
        name: &str,
        character: Character,
        faults: Register,
        record: Record,
        clock: Clock,
        seed: u64,
    ) -> Self {
        Self {
            name: name.to_owned(),
            // Sidecars report as `<driver>_<pod>_<uuid>`.
            component: format!("{name}_csi-provisioner-0"),
            character,
            faults,
            record,
            clock,
            seed,
            inventory: Mutex::default(),
            copies: Arc::new(Semaphore::new(CEPHFS_CLONES)),
        }
    }

    /// The driver's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name under which its provisioner reports events.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// What its volumes are like.
    pub fn character(&self) -> Character {
        self.character
    }

    /// The volume behind a handle.
    pub fn volume(&self, handle: &str) -> Option<Volume> {
        self.inventory().volumes.get(handle).map(|held| held.volume.clone())
    }

    /// The handles of all volumes and of all snapshots, leaked ones included.
    pub fn handles(&self) -> (Vec<String>, Vec<String>) {
        let inventory = self.inventory();
        (inventory.volumes.keys().cloned().collect(), inventory.snapshots.keys().cloned().collect())
    }

    /// Makes a volume; `name` makes the call idempotent, `class` names it to faults and record.
    pub async fn create_volume(
        self: &Arc<Self>,
        name: &str,
        class: &str,
        bytes: u64,
        source: Source,
    ) -> Result<String, RpcError> {
        let handle = format!("csi-vol-{}", seed::hex(self.seed, &["volume", name], 16));
        let request = name.to_owned();
        let made = handle.clone();
        let latency = Duration::from_millis(400);
        self.call(operation::CREATE_VOLUME, "Volume", name, class, latency, move |driver, _| {
            Box::pin(async move {
                if driver.inventory().volumes.contains_key(&made) {
                    return Ok(made);
                }
                let now = driver.clock.as_function();
                let (volume, copied) = match &source {
                    Source::Empty => (Volume::new(&request, driver.character, now), 0),
                    Source::Snapshot(from) => {
                        let inventory = driver.inventory();
                        let held = inventory.snapshots.get(from).ok_or_else(|| {
                            RpcError::new("NotFound", format!("snapshot id {from} not found"))
                        })?;
                        let volume = Volume::from_snapshot(&request, driver.character, now, &held.snapshot);
                        let copied = volume.used();
                        (volume, copied)
                    }
                    Source::Volume(from) => {
                        let inventory = driver.inventory();
                        let held = inventory.volumes.get(from).ok_or_else(|| {
                            RpcError::new("NotFound", format!("volume id {from} not found"))
                        })?;
                        let volume =
                            Volume::from_snapshot(&request, driver.character, now, &held.volume.snapshot());
                        let copied = volume.used();
                        (volume, copied)
                    }
                };
                if driver.character == Character::CephFs && copied > 0 {
                    let _slot = driver
                        .copies
                        .acquire()
                        .await
                        .map_err(|_| RpcError::new("Internal", "clone queue closed"))?;
                    tokio::time::sleep(Rate::of(driver.character).time(1, copied)).await;
                }
                // A directory of the node has no limit of its own.
                if driver.character != Character::HostPath {
                    volume.resize(Some(bytes));
                }
                driver.inventory().volumes.insert(made.clone(), Held { volume, bytes });
                Ok(made)
            })
        })
        .await
    }

    /// Removes a volume; an absent one is removed already.
    pub async fn delete_volume(self: &Arc<Self>, handle: &str, class: &str) -> Result<(), RpcError> {
        let id = handle.to_owned();
        self.call(
            operation::DELETE_VOLUME,
            "Volume",
            handle,
            class,
            Duration::from_millis(100),
            move |driver, swallow| {
                Box::pin(async move {
                    if !swallow {
                        driver.inventory().volumes.remove(&id);
                    }
                    Ok(())
                })
            },
        )
        .await
    }

    /// Cuts a snapshot of a volume; `name` makes the call idempotent.
    pub async fn create_snapshot(
        self: &Arc<Self>,
        name: &str,
        class: &str,
        volume: &str,
    ) -> Result<Cut, RpcError> {
        let handle = format!("csi-snap-{}", seed::hex(self.seed, &["snapshot", name], 16));
        let source = volume.to_owned();
        self.call(
            operation::CREATE_SNAPSHOT,
            "Snapshot",
            name,
            class,
            Duration::from_millis(600),
            move |driver, not_ready| {
                Box::pin(async move {
                    let mut inventory = driver.inventory();
                    if !inventory.snapshots.contains_key(&handle) {
                        let held = inventory.volumes.get(&source).ok_or_else(|| {
                            RpcError::new("NotFound", format!("volume id {source} not found"))
                        })?;
                        let cut = HeldSnapshot { snapshot: held.volume.snapshot(), bytes: held.bytes };
                        inventory.snapshots.insert(handle.clone(), cut);
                    }
                    let held = &inventory.snapshots[&handle];
                    Ok(Cut {
                        handle: handle.clone(),
                        at: held.snapshot.at(),
                        bytes: held.bytes,
                        is_ready: !not_ready,
                    })
                })
            },
        )
        .await
    }

    /// Removes a snapshot; an absent one is removed already.
    pub async fn delete_snapshot(self: &Arc<Self>, handle: &str, class: &str) -> Result<(), RpcError> {
        let id = handle.to_owned();
        self.call(
            operation::DELETE_SNAPSHOT,
            "Snapshot",
            handle,
            class,
            Duration::from_millis(100),
            move |driver, swallow| {
                Box::pin(async move {
                    if !swallow {
                        driver.inventory().snapshots.remove(&id);
                    }
                    Ok(())
                })
            },
        )
        .await
    }

    /// Gives a volume more room.
    pub fn expand(&self, handle: &str, bytes: u64) {
        if let Some(held) = self.inventory().volumes.get_mut(handle) {
            held.bytes = held.bytes.max(bytes);
            if self.character != Character::HostPath {
                held.volume.resize(Some(held.bytes));
            }
        }
    }

    /// Restarts the driver: calls in flight end, their locks are gone.
    pub fn restart(&self) {
        let tasks = {
            let mut inventory = self.inventory();
            inventory.in_flight.clear();
            std::mem::take(&mut inventory.tasks)
        };
        for task in tasks.values() {
            task.abort();
        }
        self.faults.restarted(Seam::Csi);
        self.record.note(format!("csi driver {} restarted", self.name));
    }

    /// One call: lock, fault, work, unlock; the caller waits no longer than the deadline.
    ///
    /// `work` is told whether the fault wants the call answered without being done
    /// (for a snapshot: answered as not ready).
    async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        thing: &str,
        id: &str,
        class: &str,
        latency: Duration,
        work: impl FnOnce(Arc<Self>, bool) -> futures::future::BoxFuture<'static, Result<T, RpcError>>
        + Send
        + 'static,
    ) -> Result<T, RpcError> {
        let is_free = self.inventory().in_flight.insert(id.to_owned());
        if !is_free {
            let error = RpcError::new(
                "Aborted",
                format!("an operation with the given {thing} ID {id} already exists"),
            );
            self.note(operation, id, class, &error);
            return Err(error);
        }
        let (answer, answered) = oneshot::channel();
        let (driver, key, place) = (Arc::clone(self), id.to_owned(), class.to_owned());
        let number = {
            let mut inventory = self.inventory();
            inventory.next_task += 1;
            inventory.next_task
        };
        let task = tokio::spawn(async move {
            let (_, verdict) = driver.faults.pass(Seam::Csi, &driver.name, operation, &place).await;
            let result = match verdict {
                Verdict::Fail { code, message } => Err(RpcError { code, message }),
                Verdict::Kill(_) => Err(RpcError::new("Unavailable", "error reading from server: EOF")),
                verdict => {
                    tokio::time::sleep(latency).await;
                    work(Arc::clone(&driver), matches!(verdict, Verdict::Swallow | Verdict::Corrupt(_))).await
                }
            };
            let mut inventory = driver.inventory();
            inventory.in_flight.remove(&key);
            inventory.tasks.remove(&number);
            drop(inventory);
            // The caller may have gone away at its deadline.
            let _ = answer.send(result);
        });
        self.inventory().tasks.insert(number, task.abort_handle());
        let result = match tokio::time::timeout(DEADLINE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RpcError::new("Unavailable", "error reading from server: EOF")),
            Err(_) => Err(RpcError::new("DeadlineExceeded", "context deadline exceeded")),
        };
        match &result {
            Ok(_) => self.note(operation, id, class, &"OK"),
            Err(error) => self.note(operation, id, class, error),
        }
        result
    }

    fn note(&self, operation: &str, id: &str, class: &str, result: &dyn fmt::Display) {
        self.record.push(
            &format!("csi/{}/{operation}/{class}", self.name),
            What::Csi {
                driver: self.name.clone(),
                operation: operation.to_owned(),
                id: id.to_owned(),
                result: result.to_string(),
            },
        );
    }

    fn inventory(&self) -> MutexGuard<'_, Inventory> {
        self.inventory.lock().expect("no holder of a driver's lock panics")
    }
}

/// The drivers of a cluster, by name.
#[derive(Default)]
pub struct Drivers(Mutex<BTreeMap<String, Arc<Driver>>>);

impl Drivers {
    /// Adds a driver.
    pub fn add(&self, driver: Driver) {
        self.map().insert(driver.name.clone(), Arc::new(driver));
    }
    /// A driver by name.
    pub fn get(&self, name: &str) -> Option<Arc<Driver>> {
        self.map().get(name).cloned()
    }
    /// All drivers.
    pub fn all(&self) -> Vec<Arc<Driver>> {
        self.map().values().cloned().collect()
    }
    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Driver>>> {
        self.0.lock().expect("no holder of the drivers' lock panics")
    }
}
