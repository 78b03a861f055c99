//! From NFS's words for attributes to FUSE's, and times both ways.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use nfs3_types::nfs3::{fattr3, ftype3, nfstime3};

/// A time of NFS's as the system's.
pub fn system_time(time: nfstime3) -> SystemTime {
    UNIX_EPOCH + Duration::new(time.seconds.into(), time.nseconds.min(999_999_999))
}

/// A time of the system's as NFS's; the epoch for what NFS has no words for.
pub fn nfs_time(time: SystemTime) -> nfstime3 {
    // Before 1970 and after 2106 NFS has no words.
    nfstime3::try_from(time).unwrap_or_default()
}

/// What sort of file it is, in FUSE's words.
pub fn kind(sort: ftype3) -> FileType {
    match sort {
        ftype3::NF3REG => FileType::RegularFile,
        ftype3::NF3DIR => FileType::Directory,
        ftype3::NF3BLK => FileType::BlockDevice,
        ftype3::NF3CHR => FileType::CharDevice,
        ftype3::NF3LNK => FileType::Symlink,
        ftype3::NF3SOCK => FileType::Socket,
        ftype3::NF3FIFO => FileType::NamedPipe,
    }
}

/// Attributes in FUSE's words, under the kernel's number.
pub fn file_attr(number: u64, attributes: &fattr3) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: attributes.size,
        blocks: attributes.used.div_ceil(512),
        atime: system_time(attributes.atime),
        mtime: system_time(attributes.mtime),
        ctime: system_time(attributes.ctime),
        crtime: UNIX_EPOCH,
        kind: kind(attributes.type_),
        perm: (attributes.mode & 0o7777) as u16,
        nlink: attributes.nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: rustix::fs::makedev(attributes.rdev.specdata1, attributes.rdev.specdata2) as u32,
        blksize: 1 << 20,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went() {
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        assert_eq!(system_time(nfs_time(at)), at);
        assert_eq!(system_time(nfs_time(UNIX_EPOCH - Duration::from_secs(5))), UNIX_EPOCH);
    }
}
