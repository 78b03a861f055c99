//! The stage: a bed, its scribe, and what the drive must remember between steps.
//!
//! Remembers what the scenario built (volumes with their ledgers, repositories with their passwords,
//! faults with their numbers) and which moments got a name. The truth about data is the ledger's, taken
//! from the medium whenever the bed itself wrote.

use std::{collections::BTreeMap, path::Path, time::Duration};

use jiff::Timestamp;
use json::Value;
use scenario::{Name, ObjectRef, Scenario, SubjectSpec, step::Place};
use testbed::{
    bed::{Bed, Options, Stalled, StorageClassSpec},
    record::What,
    subject::{Subject, saboteur},
    verbs::{Reach, Verbs, wait_until},
    volume::Character,
};

use super::{EPOCH, Failure};
use crate::{
    outcome::{Evidence, FaultOutcome},
    scribe::{Closed, Scribe},
};

/// How long a wait may take in virtual time: longer than a Job with all its retries.
pub(super) const PATIENCE: Duration = Duration::from_secs(6 * 3_600);

/// A repository that the scenario built.
#[derive(Clone, Debug)]
pub(super) struct Built {
    pub on: Place,
    pub reach: Reach,
    pub password: String,
    /// Its unique id, as first seen.
    pub unique_id: Option<String>,
}

/// A bed with what the drive remembers.
pub struct Stage {
    bed: Box<dyn Verbs>,
    scribe: Scribe,
    starts: Timestamp,
    pub(super) default_class: Option<String>,
    pub(super) repositories: BTreeMap<Name, Built>,
    pub(super) repository_of: BTreeMap<Name, Name>,
    pub(super) volume_of: BTreeMap<Name, Name>,
    pub(super) moments: BTreeMap<String, Timestamp>,
    pub(super) armed: Vec<(String, ::fault::Id)>,
    pub(super) losses: Vec<String>,
    pub(super) probes: u32,
    pub(super) killed_leader: Option<String>,
    /// When the last step was taken that may make a mover start.
    pub(super) last_cause: Timestamp,
}

impl Stage {
    /// Starts the bed that a scenario asks for.
    ///
    /// # Errors
    /// The record's file cannot be created, or no such subject exists.
    pub fn set(scenario: &Scenario, record: Option<&Path>) -> Result<Self, Failure> {
        if let SubjectSpec::Saboteur(name) = &scenario.bed.subject
            && !saboteur::ALL.iter().any(|row| row.name == name)
        {
            let known: Vec<_> = saboteur::ALL.iter().map(|row| row.name).collect();
            return Err(Failure::broken(format!(
                "no saboteur is called {name:?}; there are {}",
                known.join(", ")
            )));
        }
        let default = scenario.bed.default_class.clone().unwrap_or_else(|| "rbd".to_owned());
        let classes = classes(&default);
        if !classes.iter().any(|class| class.name == default) {
            return Err(Failure::broken(format!(
                "no storage class is called {default:?}: there are rbd, cephfs, hostpath, zfs and nfs"
            )));
        }
        if let SubjectSpec::Saboteur(name) = &scenario.bed.subject {
            let known = saboteur::ALL.map(|row| row.name);
            if !known.contains(&name.as_str()) {
                return Err(Failure::broken(format!(
                    "no saboteur is called {name:?}: there are {}",
                    known.join(", ")
                )));
            }
        }
        let options = Options {
            seed: scenario.seed,
            epoch: scenario.bed.starts.unwrap_or(EPOCH),
            subject: subject(&scenario.bed.subject),
            classes,
            nodes: vec!["node-a".to_owned(), "node-b".to_owned()],
            real_time: false,
            verbose_record: !scenario.bed.quiet,
        };
        let bed = Box::new(Bed::start(options));
        Self::on(bed, scenario, record)
    }

    /// Puts a scenario on a bed that stands already.
    ///
    /// # Errors
    /// The record's file cannot be created.
    pub fn on(bed: Box<dyn Verbs>, scenario: &Scenario, record: Option<&Path>) -> Result<Self, Failure> {
        let scribe = Scribe::follow(bed.record(), record)
            .map_err(|error| Failure::broken(format!("the record cannot be created: {error}")))?;
        if scenario.bed.quiet {
            bed.record().keep_newest(10_000);
        }
        Ok(Self {
            starts: bed.now(),
            last_cause: bed.now(),
            bed,
            scribe,
            default_class: scenario.bed.default_class.clone(),
            repositories: BTreeMap::new(),
            repository_of: BTreeMap::new(),
            volume_of: BTreeMap::new(),
            moments: BTreeMap::new(),
            armed: Vec::new(),
            losses: Vec::new(),
            probes: 0,
            killed_leader: None,
        })
    }

    /// The bed.
    pub fn bed(&self) -> &dyn Verbs {
        &*self.bed
    }

