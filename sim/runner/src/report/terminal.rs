//! The report for a person at a terminal: one line per scenario, then what went wrong, then a summary.

use std::fmt::Write as _;

use console::Style;
use scenario::Verdict;

use super::{Summary, real_time, virtual_time};
use crate::outcome::Outcome;

/// Writes it; `colour` for terminals.
pub fn write(outcomes: &[Outcome], summary: &Summary, place: &str, colour: bool) -> String {
    let mut text = String::new();
    let mut feature = None;
    for outcome in outcomes {
        if feature != Some(&outcome.feature) {
            let _ =
                writeln!(text, "{}", Style::new().bold().force_styling(colour).apply_to(&outcome.feature));
            feature = Some(&outcome.feature);
        }
        let _ = writeln!(text, "{}", line(outcome, colour));
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Passed) {
        let _ = writeln!(text, "\n{} {}", verdict(outcome.verdict, colour), outcome.scenario);
        for step in &outcome.steps {
            let mark = match step.passed {
                Some(true) => "  ✓ ",
                Some(false) => "  ✗ ",
                None => "  · ",
            };
            let _ = writeln!(text, "{mark}{}", step.text);
        }
        let _ = writeln!(text, "    {}", outcome.reason.replace('\n', "\n    "));
        let _ = writeln!(text, "    again: {}", outcome.replay());
    }
    let _ = writeln!(
        text,
        "\n{} scenarios: {} in {} ({} virtual, {} jobs)",
        summary.scenarios,
        summary.verdicts_in_words(),
        real_time(summary.real_ms),
        virtual_time(summary.virtual_seconds),
        summary.jobs,
    );
    if !place.is_empty() {
        let _ = writeln!(text, "record and report: {place}");
    }
    text
}

/// One line for one scenario.
pub fn line(outcome: &Outcome, colour: bool) -> String {
    let fired: u64 = outcome.faults.iter().map(|fault| fault.fired).sum();
    let faults = if outcome.faults.is_empty() { String::new() } else { format!("  [{fired} firings]") };
    format!(
        "  {}  {:>12}  {:>8}  seed {:<4}  {}{faults}",
        verdict(outcome.verdict, colour),
        virtual_time(outcome.virtual_seconds()),
        real_time(outcome.real_ms),
        outcome.seed,
        outcome.scenario,
    )
}

fn verdict(verdict: Verdict, colour: bool) -> String {
    let style = Style::new().force_styling(colour);
    let style = match verdict {
        Verdict::Passed => style.green(),
        Verdict::Unsupported => style.yellow(),
        _ => style.red().bold(),
    };
    style.apply_to(format!("{:<11}", verdict.to_string())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_its_step_reason_and_replay() {
        let outcomes = super::super::tests::outcomes();
        let summary = Summary::of(&outcomes, 240, 2);
        let text = write(&outcomes, &summary, "target/x", false);
        for words in [
            "passed           1 d 01 h    0.12 s  seed 7     a nightly backup",
            "other bytes",
            "again: firedrill run features/nightly.feature --filter",
            "2 scenarios: 1 passed, 1 violated in 0.24 s (2 d 02 h virtual, 2 jobs)",
            "[3 firings]",
        ] {
            assert!(text.contains(words), "{words:?} is missing in\n{text}");
        }
    }
}
