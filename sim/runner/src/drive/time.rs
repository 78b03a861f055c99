//! Time: what passes, what is waited for, which moments get a name.
//!
//! Waits are on a level with a deadline in virtual time; none of them sleeps a guessed while.

use std::time::Duration;

use jiff::Timestamp;
use json::{Value, json};
use scenario::{Name, ObjectRef, quantity::Span, step::Await};

use super::{
    Failure, Stage, Told,
    cluster::{mover_pod, text},
    replication::explain,
    stage::PATIENCE,
};

/// The longest period whose next run is waited for on a bed in real time.
const PERIOD_MAX: Duration = Duration::from_secs(60);

impl Stage {
    pub(super) fn pass(&mut self, span: Span) -> Told {
        self.bed_mut().pass(span.as_duration())?;
        Ok(String::new())
    }

    pub(super) fn pass_periods(&mut self, of: &Name, count: u32) -> Told {
        let (kind, object) = match self.must_get_kind("ReplicationSource", of) {
            Ok(object) => ("ReplicationSource", object),
            Err(_) => ("ReplicationDestination", self.must_get_kind("ReplicationDestination", of)?),
        };
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let schedule = text("/spec/trigger/schedule");
        if schedule.is_empty() {
            return Err(Failure::broken(format!(
                "the {kind} {of} has no schedule, so that it has no period"
            )));
        }
        let period = period_of(&schedule).ok_or_else(|| {
            Failure::broken(format!(
                "the schedule {schedule:?} has no even period: let a span of time pass instead"
            ))
        })?;
        self.bed_mut().pass(period * count)?;
        Ok(format!("{}", Span((period * count).as_secs())))
    }

    pub(super) fn moment(&self, name: &str) -> Result<Timestamp, Failure> {
        self.moments.get(name).copied().ok_or_else(|| {
            Failure::broken(format!(
                "no moment is called {name:?}: add the step `When this moment is called \"{name}\"`"
            ))
        })
    }

    pub(super) fn remember(&mut self, name: &str) -> Told {
        let now = self.now();
        self.moments.insert(name.to_owned(), now);
        // Status times have whole seconds: what comes next is later for everyone.
        self.breathe(Duration::from_secs(1))?;
        Ok(now.to_string())
    }

    pub(super) fn wait_for(&mut self, wanted: &Await) -> Told {
        match wanted {
            Await::Synchronised { source, times } => self.await_syncs(source, self.syncs_of(source) + times),
            Await::HasSynchronised { source, times } => self.await_syncs(source, *times),
            Await::MoverStarted(of) => self.await_mover(of),
            Await::Failed(of) => self.await_failure(of),
            Await::Restored(destination) => self.await_restored(destination),
            Await::Bound(claim) => self.await_bound(claim).map(|()| String::new()),
            Await::AnotherLeader => self.await_another_leader(),
            Await::Event { object, contains } => {
                let scribe = self.scribe().clone();
                let (object, contains) = (object.clone(), contains.clone());
                self.wait_until(
                    &format!("an event of {object} that says {contains:?}"),
                    PATIENCE * 4,
                    move |_| scribe.ask(|book| book.has_event(&object, None, &contains)).then_some(()),
                )?;
                Ok(String::new())
            }
            Await::Condition { object, contains } => {
                let (object, contains) = (object.clone(), contains.clone());
                let what = format!("a condition of {object} that says {contains:?}");
                let wanted = object.clone();
                let waited = self.wait_until(&what, PATIENCE * 4, move |bed| {
                    let found = bed.get(&wanted.kind, wanted.name.namespace(), wanted.name.name())?;
                    explain(&found).contains(&contains).then_some(())
                });
                waited.map_err(|stalled| {
                    let seen = self
                        .get(&object)
                        .map_or_else(|| "it does not exist".to_owned(), |object| explain(&object));
                    Failure::stalled(format!("{stalled}; {seen}"))
                })?;
                Ok(String::new())
            }
        }
    }

