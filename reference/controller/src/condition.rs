//! Conditions: setting one keeps its transition time unless its status changes.
//!
//! Pure functions over the list that a status holds; sorted by nothing, as API servers keep them.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition of VolSync.
pub const SYNCHRONIZING: &str = "Synchronizing";
/// Whether a restore brought data (ours; safe profile).
pub const RESTORED: &str = "Restored";
/// Whether a sync runs past its next deadline (ours; safe profile).
pub const OVERDUE: &str = "Overdue";

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its type.
    pub type_: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// A word for machines.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Claim {
    fn synchronizing(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_: SYNCHRONIZING, holds, reason, message: message.into() }
    }
    /// A sync runs.
    pub fn in_progress() -> Self {
        Self::synchronizing(true, "SyncInProgress", "Synchronization in-progress")
    }
    /// A sync runs, and this is what it waits for or what went wrong so far (safe profile).
    pub fn in_progress_with(detail: &str) -> Self {
        Self::synchronizing(true, "SyncInProgress", format!("Synchronization in-progress: {detail}"))
    }
    /// Temporary objects are being deleted.
    pub fn cleaning_up() -> Self {
        Self::synchronizing(false, "CleanupInProgress", "Cleanup in-progress")
    }
    /// Idle until the next scheduled time.
    pub fn waiting_for_schedule() -> Self {
        Self::synchronizing(false, "WaitingForSchedule", "Waiting for next scheduled synchronization")
    }
    /// Idle until the manual tag changes.
    pub fn waiting_for_manual() -> Self {
        Self::synchronizing(false, "WaitingForManual", "Waiting for manual trigger")
    }
    /// Idle because of `spec.paused` (safe profile).
    pub fn paused() -> Self {
        Self::synchronizing(false, "Paused", "Paused by spec.paused: no synchronization is started")
    }
    /// Something is wrong.
    pub fn error(message: impl Into<String>) -> Self {
        Self::synchronizing(false, "Error", message)
    }
}

/// Sets a condition.
pub fn set(conditions: &mut Option<Vec<Condition>>, claim: Claim, generation: Option<i64>, now: Timestamp) {
    let status = if claim.holds { "True" } else { "False" };
    let all = conditions.get_or_insert_default();
    let transition = match all.iter().find(|known| known.type_ == claim.type_) {
        Some(known) if known.status == status => known.last_transition_time.clone(),
        _ => Time(now),
    };
    let condition = Condition {
        last_transition_time: transition,
        message: claim.message,
        observed_generation: generation,
        reason: claim.reason.to_owned(),
        status: status.to_owned(),
        type_: claim.type_.to_owned(),
    };
    match all.iter_mut().find(|known| known.type_ == claim.type_) {
        Some(known) => *known = condition,
        None => all.push(condition),
    }
}

/// Removes a condition.
pub fn clear(conditions: &mut Option<Vec<Condition>>, type_: &str) {
    if let Some(all) = conditions {
        all.retain(|condition| condition.type_ != type_);
    }
}

/// Finds a condition.
pub fn find<'a>(conditions: Option<&'a Vec<Condition>>, type_: &str) -> Option<&'a Condition> {
    conditions?.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_moves_with_the_status_only() {
        let at = |second| Timestamp::from_second(second).expect("small");
        let mut conditions = None;
        set(&mut conditions, Claim::in_progress(), None, at(1));
        set(&mut conditions, Claim::in_progress_with("one of nine attempts failed"), None, at(2));
        assert_eq!(find(conditions.as_ref(), SYNCHRONIZING).expect("set").last_transition_time, Time(at(1)));
        set(&mut conditions, Claim::cleaning_up(), None, at(3));
        let condition = find(conditions.as_ref(), SYNCHRONIZING).expect("set").clone();
        assert_eq!(
            (condition.last_transition_time, condition.reason.as_str()),
            (Time(at(3)), "CleanupInProgress")
        );
        set(&mut conditions, Claim::waiting_for_manual(), None, at(4));
        assert_eq!(find(conditions.as_ref(), SYNCHRONIZING).expect("set").last_transition_time, Time(at(3)));
        assert_eq!(conditions.expect("set").len(), 1);
    }
}
