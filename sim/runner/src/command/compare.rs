//! `firedrill compare`: what the same scenarios came to on different beds, side by side.
//!
//! Reads the outcomes that runs wrote beside their reports. Promises a row for every scenario that any of them
//! played, and a reason for every disagreement. Judges only whether verdicts agree: which bed is right is for
//! people. Its exit code is 0 when they agree, and 13 when they do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use scenario::Verdict;
use serde::Deserialize;

use super::EXIT_NOTHING;
use crate::{outcome::Outcome, report::markdown::escape};

/// Arguments of `firedrill compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directories that `firedrill run --out` wrote to, or their outcomes.json.
    #[arg(value_name = "RECORD", required = true, num_args = 2..)]
    pub runs: Vec<PathBuf>,
    /// Writes a table for a reviewer instead of one for a terminal.
    #[arg(long)]
    pub markdown: bool,
    /// The share of equal verdicts, in percent, below which the comparison fails.
    #[arg(long, value_name = "PERCENT", default_value_t = 99)]
    pub at_least: u8,
}

#[derive(Deserialize)]
struct Outcomes {
    scenarios: Vec<Outcome>,
}

/// One scenario on every bed that played it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The feature.
    pub feature: String,
    /// The claim.
    pub scenario: String,
    /// Verdict and reason by bed.
    pub on: BTreeMap<String, (Verdict, String)>,
}

impl Row {
    /// Whether all beds that played it came to the same verdict.
    pub fn agrees(&self) -> bool {
        self.on.values().map(|(verdict, _)| *verdict).collect::<BTreeSet<_>>().len() <= 1
    }
}

/// All scenarios of some runs, and their beds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Names of the beds.
    pub beds: BTreeSet<String>,
    /// By feature and claim.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Puts runs side by side; of one scenario twice on one bed, the worse verdict counts.
    pub fn of(runs: &[Vec<Outcome>]) -> Self {
        let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
        let mut beds = BTreeSet::new();
        for outcome in runs.iter().flatten() {
            beds.insert(outcome.bed.clone());
            let key = (outcome.feature.clone(), outcome.scenario.clone());
            let row = rows.entry(key).or_insert_with(|| Row {
                feature: outcome.feature.clone(),
                scenario: outcome.scenario.clone(),
                on: BTreeMap::new(),
            });
            let seen = (outcome.verdict, outcome.reason.clone());
            match row.on.get(&outcome.bed) {
                Some((worse, _)) if *worse >= outcome.verdict => {}
                _ => {
                    row.on.insert(outcome.bed.clone(), seen);
                }
            }
        }
        Self { beds, rows: rows.into_values().collect() }
    }

    /// Scenarios that more than one bed played, and how many of them agree.
    pub fn agreement(&self) -> (usize, usize) {
        let both: Vec<_> = self.rows.iter().filter(|row| row.on.len() > 1).collect();
        (both.iter().filter(|row| row.agrees()).count(), both.len())
    }

    /// Whether at least so many percent agree; nothing in common is no agreement.
    pub fn is_good(&self, percent: u8) -> bool {
        let (same, both) = self.agreement();
        both > 0 && same * 100 >= both * usize::from(percent)
    }
}

/// Compares; 13 when too many verdicts differ.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let runs = args.runs.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let comparison = Comparison::of(&runs);
    let text = if args.markdown { markdown(&comparison) } else { terminal(&comparison) };
    std::io::stdout().write_all(text.as_bytes())?;
    let (_, both) = comparison.agreement();
    Ok(if both == 0 {
        eprintln!("firedrill: no scenario was played on more than one bed, so nothing can be compared");
        EXIT_NOTHING
    } else if comparison.is_good(args.at_least) {
        0
    } else {
        Verdict::Violated.exit_code()
    })
}

/// The outcomes of a run.
///
/// # Errors
/// They cannot be read, or are none.
pub fn read(path: &Path) -> anyhow::Result<Vec<Outcome>> {
    let file = if path.is_dir() { path.join("outcomes.json") } else { path.to_owned() };
    let text = fs::read_to_string(&file).with_context(|| {
        format!("{} cannot be read: name a directory that `firedrill run --out` wrote", file.display())
    })?;
    let outcomes: Outcomes = serde_json::from_str(&text)
        .with_context(|| format!("{} holds no outcomes of a run", file.display()))?;
    Ok(outcomes.scenarios)
}