    fn await_syncs(&mut self, source: &Name, goal: u32) -> Told {
        let object = self.must_get_kind("ReplicationSource", source)?;
        let schedule = object.pointer("/spec/trigger/schedule").and_then(Value::as_str).unwrap_or_default();
        let period = period_of(schedule).unwrap_or(Duration::ZERO);
        let missing = goal.saturating_sub(self.syncs_of(source));
        let is_far_away = !schedule.is_empty() && (period.is_zero() || period > PERIOD_MAX);
        if is_far_away && !self.bed().is_virtual() {
            self.sync_by_hand(source, goal)?;
            self.note_repositories()?;
            return Ok("by hand, because the schedule is far away".to_owned());
        }
        let (scribe, wanted) = (self.scribe().clone(), source.clone());
        let what = format!("{source} to synchronise {missing} times more");
        let waited = self.wait_until(&what, period * (missing + 2) + PATIENCE, move |_| {
            let seen = scribe.ask(|book| book.syncs_of("ReplicationSource", &wanted).len());
            (u32::try_from(seen).unwrap_or(u32::MAX) >= goal).then_some(())
        });
        waited.map_err(|stalled| {
            let seen = self.must_get_kind("ReplicationSource", source).map(|object| explain(&object));
            Failure::stalled(format!("{stalled}; {}", seen.unwrap_or_else(|failure| failure.reason)))
        })?;
        self.note_repositories()?;
        Ok(String::new())
    }

    /// Where nobody waits for a cron schedule: the first sync comes by itself, each further one by a tag that
    /// is put into the trigger and taken out again, as a user does who wants a backup now.
    fn sync_by_hand(&mut self, source: &Name, goal: u32) -> Result<(), Failure> {
        while self.syncs_of(source) < goal {
            let seen = self.syncs_of(source);
            let object = self.must_get_kind("ReplicationSource", source)?;
            let before = object.pointer("/spec/trigger/manual").cloned().unwrap_or(Value::Null);
            let of = ObjectRef::new("ReplicationSource", source.clone());
            if seen > 0 {
                let tag = format!("firedrill-{}", seen + 1);
                self.patch(&of, &json!({"spec": {"trigger": {"manual": tag}}}))?;
            }
            let (scribe, wanted) = (self.scribe().clone(), source.clone());
            let what = format!("{source} to synchronise for the {}. time", seen + 1);
            let waited = self.wait_until(&what, PATIENCE, move |_| {
                let now = scribe.ask(|book| book.syncs_of("ReplicationSource", &wanted).len());
                (now > seen as usize).then_some(())
            });
            waited.map_err(|stalled| {
                let seen = self.must_get_kind("ReplicationSource", source).map(|object| explain(&object));
                Failure::stalled(format!("{stalled}; {}", seen.unwrap_or_else(|failure| failure.reason)))
            })?;
            if seen > 0 {
                self.patch(&of, &json!({"spec": {"trigger": {"manual": before}}}))?;
            }
        }
        Ok(())
    }

    fn await_mover(&mut self, of: &Name) -> Told {
        // On a real cluster a small run may be over before anybody looks: it has started nevertheless, if it came
        // after whatever made it come.
        let (of, since) = (of.clone(), self.last_cause.as_second());
        self.wait_until(&format!("a mover of {of} to start"), PATIENCE * 8, move |bed| {
            mover_pod(bed, &of, |pod| {
                let created = text(pod, "/metadata/creationTimestamp").parse::<Timestamp>();
                match text(pod, "/status/phase") {
                    "Running" => true,
                    "Succeeded" | "Failed" => created.is_ok_and(|created| created.as_second() >= since),
                    _ => false,
                }
            })
        })
        .map_err(Failure::from)
    }

    fn await_failure(&mut self, of: &Name) -> Told {
        let scribe = self.scribe().clone();
        let before = self.failures(of);
        let (wanted, jobs) = (of.clone(), super::cluster::job_names(of));
        self.wait_until(&format!("a run of {of} to fail"), PATIENCE * 8, move |bed| {
            let failed = scribe.ask(|book| {
                let jobs_failed = book.failed_jobs.get(wanted.namespace()).map_or(&[][..], Vec::as_slice);
                jobs_failed
                    .iter()
                    .filter(|(name, what)| jobs.contains(name) && what.starts_with("failed"))
                    .count()
            });
            let reported = ["ReplicationSource", "ReplicationDestination"].into_iter().any(|kind| {
                bed.get(kind, wanted.namespace(), wanted.name()).is_some_and(|object| {
                    object
                        .pointer("/status/latestMoverStatus/result")
                        .is_some_and(|result| result == "Failed")
                })
            });
            (failed > before || reported).then_some(())
        })?;
        Ok(String::new())
    }

