//! Cron schedules of five fields, as the CronJob controller reads them.
//!
//! Knows numbers, `*`, ranges, lists, steps, the names of months and days, the `@hourly` family and a
//! `CRON_TZ=` prefix. As in cron, a day matches if either day field does when both are restricted. It does
//! not share code with the reference's parser: one checks the other.

use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};

/// A parsed schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    days_restricted: bool,
    weekdays_restricted: bool,
    zone: TimeZone,
}

/// Why a schedule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {found}: {text:?}")]
    Fields {
        /// How many there are.
        found: usize,
        /// The schedule.
        text: String,
    },
    /// A field that is no number, range or step.
    #[error("failed to parse field {field:?}")]
    Field {
        /// The field.
        field: String,
    },
    /// A zone that the database does not know.
    #[error("unknown time zone {zone:?}")]
    Zone {
        /// Its name.
        zone: String,
    },
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Parses a schedule; an empty `zone` is UTC.
    pub fn parse(text: &str, zone: &str) -> Result<Self, ScheduleError> {
        let (zone, text) = match text.trim().strip_prefix("CRON_TZ=").and_then(|rest| rest.split_once(' ')) {
            Some((zone, rest)) => (zone, rest.trim()),
            None => (zone, text.trim()),
        };
        let zone = match zone {
            "" | "UTC" | "Etc/UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| ScheduleError::Zone { zone: name.to_owned() })?,
        };
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(ScheduleError::Fields { found: fields.len(), text: text.to_owned() });
        };
        let mut weekday_bits = parse_field(weekdays, 0, 7, &WEEKDAYS, 0)?;
        if weekday_bits & (1 << 7) != 0 {
            weekday_bits |= 1;
        }
        Ok(Self {
            minutes: parse_field(minutes, 0, 59, &[], 0)?,
            hours: parse_field(hours, 0, 23, &[], 0)?,
            days: parse_field(days, 1, 31, &[], 0)?,
            months: parse_field(months, 1, 12, &MONTHS, 1)?,
            weekdays: weekday_bits,
            days_restricted: !days.starts_with('*'),
            weekdays_restricted: !weekdays.starts_with('*'),
            zone,
        })
    }

    /// The first time after `after`; `None` if there is none within five years (the 30th of February).
    pub fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let start = after.to_zoned(self.zone.clone()).datetime();
        let mut date = start.date();
        let mut from = (start.hour(), start.minute() + 1);
        for _ in 0..(5 * 366) {
            if self.is_day(date) {
                for hour in from.0..24 {
                    let first = if hour == from.0 { from.1 } else { 0 };
                    let minutes = if self.hours & (1 << hour) == 0 { 60..60 } else { first..60 };
                    for minute in minutes {
                        if self.minutes & (1 << minute) == 0 {
                            continue;
                        }
                        let time = date.at(hour, minute, 0, 0).to_zoned(self.zone.clone()).ok()?;
                        // A time inside a spring gap moves away and is no longer the one asked for.
                        if time.hour() == hour && time.minute() == minute && time.timestamp() > after {
                            return Some(time.timestamp());
                        }
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
            from = (0, 0);
        }
        None
    }

    fn is_day(&self, date: civil::Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let by_day = self.days & (1 << date.day()) != 0;
        let by_weekday = self.weekdays & (1 << weekday) != 0;
        let is_right = if self.days_restricted && self.weekdays_restricted {
            by_day || by_weekday
        } else {
            by_day && by_weekday
        };
        is_right && self.months & (1 << date.month()) != 0
    }
}

fn parse_field(field: &str, min: u8, max: u8, names: &[&str], first_name: u8) -> Result<u64, ScheduleError> {
    let bad = || ScheduleError::Field { field: field.to_owned() };
    let number = |text: &str| -> Result<u8, ScheduleError> {
        let lower = text.to_ascii_lowercase();
        let value = match names.iter().position(|name| *name == lower) {
            Some(index) => first_name + u8::try_from(index).map_err(|_| bad())?,
            None => lower.parse().map_err(|_| bad())?,
        };
        if (min..=max).contains(&value) { Ok(value) } else { Err(bad()) }
    };
    let mut bits = 0_u64;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse::<u8>().ok().filter(|step| *step > 0).ok_or_else(bad)?))
            }
            None => (part, None),
        };
        let (low, high) = if range == "*" || range == "?" {
            (min, if max == 7 { 6 } else { max })
        } else if let Some((low, high)) = range.split_once('-') {
            (number(low)?, number(high)?)
        } else {
            let value = number(range)?;
            (value, if step.is_some() { max } else { value })
        };
        if low > high {
            return Err(bad());
        }
        for value in (low..=high).step_by(usize::from(step.unwrap_or(1))) {
            bits |= 1 << value;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, after: &str, expected: &str) {
        let next = Schedule::parse(schedule, "").expect(schedule).after(after.parse().expect(after));
        assert_eq!(next.map(|time| time.to_string()).as_deref(), Some(expected), "{schedule} after {after}");
    }

    #[test]
    fn the_next_time_is_the_first_one_after() {
        check("0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
        check("0 * * * *", "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z");
        check("*/15 3 * * *", "2026-01-01T03:31:00Z", "2026-01-01T03:45:00Z");
        check("30 3,15 * * *", "2026-01-01T04:00:00Z", "2026-01-01T15:30:00Z");
        check("@daily", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z");
        check("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 1 * MON", "2026-01-01T12:00:00Z", "2026-01-05T00:00:00Z");
        check("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        check("CRON_TZ=Europe/Paris 0 5 * * *", "2026-07-01T00:00:00Z", "2026-07-01T03:00:00Z");
    }

    #[test]
    fn a_time_in_the_spring_gap_is_skipped() {
        check("CRON_TZ=America/New_York 30 2 * * *", "2012-03-10T12:00:00Z", "2012-03-12T06:30:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        assert_eq!(
            Schedule::parse("0 0 3 * * *", "").map(|_| ()).map_err(|error| error.to_string()),
            Err("expected exactly 5 fields, found 6: \"0 0 3 * * *\"".to_owned())
        );
        for bad in ["61 * * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *", "* * 0 * *"] {
            assert!(Schedule::parse(bad, "").is_err(), "{bad}");
        }
        assert_eq!(Schedule::parse("0 0 30 2 *", "").expect("parses").after(Timestamp::UNIX_EPOCH), None);
    }
}
