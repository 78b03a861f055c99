//! The verbs of a bed: what a drive asks of it, whatever the bed is made of.
//!
//! [`crate::bed::Bed`] (embedded, virtual time) and the kind bed (a real cluster, real time) both do
//! them, so that the same steps are played on either. Verbs that write act as a user; verbs that look
//! change nothing. A bed promises never to pretend: what it cannot do is [`Trouble::Unsupported`] with its
//! reason. Waits are on a level with a deadline; on a bed in real time the deadline is cut down to what
//! people wait for. Nothing here judges.

use std::time::Duration;

use apiserver::Failure;
use fault::Fault;
use jiff::Timestamp;
use json::Value;
use scenario::{
    step::Place,
    tree::{ChangeSpec, TreeSpec},
};

use crate::{
    bed::{ClaimError, Stalled},
    inspect::{Blobs, Contents, Taken, Verified},
    ledger::Entry,
    record::Record,
    volume::Volume,
};

/// Why a verb was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// This bed cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// What was waited for did not come.
    #[error(transparent)]
    Stalled(#[from] Stalled),
    /// The bed itself did not do what it should.
    #[error("{0}")]
    Broken(String),
}

/// How a repository at some place is reached by a mover.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    /// What its Secret holds besides the password.
    pub secret: Vec<(&'static str, String)>,
    /// The volume that the mover mounts, as in `moverVolumes`, if it is not an object store.
    pub volume_source: Option<Value>,
    /// The authority that vouches for an object store over TLS, PEM; nobody trusts it who is not told.
    pub authority: Option<String>,
}

/// Where the mover finds a repository that is mounted, below `/mnt`.
pub const REPOSITORY_MOUNT: &str = "repository";

impl Reach {
    /// A repository on a volume that the mover mounts.
    pub fn mounted(volume_source: Value) -> Self {
        let repository = format!("filesystem:///mnt/{REPOSITORY_MOUNT}");
        let secret = vec![("KOPIA_REPOSITORY", repository)];
        Self { secret, volume_source: Some(volume_source), authority: None }
    }
}

/// What a snapshot came to on a machine that had never seen its repository.
pub struct Elsewhere {
    /// Who restored it, and where.
    pub by: String,
    /// What lay there afterwards; else what who restored said.
    pub held: Result<Volume, String>,
}

/// A probe of a wait: whether what is waited for is there.
pub type Probe<'a> = &'a mut dyn FnMut(&dyn Verbs) -> bool;

/// What a drive asks of a bed.
pub trait Verbs {
    /// Whether its clock jumps over spans in which nothing happens.
    fn is_virtual(&self) -> bool;
    /// Its present time.
    fn now(&self) -> Timestamp;
    /// What happened so far.
    fn record(&self) -> &Record;
    /// How long what was caused may take until it is seen; zero where every look sees the latest write.
    fn settling(&self) -> Duration;
    /// Takes over into the record what happened outside of the cluster: firings of faults, mostly.
    fn catch_up(&mut self);

    /// Mends what is broken and removes what the scenario's namespaces hold, where the bed outlives it; if that is done
    /// (`true`), another scenario may go on as if this one had never been, although its namespaces still go.
    fn empty(&mut self) -> bool;
    /// After [`Verbs::empty`]: waits until nothing of the scenario is left, where the bed outlives it; tells what stays
    /// nevertheless.
    fn clear(&mut self) -> Vec<String>;

