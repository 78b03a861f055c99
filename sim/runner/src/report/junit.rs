//! The report for CI servers, in JUnit's XML: a suite per feature, a case per scenario.

use std::{collections::BTreeMap, fmt::Write as _};

use scenario::Verdict;

use crate::outcome::Outcome;

/// Writes it.
pub fn write(outcomes: &[Outcome]) -> String {
    let mut suites: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        suites.entry(&outcome.feature).or_default().push(outcome);
    }
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (feature, cases) in suites {
        let skipped = cases.iter().filter(|case| case.verdict == Verdict::Unsupported).count();
        let errors = cases.iter().filter(|case| case.verdict == Verdict::Broken).count();
        let passed = cases.iter().filter(|case| case.verdict == Verdict::Passed).count();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{errors}\" skipped=\"{skipped}\">",
            escape(feature),
            cases.len(),
            cases.len() - passed - errors - skipped,
        );
        for case in cases {
            let seconds = case.real_ms as f64 / 1_000.0;
            let _ = write!(
                text,
                "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" time=\"{seconds:.3}\"",
                escape(feature),
                escape(&case.scenario),
                escape(&case.file),
            );
            let element = match case.verdict {
                Verdict::Passed => {
                    text.push_str("/>\n");
                    continue;
                }
                Verdict::Unsupported => "skipped",
                Verdict::Broken => "error",
                _ => "failure",
            };
            let _ = writeln!(
                text,
                ">\n      <{element} message=\"{}: {}\">{}</{element}>\n    </testcase>",
                case.verdict,
                escape(&case.reason),
                escape(&case.replay()),
            );
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// Escapes text for XML; characters that XML cannot hold become a question mark.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(' '),
            control if control.is_control() => escaped.push('?'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_failure_and_markup_is_escaped() {
        let text = write(&super::super::tests::outcomes());
        assert!(text.contains("<failure message=\"violated: the claim &quot;x&quot; differs"), "{text}");
        assert!(text.contains("name=\"nothing is &lt;lost&gt; &amp; all is &quot;well&quot;\""), "{text}");
        assert_eq!(text.matches("<testcase").count(), 2);
        assert_eq!(text.matches("failures=\"1\"").count(), 1);
    }
}
