//! `firedrill incidents` and `firedrill reproduce`: known incidents, played and told.
//!
//! The story is told from the record: each quoted line (condition, event, log, Job) stands in it word for
//! word. The runbook is made of the scenario's own steps, so that what a person copies is what was played.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use scenario::{Act, Scenario, Step, Verdict, phrase};
use testbed::record::{Event, What};

use super::{EXIT_NOTHING, run};
use crate::{
    input::{self, Found},
    outcome::Outcome,
    report::virtual_time,
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

fn incidents(found: &[Found]) -> Vec<Listed<'_>> {
    let mut listed: Vec<Listed<'_>> = Vec::new();
    for one in found {
        let Some(id) = &one.scenario.id else { continue };
        let has_runbook = runbook_steps(&one.scenario).next().is_some();
        match listed.iter_mut().find(|known| known.id == id) {
            Some(known) => {
                known.scenarios.push(&one.scenario.name);
                known.runbook |= has_runbook;
            }
            None => listed.push(Listed { id, scenarios: vec![&one.scenario.name], about: &one.scenario.about, runbook: has_runbook }),
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
        let near: Vec<_> = known.iter().filter(|id| id.contains(&args.id) || args.id.contains(id.as_str())).map(String::as_str).collect();
        let hint = if near.is_empty() { known.join(", ") } else { near.join(", ") };
        eprintln!("firedrill: no incident is called {:?}; there are: {hint}", args.id);
        return Ok(EXIT_NOTHING);
    }
    if args.runbook {
        let Some(one) = found.iter().find(|one| runbook_steps(&one.scenario).next().is_some()) else {
            eprintln!("firedrill: {} has no runbook: it heals by itself, see `firedrill reproduce {}`", args.id, args.id);
            return Ok(EXIT_NOTHING);
        };
        print!("{}", runbook(&one.scenario));
        return Ok(0);
    }
    for one in &mut found {
        one.scenario.seed = args.seed.unwrap_or(one.scenario.seed);
    }
    let out = args.out.clone().unwrap_or_else(|| Path::new("target/firedrill").join(format!("reproduce-{}", args.id)));
    let played = run::play(&found, None, Duration::from_secs(300), &out)?;
    for (at, (outcome, one)) in played.outcomes.iter().zip(&found).enumerate() {
        let record = out.join("records").join(format!("{at:03}.ndjson"));
        print!("{}", story(outcome, &one.scenario, &record)?);
    }
    println!("record and report: {}", out.join("report.html").display());
    Ok(played.summary.worst.exit_code())
}

fn runbook_steps(scenario: &Scenario) -> impl Iterator<Item = (&str, String)> {
    scenario.steps.iter().filter_map(|step| match step {
        Step::When(Act::Run { why, line }) => Some((why.as_str(), line.to_string())),
        _ => None,
    })
}

/// The runbook of a scenario as Markdown.
pub fn runbook(scenario: &Scenario) -> String {
    let mut text = format!("# Runbook: {}\n\n", scenario.id.as_deref().unwrap_or(&scenario.name));
    text.push_str(&format!("{}.\n\n", upper(&scenario.name)));
    if !scenario.about.is_empty() {
        text.push_str(&format!("{}\n\n", scenario.about));
    }
    for (number, (why, line)) in runbook_steps(scenario).enumerate() {
        let why = if why.is_empty() { "Run".to_owned() } else { upper(why) };
        text.push_str(&format!("{}. {why}:\n\n   ```sh\n   {}\n   ```\n\n", number + 1, line.replace('\n', "\n   ")));
    }
    let after = scenario.steps.iter().rposition(|step| matches!(step, Step::When(Act::Run { .. }))).unwrap_or(0);
    let signs: Vec<_> = scenario.steps[after..].iter().filter(|step| matches!(step, Step::Then(_))).map(phrase::title).collect();
    if !signs.is_empty() {
        text.push_str("Healthy again when:\n\n");
        for sign in signs {
            text.push_str(&format!("- {}\n", sign.trim_start_matches("Then ")));
        }
    }
    text
}

fn upper(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// What happened, minute by minute, from the record.
fn story(outcome: &Outcome, scenario: &Scenario, record: &Path) -> anyhow::Result<String> {
    let mut text = format!("\n{}\n{}\n", outcome.scenario, "=".repeat(outcome.scenario.chars().count()));
    if !outcome.about.is_empty() {
        text.push_str(&format!("{}\n", outcome.about));
    }
    text.push_str(&format!("subject {}, seed {}, starts {}\n", outcome.subject, outcome.seed, outcome.starts));
    let file = fs::File::open(record).with_context(|| format!("{} cannot be read", record.display()))?;
    let mut minute = String::new();
    let mut last = String::new();
    let mut again = 0_u32;
    for line in BufReader::new(file).lines() {
        let event: Event = serde_json::from_str(&line?).context("the record holds a line that is no event")?;
        let Some(said) = tell(&event) else { continue };
        let plain: String = said.chars().filter(|character| !character.is_ascii_digit()).collect();
        if plain == last {
            again += 1;
            continue;
        }
        if again > 0 {
            text.push_str(&format!("           (and {again} times more)\n"));
        }
        (last, again) = (plain, 0);
        let stamp = event.at.strftime("%d. %H:%M").to_string();
        let shown = if stamp == minute { " ".repeat(stamp.chars().count()) } else { stamp.clone() };
        minute = stamp;
        text.push_str(&format!("{shown}  {said}\n"));
    }
    if again > 0 {
        text.push_str(&format!("           (and {again} times more)\n"));
    }
    text.push_str(&format!("\nafter {} of virtual time: {}", virtual_time(outcome.virtual_seconds()), outcome.verdict));
    text.push_str(&if outcome.reason.is_empty() { "\n".to_owned() } else { format!(": {}\n", outcome.reason) });
    let subject = match (outcome.verdict, &scenario.bed.subject) {
        (Verdict::Passed, scenario::SubjectSpec::Reference) => "the reference comes out sound: every expectation of the scenario held",
        (Verdict::Passed, _) => "this subject shows the incident, and it was seen",
        _ => "the subject does not come out sound",
    };
    text.push_str(&format!("{subject}\n"));
    if !outcome.losses.is_empty() {
        text.push_str(&format!("declared losses: {}\n", outcome.losses.join("; ")));
    }
    Ok(text)
}

/// One line of the story, quoted from an event; none for what an operator would not look at.
fn tell(event: &Event) -> Option<String> {
    let quoted = |text: &str| text.replace('\n', " ");
    Some(match &event.what {
        What::Step { text, state } if state == "begins" => format!("== {text}"),
        What::Step { text, state } if state == "failed" => format!("== FAILED: {text}"),
        What::ClusterEvent { object, class, reason, message, .. } => format!("event      {class} {reason} {object}: {}", quoted(message)),
        What::Condition { object, class, status, reason, message, .. } => {
            format!("condition  {object} {class}={status} {reason}: {}", quoted(message))
        }
        What::MoverLog { pod, line, .. } => format!("log        {pod}: {}", quoted(line)),
        What::Job { name, operation, detail, .. } => format!("job        {name} {operation} {detail}"),
        What::Fault { name, state, target } => format!("fault      {name} {state} {target}"),
        What::Csi { driver, operation, id, result } if result != "OK" => format!("csi        {driver} {operation} {id}: {}", quoted(result)),
        What::Verdict { oracle, outcome, reason } if outcome != "passed" => format!("verdict    {oracle}: {outcome} {reason}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runbook_has_lines_to_copy_and_signs_of_health() {
        let text = "Feature: f\n  @id:x\n  Scenario: a stuck snapshot blocks the sync\n    When the operator runs to remove what holds it\n      \"\"\"\n      kubectl -n media delete volumesnapshot stuck\n      \"\"\"\n    Then \"nightly\" has synchronised once\n";
        let scenario = crate::feature::read(Path::new("x.feature"), text).unwrap().remove(0);
        let book = runbook(&scenario);
        assert!(book.contains("1. Remove what holds it:\n\n   ```sh\n   kubectl -n media delete volumesnapshot stuck\n"), "{book}");
        assert!(book.contains("- \"nightly\" has synchronised once"), "{book}");
    }
}
