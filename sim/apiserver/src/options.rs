//! How an [`ApiServer`](crate::ApiServer) is set up: clock, seed, order of requests, admission.
//!
//! Everything that would differ between two processes is passed in here: time, randomness, the order of
//! requests inside one instant. Nothing in this crate reads the clock or global randomness by itself
//! (waiting uses tokio's timer, which a paused runtime makes virtual).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use json::Value;

use crate::failure::Failure;

/// Tells the time that the server writes into objects (`creationTimestamp` and the like).
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Set-up of a server.
#[derive(Clone)]
pub struct Options {
    /// The time written into objects.
    pub now: Clock,
    /// Seeds uids, generated names and the order of requests inside one instant.
    pub seed: u64,
    /// When and in which order requests are answered.
    pub sequencing: Sequencing,
    /// Admission plug-ins, asked in order after the built-in defaulting and before validation.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Watch events kept per resource; an older resourceVersion answers 410 Gone.
    pub history: usize,
    /// How long a watch event is kept, if that is limited: older ones go when the next of their resource comes.
    /// Real servers keep theirs for 75 s at least.
    pub history_age: Option<Duration>,
    /// How often a watch that asked for bookmarks gets one while nothing happens.
    pub bookmark_period: Duration,
    /// A watch lives at least this long, whatever `timeoutSeconds` says. Zero obeys the client as a real
    /// server does; a bed that lives a year saves most of its requests with an hour here and
    /// `bookmark_period` below the client's idle limit (295 s in kube).
    pub watch_timeout_min: Duration,
    /// When `managedFields` are kept.
    pub managed_fields: ManagedFields,
}

impl Options {
    /// Creates options for a server on the given clock and seed that answers at once.
    pub fn new(now: Clock, seed: u64) -> Self {
        Self {
            now,
            seed,
            sequencing: Sequencing::Immediate,
            admission: Vec::new(),
            history: 4096,
            history_age: None,
            bookmark_period: Duration::from_mins(1),
            watch_timeout_min: Duration::ZERO,
            managed_fields: ManagedFields::Always,
        }
    }

    /// Replaces the sequencing.
    #[must_use]
    pub fn sequencing(mut self, sequencing: Sequencing) -> Self {
        self.sequencing = sequencing;
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .field("sequencing", &self.sequencing)
            .field("admission", &self.admission.len())
            .field("history", &self.history)
            .field("history_age", &self.history_age)
            .field("bookmark_period", &self.bookmark_period)
            .field("watch_timeout_min", &self.watch_timeout_min)
            .field("managed_fields", &self.managed_fields)
            .finish_non_exhaustive()
    }
}

/// When and in which order requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequencing {
    /// At once, in the order in which they are polled.
    Immediate,
    /// All requests that arrive in one instant are gathered, ordered by a seeded hash of caller, method,
    /// path and body, and answered one per tick. Needs a tokio runtime with time; meant for a paused clock.
    Tick(Duration),
}

/// When `metadata.managedFields` are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedFields {
    /// On every write, as a current server does.
    Always,
    /// From the first server-side apply on an object on, as servers before 1.18 did (fields that stood
    /// there before belong to `before-first-apply`). Halves the size of objects that nobody applies to.
    FromFirstApply,
}

/// What is about to happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A replacement or patch, also of a subresource.
    Update,
    /// A deletion request.
    Delete,
}

impl Operation {
    /// Returns the word that admission configurations use (`CREATE`, `UPDATE`, `DELETE`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// One request as admission sees it.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who asks.
    pub caller: &'a str,
    /// What is asked.
    pub operation: Operation,
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural name of the resource.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Resource kind.
    pub kind: &'a str,
    /// Namespace; empty for objects of the cluster.
    pub namespace: &'a str,
    /// Name; empty while it is still to be generated.
    pub name: &'a str,
    /// The stored object before an update or deletion.
    pub old: Option<&'a Value>,
    /// Labels and other data of the namespace object, when there is one.
    pub namespace_object: Option<&'a Value>,
}

/// Changes or refuses objects on their way into the store.
///
/// # Assumptions
/// Called with the server's lock held: an implementation must not call the server. It must be a function
/// of its arguments, or runs with one seed would differ.
pub trait Admission: Send + Sync {
    /// Changes the object before validation. Not called for deletions.
    fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Failure>;
    /// Accepts or refuses; `object` is null for deletions.
    fn validate(&self, attributes: &Attributes<'_>, object: &Value) -> Result<(), Failure>;
}
