//! The story of a run, minute by minute in virtual time, told from its record.
//!
//! Each quoted line (condition, event, log, Job, CSI call) stands in the record word for word; the steps
//! between them are the scenario's. A line that comes again within a step is counted, not repeated. Reads
//! a record and an outcome; judges nothing.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::Context as _;
use jiff::Timestamp;
use scenario::{Act, Scenario, Step, SubjectSpec, Verdict};
use testbed::record::{Event, What};

use crate::{outcome::Outcome, report::virtual_time, runbook};

/// Log lines with one of these words are worth a line; a mover says much more.
const LOUD: &[&str] = &[
    "ERROR",
    "WARN",
    "error",
    "ailed",
    "refused",
    "No eligible",
    "No snapshots found",
    "No data will be restored",
    "creating new repository",
    "creating the first",
    "Read back",
    "Directory is empty",
    "claimed maintenance ownership",
];

/// Normal events of volumes being made: true, and of no interest to whoever reads about an incident.
const QUIET: &[&str] = &[
    "ExternalProvisioning",
    "Provisioning",
    "ProvisioningSucceeded",
    "CreatingSnapshot",
    "SnapshotCreated",
    "SnapshotReady",
];

/// Tells in short how the twin without the mechanism went, and whether a symptom of the incident is in its record.
///
/// # Errors
/// The record cannot be read.
pub fn tell_twin(outcome: &Outcome, of: &Scenario, record: &Path) -> anyhow::Result<String> {
    let seen = events(record)?.iter().filter_map(words).collect::<Vec<_>>();
    let name = &outcome.scenario;
    let mut text = format!("\nwithout the mechanism: {name}\n");
    text.push_str(&format!(
        "after {} of virtual time: {}",
        virtual_time(outcome.virtual_seconds()),
        outcome.verdict
    ));
    text.push_str(&if outcome.reason.is_empty() {
        "\n".to_owned()
    } else {
        format!(": {}\n", outcome.reason)
    });
    for symptom in runbook::symptoms(of).into_iter().filter_map(runbook::symptom) {
        let said = seen.iter().filter(|words| words.contains(symptom)).count();
        text.push_str(&match said {
            0 => format!("  nobody says {symptom:?}\n"),
            times => format!("  {symptom:?} is said all the same, {times} times\n"),
        });
    }
    Ok(text)
}

/// What an operator may read of an event, in words.
fn words(event: &Event) -> Option<String> {
    Some(match &event.what {
        What::ClusterEvent { reason, message, .. } => format!("{reason}: {message}"),
        What::Condition { class, status, reason, message, .. } => {
            format!("{class}={status} {reason}: {message}")
        }
        What::MoverLog { line, .. } => line.clone(),
        _ => return None,
    })
}

fn events(record: &Path) -> anyhow::Result<Vec<Event>> {
    let file = fs::File::open(record).with_context(|| format!("{} cannot be read", record.display()))?;
    let lines = BufReader::new(file).lines();
    lines
        .map(|line| serde_json::from_str(&line?).context("the record holds a line that is no event"))
        .collect()
}

/// Tells what happened.
///
/// # Errors
/// The record cannot be read.
pub fn tell(outcome: &Outcome, scenario: &Scenario, record: &Path) -> anyhow::Result<String> {
    let mut teller = Teller::new(scenario);
    events(record)?.iter().for_each(|event| teller.see(event));
    teller.flush();
    let name = &outcome.scenario;
    let mut text = format!("\n{name}\n{}\n", "=".repeat(name.chars().count()));
    if !outcome.about.is_empty() {
        text.push_str(&format!("{}\n", outcome.about));
    }
    text.push_str(&format!(
        "subject {}, seed {}, starts {}\n\n",
        outcome.subject, outcome.seed, outcome.starts
    ));
    text.push_str(&teller.text);
    text.push_str(&teller.lost(outcome));
    text.push_str(&format!(
        "after {} of virtual time: {}",
        virtual_time(outcome.virtual_seconds()),
        outcome.verdict
    ));
    text.push_str(&if outcome.reason.is_empty() {
        "\n".to_owned()
    } else {
        format!(": {}\n", outcome.reason)
    });
    let comes_out = match (outcome.verdict, &scenario.bed.subject) {
        (Verdict::Passed, SubjectSpec::Reference) => {
            "the reference comes out sound: every expectation of the scenario held"
        }
        (Verdict::Passed, _) => "this subject shows the incident, and the oracle caught it",
        _ => "the subject does not come out sound",
    };
    text.push_str(&format!("{comes_out}\n"));
    if !outcome.losses.is_empty() {
        text.push_str(&format!("declared losses: {}\n", outcome.losses.join("; ")));
    }
    Ok(text)
}

