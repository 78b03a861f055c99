//! What hourly backups of one app cost in real time, beside a cluster in which nothing happens.
//!
//! Weeks are repeated: a busy one (168 syncs, nightly maintenance) and an idle one (the same bed, the same
//! controller, no replication source); their ratio is what the backups cost. The whole year, the scenario
//! `scenarios/endurance/a_year.yaml`, is played once and its figures printed: syncs, seconds, syncs a second.

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use scenario::{Scenario, Verdict, yaml};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const YEAR: &str = include_str!("../../../scenarios/endurance/a_year.yaml");

const BUSY: &str = "
scenario: a week of hourly backups
bed: {quiet: true}
steps:
  - given: {volume: {name: app-data, holding: {files: 5, size: 64 KiB, seed: 1}}}
  - given: {repository: {name: main}}
  - given: {maintenance: {name: nightly, of: main, schedule: 30 4 * * *}}
  - given:
      replication-source:
        {name: app, of: app-data, into: main, trigger: {schedule: 0 * * * *}, fields: {retain.hourly: 24, retain.daily: 7}}
  - when: {pass: 7 days}
  - then: {synchronised: {source: app, times: {at-least: 168}}}
";

const IDLE: &str = "
scenario: a week in which nothing happens
bed: {quiet: true}
steps:
  - given: {volume: {name: app-data, holding: {files: 5, size: 64 KiB, seed: 1}}}
  - given: {repository: {name: main}}
  - when: {pass: 7 days}
  - then: {claim-holds: {claim: app-data, volume: app-data, at: now}}
";

fn read(text: &str) -> Scenario {
    yaml::read(Path::new("year.yaml"), text).expect("the scenario is valid").remove(0)
}

fn play(scenario: &Scenario) -> runner::outcome::Outcome {
    let outcome = runner::drive::play(scenario, "year.yaml", None);
    assert_eq!(outcome.verdict, Verdict::Passed, "{}", outcome.reason);
    outcome
}

/// Seconds of processor time that this thread has used; 0 where Linux does not tell.
fn processor_time() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = told.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn year(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("runner");
    group.sample_size(10);
    for scenario in [read(IDLE), read(BUSY)] {
        group.bench_function(&scenario.name, |bencher| bencher.iter(|| play(&scenario)));
    }
    group.finish();
    let (begins, before) = (std::time::Instant::now(), processor_time());
    let syncs = play(&read(YEAR)).syncs;
    let (seconds, processor) = (begins.elapsed().as_secs_f64(), processor_time() - before);
    println!(
        "a year of hourly backups: {syncs} syncs in {seconds:.1} s ({processor:.1} s of processor time, {:.2} ms a sync), {:.0} syncs/s",
        processor * 1000.0 / f64::from(syncs),
        f64::from(syncs) / seconds
    );
}

criterion_group!(benches, year);
criterion_main!(benches);
