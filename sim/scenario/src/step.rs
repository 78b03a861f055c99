//! Steps: what a scenario builds, what it does, what it looks at.
//!
//! `Given` builds ([`Build`]), `When` acts ([`Act`]), `Then` only looks ([`Expect`]). A step is data: it
//! serialises, compares and prints, and knows no cluster. Waits are in events and sync periods, so that a
//! real cluster can play them too. It promises that every step has a phrase (`phrase::write`) and a YAML
//! spelling. What a step *does* lives in `runner::drive`.

use serde::{Deserialize, Serialize};

use crate::{
    expect::Expect,
    fields::Fields,
    kubectl::Kubectl,
    name::{Name, ObjectRef},
    quantity::{ByteSize, Span},
    tree::{ChangeSpec, TreeSpec},
};

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Builds what must be there.
    Given(Build),
    /// Does something, or lets time pass.
    When(Act),
    /// Looks, and changes nothing.
    Then(Expect),
}

/// What is built before anything happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Build {
    /// A claim, bound and filled.
    Volume(Volume),
    /// A claim that nothing has filled yet: empty, or with a `dataSourceRef`.
    Claim(Claim),
    /// A repository and the Secret that names it.
    Repository(Repository),
    /// A ReplicationSource.
    ReplicationSource(ReplicationSource),
    /// A ReplicationDestination.
    ReplicationDestination(ReplicationDestination),
    /// A KopiaMaintenance.
    Maintenance(Maintenance),
    /// Plain manifests, as people have them.
    Manifests(String),
    /// A namespace.
    Namespace(String),
    /// A fault, armed from the start.
    Fault(FaultSpec),
    /// A controller that works only while it holds its Lease; on a real cluster it always is one.
    LeaderElection,
}

/// A claim that holds something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Volume {
    /// Name of the claim.
    pub name: Name,
    /// What it holds.
    pub holding: TreeSpec,
    /// Its storage class; the bed's default if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What the claim asks for; 10 GiB if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ByteSize>,
}

/// A claim by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Claim {
    /// Name of the claim.
    pub name: Name,
    /// The ReplicationDestination that its `dataSourceRef` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled_from: Option<Name>,
    /// Its storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What the claim asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ByteSize>,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Repository {
    /// Its name: of the Secret in each namespace that uses it.
    pub name: Name,
    /// Where its bytes are; a bucket of its own name if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Place>,
    /// Its password; one of the bed's own if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Where a repository's bytes are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A bucket of the bed's object store.
    Bucket(String),
    /// A bucket of an object store that answers over TLS, with a certificate of an authority of the bed's own.
    TlsBucket(String),
    /// A directory on a claim that the mover mounts.
    Claim(Name),
    /// A directory on an NFS export that the mover mounts.
    NfsExport(String),
}

/// When a replication runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// By a cron schedule.
    Schedule(String),
    /// Once for each new tag.
    Manual(String),
    /// Again and again.
    #[default]
    Always,
}

/// A ReplicationSource with the Kopia mover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplicationSource {
    /// Its name.
    pub name: Name,
    /// The claim that it backs up.
    pub of: Name,
    /// The repository.
    pub into: Name,
    /// When it runs.
    #[serde(default)]
    pub trigger: Trigger,
    /// Further fields of its spec, by path.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
}

/// A ReplicationDestination with the Kopia mover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplicationDestination {
    /// Its name.
    pub name: Name,
    /// The repository.
    pub from: Name,
    /// The ReplicationSource whose snapshots it wants (`sourceIdentity`); the one of its own name if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Name>,
    /// The claim that it fills; one of its own if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<Name>,
    /// When it runs.
    #[serde(default)]
    pub trigger: Trigger,
    /// Further fields of its spec, by path.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
}

/// A KopiaMaintenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Maintenance {
    /// Its name.
    pub name: Name,
    /// The repository.
    pub of: Name,
    /// Its cron schedule.
    pub schedule: String,
    /// Further fields of its spec, by path.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
}