    /// Lets time pass.
    ///
    /// # Errors
    /// Unsupported where that would have to be waited for and is too long.
    fn pass(&mut self, by: Duration) -> Result<(), Trouble>;
    /// Waits until a probe says yes; see [`wait_until`].
    ///
    /// # Errors
    /// [`Stalled`] when the deadline passes first.
    fn wait(&mut self, what: &str, deadline: Duration, probe: Probe<'_>) -> Result<(), Stalled>;

    /// Creates or updates one object, as server-side apply does.
    fn apply(&mut self, object: &Value) -> Result<Value, Failure>;
    /// Applies a JSON merge patch; `kind` is `Kind` or `Kind.group`.
    fn patch(&mut self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<Value, Failure>;
    /// Deletes one object (background propagation); an absent one is not an error.
    fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Result<(), Failure>;
    /// Looks at one object.
    fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value>;
    /// Looks at all objects of a kind, in a namespace or (empty) everywhere, sorted by namespace and name.
    fn list(&self, kind: &str, namespace: &str) -> Vec<Value>;

    /// Fills a claim with a tree, after it is bound; returns what it holds then.
    fn fill_claim(&mut self, namespace: &str, claim: &str, tree: &TreeSpec) -> Result<Entry, ClaimError>;
    /// Changes what a claim holds.
    fn change_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        change: &ChangeSpec,
    ) -> Result<Entry, ClaimError>;
    /// Writes one file of a claim as its workload would.
    fn write_claim(
        &mut self,
        namespace: &str,
        claim: &str,
        path: &str,
        text: &str,
    ) -> Result<Entry, ClaimError>;
    /// What the bed had written to a claim at an instant: the newest filling or change not after it.
    fn ledger_at(&self, namespace: &str, claim: &str, at: Timestamp) -> Option<Entry>;
    /// What a claim holds, past every cache of who wrote it; none while nothing stands behind it.
    fn read_claim(&mut self, namespace: &str, claim: &str) -> Result<Option<Volume>, Trouble>;

    /// Makes the place of a repository, or takes the one that is there. A claim must exist already.
    fn make_place(&mut self, place: &Place) -> Result<Reach, Trouble>;
    /// The blobs of a repository as they lie; none if its place is gone.
    fn blobs(&mut self, place: &Place) -> Result<Option<Blobs>, Trouble>;
    /// Opens a copy of a repository and lists it; none if nothing is there.
    fn look_into(&self, blobs: &Blobs, password: &str) -> Result<Option<Contents>, engine::Error>;
    /// Opens a copy of a repository and reads all of it; none if nothing is there.
    fn verify(&self, blobs: &Blobs, password: &str) -> Result<Option<Verified>, engine::Error>;

    /// Restores a snapshot, the newest of its identity, on a machine that has never seen the repository: with an
    /// empty cache, outside of the cluster, past every proxy. Each program that can do it does.
    fn restore_elsewhere(
        &mut self,
        place: &Place,
        password: &str,
        snapshot: &Taken,
    ) -> Result<Vec<Elsewhere>, Trouble>;

    /// Arms a fault.
    fn arm(&mut self, fault: Fault) -> Result<fault::Id, Trouble>;
    /// Lifts a fault.
    fn lift(&mut self, id: fault::Id) -> Result<(), Trouble>;

    /// Evicts a pod as a drain does.
    fn evict_pod(&mut self, namespace: &str, pod: &str) -> Result<(), Trouble>;
    /// Sends SIGTERM (15) or SIGKILL (9) to a pod's processes without deleting the pod.
    fn signal_pod(&mut self, namespace: &str, pod: &str, signal: i32) -> Result<(), Trouble>;
    /// Evicts every pod of a namespace (empty: of all of them that the scenario made).
    fn drain(&mut self, namespace: &str) -> Result<(), Trouble>;
    /// Restarts a CSI driver (empty: all of them).
    fn restart_csi_driver(&mut self, driver: &str) -> Result<(), Trouble>;
    /// Stops the subject's controller as a killed pod.
    fn stop_controller(&mut self) -> Result<(), Trouble>;
    /// Starts the subject's controller again, with empty caches.
    fn restart_controller(&mut self) -> Result<(), Trouble>;
    /// Lets the subject's controller work only while it holds its Lease; nothing to do where it always does.
    ///
    /// # Errors
    /// This subject takes part in no election.
    fn elect_leader(&mut self) -> Result<(), Trouble>;
    /// Who holds the controller's Lease; each process has a name of its own.
    fn leader(&self) -> Option<String>;
    /// Kills the controller that leads without a farewell; another process is started at once, as by a Deployment.
    ///
    /// # Errors
    /// Its process cannot be reached.
    fn kill_leader(&mut self) -> Result<(), Trouble>;
    /// Cuts the power of the node and gives it back: every process on it dies, disks stay. Returns when pods can
    /// run again.
    ///
    /// # Errors
    /// The node is nobody's to switch, or does not come back.
    fn reboot_node(&mut self) -> Result<(), Trouble>;
    /// Which processes of the subject ended where they must not, as far as the bed can tell.
    fn crashes(&self) -> Vec<String> {
        Vec::new()
    }
    /// The subject's metrics page.
    fn metrics(&self) -> Result<String, Trouble>;
}

/// Waits until `probe` gives a value.
///
/// # Errors
/// [`Stalled`] when the deadline (in the bed's time from now) passes first.
pub fn wait_until<T>(
    bed: &mut dyn Verbs,
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut(&dyn Verbs) -> Option<T>,
) -> Result<T, Stalled> {
    let mut found = None;
    bed.wait(what, deadline, &mut |bed| {
        found = probe(bed);
        found.is_some()
    })?;
    Ok(found.expect("a wait that ends well has probed a value"))
}
