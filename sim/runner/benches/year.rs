//! What hourly backups of one app cost in real time, beside a cluster in which nothing happens.
//!
//! Weeks are repeated: a busy one (168 syncs, nightly maintenance) and an idle one (the same bed, the same
//! controller, no replication source); their ratio is what the backups cost. The whole year, the scenario
//! `scenarios/endurance/a_year.yaml`, is played once and its figures printed: syncs, seconds, syncs a second.

use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use scenario::{Scenario, Verdict, yaml};

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

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn year(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("runner");
    group.sample_size(10);
    for scenario in [read(IDLE), read(BUSY)] {
        group.bench_function(&scenario.name, |bencher| bencher.iter(|| play(&scenario)));
    }
    group.finish();
    let begins = std::time::Instant::now();
    let syncs = play(&read(YEAR)).syncs;
    let seconds = begins.elapsed().as_secs_f64();
    println!(
        "a year of hourly backups: {syncs} syncs in {seconds:.1} s, {:.0} syncs/s",
        f64::from(syncs) / seconds
    );
}

criterion_group!(benches, year);
criterion_main!(benches);
