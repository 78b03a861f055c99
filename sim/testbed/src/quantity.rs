//! Kubernetes quantities as bytes, and back.
//!
//! Only what storage sizes need: decimal and binary suffixes, decimals and exponents. What cannot be read is 0.

/// The number of bytes of a quantity such as `1Gi`, `500M`, `1.5Gi`, `1e9`; rounded up.
pub fn bytes(text: &str) -> u64 {
    let text = text.trim();
    let suffixes: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("m", 1e-3),
    ];
    for (suffix, factor) in suffixes {
        if let Some(number) = text.strip_suffix(suffix) {
            return scaled(number, factor);
        }
    }
    scaled(text, 1.0)
}

#[expect(clippy::cast_sign_loss, reason = "both factors and kept values are positive")]
fn scaled(number: &str, factor: f64) -> u64 {
    if factor >= 1.0
        && let Ok(whole) = number.parse::<u64>()
    {
        // Exact for whole numbers: a float has 53 bits only.
        return whole.saturating_mul(factor as u64);
    }
    let value = number.parse::<f64>().unwrap_or(0.0) * factor;
    if value.is_finite() && value > 0.0 { value.ceil() as u64 } else { 0 }
}

/// A quantity for a number of bytes, with the largest binary suffix that divides it.
pub fn text(bytes: u64) -> String {
    for (suffix, shift) in [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_bytes() {
        for (quantity, expected) in [
            ("1Gi", 1 << 30),
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("500M", 500_000_000),
            ("1e9", 1_000_000_000),
            ("123", 123),
            ("9007199254740993", 9_007_199_254_740_993),
            ("1500m", 2),
            ("", 0),
            ("much", 0),
        ] {
            assert_eq!(bytes(quantity), expected, "{quantity}");
        }
        assert_eq!(text(64 << 20), "64Mi");
        assert_eq!(text(1000), "1000");
    }
}
