//! Sizes and spans of time as users write them: `64 MiB`, `24 hours`.
//!
//! Both promise that what is written reads back equal, and both write the largest unit that divides the
//! value without a rest; spans prefer a plural (`24 hours`, not `1 day`), because they stand in sentences. Sizes are in powers of 1024; spans are whole seconds. Months and years are no
//! units here: they have no fixed length. Neither knows a time zone.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes, written with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Text")]
pub struct ByteSize(pub u64);

/// A span of time in whole seconds, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Text")]
pub struct Span(pub u64);

const BYTES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SECONDS: &[(&str, u64)] =
    &[("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

impl ByteSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Span {
    /// As the standard library's duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = largest(BYTES, self.0);
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = SECONDS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor) && self.0 > *factor);
        let (unit, factor) = *plural.unwrap_or(&SECONDS[SECONDS.len() - 1]);
        let count = self.0 / factor;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cure =
            || format!("{text:?} is no size: write a whole number and B, KiB, MiB, GiB or TiB, as in 64 MiB");
        let (count, unit) = split(text).ok_or_else(cure)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let factor = BYTES.iter().find(|(name, _)| *name == unit || name.trim_end_matches('B') == unit);
        factor.and_then(|(_, factor)| count.checked_mul(*factor)).map(Self).ok_or_else(cure)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cure = || {
            format!(
                "{text:?} is no span of time: write a whole number and seconds, minutes, hours, days or weeks, as in 24 hours"
            )
        };
        let (count, unit) = split(text).ok_or_else(cure)?;
        let factor = SECONDS.iter().find(|(name, _)| {
            *name == unit
                || unit.strip_suffix('s') == Some(name)
                || (unit.len() == 1 && name.starts_with(unit))
        });
        factor.and_then(|(_, factor)| count.checked_mul(*factor)).map(Self).ok_or_else(cure)
    }
}

fn largest(units: &[(&'static str, u64)], value: u64) -> (&'static str, u64) {
    if value == 0 {
        return units[units.len() - 1];
    }
    *units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).expect("the last unit divides everything")
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// What YAML gives for a quantity: a text, or a bare number of the smallest unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Words(String),
}

impl TryFrom<Text> for ByteSize {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        match text {
            Text::Number(bytes) => Ok(Self(bytes)),
            Text::Words(words) => words.parse(),
        }
    }
}

impl TryFrom<Text> for Span {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        match text {
            Text::Number(seconds) => Ok(Self(seconds)),
            Text::Words(words) => words.parse(),
        }
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_size(text: &str, expected: Option<u64>) {
        assert_eq!(text.parse::<ByteSize>().ok().map(ByteSize::bytes), expected, "{text:?}");
    }

    fn check_span(text: &str, expected: Option<u64>) {
        assert_eq!(text.parse::<Span>().ok().map(|span| span.0), expected, "{text:?}");
    }

    #[test]
    fn sizes_are_read_with_binary_units() {
        check_size("64 MiB", Some(64 << 20));
        check_size("64MiB", Some(64 << 20));
        check_size("1Gi", Some(1 << 30));
        check_size("12", Some(12));
        check_size("0 B", Some(0));
        check_size("64 MB", None);
        check_size("MiB", None);
        check_size("99999999999 TiB", None);
    }

    #[test]
    fn spans_are_read_with_units_of_fixed_length() {
        check_span("24 hours", Some(86_400));
        check_span("1 day", Some(86_400));
        check_span("90s", Some(90));
        check_span("2 months", None);
        check_span("soon", None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(value in 0..u64::MAX) {
            prop_assert_eq!(ByteSize(value).to_string().parse::<ByteSize>(), Ok(ByteSize(value)));
            prop_assert_eq!(Span(value).to_string().parse::<Span>(), Ok(Span(value)));
        }
    }
}
