//! Holds a fire drill on a person's own manifests: `firedrill drill`.
//!
//! Promises one certificate per app, and exit code 0 only if every claim that holds data came back
//! equal (declared losses excepted) or was accepted by name. Reads the input with `gitops`, plays it
//! on embedded beds, one for each set of apps that share a repository, and judges by the bed's ledger.
//! Never writes into the input. Does not talk to a real cluster. Read `args` for the command line, then
//! `plan`, `play`, `certificate`.

mod args;
pub mod certificate;
mod compare;
pub mod format;
mod ground;
mod history;
pub mod plan;
pub mod play;
mod workload;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use gitops::model::{Model, Severity};
use gitops::storage::Character;
use gitops::{Input, Options};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::civil::Date;

pub use args::{Acceptance, Args, Format};
use certificate::{Certificate, Verdict, issue};
use format::Statement;
use plan::{World, worlds};
use play::{AppOutcome, AsOf, Play, Played, play};

/// Some app is not protected.
const EXIT_VIOLATED: u8 = 13;
/// Some app could not be judged: a variable is unset, or its mover is not read yet.
const EXIT_UNSUPPORTED: u8 = 10;
/// Part of the input cannot be read.
const EXIT_INPUT: u8 = 3;
/// `--app` matched nothing, or the input holds no app.
const EXIT_NOTHING: u8 = 4;

/// What a drill gave.
#[derive(Debug)]
pub struct Drilled {
    /// What there is to say.
    pub statement: Statement,
    /// Records by world.
    pub records: Vec<(String, Vec<String>)>,
    /// The exit code.
    pub code: u8,
}

/// Runs `firedrill drill` and returns the process's exit code.
///
/// # Errors
/// What kept the drill from being held at all (unreadable input, a directory that cannot be written);
/// what the drill found is told by the code and the certificates, not by an error.
#[expect(clippy::needless_pass_by_value, reason = "the hook hands over what was parsed")]
pub fn command(args: Args) -> anyhow::Result<u8> {
    let options = options(&args, kustomize())?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("target/firedrill/drill"));
    if !args.read_only {
        crate::command::directory(&out)?;
    }
    let inputs = args
        .paths
        .iter()
        .map(|path| {
            if path == Path::new("-") {
                Input::Stream { name: "-".into(), reader: Box::new(std::io::stdin()) }
            } else {
                Input::Path(path.clone())
            }
        })
        .collect();
    let model = gitops::read(inputs, &options)?;
    let today = jiff::Zoned::now().date();
    let drilled = hold(&args, &model, today, &Screen::new())?;
    print!("{}", drilled.statement.text(args.format));
    if !args.read_only {
        write(&out, &drilled).with_context(|| format!("failed to write {}", out.display()))?;
        eprintln!("certificates and records: {}", out.display());
    }
    Ok(drilled.code)
}

/// Holds the drill on a model.
///
/// # Errors
/// A time of `--as-of` that cannot be read.
pub fn hold(args: &Args, model: &Model, today: Date, screen: &Screen) -> anyhow::Result<Drilled> {
    let chosen: Vec<usize> = (0..model.apps.len())
        .filter(|at| args.app.is_empty() || args.app.iter().any(|name| model.apps[*at].key.is_meant_by(name)))
        .collect();
    let drillable: Vec<usize> = chosen
        .iter()
        .copied()
        .filter(|at| {
            !args.read_only && model.apps[*at].unknown.is_empty() && !model.apps[*at].sources.is_empty()
        })
        .collect();
    let worlds = worlds(model, &drillable);
    let how = Play { days: args.days, seed: args.seed, as_of: as_of(args.as_of.as_deref())? };
    let played = play_all(&worlds, &how, screen);
    let mut outcomes = BTreeMap::<usize, AppOutcome>::new();
    let mut records = Vec::new();
    for (world, played) in worlds.iter().zip(played) {
        records.push((world.name.clone(), played.record));
        outcomes.extend(played.apps.into_iter().map(|outcome| (outcome.index, outcome)));
    }
    let certificates: Vec<Certificate> = chosen
        .iter()
        .map(|at| {
            issue(
                model,
                &model.apps[*at],
                outcomes.get(at),
                &args.accept,
                today,
                replay(args, &model.apps[*at].key.to_string()),
            )
        })
        .collect();
    let mut assumed: Vec<String> = worlds.iter().flat_map(|world| world.assumed.clone()).collect();
    if !worlds.is_empty() {
        assumed.push("RTO and durations are those of a seeded tree of about a megabyte at the bed's stated speeds, not of your data".to_owned());
        assumed
            .push("repositories exist before the first deployment and hold nothing of these apps".to_owned());
    }
    if worlds.iter().any(|world| !world.exports.is_empty()) {
        assumed.push("NFS exports map every user to one, as a NAS that several movers share must".to_owned());
    }
    if worlds
        .iter()
        .any(|world| world.apps.iter().any(|plan| plan.app.claims.iter().any(|claim| claim.copy_trigger)))
    {
        assumed
            .push("copies that wait for volsync.backube/copy-trigger are released once an hour".to_owned());
    }
    assumed.sort();
    assumed.dedup();
    let statement = Statement::new(model, certificates, assumed, args.days, args.seed);
    let code = code(args, model, &statement);
    Ok(Drilled { statement, records, code })
}

