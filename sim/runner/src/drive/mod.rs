//! The drive: plays a scenario on a bed, step by step, and comes to a verdict.
//!
//! One function per concept, one file per concept; each writes as a user would (through the bed's client)
//! and looks as an operator would, so that another bed can play the same steps. It promises that a step
//! that cannot be played is `unsupported` with its reason, that a wait which reaches its deadline is
//! `stalled`, and that an armed fault that never fired fails its scenario. It reads no real clock. It does
//! not know Gherkin or YAML: steps come as data.

mod cluster;
mod controller;
mod data;
mod elsewhere;
mod fault;
mod maintenance;
mod on;
mod replication;
mod repository;
mod stage;
mod status;
mod time;
mod volume;

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use scenario::{Act, Build, Expect, Scenario, Step, Verdict, phrase};
use testbed::{record::What, verbs::Trouble};

pub use on::{FIXED_NAMESPACE, On, VIRTUAL_TIME};
pub use stage::{Stage, classes};

use crate::outcome::{FaultOutcome, Outcome, StepOutcome};

/// When a bed starts if its scenario does not say: midnight, a Thursday.
pub const EPOCH: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// How long a bed that settles is left alone between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why a step did not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it makes of the scenario.
    pub verdict: Verdict,
    /// Why, in a sentence with what was seen.
    pub reason: String,
}

impl Failure {
    /// The subject did what it must not, or did not do what it must.
    pub fn violated(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Violated, reason: reason.into() }
    }
    /// A process of the subject ended where it must not.
    pub fn crashed(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Crashed, reason: reason.into() }
    }
    /// What was waited for did not come.
    pub fn stalled(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Stalled, reason: reason.into() }
    }
    /// This bed cannot play it.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unsupported, reason: reason.into() }
    }
    /// The harness or the scenario itself is wrong.
    pub fn broken(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Broken, reason: reason.into() }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unsupported(reason) => Self::unsupported(reason),
            Trouble::Stalled(stalled) => stalled.into(),
            Trouble::Broken(reason) => Self::broken(reason),
        }
    }
}

impl From<testbed::bed::Stalled> for Failure {
    fn from(stalled: testbed::bed::Stalled) -> Self {
        Self::stalled(stalled.to_string())
    }
}

/// What a step has to tell when it went well; empty if nothing.
pub type Told = Result<String, Failure>;

/// Plays a scenario on a fresh bed, writing its record to a file if one is named.
pub fn play(scenario: &Scenario, file: &str, record: Option<&Path>) -> Outcome {
    play_on(&On::Embedded, scenario, file, record)
}

/// Plays a scenario where it is told to.
pub fn play_on(on: &On, scenario: &Scenario, file: &str, record: Option<&Path>) -> Outcome {
    let (mut stage, played) = match on.set(scenario, record) {
        Ok(set) => set,
        Err(failure) => {
            let found = crate::input::Found { file: file.into(), scenario: scenario.clone() };
            let verdict = failure.verdict;
            return Outcome {
                verdict,
                bed: on.name().to_owned(),
                ..crate::pool::broken(&found, failure.reason)
            };
        }
    };
    let mut steps = Vec::new();
    let mut failure: Option<Failure> = None;
    let mut caught_by = "";
    // What is told are the scenario's own words, whatever its namespaces are called there.
    for (step, words) in played.steps.iter().zip(&scenario.steps) {
        let text = phrase::title(words);
        let at = stage.now();
        if failure.is_some() {
            let (detail, evidence) = (String::new(), Vec::new());
            steps.push(StepOutcome { text, passed: None, at, detail, evidence, evidence_more: 0 });
            continue;
        }
        let told = stage.play(step);
        let (evidence, evidence_more) = stage.take_evidence();
        let passed = Some(told.is_ok());
        let detail = match told {
            Ok(detail) => detail,
            Err(found) => {
                let reason = found.reason.clone();
                failure = Some(found);
                if let Step::Then(expect) = step {
                    caught_by = oracle(expect);
                }
                reason
            }
        };
        steps.push(StepOutcome { text, passed, at, detail, evidence, evidence_more });
    }
    stage.catch_up();
    let faults = stage.firings();
    if failure.is_none()
        && let Some(silent) = faults.iter().find(|fault| fault.fired == 0)
    {
        failure = Some(Failure::violated(format!(
            "the fault {} was armed and never fired: nothing was shown",
            silent.name
        )));
    }
    // A crash explains what stalls after it; what it let go wrong weighs more.
    if failure.as_ref().is_none_or(|failure| failure.verdict < Verdict::Crashed)
        && let Some(crash) = stage.bed().crashes().into_iter().next()
    {
        failure = Some(Failure::crashed(crash));
        caught_by = "processes";
    }
    if on.clears() {
        if stage.empty() {
            eprintln!("{}", crate::pool::FREE);
        }
        let left = stage.clear();
        if failure.is_none() && !left.is_empty() {
            failure = Some(Failure::violated(format!(
                "everything was deleted, and this stays in the cluster: {}",
                left.join("; ")
            )));
        }
    }
    let (verdict, reason) = judge(scenario, failure, caught_by);
    stage.verdict(verdict, &reason);
    let outcome = finish(scenario, file, stage, steps, faults, verdict, reason);
    Outcome { bed: on.name().to_owned(), ..outcome }
}

