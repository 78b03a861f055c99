//! Cron schedules with the meaning that robfig/cron v3 gives them.
//!
//! Promises the same next time for the same expression, time zone prefix and daylight saving rule, and the
//! same error texts, because users see them in conditions. Never reads the clock: [`Schedule::next_after`]
//! is a function of the instant it is given.
//!
//! It does not know `@every` (the definitions' pattern refuses it) and looks five years ahead at most.
//! Source: robfig/cron v3, `parser.go` and `spec.go`; section 1.2 of the behaviour specification.
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned, civil};

/// Why an expression is not a schedule. The texts are those of the original's parser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing there.
    #[error("empty spec string")]
    Empty,
    /// `@daily` where only five fields are allowed.
    #[error("parser does not accept descriptors: {spec}")]
    DescriptorRefused {
        /// The expression.
        spec: String,
    },
    /// An unknown word after `@`.
    #[error("unrecognized descriptor: {spec}")]
    DescriptorUnknown {
        /// The expression.
        spec: String,
    },
    /// Not five fields.
    #[error("expected exactly 5 fields, found {found}: [{fields}]")]
    Fields {
        /// How many there are.
        found: usize,
        /// What they are.
        fields: String,
    },
    /// A time zone that the database does not have.
    #[error("provided bad location {name}: unknown time zone {name}")]
    Location {
        /// The name.
        name: String,
    },
    /// A field that is no list of ranges.
    #[error("{text}")]
    Field {
        /// The parser's sentence.
        text: String,
    },
}

/// Which expressions a parser takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Five fields or a descriptor (`@daily`), as for replication objects.
    Standard,
    /// Five fields only, as for KopiaMaintenance.
    FieldsOnly,
}

/// A parsed schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    minute: Field,
    hour: Field,
    day_of_month: Field,
    month: Field,
    day_of_week: Field,
    zone: TimeZone,
}

/// A set of small numbers, and whether it was written as a star.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    bits: u64,
    star: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits & (1 << value) != 0)
    }
}

