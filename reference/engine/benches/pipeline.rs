//! How fast a backup is, as a share of what bounds it, and what a year of hourly backups costs.
//!
//! The ceilings (copying memory, compressing alone) are measured in the same run, so that the ratio means
//! something on any machine.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{
    BackupOptions, MaintenanceKind, Policy, PolicyTarget, Retention, Safety, Silent, Source, tree::LocalTree,
};
use support::{Bed, block_on, noise};

const BYTES: usize = 32 << 20;

fn pipeline(criterion: &mut Criterion) {
    let data = noise(1, BYTES);
    let directory = tempfile::tempdir().unwrap();
    for (n, part) in data.chunks(BYTES / 8).enumerate() {
        std::fs::write(directory.path().join(format!("file{n}")), part).unwrap();
    }
    let tree = LocalTree::open(directory.path()).unwrap();
    let source = Source::new("app", "cluster", "/data");
    let mut group = criterion.benchmark_group("pipeline");
    group
        .throughput(Throughput::Bytes(BYTES as u64))
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.bench_function("ceiling: memcpy", |bencher| bencher.iter(|| black_box(data.clone())));
    group.bench_function("ceiling: zstd -1 alone", |bencher| {
        bencher.iter(|| zstd::bulk::compress(&data, 1).unwrap());
    });
    for (compression, parallelism) in [("none", 1), ("none", 2), ("zstd-fastest", 1), ("zstd-fastest", 2)] {
        group.bench_function(format!("backup, {compression}, {parallelism} threads"), |bencher| {
            bencher.iter_with_setup(
                || {
                    let bed = Bed::new(1);
                    let repository = bed.create();
                    (bed, repository)
                },
                |(bed, repository)| {
                    let options = BackupOptions {
                        compression: Some(compression.to_owned()),
                        parallelism,
                        ..BackupOptions::default()
                    };
                    block_on(repository.backup(&source, &tree, &options, &Silent)).unwrap();
                    bed
                },
            );
        });
    }
    group.finish();
}

/// Hourly backups of a small volume with retention and daily maintenance, each by a fresh opener.
fn hours(count: i64) -> Bed {
    let bed = Bed::new(5);
    let source = Source::new("app", "cluster", "/data");
    let repository = bed.create();
    let retention = Retention {
        keep_hourly: Some(24),
        keep_daily: Some(7),
        keep_weekly: Some(4),
        keep_monthly: Some(12),
        ..Retention::default()
    };
    block_on(
        repository
            .set_policy(&PolicyTarget::Path(source.clone()), &Policy { retention, ..Policy::default() }),
    )
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    for n in 0..20u64 {
        std::fs::write(directory.path().join(format!("file{n}")), noise(n, 2000)).unwrap();
    }
    for hour in 0..count {
        std::fs::write(directory.path().join(format!("file{}", hour % 20)), noise(hour.unsigned_abs(), 2000))
            .unwrap();
        let repository = bed.open();
        block_on(repository.backup(
            &source,
            &LocalTree::open(directory.path()).unwrap(),
            &BackupOptions::default(),
            &Silent,
        ))
        .unwrap();
        block_on(repository.expire(&source)).unwrap();
        if hour % 24 == 0 {
            block_on(bed.open().maintain(MaintenanceKind::Full, Safety::Full, &Silent)).unwrap();
        }
        bed.advance_hours(1);
    }
    bed
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn year(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("year");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("a month of hourly backups with maintenance", |bencher| {
        bencher.iter(|| hours(30 * 24));
    });
    group.finish();
    // A whole year takes too long to repeat: once, with its result.
    let start = std::time::Instant::now();
    let bed = hours(365 * 24);
    let contents = bed.memory.contents();
    let bytes: usize = contents.values().map(|(bytes, _)| bytes.len()).sum();
    println!(
        "a year of hourly backups with maintenance: {:?}, {} blobs, {bytes} bytes remain",
        start.elapsed(),
        contents.len()
    );
}

criterion_group!(benches, pipeline, year);
criterion_main!(benches);
