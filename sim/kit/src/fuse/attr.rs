//! What the system tells about files, as FUSE wants it, and back.
use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{FileAttr, FileType, INodeNo, ReplyXattr, TimeOrNow};
use rustix::{
    fs::{self as sys, Stat, Timespec},
    io::Errno,
};

use super::LATCH_NUMBER;

/// Answers for a list or value of attributes: its length, or the bytes if they fit.
pub(super) fn sized(reply: ReplyXattr, bytes: &[u8], size: u32) {
    if size == 0 {
        reply.size(bytes.len() as u32);
    } else if bytes.len() > size as usize {
        reply.error(fuser::Errno::ERANGE);
    } else {
        reply.data(bytes);
    }
}

/// Bytes that a file takes.
pub(super) fn stored(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

/// The system's number of an error.
pub(super) fn number_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// A time as the system takes it.
pub(super) fn time(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => {
                Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: i64::from(since.subsec_nanos()) }
            }
            Err(before) => {
                // fuser takes the kernel's seconds and nanoseconds of a time before 1970 both as counted backwards
                // (its own TODO), which moves the time; so counted, they are the kernel's again.
                let before = before.duration();
                Timespec {
                    tv_sec: -before.as_secs().cast_signed(),
                    tv_nsec: i64::from(before.subsec_nanos()),
                }
            }
        },
    }
}

/// A time as FUSE takes it.
pub(super) fn system_time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    start + Duration::from_nanos(nanoseconds)
}

/// A type as FUSE takes it.
pub(super) fn kind_of(kind: sys::FileType) -> FileType {
    match kind {
        sys::FileType::Directory => FileType::Directory,
        sys::FileType::Symlink => FileType::Symlink,
        sys::FileType::Fifo => FileType::NamedPipe,
        sys::FileType::Socket => FileType::Socket,
        sys::FileType::CharacterDevice => FileType::CharDevice,
        sys::FileType::BlockDevice => FileType::BlockDevice,
        sys::FileType::RegularFile | sys::FileType::Unknown => FileType::RegularFile,
    }
}

/// Attributes as FUSE takes them.
pub(super) fn attr(stat: &Stat, number: u64) -> FileAttr {
    let (major, minor) = (sys::major(stat.st_rdev), sys::minor(stat.st_rdev));
    FileAttr {
        ino: INodeNo(number),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: system_time(stat.st_atime, stat.st_atime_nsec),
        mtime: system_time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: system_time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind_of(sys::FileType::from_raw_mode(stat.st_mode)),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12),
        blksize: 4096,
        flags: 0,
    }
}

/// The attributes of the latch, which is in no directory.
pub(super) fn latch_attr() -> FileAttr {
    FileAttr {
        ino: INodeNo(LATCH_NUMBER),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0o200,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_the_one_that_the_kernel_gave() {
        // What fuser 0.18 makes of -86401 s and 999999999 ns: a day and a nanosecond before the epoch.
        let given = UNIX_EPOCH - Duration::new(86_401, 999_999_999);
        let taken = time(Some(TimeOrNow::SpecificTime(given)));
        assert_eq!((taken.tv_sec, taken.tv_nsec), (-86_401, 999_999_999));
    }
}
