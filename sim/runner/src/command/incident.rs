//! `firedrill incidents` and `firedrill reproduce`: known incidents, played and told.
//!
//! Finds the scenarios of an incident by their id. How one is told is `story`'s, its runbook is `runbook`'s.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use scenario::Scenario;

use super::{EXIT_NOTHING, run};
use crate::{
    input::{self, Found},
    runbook, story,
};

/// Arguments of `firedrill incidents`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// How the list is written.
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum ListFormat {
    /// For people.
    #[default]
    Terminal,
    /// For programs.
    Json,
    /// A table.
    Markdown,
}

/// Arguments of `firedrill reproduce`.
#[derive(Debug, clap::Args)]
pub struct ReproduceArgs {
    /// The incident, as `firedrill incidents` lists it.
    #[arg(value_name = "ID")]
    id: String,
    /// Prints the runbook as Markdown, with kubectl lines to copy, and plays nothing.
    #[arg(long)]
    runbook: bool,
    /// Plays with this seed instead of the scenario's own.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the record and the report go; by default below `target/firedrill`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Listed<'a> {
    id: &'a str,
    scenarios: Vec<&'a str>,
    about: &'a str,
    runbook: bool,
}

fn has_runbook(scenario: &Scenario) -> bool {
    !runbook::measures(scenario).is_empty()
}

fn incidents(found: &[Found]) -> Vec<Listed<'_>> {
    let mut listed: Vec<Listed<'_>> = Vec::new();
    for one in found {
        let Some(id) = &one.scenario.id else { continue };
        let has_runbook = has_runbook(&one.scenario);
        match listed.iter_mut().find(|known| known.id == id) {
            Some(known) => {
                known.scenarios.push(&one.scenario.name);
                known.runbook |= has_runbook;
            }
            None => listed.push(Listed {
                id,
                scenarios: vec![&one.scenario.name],
                about: &one.scenario.about,
                runbook: has_runbook,
            }),
        }
    }
    listed.sort_by_key(|listed| listed.id);
    listed
}

/// Lists.
pub fn list(args: &ListArgs) -> anyhow::Result<u8> {
    let found = input::load(&[])?;
    let listed = incidents(&found);
    if listed.is_empty() {
        eprintln!("firedrill: no scenario reproduces an incident; scenarios name theirs with `id:` or @id:");
        return Ok(EXIT_NOTHING);
    }
    match args.format {
        ListFormat::Json => println!("{}", serde_json::to_string_pretty(&listed)?),
        ListFormat::Markdown => {
            println!("| incident | what is shown | runbook |\n|---|---|---|");
            for one in &listed {
                let shown = one.scenarios.join("<br>");
                println!("| `{}` | {shown} | {} |", one.id, if one.runbook { "yes" } else { "" });
            }
        }
        ListFormat::Terminal => {
            for one in &listed {
                println!("{}{}", one.id, if one.runbook { "  (with runbook)" } else { "" });
                for name in &one.scenarios {
                    println!("    {name}");
                }
            }
            println!("\n{} incidents; play one with `firedrill reproduce ID`", listed.len());
        }
    }
    Ok(0)
}

/// Plays one, or prints its runbook.
pub fn reproduce(args: &ReproduceArgs) -> anyhow::Result<u8> {
    let mut found = input::load(&[])?;
    let known: Vec<String> = incidents(&found).iter().map(|one| one.id.to_owned()).collect();
    found.retain(|one| one.scenario.id.as_deref() == Some(&args.id));
    if found.is_empty() {
        let near = nearest(&args.id, &known).join(", ");
        eprintln!(
            "firedrill: no incident is called {:?}; the nearest are: {near}; `firedrill incidents` lists all {}",
            args.id,
            known.len()
        );
        return Ok(EXIT_NOTHING);
    }
    if args.runbook {
        let with_lines = found
            .iter()
            .find(|one| runbook::measures(&one.scenario).iter().any(|measure| measure.line.is_some()));
        let Some(one) = with_lines.or_else(|| found.iter().find(|one| has_runbook(&one.scenario))) else {
            eprintln!(
                "firedrill: {} has no runbook: nothing has to be done; see `firedrill reproduce {}`",
                args.id, args.id
            );
            return Ok(EXIT_NOTHING);
        };
        print!("{}", runbook::write(&one.scenario));
        return Ok(0);
    }
    for one in &mut found {
        one.scenario.seed = args.seed.unwrap_or(one.scenario.seed);
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("target/firedrill").join(format!("reproduce-{}", args.id)));
    let played = run::play(&found, crate::drive::On::Embedded, None, Duration::from_secs(300), &out)?;
    for (at, (outcome, one)) in played.outcomes.iter().zip(&found).enumerate() {
        let record = out.join("records").join(format!("{at:03}.ndjson"));
        let of = found.iter().find(|other| other.scenario.twin.as_ref() == Some(&one.scenario.name));
        print!(
            "{}",
            match of {
                Some(of) => story::tell_twin(outcome, &of.scenario, &record)?,
                None => story::tell(outcome, &one.scenario, &record)?,
            }
        );
    }
    println!("\n{}: how each subject comes out", args.id);
    for outcome in &played.outcomes {
        println!("  {:<9} {} ({})", outcome.verdict.to_string(), outcome.scenario, outcome.subject);
    }
    println!("record and report: {}", out.join("report.html").display());
    Ok(played.summary.worst.exit_code())
}

/// The ids most like a wrong one: those that contain it or are contained, then by edits.
fn nearest<'a>(wanted: &str, known: &'a [String]) -> Vec<&'a str> {
    let mut ranked: Vec<_> = known
        .iter()
        .map(|id| {
            let contains = id.contains(wanted) || wanted.contains(id.as_str());
            (if contains { 0 } else { edits(wanted, id) }, id.as_str())
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(3).map(|(_, id)| id).collect()
}

/// How many letters have to be put in, taken out or changed.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for column in 1..=to.len() {
            let change = diagonal + usize::from(letter != to[column - 1]);
            diagonal = row[column];
            row[column] = change.min(row[column] + 1).min(row[column - 1] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let known: Vec<String> =
            ["csi-hung-op-lock", "nfs-estale", "nfs-hard-mount-hang", "repo-bit-rot-pack"]
                .map(str::to_owned)
                .into();
        for (wanted, expected) in [
            ("nfs-estal", "nfs-estale"),
            ("hung", "csi-hung-op-lock"),
            ("repo-bitrot-pack", "repo-bit-rot-pack"),
            ("nfs-stale", "nfs-estale"),
        ] {
            assert_eq!(nearest(wanted, &known)[0], expected, "{wanted}");
        }
        assert_eq!((edits("", "abc"), edits("abc", "abc"), edits("kitten", "sitting")), (3, 0, 3));
    }
}
