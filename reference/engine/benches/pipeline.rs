//! How fast a backup is, as a share of what bounds it, and what a year of hourly backups costs.
//!
//! The ceilings (copying memory, splitting, hashing, sealing, compressing alone) are measured in the same
//! run, so that the ratio means something on any machine; the share of the slowest is printed. On a busy
//! machine compare processor time: the year prints its own.

#[path = "../tests/support/mod.rs"]
mod support;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{
    BackupOptions, MaintenanceKind, Policy, PolicyTarget, Retention, Safety, Silent, Source,
    encrypt::Encryptor, hash::Hasher, split::Splitter, tree::LocalTree,
};
use support::{Bed, block_on, noise};

const BYTES: usize = 32 << 20;

/// Seconds of processor time that this thread has used; 0 where Linux does not tell.
fn processor_time() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = told.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
    nanoseconds / 1e9
}

fn processor_seconds(work: &dyn Fn()) -> f64 {
    let before = processor_time();
    work();
    processor_time() - before
}

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
    let splitter = Splitter::named("DYNAMIC-4M-BUZHASH").unwrap();
    let hasher = Hasher::new("BLAKE2B-256-128", &[7; 32]).unwrap();
    let encryptor = Encryptor::new("AES256-GCM-HMAC-SHA256", &[7; 32]).unwrap();
    let alone: [(&str, &dyn Fn()); 4] = [
        ("DYNAMIC-4M-BUZHASH", &|| drop(black_box(splitter.split(&data)))),
        ("BLAKE2B-256-128", &|| drop(black_box(hasher.hash(&data)))),
        ("AES256-GCM-HMAC-SHA256", &|| drop(black_box(encryptor.encrypt(&[1; 16], [0; 12], &data)))),
        ("zstd -1", &|| drop(black_box(zstd::bulk::compress(&data, 1).unwrap()))),
    ];
    for (name, work) in alone {
        group.bench_function(format!("ceiling: {name} alone"), |bencher| bencher.iter(work));
    }
    // What one thread cannot beat: to split, hash and seal every byte.
    let kernels: f64 = alone[..3].iter().map(|(_, work)| processor_seconds(work)).sum();
    let bed = Bed::new(1);
    let repository = bed.create();
    let options = BackupOptions { compression: Some("none".to_owned()), ..BackupOptions::default() };
    let whole = processor_seconds(&|| {
        block_on(repository.backup(&source, &tree, &options, &Silent)).unwrap();
    });
    println!(
        "one backup of {} MiB: {whole:.3} s of processor time; splitting, hashing and sealing alone {kernels:.3} s: {:.0} %",
        BYTES >> 20,
        100.0 * kernels / whole
    );
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
    let before = processor_time();
    let bed = hours(365 * 24);
    let processor = processor_time() - before;
    let contents = bed.memory.contents();
    let bytes: usize = contents.values().map(|(bytes, _)| bytes.len()).sum();
    println!(
        "a year of hourly backups with maintenance: {:?} ({processor:.1} s of processor time, {:.2} ms a backup), {} blobs, {bytes} bytes remain",
        start.elapsed(),
        processor * 1000.0 / (365.0 * 24.0),
        contents.len()
    );
}

criterion_group!(benches, pipeline, year);
criterion_main!(benches);
