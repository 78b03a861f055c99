//! `firedrill run`: plays features and scenarios side by side and reports.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    EXIT_NOTHING,
    bed::{self, BedArgs, BedName},
};
use crate::{
    drive::{FIXED_NAMESPACE, On, VIRTUAL_TIME},
    input::{self, Found},
    outcome::Outcome,
    pool::{self, LONG, Pool, Progress},
    report::{Format, Summary, html, json, junit, markdown, terminal},
};

/// Arguments of `firedrill run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Feature and scenario files, or directories of them; by default `features` and `scenarios` here, or the embedded ones.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Plays only scenarios whose name, feature, id, tag or file contains this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Leaves out scenarios with this tag; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub without: Vec<String>,
    /// Plays every scenario with this seed instead of its own.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many scenarios run side by side; by default as many as there are cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// How the report on standard output is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Where the record and the HTML report go.
    #[arg(long, value_name = "DIR", default_value = "target/firedrill/run")]
    pub out: PathBuf,
    /// After so many seconds of real time a scenario is given up as broken; one tagged `long` after four times as many.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub limit: u64,
    /// Where scenarios are played.
    #[command(flatten)]
    pub bed: BedArgs,
}

/// Plays and reports; the exit code is that of the worst verdict.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let mut found = input::load(&args.paths)?;
    if args.bed.bed != BedName::Embedded {
        for_a_real_cluster(args, &mut found);
    }
    let all = found.len();
    found.retain(|one| !args.without.iter().any(|tag| one.scenario.tags.contains(tag)));
    found.retain(|one| args.filter.is_empty() || args.filter.iter().any(|text| matches(one, text)));
    if args.paths.is_empty() && args.filter.is_empty() {
        found.retain(|one| !one.scenario.tags.contains(LONG));
        if found.len() < all {
            eprintln!(
                "left out because they take long: {} scenarios; --filter {LONG} plays them",
                all - found.len()
            );
        }
    }
    if found.is_empty() {
        eprintln!(
            "firedrill: none of {all} scenarios matches {:?}; see their names with `firedrill run`",
            args.filter
        );
        return Ok(EXIT_NOTHING);
    }
    if let Some(seed) = args.seed {
        for one in &mut found {
            one.scenario.seed = seed;
        }
    }
    let limit =
        Duration::from_secs(args.limit.max(if args.bed.bed == BedName::Embedded { 0 } else { 1_200 }));
    let stands = bed::prepare(&args.bed)?;
    let played = play(&found, stands.on(), stands.jobs(args.jobs), limit, &args.out);
    stands.finish()?;
    let played = played?;
    let colour = std::io::stdout().is_terminal();
    let page = args.out.join("report.html");
    let text = match args.format {
        Format::Terminal => {
            terminal::write(&played.outcomes, &played.summary, &page.display().to_string(), colour)
        }
        Format::Json => json::write(&played.outcomes, &played.summary),
        Format::Junit => junit::write(&played.outcomes),
        Format::Markdown => markdown::write(&played.outcomes, &played.summary),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(played.summary.worst.exit_code())
}

/// Leaves out what a real cluster cannot play by nature, and says so.
fn for_a_real_cluster(args: &Args, found: &mut Vec<Found>) {
    let all = found.len();
    if args.paths.is_empty() {
        // Scenarios in YAML are the weather of the embedded bed; a path plays them here too.
        found.retain(|one| one.file.extension().is_some_and(|ending| ending == "feature"));
    }
    let played = found.len();
    found.retain(|one| {
        !one.scenario.tags.contains(VIRTUAL_TIME) && !one.scenario.tags.contains(FIXED_NAMESPACE)
    });
    eprintln!(
        "left out: {} scenarios tagged @{VIRTUAL_TIME} or @{FIXED_NAMESPACE}, because a real cluster's clock does \
         not jump and scenarios share its namespaces{}",
        played - found.len(),
        if all > played {
            format!("; {} in YAML files, because no path asks for them", all - played)
        } else {
            String::new()
        }
    );
}

/// Outcomes and their sum.
pub struct Played {
    /// In the order of the scenarios.
    pub outcomes: Vec<Outcome>,
    /// Their sum.
    pub summary: Summary,
}

/// Plays scenarios into a directory: records and a report.
///
/// # Errors
/// The directory cannot be written.
#[expect(clippy::disallowed_methods, reason = "tells how long the run really took")]
pub fn play(
    found: &[Found],
    on: On,
    jobs: Option<u16>,
    limit: Duration,
    out: &std::path::Path,
) -> anyhow::Result<Played> {
    super::directory(out)?;
    let records = out.join("records");
    if records.is_dir() {
        fs::remove_dir_all(&records).with_context(|| format!("{} cannot be emptied", records.display()))?;
    }
    fs::create_dir_all(&records)
        .with_context(|| format!("{} cannot be made; choose another --out", records.display()))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.map_or(cores, usize::from);
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let pool = Pool { program, jobs, limit, records: records.canonicalize()?, on };
    let begins = Instant::now();
    let bar = progress(found.len());
    let outcomes = pool.play(found, |progress| match progress {
        Progress::Begins(name) => bar.set_message(name.to_owned()),
        Progress::Waits(name, words) if bar.is_hidden() => eprintln!("    {words} ({name})"),
        Progress::Waits(name, words) => bar.set_message(format!("{name}: {words}")),
        Progress::Ended(outcome) => {
            if bar.is_hidden() {
                eprintln!("{}", terminal::line(outcome, false));
            }
            bar.inc(1);
        }
    });
    bar.finish_and_clear();
    let real_ms = u64::try_from(begins.elapsed().as_millis()).unwrap_or(u64::MAX);
    let summary = Summary::of(&outcomes, real_ms, jobs);
    pool::join_records(&pool, &outcomes, &out.join("record.ndjson"))
        .context("record.ndjson cannot be written")?;
    fs::write(out.join("report.html"), html::write(&outcomes, &summary))
        .context("report.html cannot be written")?;
    fs::write(out.join("outcomes.json"), json::write(&outcomes, &summary))
        .context("outcomes.json cannot be written")?;
    Ok(Played { outcomes, summary })
}

fn progress(length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
    bar.set_style(style.expect("the template is valid; every run shows it"));
    bar
}

fn matches(found: &Found, text: &str) -> bool {
    let scenario = &found.scenario;
    scenario.name.contains(text)
        || scenario.feature.contains(text)
        || scenario.id.as_deref() == Some(text)
        || scenario.tags.contains(text)
        || found.file.to_string_lossy().contains(text)
}
