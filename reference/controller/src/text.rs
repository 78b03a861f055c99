//! Texts and numbers in the form that Go programs and Kubernetes give them.
//!
//! Durations as `time.Duration` prints them, quantities as bytes, log tails by bytes. Pure functions.
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Prints a duration as Go does: `1m3.2s`, `24.7s`, `150ms`, `0s`.
///
/// # Source
/// `time.Duration.String` of Go.
pub fn go_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    if nanos == 0 {
        return "0s".into();
    }
    for (unit, size) in [("ns", 1_u128), ("µs", 1_000), ("ms", 1_000_000)] {
        if nanos < size * 1_000 && nanos < 1_000_000_000 {
            return format!("{sign}{}{unit}", fraction(nanos, size));
        }
    }
    let hours = nanos / 3_600_000_000_000;
    let minutes = nanos / 60_000_000_000 % 60;
    let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// Prints `value / unit` with as many decimals as needed.
fn fraction(value: u128, unit: u128) -> String {
    let whole = value / unit;
    let rest = value % unit;
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.to_string().len() - 1;
    format!("{whole}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

/// Reads a quantity as a whole number of bytes, rounded up; none if it is none.
///
/// # Source
/// `resource.Quantity` of Kubernetes.
pub fn bytes(quantity: &Quantity) -> Option<i64> {
    let text = quantity.0.trim();
    let split =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = (number * factor).ceil();
    (value.is_finite() && value.abs() < 9.3e18).then_some(value as i64)
}

/// Keeps the last bytes of a text, cutting where a character begins.
pub fn tail(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_go() {
        fn check(nanos: i64, expected: &str) {
            assert_eq!(go_duration(SignedDuration::from_nanos(nanos)), expected);
        }
        check(0, "0s");
        check(1, "1ns");
        check(1_500, "1.5µs");
        check(150_000_000, "150ms");
        check(999_999_999, "999.999999ms");
        check(1_000_000_000, "1s");
        check(24_734_895_971, "24.734895971s");
        check(63_200_000_000, "1m3.2s");
        check(3_600_000_000_000, "1h0m0s");
        check(-1_500_000_000, "-1.5s");
    }

    #[test]
    fn quantities_are_bytes() {
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(bytes(&Quantity(text.into())), expected, "{text}");
        }
        check("8Gi", Some(8_589_934_592));
        check("1", Some(1));
        check("64Mi", Some(67_108_864));
        check("1.5Gi", Some(1_610_612_736));
        check("5G", Some(5_000_000_000));
        check("1e3", Some(1000));
        check("100m", Some(1));
        check("lots", None);
        check("", None);
    }

    #[test]
    fn a_tail_never_splits_a_character() {
        assert_eq!(tail("abcdef", 3), "def");
        assert_eq!(tail("ab", 3), "ab");
        assert_eq!(tail("aéé", 3), "é");
    }
}