/// Bounds of a field and the names it knows.
struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`Error`] with the sentence that the original's parser prints.
    pub fn parse(expression: &str, dialect: Dialect) -> Result<Self, Error> {
        if expression.is_empty() {
            return Err(Error::Empty);
        }
        let mut zone = TimeZone::UTC;
        let mut spec = expression;
        if let Some(rest) = expression.strip_prefix("TZ=").or_else(|| expression.strip_prefix("CRON_TZ=")) {
            let (name, after) = rest.split_once(' ').unwrap_or((rest, ""));
            zone = TimeZone::get(name).map_err(|_| Error::Location { name: name.to_owned() })?;
            spec = after.trim();
        }
        if spec.starts_with('@') {
            if dialect == Dialect::FieldsOnly {
                return Err(Error::DescriptorRefused { spec: spec.to_owned() });
            }
            let fields = match spec {
                "@yearly" | "@annually" => "0 0 1 1 *",
                "@monthly" => "0 0 1 * *",
                "@weekly" => "0 0 * * 0",
                "@daily" | "@midnight" => "0 0 * * *",
                "@hourly" => "0 * * * *",
                _ => return Err(Error::DescriptorUnknown { spec: spec.to_owned() }),
            };
            return Self::from_fields(fields, zone);
        }
        Self::from_fields(spec, zone)
    }

    fn from_fields(spec: &str, zone: TimeZone) -> Result<Self, Error> {
        let fields: Vec<&str> = spec.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields[..] else {
            return Err(Error::Fields { found: fields.len(), fields: fields.join(" ") });
        };
        Ok(Self {
            minute: field(minute, &MINUTES)?,
            hour: field(hour, &HOURS)?,
            day_of_month: field(day_of_month, &DAYS)?,
            month: field(month, &MONTHS)?,
            day_of_week: field(day_of_week, &WEEKDAYS)?,
            zone,
        })
    }

    /// Gives the first time after an instant; none if there is none within five years.
    ///
    /// # Guarantees
    /// The result is later than `instant`, on a full minute, and there is no matching minute between.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let second = instant.as_second() + 1;
        let start = Timestamp::from_second(second).ok()?.to_zoned(self.zone.clone());
        let year_limit = start.year() + 5;
        let mut time = start;
        let mut truncated = false;
        'wrap: loop {
            if time.year() > year_limit {
                return None;
            }
            while !self.month.has(time.month()) {
                if !truncated {
                    truncated = true;
                    time = self.at(civil::date(time.year(), time.month(), 1).at(0, 0, 0, 0))?;
                }
                time = self.at(time.datetime().checked_add(1.month()).ok()?)?;
                if time.month() == 1 {
                    continue 'wrap;
                }
            }
            while !self.day_matches(&time) {
                if !truncated {
                    truncated = true;
                    time = self.at(time.date().at(0, 0, 0, 0))?;
                }
                time = self.at(time.datetime().checked_add(1.day()).ok()?)?;
                // Midnight may not exist, or exist twice, where clocks change then.
                if time.hour() != 0 {
                    let hours = i64::from(time.hour());
                    let correction = if hours > 12 { 24 - hours } else { -hours };
                    time = time.checked_add(correction.hours()).ok()?;
                }
                if time.day() == 1 {
                    continue 'wrap;
                }
            }
            while !self.hour.has(time.hour()) {
                if !truncated {
                    truncated = true;
                    time = self.at(time.date().at(time.hour(), 0, 0, 0))?;
                }
                time = time.checked_add(1.hour()).ok()?;
                if time.hour() == 0 {
                    continue 'wrap;
                }
            }
            while !self.minute.has(time.minute()) {
                if !truncated {
                    truncated = true;
                    time = time.checked_sub(i64::from(time.second()).seconds()).ok()?;
                }
                time = time.checked_add(1.minute()).ok()?;
                if time.minute() == 0 {
                    continue 'wrap;
                }
            }
            while time.second() != 0 {
                truncated = true;
                time = time.checked_add(i64::from(60 - time.second()).seconds()).ok()?;
                if time.second() == 0 {
                    continue 'wrap;
                }
            }
            return Some(time.timestamp());
        }
    }

    fn at(&self, datetime: civil::DateTime) -> Option<Zoned> {
        datetime.to_zoned(self.zone.clone()).ok()
    }

    /// Day of month and weekday: both must match if one is a star, else one suffices.
    fn day_matches(&self, time: &Zoned) -> bool {
        let day = self.day_of_month.has(time.day());
        let weekday = self.day_of_week.has(time.weekday().to_sunday_zero_offset());
        if self.day_of_month.star || self.day_of_week.star { day && weekday } else { day || weekday }
    }
}

/// Parses a comma-separated list of ranges.
fn field(text: &str, bounds: &Bounds) -> Result<Field, Error> {
    let mut all = Field { bits: 0, star: false };
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let one = range(part, bounds)?;
        all.bits |= one.bits;
        all.star |= one.star;
    }
    Ok(all)
}

