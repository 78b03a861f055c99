//! Expiry: which snapshots of one source its retention keeps, and why.
//!
//! A pure function, exactly Kopia's: the newest complete snapshot of each period, for so many periods, counted
//! back from the newest complete one; the set of periods already taken is shared by all kinds, so that weeks 1
//! to 12 collide with months. It deletes nothing; [`crate::Repository::expire`] does.
//!
//! Source: section 8 of the format.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil, tz::TimeZone};

use crate::policy::Retention;

/// What expiry needs to know of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The snapshot's time.
    pub start_time: Timestamp,
    /// When it was finished.
    pub end_time: Timestamp,
    /// Whether it is complete.
    pub is_complete: bool,
}

/// Incomplete snapshots younger than this (counted from the newest) are kept.
const INCOMPLETE_AGE: SignedDuration = SignedDuration::from_hours(4);
/// So many of the newest incomplete snapshots are kept in any case.
const INCOMPLETE_COUNT: usize = 3;

/// The time `years` and `months` and `days` before, by Go's calendar arithmetic in a zone: an overflowing day
/// rolls over into the next month.
fn before(time: Timestamp, years: i64, months: i64, days: i64, zone: &TimeZone) -> Timestamp {
    let local = zone.to_datetime(time);
    let month = (i64::from(local.year()) - years) * 12 + i64::from(local.month()) - 1 - months;
    let first = i16::try_from(month.div_euclid(12))
        .ok()
        .and_then(|year| civil::Date::new(year, month.rem_euclid(12) as i8 + 1, 1).ok());
    first
        .and_then(|first| first.checked_add((i64::from(local.day()) - 1 - days).days()).ok())
        .and_then(|date| zone.to_ambiguous_timestamp(date.to_datetime(local.time())).compatible().ok())
        .unwrap_or(Timestamp::MIN)
}

/// The reasons to keep each snapshot, in the order given. None means that the snapshot expires (unless
/// pinned).
pub fn reasons(snapshots: &[Candidate], retention: &Retention, zone: &TimeZone) -> Vec<Vec<String>> {
    let mut reasons = vec![Vec::new(); snapshots.len()];
    let mut order: Vec<usize> = (0..snapshots.len()).collect();
    order.sort_by_key(|n| std::cmp::Reverse((snapshots[*n].start_time, snapshots[*n].end_time)));
    if let Some(newest) =
        snapshots.iter().filter(|snapshot| snapshot.is_complete).map(|snapshot| snapshot.start_time).max()
    {
        keep_complete(snapshots, &order, newest, retention, zone, &mut reasons);
    }
    let newest = snapshots.iter().map(|snapshot| snapshot.start_time).max();
    for (position, n) in order.into_iter().enumerate() {
        let age = newest.map(|newest| newest.duration_since(snapshots[n].start_time)).unwrap_or_default();
        if snapshots[n].is_complete || (age >= INCOMPLETE_AGE && position >= INCOMPLETE_COUNT) {
            break;
        }
        reasons[n].push("incomplete".to_owned());
    }
    reasons
}

