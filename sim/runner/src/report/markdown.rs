//! The report for a reviewer: a table, and what went wrong below it.

use std::fmt::Write as _;

use scenario::Verdict;

use super::{Summary, real_time, virtual_time};
use crate::outcome::Outcome;

/// Writes it.
pub fn write(outcomes: &[Outcome], summary: &Summary) -> String {
    let mut text = format!(
        "**{} scenarios: {}** ({} virtual, {} real)\n\n| verdict | scenario | virtual | real | seed |\n|---|---|---|---|---|\n",
        summary.scenarios,
        summary.verdicts_in_words(),
        virtual_time(summary.virtual_seconds),
        real_time(summary.real_ms),
    );
    for outcome in outcomes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            outcome.verdict,
            escape(&outcome.scenario),
            virtual_time(outcome.virtual_seconds()),
            real_time(outcome.real_ms),
            outcome.seed,
        );
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Passed) {
        let _ = writeln!(text, "\n### {}: {}\n", outcome.verdict, escape(&outcome.scenario));
        for step in &outcome.steps {
            let mark = match step.passed {
                Some(true) => 'x',
                _ => ' ',
            };
            let _ = writeln!(text, "- [{mark}] {}", escape(&step.text));
        }
        let _ = writeln!(text, "\n{}\n\nAgain: `{}`", escape(&outcome.reason), outcome.replay());
    }
    text
}

/// Escapes text for a cell of a table.
pub fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_its_cells() {
        let mut outcomes = super::super::tests::outcomes();
        outcomes[0].scenario = "a | b\nc".into();
        let text = write(&outcomes, &Summary::of(&outcomes, 1, 1));
        assert!(text.contains("| passed | a \\| b<br>c | 1 d 01 h | 0.12 s | 7 |"), "{text}");
        assert!(text.contains("### violated: nothing is &lt;lost>"), "{text}");
    }
}