/// What the scenario comes to: of a broken subject, that it was caught as its proof demands.
fn judge(scenario: &Scenario, failure: Option<Failure>, caught_by: &str) -> (Verdict, String) {
    let Some(proof) = &scenario.proof else {
        return failure.map_or((Verdict::Passed, String::new()), |failure| (failure.verdict, failure.reason));
    };
    let wanted = format!("{} because of {:?}", proof.verdict, proof.because);
    let by = |name: &str| if name.is_empty() { String::new() } else { format!(" by the oracle {name}") };
    let wanted = wanted + &by(proof.oracle.as_deref().unwrap_or_default());
    let Some(failure) = failure else {
        return (Verdict::Violated, format!("should have been {wanted}, but passed: nobody noticed"));
    };
    let is_meant = proof.oracle.as_deref().is_none_or(|oracle| oracle == caught_by);
    if failure.verdict == proof.verdict && failure.reason.contains(&proof.because) && is_meant {
        return (Verdict::Passed, format!("caught{}: {}", by(caught_by), failure.reason));
    }
    if matches!(failure.verdict, Verdict::Broken | Verdict::Unsupported) {
        return (failure.verdict, failure.reason);
    }
    (
        Verdict::Violated,
        format!(
            "should have been {wanted}, but was {}{}: {}",
            failure.verdict,
            by(caught_by),
            failure.reason
        ),
    )
}

fn finish(
    scenario: &Scenario,
    file: &str,
    stage: Stage,
    steps: Vec<StepOutcome>,
    faults: Vec<FaultOutcome>,
    verdict: Verdict,
    reason: String,
) -> Outcome {
    let (starts, ends) = (stage.starts(), stage.now());
    let syncs = stage.syncs_total();
    let losses = stage.losses();
    let (verdict, reason, closed) = match stage.close() {
        Ok(closed) => (verdict, reason, Some(closed)),
        Err(error) => (Verdict::Broken, format!("the record cannot be written: {error}"), None),
    };
    Outcome {
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        feature: scenario.feature.clone(),
        id: scenario.id.clone(),
        file: file.to_owned(),
        seed: scenario.seed,
        bed: On::Embedded.name().to_owned(),
        subject: stage::subject(&scenario.bed.subject).to_string(),
        verdict,
        reason,
        starts,
        ends,
        real_ms: 0,
        steps,
        faults,
        losses,
        syncs,
        events: closed.as_ref().map_or(0, |closed| closed.events),
        digest: closed.as_ref().map_or_else(String::new, |closed| closed.digest.clone()),
        timeline: closed.map(|closed| closed.timeline).unwrap_or_default(),
    }
}

impl Stage {
    /// Plays one step; the only entrance, for the runner and for cucumber alike.
    ///
    /// # Errors
    /// What did not go well, with the verdict that it makes.
    pub fn play(&mut self, step: &Step) -> Told {
        let text = phrase::title(step);
        self.record("begins", &text);
        let told = match step {
            Step::Given(build) => self.build(build),
            Step::When(act) => self.act(act),
            Step::Then(expect) => {
                let told = self.look_patiently(expect);
                let outcome = told.as_ref().err().map_or(Verdict::Passed, |failure| failure.verdict);
                let reason = told.as_ref().map_or_else(|failure| failure.reason.clone(), Clone::clone);
                let verdict =
                    What::Verdict { oracle: oracle(expect).to_owned(), outcome: outcome.to_string(), reason };
                self.bed().record().push(&format!("verdict/{}", oracle(expect)), verdict);
                told
            }
        };
        self.record(if told.is_ok() { "passed" } else { "failed" }, &text);
        told
    }

