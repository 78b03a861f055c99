//! What to do about a replication object, as a function of what was observed.
//!
//! [`plan`] never talks to anything and never reads a clock; the same observation at the same instant gives
//! the same acts. The order of acts is the order in which they are carried out. Source: sections 2.3 to 2.9
//! of the behaviour specification; where the two profiles differ, the word `original` stands in the code.
pub mod copy_trigger;
pub mod finish;
pub mod known;
pub mod pod;
pub mod prerequisite;
pub mod run;
pub mod template;
pub mod volume;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::act::{Act, Status};
use crate::condition::{self, Claim};
use crate::cron;
use crate::machine::{self, Mode, State};
use crate::metrics::Measure;
use crate::observed::Observed;
use crate::obstacle::Obstacle;
use crate::subject::{Method, Subject};

/// How often a running sync is looked at when nothing happens.
pub const PROGRESS_INTERVAL: Duration = Duration::from_mins(1);
/// How often something is looked at that no watch tells about.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Pause between syncs that take no time (the original's paused object without a trigger).
const LOOP_INTERVAL: Duration = Duration::from_secs(1);

/// Plans one step of a replication object.
pub fn plan(observed: &Observed, now: Timestamp) -> Vec<Act> {
    let turn = Turn::new(observed, now);
    match observed.subject.method(observed.setting.profile) {
        Method::Foreign => return Vec::new(),
        Method::Wrong(obstacle) => return turn.fail(obstacle),
        Method::Kopia => {}
    }
    let sync = observed.subject.sync();
    let mode = Mode::of(observed.subject.trigger());
    if let Err(error) = &mode
        && sync.last_sync_time.is_some()
    {
        return turn.fail(error.clone().into());
    }
    let mut turn = turn;
    let missed = mode.as_ref().is_ok_and(|mode| mode.has_missed(&sync, now));
    if sync.last_sync_time.is_none() || missed {
        turn.measure(Measure::OutOfSync(true));
    }
    match machine::state(&sync) {
        State::Initial => turn.start_unless_paused(),
        State::Synchronizing => run::synchronize(turn, &mode),
        State::CleaningUp => finish::clean_up(turn, &mode),
    }
}

/// A plan in the making.
pub struct Turn<'a> {
    /// What was seen.
    pub observed: &'a Observed,
    /// The present instant.
    pub now: Timestamp,
    /// The status as it will be.
    pub status: Status,
    /// What is to be done before the status is written.
    pub acts: Vec<Act>,
}

impl<'a> Turn<'a> {
    /// Begins with the status as it is.
    pub fn new(observed: &'a Observed, now: Timestamp) -> Self {
        let status = match &observed.subject {
            Subject::Source(source) => {
                let mut status = source.status.clone().unwrap_or_default();
                status.kopia.get_or_insert_default();
                Status::Source(status)
            }
            Subject::Destination(destination) => {
                let mut status = destination.status.clone().unwrap_or_default();
                status.kopia.get_or_insert_default();
                Status::Destination(status)
            }
        };
        Self { observed, now, status, acts: Vec::new() }
    }
    /// Adds an act.
    pub fn act(&mut self, act: Act) {
        self.acts.push(act);
    }
    /// Counts something.
    pub fn measure(&mut self, measure: Measure) {
        self.acts.push(Act::Measure(measure));
    }
    /// Sets a condition.
    pub fn say(&mut self, claim: Claim) {
        let now = self.now;
        if let Some(sync) = self.status.sync_mut() {
            condition::set(&mut sync.conditions, claim, None, now);
        }
    }
    /// Takes a condition away.
    pub fn unsay(&mut self, type_: &str) {
        if let Some(sync) = self.status.sync_mut() {
            condition::clear(&mut sync.conditions, type_);
        }
    }
    /// Writes the status and ends the plan.
    pub fn end(mut self, last: Vec<Act>) -> Vec<Act> {
        self.acts.push(Act::Status(Box::new(self.status)));
        self.acts.extend(last);
        self.acts
    }
    /// Ends the plan with an error that users see.
    pub fn fail(mut self, obstacle: Obstacle) -> Vec<Act> {
        self.say(Claim::error(obstacle.to_string()));
        self.end(vec![Act::Fail(obstacle)])
    }
    /// Ends the plan in the middle of a sync.
    pub fn wait(mut self, claim: Claim, interval: Duration) -> Vec<Act> {
        self.say(claim);
        self.end(vec![Act::Requeue(interval)])
    }

    /// Starts a sync; the safe profile does not while the object is paused.
    pub fn start_unless_paused(mut self) -> Vec<Act> {
        if self.observed.subject.is_paused() && !self.observed.is_original() {
            self.say(Claim::paused());
            return self.end(Vec::new());
        }
        let now = self.now;
        if let Some(sync) = self.status.sync_mut() {
            sync.last_sync_start_time = Some(Time(now));
        }
        self.say(Claim::in_progress());
        self.end(vec![Act::Again])
    }

    /// Ends a sync as completed.
    pub fn complete(mut self, mode: &Result<Mode, cron::Error>) -> Vec<Act> {
        let now = self.now;
        let before = self.observed.subject.sync();
        let mode = match mode {
            Ok(mode) => mode,
            Err(error) => {
                // TRG-7: the end is recorded before the schedule is found wanting.
                if let Some(sync) = self.status.sync_mut() {
                    sync.last_sync_time = Some(Time(now));
                }
                return self.fail(error.clone().into());
            }
        };
        if mode.has_missed(&before, now) {
            self.measure(Measure::MissedInterval);
        } else {
            self.measure(Measure::NoMissedInterval);
        }
        if let Some(start) = &before.last_sync_start_time {
            self.measure(Measure::SyncDuration(now.duration_since(start.0)));
        }
        self.measure(Measure::OutOfSync(false));
        let trigger = self.observed.subject.trigger();
        if let Some(sync) = self.status.sync_mut() {
            machine::complete(sync, mode, trigger, now);
        }
        self.unsay(condition::OVERDUE);
        self.say(Claim::cleaning_up());
        let is_loop = self.observed.subject.is_paused() && matches!(mode, Mode::Always);
        self.end(vec![if is_loop { Act::Requeue(LOOP_INTERVAL) } else { Act::Again }])
    }

    /// Says how late a running sync is, and how long until it would be (safe profile).
    pub fn tell_overdue(&mut self, mode: &Result<Mode, cron::Error>) -> Duration {
        let sync = self.observed.subject.sync();
        let deadline = mode.as_ref().ok().and_then(|mode| mode.deadline(&sync));
        let (Some(deadline), false) = (deadline, self.observed.is_original()) else {
            return PROGRESS_INTERVAL;
        };
        let left = deadline.duration_since(self.now);
        if left.is_positive() || left.is_zero() {
            let left = Duration::try_from(left + SignedDuration::from_millis(1)).unwrap_or(PROGRESS_INTERVAL);
            return left.min(PROGRESS_INTERVAL);
        }
        let known = condition::find(sync.conditions.as_ref(), condition::OVERDUE);
        let start = sync.last_sync_start_time.as_ref().map_or(self.now, |start| start.0);
        let message = format!(
            "the synchronization that began at {} runs past its next scheduled time {}",
            start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            deadline.strftime("%Y-%m-%dT%H:%M:%SZ")
        );
        if known.is_none_or(|known| known.status != "True") {
            self.acts.push(Act::warning("SyncOverdue", message.clone()));
            self.measure(Measure::OutOfSync(true));
        }
        let claim = Claim { type_: condition::OVERDUE, holds: true, reason: "DeadlineMissed", message };
        self.say(claim);
        PROGRESS_INTERVAL
    }
}