/// A fault by name, with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultSpec {
    /// Which fault, as the fault model names it.
    pub name: String,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub with: Fields,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Lets time pass.
    Pass(Span),
    /// Lets so many periods of a schedule pass.
    PassPeriods {
        /// Whose schedule.
        of: Name,
        /// How many.
        count: u32,
    },
    /// Waits until something has happened.
    Await(Await),
    /// Gives the present moment and all that the volumes hold a name.
    Remember(String),
    /// Builds something later than at the start.
    Create(Build),
    /// The workload changes what a volume holds.
    Change {
        /// Which claim.
        volume: Name,
        /// How.
        by: ChangeSpec,
    },
    /// The workload writes one file.
    Write {
        /// Which claim.
        volume: Name,
        /// The file's path.
        path: String,
        /// Its new content.
        text: String,
    },
    /// Deletes an object.
    Delete(ObjectRef),
    /// Deletes an object and waits until it is gone with all that belonged to it.
    Destroy(ObjectRef),
    /// Sets the tag of a manual trigger.
    Trigger {
        /// The replication source or destination.
        object: ObjectRef,
        /// The new tag.
        tag: String,
    },
    /// Sets fields of an object's spec, by path; null removes one.
    Configure {
        /// Which object.
        object: ObjectRef,
        /// The fields.
        fields: Fields,
    },
    /// Lifts a fault by name.
    Lift(String),
    /// Stops the controller, as a killed pod.
    StopController,
    /// Starts the controller again.
    RestartController,
    /// Kills the controller that holds the Lease, which stays held by the dead; another process follows.
    KillLeader,
    /// Cuts the power of the node on which the pods run, and gives it back.
    RebootNode,
    /// Evicts the mover pod of a replication source or destination that is running.
    EvictMover(Name),
    /// Sends the mover's process a signal, without deleting its pod.
    SignalMover {
        /// Whose mover.
        of: Name,
        /// 15 or 9.
        signal: i32,
    },
    /// Evicts every pod of a namespace.
    Drain(String),
    /// Restarts a CSI driver.
    RestartCsi(String),
    /// Runs one kubectl line of a runbook.
    Run {
        /// What it is for, in a sentence.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        /// The line.
        line: Kubectl,
    },
}

/// What is waited for. Each has a deadline in virtual time; reaching it is a stall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Await {
    /// A replication source has synchronised so many times more than when the wait began.
    Synchronised {
        /// Which.
        source: Name,
        /// How many times more.
        times: u32,
    },
    /// A replication source has synchronised so many times in all.
    HasSynchronised {
        /// Which.
        source: Name,
        /// How many times at least.
        times: u32,
    },
    /// A replication source or destination has started a mover.
    MoverStarted(Name),
    /// A mover's Job has failed for good, or its run is reported as failed.
    Failed(Name),
    /// A replication destination has completed its present trigger.
    Restored(Name),
    /// A claim is bound.
    Bound(Name),
    /// Another controller holds the Lease than the one that was killed.
    AnotherLeader,
    /// An event of an object contains a text.
    Event {
        /// Which object.
        object: ObjectRef,
        /// The text.
        contains: String,
    },
    /// A condition of an object contains a text in its reason or message.
    Condition {
        /// Which object.
        object: ObjectRef,
        /// The text.
        contains: String,
    },
}

impl FaultSpec {
    /// The fault as the fault room knows it.
    ///
    /// # Errors
    /// A sentence that names the known faults, or the parameter that the fault does not have.
    pub fn fault(&self) -> Result<fault::Fault, String> {
        fault::Fault::named(&self.name).map_err(|error| error.to_string())?;
        let mut value = json::json!({ "fault": self.name });
        self.with.set_in(&mut value);
        json::from_value(value).map_err(|error| format!("fault {}: {error}", self.name))
    }
}