fn keep_complete(
    snapshots: &[Candidate],
    order: &[usize],
    newest: Timestamp,
    retention: &Retention,
    zone: &TimeZone,
    reasons: &mut [Vec<String>],
) {
    let counts = [
        retention.keep_latest,
        retention.keep_annual,
        retention.keep_monthly,
        retention.keep_weekly,
        retention.keep_daily,
        retention.keep_hourly,
    ];
    let keeps_all = counts.iter().all(|count| count.unwrap_or(0) == 0);
    let of = |count: Option<u32>| i64::from(count.unwrap_or(0));
    let hours = SignedDuration::from_hours(of(retention.keep_hourly));
    // Name, how many, and the cut-off; in the order in which Kopia tries them.
    let kinds = [
        ("latest", if keeps_all { Some(u32::MAX) } else { counts[0] }, Timestamp::MIN),
        ("annual", counts[1], before(newest, of(counts[1]), 0, 0, zone)),
        ("monthly", counts[2], before(newest, 0, of(counts[2]), 0, zone)),
        ("weekly", counts[3], before(newest, 0, 0, 7 * of(counts[3]), zone)),
        ("daily", counts[4], before(newest, 0, 0, of(counts[4]), zone)),
        ("hourly", counts[5], newest.checked_sub(hours).unwrap_or(Timestamp::MIN)),
    ];
    let mut used: BTreeSet<String> = BTreeSet::new();
    let mut kept = [0u32; 6];
    for (position, n) in order.iter().enumerate() {
        let snapshot = &snapshots[*n];
        if !snapshot.is_complete {
            continue;
        }
        let utc = TimeZone::UTC.to_datetime(snapshot.start_time);
        for ((name, count, cutoff), kept) in kinds.iter().zip(&mut kept) {
            let Some(count) = count else { continue };
            if snapshot.start_time < *cutoff {
                continue;
            }
            let period = match *name {
                "latest" => position.to_string(),
                "annual" => format!("{:04}", utc.year()),
                "monthly" => format!("{:04}-{:02}", utc.year(), utc.month()),
                "weekly" => {
                    let week = zone.to_datetime(snapshot.start_time).date().iso_week_date();
                    format!("{:04}-{:02}", week.year(), week.week())
                }
                "daily" => utc.date().to_string(),
                _ => format!("{} {:02}", utc.date(), utc.hour()),
            };
            if *kept < *count && !used.contains(&period) {
                used.insert(period);
                *kept += 1;
                reasons[*n].push(format!("{name}-{kept}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retention(text: &str) -> Retention {
        let mut retention = Retention::default();
        for part in text.split(", ").filter(|part| !part.is_empty()) {
            let (kind, count) = part.split_once(' ').unwrap();
            let count = Some(count.parse().unwrap());
            match kind {
                "latest" => retention.keep_latest = count,
                "hourly" => retention.keep_hourly = count,
                "daily" => retention.keep_daily = count,
                "weekly" => retention.keep_weekly = count,
                "monthly" => retention.keep_monthly = count,
                "annual" => retention.keep_annual = count,
                _ => panic!("{kind}"),
            }
        }
        retention
    }

    fn check(policy: &str, zone: &str, snapshots: &[&str], expected: &[&str]) {
        let candidates: Vec<Candidate> = snapshots
            .iter()
            .map(|text| {
                let time = format!("{}:00:00Z", text.trim_end_matches('!')).parse().unwrap();
                Candidate { start_time: time, end_time: time, is_complete: !text.ends_with('!') }
            })
            .collect();
        let zone = TimeZone::get(zone).unwrap();
        let found: Vec<String> =
            reasons(&candidates, &retention(policy), &zone).iter().map(|reasons| reasons.join(" ")).collect();
        assert_eq!(found, expected, "{policy}");
    }

    /// Section 14.6 of the format.
    #[test]
    fn reasons_are_those_of_the_specification() {
        let weeks = ["2024-01-25T12", "2024-01-18T12", "2024-01-11T12", "2024-01-04T12"];
        check(
            "latest 1, weekly 4, monthly 24",
            "UTC",
            &weeks,
            &["latest-1 monthly-1 weekly-1", "weekly-2", "weekly-3", ""],
        );
        check(
            "latest 1, weekly 4",
            "UTC",
            &weeks,
            &["latest-1 weekly-1", "weekly-2", "weekly-3", "weekly-4"],
        );
        check(
            "daily 2",
            "UTC",
            &[
                "2024-06-10T03",
                "2024-06-10T01",
                "2024-06-09T12",
                "2024-06-09T02",
                "2024-06-08T04",
                "2024-06-08T02",
            ],
            &["daily-1", "", "daily-2", "", "", ""],
        );
        check(
            "latest 1",
            "UTC",
            &[
                "2024-06-10T03!",
                "2024-06-10T01!",
                "2024-06-09T12!",
                "2024-06-09T02!",
                "2024-06-08T04",
                "2024-06-08T02",
                "2024-06-08T01!",
            ],
            &["incomplete", "incomplete", "incomplete", "", "latest-1", "", ""],
        );
        check(
            "weekly 4, daily 3",
            "America/Los_Angeles",
            &["2024-06-10T03", "2024-06-09T12"],
            &["weekly-1 daily-1", "daily-2"],
        );
    }

    #[test]
    fn nothing_configured_keeps_everything() {
        check("", "UTC", &["2024-01-25T12", "2001-01-01T00"], &["latest-1", "latest-2"]);
        check("latest 0, daily 0", "UTC", &["2024-01-25T12", "2001-01-01T00"], &["latest-1", "latest-2"]);
    }

    #[test]
    fn a_day_that_overflows_rolls_over() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(
            before(time("2023-03-31T12:00:00Z"), 0, 1, 0, &TimeZone::UTC),
            time("2023-03-03T12:00:00Z")
        );
        assert_eq!(
            before(time("2024-03-31T12:00:00Z"), 0, 1, 0, &TimeZone::UTC),
            time("2024-03-02T12:00:00Z")
        );
        assert_eq!(
            before(time("2024-02-29T12:00:00Z"), 1, 0, 0, &TimeZone::UTC),
            time("2023-03-01T12:00:00Z")
        );
        assert_eq!(
            before(time("2024-01-15T12:00:00Z"), 0, 2, 20, &TimeZone::UTC),
            time("2023-10-26T12:00:00Z")
        );
    }

    proptest! {
        /// Times are few and close together, so that periods collide.
        #[test]
        fn expire_never_drops_the_newest(
            hours in proptest::collection::vec((0i64..2000, any::<bool>()), 1..40),
            counts in proptest::array::uniform6(proptest::option::of(0u32..4)),
        ) {
            let candidates: Vec<Candidate> = hours
                .iter()
                .map(|(hour, is_complete)| {
                    let time = Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap();
                    Candidate { start_time: time, end_time: time, is_complete: *is_complete }
                })
                .collect();
            let [keep_latest, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual] = counts;
            let retention = Retention { keep_latest, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_annual, ..Retention::default() };
            let found = reasons(&candidates, &retention, &TimeZone::UTC);
            if let Some(newest) = candidates.iter().filter(|candidate| candidate.is_complete).map(|candidate| candidate.start_time).max() {
                let is_kept = |n: &usize| candidates[*n].is_complete && candidates[*n].start_time == newest && !found[*n].is_empty();
                prop_assert!((0..candidates.len()).any(|n| is_kept(&n)));
            }
            let complete = (0..candidates.len()).filter(|n| candidates[*n].is_complete && !found[*n].is_empty()).count();
            let limit: u32 = counts.iter().map(|count| count.unwrap_or(0)).sum();
            prop_assert!(limit == 0 || complete <= limit as usize);
        }
    }
}
