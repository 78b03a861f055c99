//! The state machine of a replication object: a function of its status and trigger.
//!
//! State is derived, never stored (section 2.3 of the behaviour specification). Knows no API and no clock.
use api::crd::SyncStatus;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cron::{self, Dialect, Schedule};
use crate::text::go_duration;

/// Where an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Never synchronised.
    Initial,
    /// A sync runs.
    Synchronizing,
    /// A sync ended; also idle.
    CleaningUp,
}

/// Derives the state.
pub fn state(status: &SyncStatus) -> State {
    match (&status.last_sync_start_time, &status.last_sync_time) {
        (Some(_), _) => State::Synchronizing,
        (None, None) => State::Initial,
        (None, Some(_)) => State::CleaningUp,
    }
}

/// What starts a sync: a manual tag beats a schedule, which beats nothing.
#[derive(Clone, Debug)]
pub enum Mode {
    /// A tag.
    Manual(String),
    /// A schedule.
    Schedule(Box<Schedule>),
    /// Nothing: always.
    Always,
}

impl Mode {
    /// Reads a trigger.
    ///
    /// # Errors
    /// A schedule that does not parse.
    pub fn of(trigger: Option<&api::Trigger>) -> Result<Self, cron::Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let Some(trigger) = trigger else { return Ok(Self::Always) };
        if let Some(tag) = given(&trigger.manual) {
            return Ok(Self::Manual(tag));
        }
        match given(&trigger.schedule) {
            Some(schedule) => Ok(Self::Schedule(Box::new(Schedule::parse(&schedule, Dialect::Standard)?))),
            None => Ok(Self::Always),
        }
    }

    /// Gives the next scheduled time after the last sync.
    pub fn next_sync(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Schedule(schedule) => schedule.next_after(last),
            _ => None,
        }
    }

    /// Gives the instant from which a sync has missed its interval: the second scheduled time after the last
    /// sync (TRG-3), or, where none ever ended, the first after its own start.
    pub fn deadline(&self, status: &SyncStatus) -> Option<Timestamp> {
        match (&status.last_sync_time, &status.last_sync_start_time) {
            (Some(last), _) => self.next_sync(last.0).and_then(|next| self.next_sync(next)),
            (None, Some(start)) => self.next_sync(start.0),
            (None, None) => None,
        }
    }

    /// Tells whether the second scheduled time after the last completed sync is past (TRG-3, TRG-4).
    pub fn has_missed(&self, status: &SyncStatus, now: Timestamp) -> bool {
        status.last_sync_time.is_some() && self.deadline(status).is_some_and(|deadline| now > deadline)
    }

    /// Tells whether an idle object should synchronise.
    pub fn is_due(&self, status: &SyncStatus, now: Timestamp) -> bool {
        match self {
            Self::Manual(tag) => status.last_manual_sync.as_ref() != Some(tag),
            Self::Schedule(_) => status.next_sync_time.as_ref().is_some_and(|next| now >= next.0),
            Self::Always => true,
        }
    }
}

/// Marks the end of a sync in a status: times, duration, tag. The condition is the caller's.
pub fn complete(status: &mut SyncStatus, mode: &Mode, trigger: Option<&api::Trigger>, now: Timestamp) {
    if let Some(start) = status.last_sync_start_time.take() {
        status.last_sync_duration = Some(go_duration(now.duration_since(start.0)));
    }
    status.last_sync_time = Some(Time(now));
    status.next_sync_time = mode.next_sync(now).map(Time);
    // The tag at the end of the sync, not at its start (TRG-2).
    status.last_manual_sync =
        trigger.and_then(|trigger| trigger.manual.clone()).filter(|tag| !tag.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("2026-03-01T{text}Z").parse().expect("a time of day")
    }
    fn status(start: Option<&str>, last: Option<&str>) -> SyncStatus {
        SyncStatus {
            last_sync_start_time: start.map(|text| Time(time(text))),
            last_sync_time: last.map(|text| Time(time(text))),
            ..SyncStatus::default()
        }
    }
    fn trigger(schedule: Option<&str>, manual: Option<&str>) -> api::Trigger {
        api::Trigger { schedule: schedule.map(Into::into), manual: manual.map(Into::into) }
    }

    #[test]
    fn states_follow_from_times() {
        assert_eq!(state(&status(None, None)), State::Initial);
        assert_eq!(state(&status(Some("01:00:00"), None)), State::Synchronizing);
        assert_eq!(state(&status(Some("02:00:00"), Some("01:00:00"))), State::Synchronizing);
        assert_eq!(state(&status(None, Some("01:00:00"))), State::CleaningUp);
    }

    #[test]
    fn a_manual_tag_beats_a_schedule() {
        let mode = Mode::of(Some(&trigger(Some("0 * * * *"), Some("once")))).expect("valid");
        assert!(matches!(&mode, Mode::Manual(tag) if tag == "once"));
        assert_eq!(mode.next_sync(time("01:00:00")), None);
        assert!(matches!(
            Mode::of(Some(&trigger(Some("0 * * * *"), Some("")))).expect("valid"),
            Mode::Schedule(_)
        ));
        assert!(matches!(Mode::of(None).expect("valid"), Mode::Always));
        assert!(Mode::of(Some(&trigger(Some("12345"), None))).is_err());
    }

    #[test]
    fn due_is_a_new_tag_a_past_time_or_always() {
        let mut known = status(None, Some("01:00:00"));
        known.last_manual_sync = Some("one".into());
        known.next_sync_time = Some(Time(time("02:00:00")));
        let check = |trigger: api::Trigger, now: &str, expected: bool| {
            let mode = Mode::of(Some(&trigger)).expect("valid");
            assert_eq!(mode.is_due(&known, time(now)), expected, "{trigger:?} at {now}");
        };
        check(trigger(None, Some("one")), "05:00:00", false);
        check(trigger(None, Some("two")), "01:00:01", true);
        check(trigger(Some("0 * * * *"), None), "01:59:59", false);
        check(trigger(Some("0 * * * *"), None), "02:00:00", true);
        check(trigger(None, None), "01:00:00", true);
    }

    #[test]
    fn an_interval_is_missed_at_the_second_scheduled_time() {
        let mode = Mode::of(Some(&trigger(Some("0 * * * *"), None))).expect("valid");
        let known = status(Some("02:00:00"), Some("01:00:20"));
        assert!(!mode.has_missed(&known, time("03:00:00")));
        assert!(mode.has_missed(&known, time("03:00:01")));
        // The very first sync is never counted, but has a deadline of its own.
        let first = status(Some("02:30:00"), None);
        assert!(!mode.has_missed(&first, time("09:00:00")));
        assert_eq!(mode.deadline(&first), Some(time("03:00:00")));
    }

    #[test]
    fn the_end_of_a_sync_is_told_by_times_and_tag() {
        let wanted = trigger(Some("0 * * * *"), None);
        let mode = Mode::of(Some(&wanted)).expect("valid");
        let mut known = status(Some("02:00:00"), Some("01:00:20"));
        known.last_manual_sync = Some("old".into());
        complete(&mut known, &mode, Some(&wanted), time("02:01:03.2"));
        assert_eq!(known.last_sync_start_time, None);
        assert_eq!(known.last_sync_time, Some(Time(time("02:01:03.2"))));
        assert_eq!(known.last_sync_duration.as_deref(), Some("1m3.2s"));
        assert_eq!(known.next_sync_time, Some(Time(time("03:00:00"))));
        assert_eq!(known.last_manual_sync, None);
    }
}