struct Teller<'a> {
    scenario: &'a Scenario,
    symptoms: Vec<&'a str>,
    text: String,
    step: Option<usize>,
    measures: Vec<runbook::Measure>,
    minute: String,
    told: BTreeSet<String>,
    again: u32,
    held: String,
    compared: String,
    syncs: Vec<(String, Timestamp)>,
    attempts_failed: u32,
}

impl<'a> Teller<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            symptoms: scenario.steps.iter().filter_map(runbook::symptom).collect(),
            text: String::new(),
            step: None,
            measures: runbook::measures(scenario),
            minute: String::new(),
            told: BTreeSet::new(),
            again: 0,
            held: String::new(),
            compared: String::new(),
            syncs: Vec::new(),
            attempts_failed: 0,
        }
    }

    fn see(&mut self, event: &Event) {
        self.count(event);
        match &event.what {
            What::Step { text, state } => self.turn(event.at, text, state),
            What::Verdict { oracle, outcome, reason } if outcome == "passed" => {
                self.held.clone_from(reason);
                if oracle == "restored-tree" {
                    self.compared.clone_from(reason);
                }
            }
            _ => {
                let is_stage = matches!(
                    self.step.map(|step| self.scenario.steps.get(step)),
                    None | Some(Some(Step::Given(_)))
                );
                let told = if is_stage && !matches!(event.what, What::Fault { .. }) {
                    None
                } else {
                    self.quote(event)
                };
                if let Some(said) = told {
                    let plain: String =
                        said.chars().filter(|character| !character.is_ascii_digit()).collect();
                    if self.told.insert(plain) {
                        self.line(event.at, &said);
                    } else {
                        self.again += 1;
                    }
                }
            }
        }
    }

    /// A step begins or ends.
    fn turn(&mut self, at: Timestamp, text: &str, state: &str) {
        match state {
            "begins" => {
                self.flush();
                let step = self.step.map_or(0, |step| step + 1);
                self.step = Some(step);
                self.held.clear();
                let measure = self.measures.iter().position(|measure| measure.at == step);
                match (measure, self.scenario.steps.get(step)) {
                    (Some(number), _) => {
                        let measure = self.measures[number].clone();
                        self.line(at, &format!("== runbook {}: {}", number + 1, measure.why));
                        for line in measure.line.iter().flat_map(|line| line.lines()) {
                            self.line(at, &format!("     $ {line}"));
                        }
                    }
                    // A look is told when it is known what was seen.
                    (None, Some(Step::Then(_))) => {}
                    _ => self.line(at, &format!("== {text}")),
                }
            }
            "passed"
                if matches!(
                    self.step.and_then(|step| self.scenario.steps.get(step)),
                    Some(Step::Then(_))
                ) =>
            {
                let seen =
                    if self.held.is_empty() { String::new() } else { format!(" ({})", one_line(&self.held)) };
                self.line(at, &format!("-- {text}{seen}"));
            }
            "failed" => self.line(at, &format!("== FAILED: {text}")),
            _ => {}
        }
    }

    fn line(&mut self, at: Timestamp, said: &str) {
        let stamp = at.strftime("%d. %H:%M").to_string();
        let shown = if stamp == self.minute { " ".repeat(stamp.chars().count()) } else { stamp.clone() };
        self.minute = stamp;
        self.text.push_str(&format!("{shown}  {said}\n"));
    }

    /// Ends what was told of a step.
    fn flush(&mut self) {
        if self.again > 0 {
            let times = if self.again == 1 { "line" } else { "lines" };
            self.text.push_str(&format!("           (and {} more {times} like these)\n", self.again));
        }
        self.again = 0;
        self.told.clear();
    }

    /// What the end of the story is made of.
    fn count(&mut self, event: &Event) {
        match &event.what {
            What::ApiWrite { object_kind, name, fields, .. } if object_kind == "ReplicationSource" => {
                let Some(time) = fields.get("status.lastSyncTime").and_then(|time| time.as_str()) else {
                    return;
                };
                let Ok(time) = time.parse::<Timestamp>() else { return };
                if !self.syncs.contains(&(name.clone(), time)) {
                    self.syncs.push((name.clone(), time));
                }
            }
            What::Job { operation, .. } if operation == "pod-failed" => self.attempts_failed += 1,
            _ => {}
        }
    }

    /// What was lost, from the record: data, attempts, and the longest time without a sync that counted.
    fn lost(&self, outcome: &Outcome) -> String {
        let data = if !outcome.reason.is_empty() {
            outcome.reason.clone()
        } else if self.compared.is_empty() {
            "nothing that was looked for is missing".to_owned()
        } else {
            format!("nothing: {}", self.compared)
        };
        let mut text = format!("\nlost: {data}\n");
        let longest = self.syncs.iter().filter_map(|(name, from)| {
            let later =
                self.syncs.iter().filter(|(other, to)| other == name && to > from).map(|(_, to)| *to).min();
            let to = later?;
            let seconds = u64::try_from(to.duration_since(*from).as_secs()).ok()?;
            Some((seconds, name, *from, to))
        });
        if let Some((seconds, name, from, to)) = longest.max_by_key(|(seconds, ..)| *seconds) {
            let (from, to) = (from.strftime("%d. %H:%M"), to.strftime("%d. %H:%M"));
            let syncs = self.syncs.len();
            text.push_str(&format!(
                "syncs that counted: {syncs}; {name} was longest without one for {} (from {from} to {to})\n",
                virtual_time(seconds)
            ));
        }
        if self.attempts_failed > 0 {
            text.push_str(&format!("attempts of movers that failed: {}\n", self.attempts_failed));
        }
        text
    }

    /// One line, quoted from an event; none for what an operator would not look at.
    fn quote(&self, event: &Event) -> Option<String> {
        let is_run = |act: &Act| {
            matches!(act, Act::Run { .. } | Act::Trigger { .. } | Act::Configure { .. } | Act::Delete(_))
        };
        let acting = self
            .step
            .and_then(|step| self.scenario.steps.get(step))
            .is_some_and(|step| matches!(step, Step::When(act) if is_run(act)));
        Some(match &event.what {
            What::ClusterEvent { object, class, reason, .. }
                if class == "Normal"
                    && (object.starts_with("Pod/")
                        || object.starts_with("Job/")
                        || QUIET.contains(&reason.as_str())) =>
            {
                return None;
            }
            What::ClusterEvent { object, class, reason, message, .. } => {
                format!("event      {class} {reason} {object}: {}", one_line(message))
            }
            What::Condition { object, .. } if object.starts_with("Job/") || object.starts_with("Pod/") => {
                return None;
            }
            What::Condition { object, class, status, reason, message, .. } => {
                format!("condition  {object} {class}={status} {reason}: {}", one_line(message))
            }
            What::MoverLog { pod, line, .. }
                if LOUD.iter().chain(&self.symptoms).any(|word| line.contains(word)) =>
            {
                format!("log        {pod}: {}", one_line(line))
            }
            What::Job { name, operation, detail, .. } => format!("job        {name} {operation} {detail}"),
            What::Pod { name, operation, detail, .. }
                if matches!(operation.as_str(), "signal" | "killed" | "evicted") =>
            {
                format!("pod        {name} {operation} {detail}")
            }
            What::Fault { name, state, target } => format!("fault      {name} {state} {target}"),
            What::Csi { driver, operation, id, result } if result != "OK" => {
                format!("csi        {driver} {operation} {id}: {}", one_line(result))
            }
            What::ApiWrite { caller, verb, object_kind, name, .. } if caller == "user" && acting => {
                format!("object     {caller} {verb} {object_kind}/{name}")
            }
            What::Verdict { oracle, outcome, reason } if outcome != "passed" => {
                format!("verdict    {oracle}: {outcome} {reason}")
            }
            What::Note { text } => format!("note       {}", one_line(text)),
            _ => return None,
        })
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
