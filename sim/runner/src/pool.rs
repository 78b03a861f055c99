//! The pool: plays scenarios side by side, each in a child process of this same program.
//!
//! A process per scenario keeps worlds apart (one that crashes or hangs takes nobody with it) and lets a
//! seed rebuild a run whatever runs beside it. Promises outcomes in the order of the scenarios, not of
//! their ends. Real time is only read for the person who waits. A child that a signal kills has crashed; one
//! that ends without an outcome, or does not end, is a broken harness: those are verdicts, not aborts.

use std::{
    io::{self, BufRead as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use scenario::{Act, Scenario, Step, Verdict};
use serde::{Deserialize, Serialize};

use crate::{drive::On, input::Found, outcome::Outcome, timeline::Timeline};

/// Scenarios with this tag take a minute or more.
pub const LONG: &str = "long";

/// The line by which a child says that the next scenario may begin, although it is not at its own end yet: what it
/// shares with others is whole again, and only its emptied namespaces still go.
pub const FREE: &str = "the bed is free for the next scenario";

/// What a child is told on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The file that the scenario stands in.
    pub file: PathBuf,
    /// What to play.
    pub scenario: Scenario,
    /// Where to write the record.
    pub record: Option<PathBuf>,
    /// Where to play it.
    #[serde(default)]
    pub on: On,
}

/// What the person who waits is told.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A scenario begins.
    Begins(&'a str),
    /// A scenario tells what it waits for.
    Waits(&'a str, &'a str),
    /// A scenario has ended.
    Ended(&'a Outcome),
}

/// How a pool plays.
#[derive(Debug)]
pub struct Pool {
    /// The program to run as a child; this one.
    pub program: PathBuf,
    /// How many at once.
    pub jobs: usize,
    /// After so much real time a child is given up; one that plays a scenario tagged [`LONG`] after four times
    /// as much, because a year beside other runs may well take minutes.
    pub limit: Duration,
    /// Where records go.
    pub records: PathBuf,
    /// Where scenarios are played.
    pub on: On,
}

impl Pool {
    /// Plays all, telling `watch` as they begin and end.
    pub fn play(&self, found: &[Found], mut watch: impl FnMut(Progress<'_>)) -> Vec<Outcome> {
        enum Said {
            Begins(usize),
            Waits(usize, String),
            Ended(Box<Outcome>),
        }
        let outcomes = Mutex::new(vec![None; found.len()]);
        // On a bed that they share, whoever disturbs the others plays alone, after them.
        let (alone, together): (Vec<_>, Vec<_>) =
            (0..found.len()).partition(|at| self.on.is_shared() && disturbs(&found[*at].scenario));
        for (places, jobs) in [(together, self.jobs), (alone, 1)] {
            let next = AtomicUsize::new(0);
            let (tell, hear) = mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..jobs.clamp(1, places.len().max(1)) {
                    let (tell, next, outcomes, places) = (tell.clone(), &next, &outcomes, &places);
                    scope.spawn(move || {
                        loop {
                            let nth = next.fetch_add(1, Ordering::Relaxed);
                            let Some(at) = places.get(nth).copied() else { break };
                            let _ = tell.send(Said::Begins(at));
                            let (free, is_free) = mpsc::channel();
                            let tell = tell.clone();
                            scope.spawn(move || {
                                let waits = |words: String| {
                                    if words == FREE {
                                        let _ = free.send(());
                                    } else {
                                        let _ = tell.send(Said::Waits(at, words));
                                    }
                                };
                                let outcome = self.play_one(at, &found[at], &waits);
                                outcomes.lock().expect("no worker panics with the list")[at] =
                                    Some(outcome.clone());
                                let _ = tell.send(Said::Ended(Box::new(outcome)));
                            });
                            // An error is the scenario's end.
                            let _ = is_free.recv();
                        }
                    });
                }
                drop(tell);
                for said in hear {
                    match said {
                        Said::Begins(at) => watch(Progress::Begins(&found[at].scenario.name)),
                        Said::Waits(at, words) => watch(Progress::Waits(&found[at].scenario.name, &words)),
                        Said::Ended(outcome) => watch(Progress::Ended(&outcome)),
                    }
                }
            });
        }
        let outcomes = outcomes.into_inner().expect("all workers have ended");
        outcomes.into_iter().map(|outcome| outcome.expect("each scenario was played")).collect()
    }

    /// The record of the scenario at this place of the list.
    pub fn record_of(&self, at: usize) -> PathBuf {
        self.records.join(format!("{at:03}.ndjson"))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "real time is told beside virtual time, and never stands in a record"
    )]
    fn play_one(&self, at: usize, found: &Found, waits: &(dyn Fn(String) + Sync)) -> Outcome {
        let begins = Instant::now();
        let order = Order {
            file: found.file.clone(),
            scenario: found.scenario.clone(),
            record: Some(self.record_of(at)),
            on: self.on.nth(at),
        };
        let mut outcome = self.ask_child(&order, waits).unwrap_or_else(|(verdict, reason)| Outcome {
            verdict,
            bed: self.on.name().to_owned(),
            ..broken(found, reason)
        });
        outcome.real_ms = u64::try_from(begins.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome
    }

    fn ask_child(
        &self,
        order: &Order,
        waits: &(dyn Fn(String) + Sync),
    ) -> Result<Outcome, (Verdict, String)> {
        let limit = if order.scenario.tags.contains(LONG) { self.limit * 4 } else { self.limit };
        let order = serde_json::to_vec(order).expect("an order is plain data");
        let mut child = Command::new(&self.program)
            .arg("play")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| (Verdict::Broken, format!("the child process did not start: {error}")))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let mut stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(&order));
            let answer = scope.spawn(move || read_all(&mut stdout));
            let words = scope.spawn(move || {
                let mut words = Vec::new();
                for line in io::BufReader::new(stderr).lines().map_while(Result::ok) {
                    waits(line.clone());
                    words.push(line);
                }
                words
            });
            let ended = wait(&mut child, limit);
            let answer = answer.join().unwrap_or_default();
            let words = words.join().unwrap_or_default();
            let status = ended.map_err(|reason| (Verdict::Broken, reason))?;
            serde_json::from_slice(&answer).map_err(|_| {
                let words: Vec<_> =
                    words.into_iter().filter(|line| !line.trim().is_empty()).take(12).collect();
                // Harness and subject share the process; a panic of either is caught there, a signal is not.
                let verdict = if status.signal().is_some() { Verdict::Crashed } else { Verdict::Broken };
                let reason =
                    format!("the child process ended ({status}) without an outcome\n{}", words.join("\n"));
                (verdict, reason)
            })
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child has a real limit; the operating system has no wait with a deadline"
)]
fn wait(child: &mut Child, limit: Duration) -> Result<std::process::ExitStatus, String> {
    let begins = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if begins.elapsed() < limit => thread::sleep(pause),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "the child process did not end within {} s of real time",
                    limit.as_secs()
                ));
            }
            Err(error) => return Err(format!("the child process was lost: {error}")),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Whether a scenario does something to what it shares with others: faults, drivers, the controller. Faults of an
