//! What was written since the last write-back, and what becomes of it.
//!
//! A file's writes are remembered as ranges until the file is settled (flush, fsync, release). Then the register
//! is asked once, with the shape the file has now; what is lost is punched out of the directory's file, with
//! size and times kept.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use fault::{Seam, Verdict};
use rustix::{
    fs::{FallocateFlags, SeekFrom, Timespec, Timestamps},
    io::Errno,
};

use super::View;

/// What counts as a block of zeros in the sense of sparse files.
const BLOCK: usize = 4096;

#[derive(Debug, Default)]
struct Dirty {
    /// Start to end, apart from each other.
    ranges: BTreeMap<u64, u64>,
    has_zero_block: bool,
}

impl Dirty {
    fn add(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            self.ranges.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.ranges.insert(start, end);
    }
}

/// The write-back of one mount.
#[derive(Debug, Default)]
pub(super) struct Losses {
    dirty: Mutex<BTreeMap<u64, Dirty>>,
    latched: Mutex<BTreeMap<u64, Errno>>,
    /// Files of which this mount's cache knows more than the directory.
    lost: Mutex<BTreeSet<u64>>,
}

/// What became of a file's writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// They are in the directory, or there were none.
    Kept,
    /// They are lost; whether that is to be reported.
    Lost {
        /// Whether sync must tell.
        is_reported: bool,
    },
}

impl Losses {
    /// Remembers a write.
    pub fn note(&self, number: u64, offset: u64, data: &[u8]) {
        let mut dirty = lock(&self.dirty);
        let file = dirty.entry(number).or_default();
        file.add(offset, offset + data.len() as u64);
        if !file.has_zero_block {
            let skip = (BLOCK as u64 - offset % BLOCK as u64) as usize % BLOCK;
            let blocks = data.get(skip..).unwrap_or_default().chunks_exact(BLOCK);
            file.has_zero_block = blocks.into_iter().any(|block| block.iter().all(|byte| *byte == 0));
        }
    }

    /// Settles what was written to a file since it was settled last.
    pub fn settle(&self, view: &View, number: u64, file: &File) -> io::Result<Settled> {
        let Some(dirty) = lock(&self.dirty).remove(&number) else { return Ok(Settled::Kept) };
        let is_sparse = dirty.has_zero_block || has_holes(file)?;
        let class = format!("{}/{}", view.character, if is_sparse { "sparse" } else { "dense" });
        let is_reported = match view.register.at(Seam::Tree, &view.actor, "write-back", &class).verdict {
            Verdict::Fail { code, .. } => {
                lock(&self.latched).insert(number, errno(&code));
                true
            }
            Verdict::Swallow | Verdict::Corrupt(_) => false,
            Verdict::Delay(by) => {
                pause(by);
                return Ok(Settled::Kept);
            }
            Verdict::Proceed | Verdict::Hang | Verdict::Kill(_) => {
                lock(&self.lost).remove(&number);
                return Ok(Settled::Kept);
            }
        };
        lock(&self.lost).insert(number);
        let before = file.metadata()?;
        for (start, end) in dirty.ranges {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(file, flags, start, end - start)?;
        }
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        rustix::fs::futimens(
            file,
            &Timestamps {
                last_access: time(before.atime(), before.atime_nsec()),
                last_modification: time(before.mtime(), before.mtime_nsec()),
            },
        )?;
        Ok(Settled::Lost { is_reported })
    }

    /// The error that the next fsync of a file must tell; told once.
    pub fn told(&self, number: u64) -> Option<Errno> {
        lock(&self.latched).remove(&number)
    }

    /// Whether this mount's cache is all that is left of a file's bytes.
    pub fn is_lost(&self, number: u64) -> bool {
        lock(&self.lost).contains(&number)
    }
}

fn has_holes(file: &File) -> io::Result<bool> {
    let size = file.metadata()?.len();
    Ok(size > 0 && rustix::fs::seek(file, SeekFrom::Hole(0))? < size)
}

/// The number of an error by its name; what faults may name.
pub(super) fn errno(code: &str) -> Errno {
    match code {
        "EINVAL" => Errno::INVAL,
        "ENOSPC" => Errno::NOSPC,
        "EDQUOT" => Errno::DQUOT,
        "ESTALE" => Errno::STALE,
        "EACCES" => Errno::ACCESS,
        "ESHUTDOWN" => Errno::SHUTDOWN,
        _ => Errno::IO,
    }
}

/// A late answer; a thread of the mount waits, as a process in the kernel would.
#[expect(clippy::disallowed_methods, reason = "the fault is the time itself")]
pub(super) fn pause(by: Duration) {
    std::thread::sleep(by);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of a lock of the losses panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut dirty = Dirty::default();
        for (start, end) in [(10, 20), (30, 40), (20, 30), (50, 60), (0, 5), (55, 70), (12, 13)] {
            dirty.add(start, end);
        }
        assert_eq!(dirty.ranges, BTreeMap::from([(0, 5), (10, 40), (50, 70)]));
    }

    #[test]
    fn only_whole_blocks_of_zeros_make_a_file_sparse() {
        let shape = |offset, data: &[u8]| {
            let losses = Losses::default();
            losses.note(1, offset, data);
            lock(&losses.dirty)[&1].has_zero_block
        };
        assert!(shape(0, &[0; BLOCK]) && shape(1, &[0; 2 * BLOCK]));
        assert!(!shape(1, &[0; BLOCK]) && !shape(0, &[1; 3 * BLOCK]) && !shape(0, &[0; BLOCK - 1]));
    }
}
