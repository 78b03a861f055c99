//! Reports: the same outcomes for a person at a terminal, a program, a CI server, a reviewer, a browser.
//!
//! Each writes a text from outcomes and nothing else; none reads a clock, a file or the network. Real
//! times stand in them because a person wants them; for comparing runs there is the record.

pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod svg;
pub mod terminal;

use scenario::Verdict;

use crate::outcome::Outcome;

/// How a report is written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// One line per scenario and a summary.
    #[default]
    Terminal,
    /// One object with everything.
    Json,
    /// For CI servers.
    Junit,
    /// For a comment under a pull request.
    Markdown,
}

/// What came of many scenarios.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// How many were played.
    pub scenarios: usize,
    /// How many came to each verdict, best first, those with none left out.
    pub verdicts: Vec<(Verdict, usize)>,
    /// The worst verdict.
    pub worst: Verdict,
    /// Virtual seconds of all together.
    pub virtual_seconds: u64,
    /// Real milliseconds from the first to the last.
    pub real_ms: u64,
    /// How many ran side by side.
    pub jobs: usize,
}

impl Summary {
    /// Sums up.
    pub fn of(outcomes: &[Outcome], real_ms: u64, jobs: usize) -> Self {
        let all = [
            Verdict::Passed,
            Verdict::Unsupported,
            Verdict::Stalled,
            Verdict::Crashed,
            Verdict::Violated,
            Verdict::Broken,
        ];
        let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
        Self {
            scenarios: outcomes.len(),
            verdicts: all
                .into_iter()
                .map(|verdict| (verdict, count(verdict)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            worst: worst(outcomes.iter().map(|outcome| outcome.verdict)),
            virtual_seconds: outcomes.iter().map(Outcome::virtual_seconds).sum(),
            real_ms,
            jobs,
        }
    }

    /// `31 passed, 1 violated`.
    pub fn verdicts_in_words(&self) -> String {
        let words: Vec<_> =
            self.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        words.join(", ")
    }
}

/// The worst of many verdicts; what is only unsupported counts when nothing else went wrong.
pub fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    verdicts.max().unwrap_or(Verdict::Passed)
}

/// Virtual time for people: `365 d`, `1 d 02 h`, `3 h 04 min`, `12 s`.
pub fn virtual_time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {:02} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

/// Real time for people.
pub fn real_time(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10)
}

#[cfg(test)]
pub(crate) mod tests {
    use scenario::Verdict;

    use super::*;
    use crate::outcome::{Evidence, FaultOutcome, StepOutcome};

    /// Two outcomes that have everything a report shows.
    pub(crate) fn outcomes() -> Vec<Outcome> {
        let starts: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let ends: jiff::Timestamp = "2026-01-02T01:00:00Z".parse().unwrap();
        let good = Outcome {
            scenario: "a nightly backup holds what the volume held".into(),
            about: "The promise in one night.".into(),
            feature: "Nightly backups".into(),
            id: None,
            file: "features/nightly.feature".into(),
            seed: 7,
            bed: "embedded".into(),
            subject: "reference".into(),
            verdict: Verdict::Passed,
            reason: String::new(),
            starts,
            ends,
            real_ms: 120,
            steps: vec![StepOutcome {
                text: "When 24 hours pass".into(),
                passed: Some(true),
                at: starts,
                detail: String::new(),
                evidence: vec![Evidence {
                    sequence: 3,
                    at: starts,
                    class: "job".into(),
                    text: "x <created>".into(),
                }],
                evidence_more: 2,
            }],
            faults: Vec::new(),
            losses: vec!["extended attributes".into()],
            syncs: 2,
            events: 99,
            digest: "ab".repeat(32),
            timeline: crate::timeline::Timeline {
                lanes: vec![crate::timeline::Lane {
                    name: "Job <one>".into(),
                    spans: vec![crate::timeline::Span {
                        from: starts,
                        to: ends,
                        class: "job".into(),
                        label: "job & more".into(),
                        count: 1,
                    }],
                }],
            },
        };
        let bad = Outcome {
            scenario: "nothing is <lost> & all is \"well\"".into(),
            feature: "Incidents".into(),
            id: Some("nfs-estale".into()),
            verdict: Verdict::Violated,
            reason: "the claim \"x\" differs: a/b has other bytes".into(),
            faults: vec![FaultOutcome { name: "nfs-stale-handle".into(), fired: 3 }],
            ..good.clone()
        };
        vec![good, bad]
    }

    #[test]
    fn the_worst_verdict_decides_and_codes_are_distinct() {
        use Verdict::{Broken, Crashed, Passed, Stalled, Unsupported, Violated};
        let order = [Passed, Unsupported, Stalled, Crashed, Violated, Broken];
        for pair in order.windows(2) {
            assert_eq!(worst(pair.iter().copied()), pair[1]);
        }
        let codes: std::collections::BTreeSet<_> = order.iter().map(|verdict| verdict.exit_code()).collect();
        assert_eq!(codes.len(), order.len());
        assert_eq!(Passed.exit_code(), 0);
    }

    #[test]
    fn times_are_for_people() {
        for (seconds, words) in [
            (12, "12 s"),
            (61, "1 min 01 s"),
            (3_600, "1 h 00 min"),
            (90_000, "1 d 01 h"),
            (365 * 86_400, "365 d 00 h"),
        ] {
            assert_eq!(virtual_time(seconds), words);
        }
    }
}
