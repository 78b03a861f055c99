//! Actors: the parts of a cluster that make objects come alive.
//!
//! Each actor stands for one real component (scheduler, kubelet, Job controller, provisioner, …) and keeps
//! its name as caller. All are level-triggered: a change of an object yields keys ([`Actor::keys`]), and
//! [`Actor::reconcile`] compares what is with what should be. They promise the objects, texts and order of
//! the real components as far as backups can see them, and determinism: keys are worked in order of
//! arrival, one at a time per key, on virtual time, without polling. They need the whole world to pass
//! through [`Cluster`]; they know nothing of backups (only [`kubelet`] starts movers).

pub mod binder;
pub mod cluster;
pub mod cronjob;
pub mod driver;
pub mod expiry;
pub mod job;
pub mod kubelet;
mod mirror;
pub mod protection;
pub mod provisioner;
pub mod resource;
pub mod scheduler;
pub mod snapshotter;
pub mod workload;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub use cluster::{Change, Cluster, View};
pub use resource::Resource;

/// What an actor works on: one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The kind, for actors that watch several.
    pub kind: &'static str,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key for an object of `resource`.
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Self { kind: resource.kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// What follows a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Done,
    /// Again after this time, or earlier when something changes.
    After(Duration),
    /// Again after a pause that doubles with each retry, from `first` to `limit`, or earlier when something
    /// changes (which does not shorten the pauses after it).
    Retry {
        /// Pause after the first failure.
        first: Duration,
        /// Longest pause.
        limit: Duration,
    },
}

/// One component of a cluster.
#[async_trait::async_trait]
pub trait Actor: Send + Sync + 'static {
    /// The name under which it writes.
    fn name(&self) -> &str;
    /// Which of its objects a change concerns.
    fn keys(&self, change: &Change, view: &View<'_>) -> Vec<Key>;
    /// Brings one object closer to what it should be.
    async fn reconcile(&self, key: &Key) -> Next;
}

/// The work queue of one actor.
#[derive(Default)]
pub struct Queue {
    state: Mutex<QueueState>,
    wake: Notify,
}

#[derive(Default)]
struct QueueState {
    ready: VecDeque<Key>,
    queued: BTreeSet<Key>,
    working: BTreeSet<Key>,
    dirty: BTreeSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    due: BTreeMap<Key, Instant>,
    retries: BTreeMap<Key, u32>,
}

impl QueueState {
    fn set_timer(&mut self, key: &Key, at: Instant) {
        if let Some(old) = self.due.insert(key.clone(), at) {
            self.timers.remove(&(old, key.clone()));
        }
        self.timers.insert((at, key.clone()));
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().expect("no holder of a queue's lock panics")
    }

    /// Adds a key; one that waits already is not added twice, one in work is worked again afterwards.
    pub fn push(&self, key: Key) {
        let mut state = self.lock();
        if state.working.contains(&key) {
            state.dirty.insert(key);
        } else if state.queued.insert(key.clone()) {
            state.ready.push_back(key);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for the next key.
    async fn next(&self) -> Key {
        loop {
            let until = {
                let mut state = self.lock();
                let now = Instant::now();
                while let Some((at, key)) = state.timers.first().cloned() {
                    if at > now {
                        break;
                    }
                    state.timers.remove(&(at, key.clone()));
                    state.due.remove(&key);
                    if state.working.contains(&key) {
                        state.dirty.insert(key);
                    } else if state.queued.insert(key.clone()) {
                        state.ready.push_back(key);
                    }
                }
                if let Some(key) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    state.working.insert(key.clone());
                    return key;
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match until {
                Some(at) => tokio::select! {
                    biased;
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    fn finish(&self, key: &Key, next: Next) {
        let mut state = self.lock();
        state.working.remove(key);
        let dirty = state.dirty.remove(key);
        match next {
            Next::Done => {
                state.retries.remove(key);
            }
            Next::After(pause) => {
                state.retries.remove(key);
                state.set_timer(key, Instant::now() + pause);
            }
            Next::Retry { first, limit } => {
                let count = state.retries.entry(key.clone()).or_default();
                let pause = first.saturating_mul(2_u32.saturating_pow(*count)).min(limit);
                *count = (*count).saturating_add(1);
                state.set_timer(key, Instant::now() + pause);
            }
        }
        if dirty && state.queued.insert(key.clone()) {
            state.ready.push_back(key.clone());
        }
        drop(state);
        self.wake.notify_one();
    }
}

/// Runs an actor until dropped: many keys at once, each key one at a time.
pub async fn drive(actor: Arc<dyn Actor>, queue: Arc<Queue>) {
    loop {
        let key = queue.next().await;
        let (actor, queue) = (Arc::clone(&actor), Arc::clone(&queue));
        tokio::spawn(async move {
            let next = actor.reconcile(&key).await;
            queue.finish(&key, next);
        });
    }
}