/// object store strike the scenario's own buckets only.
fn disturbs(scenario: &Scenario) -> bool {
    let is_shared = |fault: fault::Fault| fault.row().seam != fault::Seam::Store;
    scenario.faults().any(|spec| spec.fault().is_ok_and(is_shared))
        || scenario.steps.iter().any(|step| {
            matches!(
                step,
                Step::When(
                    Act::StopController
                        | Act::RestartController
                        | Act::KillLeader
                        | Act::RebootNode
                        | Act::RestartCsi(_)
                        | Act::Run { .. }
                )
            )
        })
}

fn read_all(from: &mut impl io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}

/// The outcome of a scenario that could not be played at all.
pub fn broken(found: &Found, reason: String) -> Outcome {
    let scenario = &found.scenario;
    let starts = scenario.bed.starts.unwrap_or(crate::drive::EPOCH);
    Outcome {
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        feature: scenario.feature.clone(),
        id: scenario.id.clone(),
        file: found.file.display().to_string(),
        seed: scenario.seed,
        bed: On::Embedded.name().to_owned(),
        subject: String::new(),
        verdict: Verdict::Broken,
        reason,
        starts,
        ends: starts,
        real_ms: 0,
        steps: Vec::new(),
        faults: Vec::new(),
        losses: Vec::new(),
        syncs: 0,
        events: 0,
        digest: String::new(),
        timeline: Timeline::default(),
    }
}

/// Joins the records of all scenarios into one, in their order, each below a line that names it.
///
/// # Errors
/// A record cannot be read, or the joined one not written.
pub fn join_records(pool: &Pool, outcomes: &[Outcome], target: &Path) -> io::Result<()> {
    let mut joined = io::BufWriter::new(std::fs::File::create(target)?);
    for (at, outcome) in outcomes.iter().enumerate() {
        let head = serde_json::json!({
            "kind": "scenario", "feature": outcome.feature, "scenario": outcome.scenario, "seed": outcome.seed,
            "subject": outcome.subject, "verdict": outcome.verdict, "reason": outcome.reason,
            "events": outcome.events, "sha256": outcome.digest,
        });
        writeln!(joined, "{head}")?;
        match std::fs::File::open(pool.record_of(at)) {
            Ok(mut record) => {
                io::copy(&mut record, &mut joined)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    joined.flush()
}
