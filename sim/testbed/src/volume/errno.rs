//! Linux error numbers that a file tree answers with.
//!
//! Numbers are those of Linux on every platform, because the doubles stand for Linux nodes. Constants and
//! one constructor; nothing is raised here.
use std::io;

/// Operation not permitted.
pub const EPERM: i32 = 1;
/// No such file or directory.
pub const ENOENT: i32 = 2;
/// Input/output error.
pub const EIO: i32 = 5;
/// Permission denied.
pub const EACCES: i32 = 13;
/// File exists.
pub const EEXIST: i32 = 17;
/// Not a directory.
pub const ENOTDIR: i32 = 20;
/// Is a directory.
pub const EISDIR: i32 = 21;
/// Invalid argument.
pub const EINVAL: i32 = 22;
/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Read-only file system.
pub const EROFS: i32 = 30;
/// File name too long.
pub const ENAMETOOLONG: i32 = 36;
/// Directory not empty.
pub const ENOTEMPTY: i32 = 39;
/// Too many levels of symbolic links.
pub const ELOOP: i32 = 40;
/// Stale file handle.
pub const ESTALE: i32 = 116;
/// Disk quota exceeded.
pub const EDQUOT: i32 = 122;

/// An error with the operating system's code.
pub fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// The number behind a fault's code (`EIO`); unknown ones are EIO.
pub fn of(code: &str) -> i32 {
    match code {
        "EPERM" => EPERM,
        "ENOENT" => ENOENT,
        "EACCES" => EACCES,
        "EINVAL" => EINVAL,
        "ENOSPC" => ENOSPC,
        "EROFS" => EROFS,
        "ESTALE" => ESTALE,
        "EDQUOT" => EDQUOT,
        _ => EIO,
    }
}