/// Texts side by side, each as wide as the longest verdict needs.
fn columns<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    texts.into_iter().fold(String::new(), |mut line, text| {
        let _ = write!(line, "{text:<13}");
        line
    })
}

/// The table for a terminal.
pub fn terminal(comparison: &Comparison) -> String {
    let mut text = String::new();
    let mut feature = None;
    for row in &comparison.rows {
        if feature != Some(&row.feature) {
            let _ = writeln!(text, "{}", row.feature);
            feature = Some(&row.feature);
        }
        let cells = columns(&cells(comparison, row));
        let _ = writeln!(text, "  {} {cells}{}", if row.agrees() { ' ' } else { '≠' }, row.scenario);
        for (bed, reason) in reasons(row) {
            let _ = writeln!(text, "      {bed}: {reason}");
        }
    }
    let heads = columns(&comparison.beds);
    let _ = writeln!(text, "{}", sum(comparison));
    format!("    {heads}\n{text}")
}

/// The table for a reviewer.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("{}\n\n| feature | scenario |", sum(comparison));
    for bed in &comparison.beds {
        let _ = write!(text, " {} |", escape(bed));
    }
    text.push_str(" why they differ |\n|---|---|");
    text.push_str(&"---|".repeat(comparison.beds.len() + 1));
    text.push('\n');
    for row in &comparison.rows {
        let _ = write!(text, "| {} | {} |", escape(&row.feature), escape(&row.scenario));
        for cell in cells(comparison, row) {
            let _ = write!(text, " {cell} |");
        }
        let why: Vec<_> =
            reasons(row).into_iter().map(|(bed, reason)| format!("{bed}: {}", escape(reason))).collect();
        let _ = writeln!(text, " {} |", why.join("<br>"));
    }
    text
}

fn sum(comparison: &Comparison) -> String {
    let (same, both) = comparison.agreement();
    let share = if both == 0 { 0.0 } else { same as f64 * 100.0 / both as f64 };
    format!("{same} of {both} scenarios have the same verdict on {} ({share:.1} %)", words(&comparison.beds))
}

fn words(beds: &BTreeSet<String>) -> String {
    beds.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

fn cells(comparison: &Comparison, row: &Row) -> Vec<String> {
    let verdict =
        |bed: &String| row.on.get(bed).map_or_else(|| "—".to_owned(), |(verdict, _)| verdict.to_string());
    comparison.beds.iter().map(verdict).collect()
}

/// Why verdicts differ, on the beds that give a reason.
fn reasons(row: &Row) -> Vec<(&str, &str)> {
    if row.agrees() {
        return Vec::new();
    }
    let told = row.on.iter().filter(|(_, (_, reason))| !reason.is_empty());
    told.map(|(bed, (_, reason))| (bed.as_str(), reason.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Vec<Vec<Outcome>> {
        let here = crate::report::tests::outcomes();
        let there = here.iter().map(|outcome| {
            let verdict = if outcome.verdict == Verdict::Passed { Verdict::Stalled } else { outcome.verdict };
            Outcome { bed: "kind".into(), verdict, reason: "no pod | came".into(), ..outcome.clone() }
        });
        let there = there.collect();
        vec![here, there]
    }

    #[test]
    fn a_disagreement_has_its_reason_and_fails() {
        let comparison = Comparison::of(&runs());
        assert_eq!(comparison.agreement(), (1, 2));
        assert!(!comparison.is_good(99) && comparison.is_good(50));
        let text = terminal(&comparison);
        assert!(text.contains("≠ passed       stalled") && text.contains("kind: no pod | came"), "{text}");
        let table = markdown(&comparison);
        assert!(table.contains("| passed | stalled | kind: no pod \\| came |"), "{table}");
        assert!(
            table.contains("1 of 2 scenarios have the same verdict on embedded and kind (50.0 %)"),
            "{table}"
        );
    }

    #[test]
    fn what_only_one_bed_played_is_no_agreement() {
        let mut runs = runs();
        runs.pop();
        let comparison = Comparison::of(&runs);
        assert_eq!(comparison.agreement(), (0, 0));
        assert!(!comparison.is_good(0), "nothing was compared");
        assert!(!terminal(&comparison).contains('≠'));
    }
}