fn code(args: &Args, model: &Model, statement: &Statement) -> u8 {
    let broken = model.problems.iter().any(|problem| problem.severity == Severity::Broken);
    if !args.read_only && statement.count(Verdict::NotProtected) > 0 {
        EXIT_VIOLATED
    } else if broken {
        EXIT_INPUT
    } else if statement.count(Verdict::Unknown) + statement.count(Verdict::NotRead) > 0
        || statement.certificates.is_empty() && !model.unread.is_empty()
    {
        EXIT_UNSUPPORTED
    } else if statement.certificates.is_empty() {
        EXIT_NOTHING
    } else {
        0
    }
}

/// How to read the input.
fn options(args: &Args, kustomize: Option<Vec<String>>) -> anyhow::Result<Options> {
    let classes = args
        .class
        .iter()
        .map(|(name, word)| {
            Ok((
                name.clone(),
                Character::of_word(word)
                    .map_err(|message| anyhow::anyhow!("--class {name}={word}: {message}"))?,
            ))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Options { variables: args.set.iter().cloned().collect(), classes, kustomize })
}

/// A program on the path that builds kustomizations, tried, not looked up.
fn kustomize() -> Option<Vec<String>> {
    let answers = |command: &[&str]| {
        Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let words = |command: &[&str]| Some(command.iter().map(|word| (*word).to_owned()).collect());
    if answers(&["kustomize", "version"]) {
        words(&["kustomize", "build"])
    } else if answers(&["kubectl", "kustomize", "--help"]) {
        words(&["kubectl", "kustomize"])
    } else {
        None
    }
}

fn as_of(text: Option<&str>) -> anyhow::Result<AsOf> {
    let Some(text) = text else { return Ok(AsOf::Newest) };
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(AsOf::Moment(moment));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| {
        anyhow::anyhow!(
            "--as-of {text}: write a time such as 2026-01-08T12:00:00Z, or an age before the fire such as 36h"
        )
    })?;
    Ok(AsOf::Before(
        std::time::Duration::try_from(span)
            .map_err(|_| anyhow::anyhow!("--as-of {text}: an age is not negative"))?,
    ))
}

fn replay(args: &Args, app: &str) -> String {
    let mut line = String::from("firedrill drill");
    let mut push = |text: &str| {
        line.push(' ');
        let plain =
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c));
        if plain { line.push_str(text) } else { line.extend(["'", &text.replace('\'', r"'\''"), "'"]) }
    };
    args.paths.iter().for_each(|path| push(&path.display().to_string()));
    push("--app");
    push(app);
    push("--days");
    push(&args.days.to_string());
    push("--seed");
    push(&args.seed.to_string());
    if let Some(as_of) = &args.as_of {
        push("--as-of");
        push(as_of);
    }
    for (flag, pairs) in [("--set", &args.set), ("--class", &args.class)] {
        for (name, value) in pairs {
            push(flag);
            push(&format!("{name}={value}"));
        }
    }
    line
}

/// Plays worlds on as many threads as there are processors.
fn play_all(worlds: &[World], how: &Play, screen: &Screen) -> Vec<Played> {
    let threads =
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(worlds.len().max(1));
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Played>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(world) = worlds.get(at) else { break };
                    let line = screen.line(world);
                    let played = play(world, how, &|stage| line.show(stage));
                    line.done();
                    #[expect(clippy::expect_used, reason = "a thread that panics ends the scope")]
                    results.lock().expect("no holder of the results panics").insert(at, played);
                }
            });
        }
    });
    #[expect(clippy::expect_used, reason = "all threads are over")]
    results.into_inner().expect("no holder of the results panics").into_values().collect()
}

fn write(out: &Path, drilled: &Drilled) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("certificates.json"), drilled.statement.text(Format::Json))?;
    std::fs::write(out.join("certificates.md"), drilled.statement.text(Format::Markdown))?;
    for (name, lines) in &drilled.records {
        std::fs::write(out.join(format!("{name}.ndjson")), lines.join("\n") + "\n")?;
    }
    Ok(())
}

/// Where progress is shown: bars on a terminal, single lines elsewhere, nothing in tests.
pub struct Screen {
    bars: Option<MultiProgress>,
    lines: bool,
}

impl Screen {
    /// Standard error, as it is.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { bars: terminal.then(MultiProgress::new), lines: !terminal }
    }

    /// No progress at all.
    pub const fn silent() -> Self {
        Self { bars: None, lines: false }
    }

    fn line(&self, world: &World) -> Line {
        let names: Vec<String> = world.apps.iter().map(|plan| plan.app.key.name.clone()).collect();
        let title = if names.len() > 4 {
            format!("{} and {} more", names[..3].join(", "), names.len() - 3)
        } else {
            names.join(", ")
        };
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template("{spinner} {prefix}: {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            bars.add(ProgressBar::new_spinner().with_style(style).with_prefix(title.clone()))
        });
        Line { bar, title: self.lines.then_some(title) }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

struct Line {
    bar: Option<ProgressBar>,
    title: Option<String>,
}

impl Line {
    fn show(&self, stage: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(stage.to_owned());
            bar.tick();
        }
        if let Some(title) = &self.title {
            // Days would fill a log: only the stages are told.
            if !stage.starts_with("day ") || stage.starts_with("day 1 ") {
                eprintln!("{title}: {stage}");
            }
        }
    }

    fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