    fn build(&mut self, build: &Build) -> Told {
        match build {
            Build::Volume(volume) => self.build_volume(volume),
            Build::Claim(claim) => self.build_claim(claim),
            Build::Repository(repository) => self.build_repository(repository),
            Build::ReplicationSource(source) => self.build_replication_source(source),
            Build::ReplicationDestination(destination) => self.build_replication_destination(destination),
            Build::Maintenance(maintenance) => self.build_maintenance(maintenance),
            Build::Manifests(text) => self.apply_manifests(text),
            Build::Namespace(namespace) => self.ensure_namespace(namespace),
            Build::Fault(fault) => self.arm(fault),
            Build::LeaderElection => self.elect_leader(),
        }
    }

    fn act(&mut self, act: &Act) -> Told {
        if matches!(act, Act::Create(_) | Act::Trigger { .. } | Act::Configure { .. } | Act::Run { .. }) {
            self.last_cause = self.now();
        }
        match act {
            Act::Pass(span) => self.pass(*span),
            Act::PassPeriods { of, count } => self.pass_periods(of, *count),
            Act::Await(wanted) => self.wait_for(wanted),
            Act::Remember(moment) => self.remember(moment),
            Act::Create(build) => self.build(build),
            Act::Change { volume, by } => self.change_volume(volume, by),
            Act::Write { volume, path, text } => self.write_file(volume, path, text),
            Act::Delete(object) => self.delete(object),
            Act::Destroy(object) => self.destroy(object),
            Act::Trigger { object, tag } => self.trigger(object, tag),
            Act::Configure { object, fields } => self.configure(object, fields),
            Act::Lift(name) => self.lift(name),
            Act::StopController => self.stop_controller(),
            Act::RestartController => self.restart_controller(),
            Act::KillLeader => self.kill_leader(),
            Act::RebootNode => self.reboot_node(),
            Act::EvictMover(of) => self.evict_mover(of),
            Act::SignalMover { of, signal } => self.signal_mover(of, *signal),
            Act::Drain(namespace) => self.drain(namespace),
            Act::RestartCsi(driver) => self.restart_csi(driver),
            Act::Run { line, .. } => self.run_kubectl(line),
        }
    }

    /// Looks until what is expected is there, or the bed has had its time to settle: on a real cluster a
    /// change is seen by everybody only after a while. A restore that came out wrong is not tried again.
    fn look_patiently(&mut self, expect: &Expect) -> Told {
        let until = self.now() + self.bed().settling();
        loop {
            let told = self.look(expect);
            let is_final = told.as_ref().err().is_none_or(|failure| failure.verdict != Verdict::Violated);
            if is_final || oracle(expect) == "restored-tree" || self.now() >= until {
                return told;
            }
            self.breathe(LOOK_AGAIN)?;
        }
    }