    fn failures(&self, of: &Name) -> usize {
        let jobs = super::cluster::job_names(of);
        self.scribe().ask(|book| {
            let failed = book.failed_jobs.get(of.namespace()).map_or(&[][..], Vec::as_slice);
            failed.iter().filter(|(name, what)| jobs.contains(name) && what.starts_with("failed")).count()
        })
    }

    fn await_restored(&mut self, destination: &Name) -> Told {
        let object = self.must_get_kind("ReplicationDestination", destination)?;
        let tag = object.pointer("/spec/trigger/manual").and_then(Value::as_str).map(str::to_owned);
        let before = self.scribe().ask(|book| book.syncs_of("ReplicationDestination", destination).len());
        let (scribe, wanted) = (self.scribe().clone(), destination.clone());
        let waited =
            self.wait_until(&format!("{destination} to complete"), PATIENCE, move |bed| match &tag {
                Some(tag) => {
                    let object = bed.get("ReplicationDestination", wanted.namespace(), wanted.name())?;
                    (object.pointer("/status/lastManualSync")? == tag.as_str()).then_some(())
                }
                None => {
                    let seen = scribe.ask(|book| book.syncs_of("ReplicationDestination", &wanted).len());
                    (seen > before).then_some(())
                }
            });
        waited.map_err(|stalled| {
            let seen =
                self.must_get_kind("ReplicationDestination", destination).map(|object| explain(&object));
            Failure::stalled(format!("{stalled}; {}", seen.unwrap_or_else(|failure| failure.reason)))
        })?;
        Ok(String::new())
    }
}

/// The period of a schedule that repeats evenly; none for others.
pub(super) fn period_of(schedule: &str) -> Option<Duration> {
    let seconds = match schedule {
        "@hourly" => 3_600,
        "@daily" | "@midnight" => 86_400,
        "@weekly" => 604_800,
        _ => {
            let fields: Vec<_> = schedule.split_whitespace().collect();
            let [minute, hour, day, month, weekday] = fields.as_slice() else { return None };
            let fixed = |field: &str| field.parse::<u64>().is_ok();
            let every = |field: &str| field.strip_prefix("*/").and_then(|step| step.parse::<u64>().ok());
            match (*minute, *hour, *day, *month, *weekday) {
                ("*", "*", "*", "*", "*") => 60,
                (minute, "*", "*", "*", "*")
                    if every(minute).is_some_and(|step| step > 0 && 60 % step == 0) =>
                {
                    every(minute)? * 60
                }
                (minute, "*", "*", "*", "*") if fixed(minute) => 3_600,
                (minute, hour, "*", "*", "*")
                    if fixed(minute) && every(hour).is_some_and(|step| step > 0 && 24 % step == 0) =>
                {
                    every(hour)? * 3_600
                }
                (minute, hour, "*", "*", "*") if fixed(minute) && fixed(hour) => 86_400,
                (minute, hour, "*", "*", weekday) if fixed(minute) && fixed(hour) && fixed(weekday) => {
                    604_800
                }
                _ => return None,
            }
        }
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_known_only_where_it_is_even() {
        for (schedule, hours) in [
            ("0 * * * *", Some(1)),
            ("0 3 * * *", Some(24)),
            ("@daily", Some(24)),
            ("0 */6 * * *", Some(6)),
            ("0 3 * * 0", Some(168)),
            ("0 */5 * * *", None),
            ("0 3 1 * *", None),
            ("0 3,15 * * *", None),
            ("nonsense", None),
        ] {
            let expected = hours.map(|hours| Duration::from_secs(hours * 3_600));
            assert_eq!(period_of(schedule), expected, "{schedule}");
        }
    }
}
