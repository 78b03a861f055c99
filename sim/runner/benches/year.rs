//! One app, hourly, for a virtual year with maintenance: what it costs in real time.

use criterion::{Criterion, criterion_group, criterion_main};
use scenario::Verdict;

const YEAR: &str = "
scenario: a year of hourly backups
bed: {quiet: true}
steps:
  - given: {volume: {name: app, holding: {files: 5, size: 64 KiB, seed: 1}}}
  - given: {repository: {name: main}}
  - given: {maintenance: {name: daily, of: main, schedule: 30 4 * * *}}
  - given:
      replication-source:
        {name: app, of: app, into: main, trigger: {schedule: 0 * * * *}, fields: {retain.hourly: 24, retain.daily: 7}}
  - when: {pass: 365 days}
  - then: {synchronised: {source: app, times: {at-least: 8700}}}
";

fn year(criterion: &mut Criterion) {
    let scenario = scenario::yaml::read(std::path::Path::new("year.yaml"), YEAR).expect("the scenario is valid").remove(0);
    let mut group = criterion.benchmark_group("runner");
    group.sample_size(10);
    group.bench_function("a year of hourly backups", |bencher| {
        bencher.iter(|| {
            let outcome = runner::drive::play(&scenario, "year.yaml", None);
            assert_eq!(outcome.verdict, Verdict::Passed, "{}", outcome.reason);
        });
    });
    group.finish();
}

criterion_group!(benches, year);
criterion_main!(benches);