    fn look(&mut self, expect: &Expect) -> Told {
        match expect {
            Expect::Synchronised { source, times } => self.expect_synchronised(source, *times),
            Expect::SnapshotHolds { source, which, volume, at } => {
                self.expect_snapshot_holds(source, which, volume, at)
            }
            Expect::ClaimHolds { claim, volume, at } => self.expect_claim_holds(claim, volume, at),
            Expect::ClaimEmpty(claim) => self.expect_claim_empty(claim),
            Expect::ClaimBound { claim, bound } => self.expect_claim_bound(claim, *bound),
            Expect::Snapshots { source, count } => self.expect_snapshots(source, *count),
            Expect::NoDuplicateSnapshot(source) => self.expect_no_duplicate(source),
            Expect::NotVisible { of, to } => self.expect_not_visible(of, to),
            Expect::LastRun { of, result } => self.expect_last_run(of, *result),
            Expect::JobFailed(of) => self.expect_job_failed(of),
            Expect::MoverLog { of, contains } => self.expect_mover_log(of, contains),
            Expect::LatestImage { destination, present } => self.expect_latest_image(destination, *present),
            Expect::NothingRestored(destination) => self.expect_nothing_restored(destination),
            Expect::Condition { object, class, contains } => {
                self.expect_condition(object, class.as_deref(), contains)
            }
            Expect::Event { object, class, contains } => {
                self.expect_event(object, class.as_deref(), contains)
            }
            Expect::Exists { object, present } => self.expect_exists(object, *present),
            Expect::Object { object, has } => self.expect_object(object, has),
            Expect::RepositoryVerifies(repository) => self.expect_verifies(repository),
            Expect::RepositoryFails { repository, naming } => self.expect_fails_naming(repository, naming),
            Expect::RestoresElsewhere { repository, volume } => {
                self.expect_restores_elsewhere(repository, volume)
            }
            Expect::SameRepository(repository) => self.expect_same_repository(repository),
            Expect::MaintenanceOwner { repository, owner } => {
                self.expect_maintenance_owner(repository, owner)
            }
            Expect::FaultFired(name) => self.expect_fired(name),
            Expect::Metric { name, labels, value } => self.expect_metric(name, labels, value),
            Expect::Overdue { source, overdue } => self.expect_overdue(source, *overdue),
            Expect::LastSyncWithin { source, span } => self.expect_last_sync_within(source, *span),
            Expect::Synchronising { source, busy } => self.expect_synchronising(source, *busy),
        }
    }
}

/// The name under which an expectation judges, in the record and in a proof.
fn oracle(expect: &Expect) -> &'static str {
    match expect {
        Expect::Synchronised { .. } | Expect::LastSyncWithin { .. } | Expect::Synchronising { .. } => "syncs",
        Expect::SnapshotHolds { .. }
        | Expect::ClaimHolds { .. }
        | Expect::ClaimEmpty(_)
        | Expect::RestoresElsewhere { .. } => "restored-tree",
        Expect::ClaimBound { .. } => "claim",
        Expect::Snapshots { .. } | Expect::NoDuplicateSnapshot(_) | Expect::NotVisible { .. } => "snapshots",
        Expect::LastRun { .. }
        | Expect::JobFailed(_)
        | Expect::LatestImage { .. }
        | Expect::NothingRestored(_) => "run",
        Expect::MoverLog { .. } => "log",
        Expect::Condition { .. } | Expect::Event { .. } => "report",
        Expect::Exists { .. } | Expect::Object { .. } => "object",
        Expect::RepositoryVerifies(_)
        | Expect::RepositoryFails { .. }
        | Expect::SameRepository(_)
        | Expect::MaintenanceOwner { .. } => "repository",
        Expect::FaultFired(_) => "fault",
        Expect::Metric { .. } | Expect::Overdue { .. } => "metric",
    }
}

#[cfg(test)]
mod tests {
    use scenario::Proof;

    use super::*;

    fn check(proof: Option<(Verdict, &str, Option<&str>)>, failure: Option<Failure>, expected: Verdict) {
        let mut scenario = Scenario::new("x");
        scenario.proof = proof.map(|(verdict, because, oracle)| Proof {
            verdict,
            because: because.to_owned(),
            oracle: oracle.map(str::to_owned),
        });
        assert_eq!(
            judge(&scenario, failure.clone(), "run").0,
            expected,
            "{:?} with {failure:?}",
            scenario.proof
        );
    }

    #[test]
    fn a_broken_subject_must_be_caught_by_the_oracle_meant_for_it() {
        let mtime = Some((Verdict::Violated, "mtime", None));
        check(None, None, Verdict::Passed);
        check(None, Some(Failure::stalled("x")), Verdict::Stalled);
        check(mtime, Some(Failure::violated("a: mtime differs")), Verdict::Passed);
        check(mtime, Some(Failure::violated("a: uid differs")), Verdict::Violated);
        check(mtime, Some(Failure::stalled("mtime")), Verdict::Violated);
        check(mtime, None, Verdict::Violated);
        check(mtime, Some(Failure::broken("mtime")), Verdict::Broken);
        check(
            Some((Verdict::Violated, "mtime", Some("run"))),
            Some(Failure::violated("mtime")),
            Verdict::Passed,
        );
        check(
            Some((Verdict::Violated, "mtime", Some("metric"))),
            Some(Failure::violated("mtime")),
            Verdict::Violated,
        );
    }
}
