//! The stated model by which bytes and operations cost virtual time.
//!
//! Without it a restore would take no time and every RTO would be fiction. Work that cannot wait (the tree
//! seam is synchronous) adds to a [`Meter`]'s debt; the debt is paid by sleeping at the next store
//! operation or at the end of a run ([`Meter::settle`]). The same seed and the same work give the same
//! instants; each store operation has a small seeded jitter, so that instants differ as they do in the
//! world. It does not model contention between Jobs, caches of the medium, or a network that is shared.
//!
//! # The numbers
//! Sizes of a home cluster on 2.5 GbE with NVMe disks; they are assumptions to be stated, not measurements
//! of yours. Latency is per operation, rate is sequential.
//!
//! | what | latency | rate | taken from |
//! |---|---|---|---|
//! | RBD (ext4 on three replicas) | 0.8 ms | 180 MB/s | network-bound: 2.5 GbE less replication |
//! | CephFS | 1.2 ms | 150 MB/s | as RBD, with an MDS round trip per file |
//! | host path | 0.1 ms | 800 MB/s | one NVMe disk through the page cache |
//! | local ZFS | 0.2 ms | 500 MB/s | one NVMe disk, checksums and lz4 |
//! | NFS volume or repository | 1.5 ms | 110 MB/s | 1 GbE NAS, synchronous metadata |
//! | bucket (MinIO on a NAS, or a provider nearby) | 12 ms | 60 MB/s | one request's time to first byte; 1 GbE shared |
//! | processor | - | 350 MB/s | zstd-fastest, BLAKE2B and AES-GCM on one core together |
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::volume::Character;

/// What an operation and a byte cost on one kind of medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Per operation.
    pub latency: Duration,
    /// Sequential bytes per second; never 0.
    pub bytes_per_second: u64,
}

impl Rate {
    const fn new(latency_us: u64, megabytes_per_second: u64) -> Self {
        Self {
            latency: Duration::from_micros(latency_us),
            bytes_per_second: megabytes_per_second * 1_000_000,
        }
    }
    /// The bucket row.
    pub const BUCKET: Self = Self::new(12_000, 60);
    /// The NFS row.
    pub const NFS: Self = Self::new(1_500, 110);
    /// The processor row.
    pub const PROCESSOR: Self = Self::new(0, 350);
    /// The row of a volume's character.
    pub const fn of(character: Character) -> Self {
        match character {
            Character::Rbd => Self::new(800, 180),
            Character::CephFs => Self::new(1_200, 150),
            Character::HostPath => Self::new(100, 800),
            Character::LocalZfs => Self::new(200, 500),
            Character::Nfs => Self::NFS,
        }
    }
    /// The time for some operations and bytes.
    pub fn time(self, operations: u64, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        self.latency.saturating_mul(u32::try_from(operations).unwrap_or(u32::MAX))
            + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct State {
    debt: Duration,
    spent: Duration,
    seed: u64,
    drawn: u64,
}

/// The debt of one run; clones share it.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Mutex<State>>);

/// Tokio's timer knows milliseconds: smaller debts wait for company.
const TICK: Duration = Duration::from_millis(1);

impl Meter {
    /// A meter without debt; the seed decides the jitter.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { debt: Duration::ZERO, spent: Duration::ZERO, seed, drawn: 0 })))
    }
    /// Adds work on a medium to the debt.
    pub fn charge(&self, rate: Rate, operations: u64, bytes: u64) {
        self.owe(rate.time(operations, bytes));
    }
    /// Adds a request whose latency varies by up to a fifth either way, decided by seed and order.
    pub fn charge_request(&self, rate: Rate, bytes: u64) {
        let share = {
            let mut state = self.state();
            state.drawn += 1;
            mix(state.seed ^ state.drawn) % 401
        };
        let latency = rate.latency * (800 + share as u32) / 1000;
        self.owe(latency + rate.time(0, bytes));
    }
    /// Adds a plain time to the debt.
    pub fn owe(&self, time: Duration) {
        let mut state = self.state();
        state.debt += time;
        state.spent += time;
    }
    /// What is owed now.
    pub fn debt(&self) -> Duration {
        self.state().debt
    }
    /// All that was ever charged.
    pub fn spent(&self) -> Duration {
        self.state().spent
    }
    /// Pays the debt by sleeping, in whole milliseconds; the rest is kept for the next time.
    ///
    /// # Cancellation
    /// What was being paid counts as paid.
    pub async fn settle(&self) {
        let due = {
            let mut state = self.state();
            let rest = Duration::from_nanos(u64::from(state.debt.subsec_nanos()) % TICK.as_nanos() as u64);
            let due = state.debt.saturating_sub(rest);
            state.debt = rest;
            due
        };
        if !due.is_zero() {
            tokio::time::sleep(due).await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no holder of the meter's lock panics")
    }
}

/// A well-mixed number from a number (SplitMix64's finaliser).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_charged_is_slept() {
        let begin = tokio::time::Instant::now();
        let meter = Meter::new(1);
        meter.charge(Rate::of(Character::Rbd), 0, 180_000_000);
        meter.charge(Rate::of(Character::Rbd), 1000, 0);
        meter.settle().await;
        assert_eq!(begin.elapsed(), Duration::from_millis(1800));
        assert_eq!(meter.debt(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn small_debts_add_up_and_are_not_lost() {
        let begin = tokio::time::Instant::now();
        let meter = Meter::new(1);
        for _ in 0..10 {
            meter.charge(Rate::of(Character::HostPath), 1, 0);
            meter.settle().await;
        }
        assert_eq!(begin.elapsed(), Duration::from_millis(1));
    }

    #[test]
    fn jitter_is_small_and_decided_by_the_seed() {
        let run = |seed| {
            let meter = Meter::new(seed);
            (0..50)
                .map(|_| {
                    let before = meter.spent();
                    meter.charge_request(Rate::BUCKET, 0);
                    meter.spent().saturating_sub(before)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        for time in run(1) {
            assert!((9_600..=14_400).contains(&(time.as_micros() as u64)), "{time:?}");
        }
    }
}