    pub(super) fn bed_mut(&mut self) -> &mut dyn Verbs {
        &mut *self.bed
    }

    pub(super) fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        probe: impl FnMut(&dyn Verbs) -> Option<T>,
    ) -> Result<T, Stalled> {
        wait_until(&mut *self.bed, what, deadline, probe)
    }

    /// Lets a while pass that every bed can play.
    pub(super) fn breathe(&mut self, by: Duration) -> Result<(), Failure> {
        self.bed.pass(by).map_err(Failure::from)
    }

    pub(super) fn scribe(&self) -> &Scribe {
        &self.scribe
    }

    /// The bed's present time.
    pub fn now(&self) -> Timestamp {
        self.bed.now()
    }

    /// When the bed started.
    pub fn starts(&self) -> Timestamp {
        self.starts
    }

    /// The evidence since the last call.
    pub fn take_evidence(&self) -> (Vec<Evidence>, u64) {
        self.scribe.take_evidence()
    }

    /// Takes what happened outside of the cluster into the record.
    pub fn catch_up(&mut self) {
        self.bed.catch_up();
    }

    /// Leaves a bed that outlives the scenario to the next one, but for namespaces that still go; tells whether it could.
    pub fn empty(&mut self) -> bool {
        self.bed.empty()
    }

    /// After [`Stage::empty`]: waits until nothing of the scenario is left; tells what stays nevertheless.
    pub fn clear(&mut self) -> Vec<String> {
        self.bed.clear()
    }

    /// How often each armed fault fired.
    pub fn firings(&self) -> Vec<FaultOutcome> {
        let fired = |name: &str| self.scribe.ask(|book| book.fired.get(name).copied().unwrap_or(0));
        self.armed.iter().map(|(name, _)| FaultOutcome { name: name.clone(), fired: fired(name) }).collect()
    }

    /// Declared losses seen so far, sorted.
    pub fn losses(&self) -> Vec<String> {
        let mut losses = self.losses.clone();
        losses.sort();
        losses.dedup();
        losses
    }

    /// Syncs that counted, of all replication sources.
    pub fn syncs_total(&self) -> u32 {
        let count: usize = self.scribe.ask(|book| {
            book.syncs
                .iter()
                .filter(|((kind, _, _), _)| kind == "ReplicationSource")
                .map(|(_, times)| times.len())
                .sum()
        });
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Writes the verdict into the record.
    pub fn verdict(&self, verdict: scenario::Verdict, reason: &str) {
        let what = What::Verdict {
            oracle: "scenario".to_owned(),
            outcome: verdict.to_string(),
            reason: reason.to_owned(),
        };
        self.bed.record().push("verdict/scenario", what);
    }

    pub(super) fn record(&self, state: &str, text: &str) {
        self.bed
            .record()
            .push("scenario/step", What::Step { text: text.to_owned(), state: state.to_owned() });
    }

    /// Ends the record.
    ///
    /// # Errors
    /// It could not be written.
    pub fn close(self) -> std::io::Result<Closed> {
        self.scribe.close(self.bed.now())
    }

    pub(super) fn apply(&mut self, object: &Value) -> Result<Value, Failure> {
        self.bed.apply(object).map_err(|error| {
            let what = |key: &str| object.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Failure::violated(format!("{} {} was refused: {error}", what("/kind"), what("/metadata/name")))
        })
    }

    pub(super) fn get(&self, object: &ObjectRef) -> Option<Value> {
        self.bed.get(&object.kind, object.name.namespace(), object.name.name())
    }

    pub(super) fn must_get(&self, object: &ObjectRef) -> Result<Value, Failure> {
        self.get(object).ok_or_else(|| Failure::violated(format!("{object} does not exist")))
    }

    pub(super) fn must_get_kind(&self, kind: &str, name: &Name) -> Result<Value, Failure> {
        self.must_get(&ObjectRef::new(kind, name.clone()))
    }
}

/// The subject that a scenario means.
pub(super) fn subject(spec: &SubjectSpec) -> Subject {
    match spec {
        SubjectSpec::Reference => Subject::Reference(testbed::subject::Profile::Safe),
        SubjectSpec::Original => Subject::Reference(testbed::subject::Profile::Original),
        SubjectSpec::Saboteur(name) => Subject::Saboteur(name.clone()),
        SubjectSpec::None => Subject::None,
    }
}

/// One class per character, named after it.
pub fn classes(default: &str) -> Vec<StorageClassSpec> {
    let characters = [
        ("rbd", Character::Rbd),
        ("cephfs", Character::CephFs),
        ("hostpath", Character::HostPath),
        ("zfs", Character::LocalZfs),
        ("nfs", Character::Nfs),
    ];
    characters
        .into_iter()
        .map(|(name, character)| {
            let class = StorageClassSpec::new(name, character);
            if name == default { class.default_class() } else { class }
        })
        .collect()
}
