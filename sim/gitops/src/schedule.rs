//! What the CRD accepts as a schedule and what the parser behind it accepts.
//!
//! Promises the custom resource's pattern, loose as it is, and the rules of the five-field cron parser
//! that the operator uses, so that a schedule which passes one and fails the other is found before it
//! costs a backup. Computes no times.

use std::sync::LazyLock;

use regex::Regex;

#[expect(clippy::unwrap_used, reason = "the pattern is a constant and tested")]
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)*\d+|(\d+(\/|-)\d+)|\*(\/\d+)?)\s?){5})$").unwrap()
});

/// Whether the API server would take it.
pub fn crd_accepts(schedule: &str) -> bool {
    PATTERN.is_match(schedule)
}

/// Whether the parser takes it.
///
/// # Errors
/// A sentence that names the part which is wrong.
pub fn parser_accepts(schedule: &str) -> Result<(), String> {
    let mut rest = schedule.trim();
    for prefix in ["CRON_TZ=", "TZ="] {
        if let Some(tail) = rest.strip_prefix(prefix) {
            let (zone, tail) =
                tail.split_once(' ').ok_or_else(|| format!("{prefix} stands without a schedule"))?;
            jiff::tz::TimeZone::get(zone).map_err(|_| format!("{zone:?} is no time zone"))?;
            rest = tail.trim();
        }
    }
    if let Some(word) = rest.strip_prefix('@') {
        return match word {
            "annually" | "yearly" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ => Err(format!("{rest:?} is no descriptor: use @hourly, @daily, @weekly, @monthly or @yearly")),
        };
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("five fields are needed, {rest:?} has {}", fields.len()));
    }
    for (field, (name, low, high)) in fields.iter().zip([
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of month", 1, 31),
        ("month", 1, 12),
        ("day of week", 0, 6),
    ]) {
        for part in field.split(',') {
            let (range, step) =
                part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            if let Some(step) = step
                && step.parse::<u32>().ok().as_ref().is_none_or(|step| *step == 0)
            {
                return Err(format!("step {step:?} of the {name} is no positive number"));
            }
            if range == "*" || range == "?" {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no {name}"));
            let (from, to) = (number(from)?, number(to)?);
            if from < low || to > high || from > to {
                return Err(format!("{range:?} is outside of the {name}'s {low} to {high}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crd_and_the_parser_disagree_where_the_field_knows_it() {
        for (schedule, crd, parser) in [
            ("0 * * * *", true, true),
            ("*/30 * * * *", true, true),
            ("30 3,15 * * *", true, true),
            ("10 1-23/2 * * *", true, true),
            ("0-30/5 * * * *", true, true),
            ("@daily", true, true),
            ("@daily foo", true, false),
            ("12345", true, false),
            ("H 10 * * *", true, false),
            ("99 * * * *", true, false),
            ("0 24 * * *", true, false),
            ("0 0 * * 7", true, false),
            ("CRON_TZ=Europe/Paris 0 5 * * *", true, true),
            ("CRON_TZ=Mars/Base 0 5 * * *", true, false),
            ("0 0 * * MON", false, false),
            ("@every 1h", false, false),
            ("", false, false),
            ("0 5 * * *  ", false, true),
        ] {
            assert_eq!(crd_accepts(schedule), crd, "CRD, {schedule:?}");
            assert_eq!(
                parser_accepts(schedule).is_ok(),
                parser,
                "parser, {schedule:?}: {:?}",
                parser_accepts(schedule)
            );
        }
    }
}