/// Parses `number`, `number-number`, `*`, each with an optional `/step`.
fn range(text: &str, bounds: &Bounds) -> Result<Field, Error> {
    let failed = |text: String| Error::Field { text };
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let single = ends.len() == 1;
    let mut star = false;
    let (start, mut end) = if ends[0] == "*" || ends[0] == "?" {
        star = true;
        (bounds.min, bounds.max)
    } else {
        let start = number_or_name(ends[0], bounds)?;
        match ends[..] {
            [_] => (start, start),
            [_, end] => (start, number_or_name(end, bounds)?),
            _ => return Err(failed(format!("too many hyphens: {text}"))),
        }
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if single && !star {
                end = bounds.max;
            }
            if step > 1 {
                star = false;
            }
            step
        }
        _ => return Err(failed(format!("too many slashes: {text}"))),
    };
    let (min, max) = (bounds.min, bounds.max);
    if start < min {
        return Err(failed(format!("beginning of range ({start}) below minimum ({min}): {text}")));
    }
    if end > max {
        return Err(failed(format!("end of range ({end}) above maximum ({max}): {text}")));
    }
    if start > end {
        return Err(failed(format!("beginning of range ({start}) beyond end of range ({end}): {text}")));
    }
    if step == 0 {
        return Err(failed(format!("step of range should be a positive number: {text}")));
    }
    let bits = (start..=end).step_by(step as usize).fold(0, |bits, value| bits | (1 << value));
    Ok(Field { bits, star })
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u32, Error> {
    let lower = text.to_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(bounds.min + at as u32),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, Error> {
    let value: i64 = text.parse().map_err(|_| Error::Field {
        text: format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax"),
    })?;
    u32::try_from(value)
        .map_err(|_| Error::Field { text: format!("negative number ({value}) not allowed: {text}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str) -> String {
        let schedule = Schedule::parse(expression, Dialect::Standard).expect("a good expression");
        schedule
            .next_after(after.parse().expect("an instant"))
            .map_or("never".into(), |time| time.to_string())
    }

    #[test]
    fn next_times_are_those_of_the_original() {
        fn check(expression: &str, after: &str, expected: &str) {
            assert_eq!(next(expression, after), expected, "{expression} after {after}");
        }
        check("0 * * * *", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z");
        check("0 * * * *", "2026-03-01T09:59:59.999Z", "2026-03-01T10:00:00Z");
        check("*/30 * * * *", "2026-03-01T10:01:00Z", "2026-03-01T10:30:00Z");
        check("30 3,15 * * *", "2026-03-01T03:30:00Z", "2026-03-01T15:30:00Z");
        check("0-30/5 * * * *", "2026-03-01T10:30:01Z", "2026-03-01T11:00:00Z");
        check("5/20 * * * *", "2026-03-01T10:26:00Z", "2026-03-01T10:45:00Z");
        check("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 31 * *", "2026-04-01T00:00:00Z", "2026-05-31T00:00:00Z");
        check("0 0 31 2 *", "2026-04-01T00:00:00Z", "never");
        check("@yearly", "2026-04-01T00:00:00Z", "2027-01-01T00:00:00Z");
        check("@weekly", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
        check("@daily", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z");
        // Day of month and weekday: either suffices unless one is a star; `*/2` is none.
        check("0 0 13 * 5", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z");
        check("0 0 * * 5", "2026-11-21T00:00:00Z", "2026-11-27T00:00:00Z");
        check("0 0 */2 * 0", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
    }

    #[test]
    fn time_zones_and_their_changes() {
        fn check(expression: &str, after: &str, expected: &str) {
            assert_eq!(next(expression, after), expected, "{expression} after {after}");
        }
        check("CRON_TZ=Europe/Paris 0 5 * * *", "2026-01-01T00:00:00Z", "2026-01-01T04:00:00Z");
        check("CRON_TZ=Europe/Paris 0 5 * * *", "2026-07-01T00:00:00Z", "2026-07-01T03:00:00Z");
        // 02:30 does not exist on 29 March 2026 in Paris: the day is skipped.
        check("CRON_TZ=Europe/Paris 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z");
        // 02:30 exists twice on 25 October 2026: it runs at the first.
        check("CRON_TZ=Europe/Paris 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
        check("TZ=America/Santiago 0 0 * * *", "2026-09-05T12:00:00Z", "2026-09-07T03:00:00Z");
    }

    #[test]
    fn refusals_have_the_original_s_words() {
        fn check(expression: &str, dialect: Dialect, expected: &str) {
            let error = Schedule::parse(expression, dialect).expect_err(expression);
            assert_eq!(error.to_string(), expected, "{expression}");
        }
        use Dialect::{FieldsOnly, Standard};
        check("", Standard, "empty spec string");
        check("12345", Standard, "expected exactly 5 fields, found 1: [12345]");
        check(
            "H 10 * * *",
            Standard,
            "failed to parse int from H: strconv.Atoi: parsing \"H\": invalid syntax",
        );
        check("@daily foo", Standard, "unrecognized descriptor: @daily foo");
        check("@daily", FieldsOnly, "parser does not accept descriptors: @daily");
        check("0 0 * * 7", Standard, "end of range (7) above maximum (6): 7");
        check("0 0 0 * *", Standard, "beginning of range (0) below minimum (1): 0");
        check("*/0 * * * *", Standard, "step of range should be a positive number: */0");
        check("5-1 * * * *", Standard, "beginning of range (5) beyond end of range (1): 5-1");
        check("1-2-3 * * * *", Standard, "too many hyphens: 1-2-3");
        check("1/2/3 * * * *", Standard, "too many slashes: 1/2/3");
        check(
            "CRON_TZ=Mars/Olympus 0 0 * * *",
            Standard,
            "provided bad location Mars/Olympus: unknown time zone Mars/Olympus",
        );
    }
}
