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
    sync::{Condvar, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use scenario::{Scenario, Verdict};
use serde::{Deserialize, Serialize};

use crate::{drive::On, input::Found, needs::Needs, outcome::Outcome, timeline::Timeline};

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
        let (tell, hear) = mpsc::channel();
        let plan = Plan::of(found, self.on.is_shared());
        thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, found.len().max(1)) {
                let (tell, plan, outcomes) = (tell.clone(), &plan, &outcomes);
                scope.spawn(move || {
                    while let Some(at) = plan.begin() {
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
                        plan.end(at);
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

/// Whose turn it is: each scenario begins as soon as everybody who plays can bear it.
struct Plan {
    needs: Vec<Needs>,
    at: Mutex<Turns>,
    changed: Condvar,
}

/// Places in the list of scenarios.
struct Turns {
    waiting: Vec<usize>,
    playing: Vec<usize>,
}

impl Plan {
    fn of(found: &[Found], is_shared: bool) -> Self {
        let needs = |found: &Found| if is_shared { Needs::of(&found.scenario) } else { Needs::default() };
        let needs: Vec<_> = found.iter().map(needs).collect();
        let mut waiting: Vec<_> = (0..found.len()).collect();
        waiting.sort_by_key(|at| needs[*at].turn());
        Self { needs, at: Mutex::new(Turns { waiting, playing: Vec::new() }), changed: Condvar::new() }
    }

    /// Waits for the next scenario that may begin; `None` when none is left.
    fn begin(&self) -> Option<usize> {
        let mut turns = self.at.lock().expect("no worker panics with the plan");
        loop {
            if turns.waiting.is_empty() {
                return None;
            }
            if let Some(at) = self.next(&mut turns) {
                return Some(at);
            }
            turns = self.changed.wait(turns).expect("no worker panics with the plan");
        }
    }

    /// The first who waits and whom everybody who plays can bear.
    fn next(&self, turns: &mut Turns) -> Option<usize> {
        let may_begin =
            |at: &usize| turns.playing.iter().all(|other| self.needs[*at].bears(&self.needs[*other]));
        let nth = turns.waiting.iter().position(may_begin)?;
        let at = turns.waiting.remove(nth);
        turns.playing.push(at);
        Some(at)
    }

    fn end(&self, at: usize) {
        self.at.lock().expect("no worker panics with the plan").playing.retain(|other| *other != at);
        self.changed.notify_all();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_begins_when_all_who_play_can_bear_it() {
        let scenario = |steps: &str| {
            let steps = serde_saphyr::from_str(steps).expect("steps");
            Found { file: "a.yaml".into(), scenario: Scenario { steps, ..Scenario::new("one") } }
        };
        let [reboots, uses_nfs, plain, takes_nfs] = [
            "- when: reboot-node",
            "- given: {repository: {name: main, on: {nfs-export: backups}}}",
            "- given: {repository: {name: main}}",
            "- given: {fault: {name: nfs-server-away}}",
        ]
        .map(scenario);
        let found = [reboots, uses_nfs, plain, takes_nfs];
        let next = |plan: &Plan| plan.next(&mut plan.at.lock().expect("one thread"));

        let plan = Plan::of(&found, true);
        assert_eq!([next(&plan), next(&plan), next(&plan)], [Some(3), Some(2), None]);
        plan.end(3);
        assert_eq!([next(&plan), next(&plan)], [Some(1), None]);
        plan.end(1);
        assert_eq!(next(&plan), None, "the plain one still plays");
        plan.end(2);
        assert_eq!([next(&plan), next(&plan)], [Some(0), None]);

        let apart = Plan::of(&found, false);
        assert_eq!(std::array::from_fn(|_| next(&apart)), [Some(0), Some(1), Some(2), Some(3)]);
    }
}
