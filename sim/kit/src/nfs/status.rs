//! NFS's words for failure, and the operating system's: one table, read both ways.
//!
//! Where NFS has no word of its own, a server answers `NFS3ERR_IO` (or `SERVERFAULT`), and a client reads EIO;
//! both as Linux does.
use nfs3_types::nfs3::nfsstat3;
use rustix::io::Errno;

use nfsstat3::*;

const TABLE: &[(nfsstat3, Errno)] = &[
    (NFS3ERR_PERM, Errno::PERM),
    (NFS3ERR_NOENT, Errno::NOENT),
    (NFS3ERR_IO, Errno::IO),
    (NFS3ERR_NXIO, Errno::NXIO),
    (NFS3ERR_ACCES, Errno::ACCESS),
    (NFS3ERR_EXIST, Errno::EXIST),
    (NFS3ERR_XDEV, Errno::XDEV),
    (NFS3ERR_NODEV, Errno::NODEV),
    (NFS3ERR_NOTDIR, Errno::NOTDIR),
    (NFS3ERR_ISDIR, Errno::ISDIR),
    (NFS3ERR_INVAL, Errno::INVAL),
    (NFS3ERR_FBIG, Errno::FBIG),
    (NFS3ERR_NOSPC, Errno::NOSPC),
    (NFS3ERR_ROFS, Errno::ROFS),
    (NFS3ERR_MLINK, Errno::MLINK),
    (NFS3ERR_NAMETOOLONG, Errno::NAMETOOLONG),
    (NFS3ERR_NOTEMPTY, Errno::NOTEMPTY),
    (NFS3ERR_DQUOT, Errno::DQUOT),
    (NFS3ERR_STALE, Errno::STALE),
    (NFS3ERR_REMOTE, Errno::REMOTE),
    (NFS3ERR_NOTSUPP, Errno::OPNOTSUPP),
    // From here on only towards NFS or only towards the system: the first match decides.
    (NFS3ERR_BADHANDLE, Errno::STALE),
    (NFS3ERR_NOT_SYNC, Errno::INVAL),
    (NFS3ERR_BAD_COOKIE, Errno::INVAL),
    (NFS3ERR_TOOSMALL, Errno::INVAL),
    (NFS3ERR_BADTYPE, Errno::INVAL),
    (NFS3ERR_ACCES, Errno::LOOP),
];

/// The answer for an error of the server's own file system.
pub fn of_errno(errno: Errno) -> nfsstat3 {
    TABLE.iter().find(|(_, known)| *known == errno).map_or(NFS3ERR_IO, |(status, _)| *status)
}

/// The error that a client's process reads for an answer.
pub fn to_errno(status: nfsstat3) -> Errno {
    TABLE.iter().find(|(known, _)| *known == status).map_or(Errno::IO, |(_, errno)| *errno)
}

/// The answer for the code of a fault's verdict (`EIO`, `ENOSPC`, `ESTALE`, ...).
pub fn of_code(code: &str) -> nfsstat3 {
    match code {
        "EPERM" => NFS3ERR_PERM,
        "ENOENT" => NFS3ERR_NOENT,
        "EACCES" => NFS3ERR_ACCES,
        "EEXIST" => NFS3ERR_EXIST,
        "ENOSPC" => NFS3ERR_NOSPC,
        "EROFS" => NFS3ERR_ROFS,
        "EDQUOT" => NFS3ERR_DQUOT,
        "ESTALE" => NFS3ERR_STALE,
        "EJUKEBOX" => NFS3ERR_JUKEBOX,
        _ => NFS3ERR_IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_matter_for_backups_survive_the_way_there_and_back() {
        for errno in
            [Errno::STALE, Errno::DQUOT, Errno::NOSPC, Errno::ROFS, Errno::ACCESS, Errno::IO, Errno::EXIST]
        {
            assert_eq!(to_errno(of_errno(errno)), errno);
        }
        assert_eq!(of_errno(Errno::NOMEM), NFS3ERR_IO);
        assert_eq!(to_errno(NFS3ERR_BADHANDLE), Errno::STALE);
        assert_eq!(to_errno(of_code("EDQUOT")), Errno::DQUOT);
    }
}
