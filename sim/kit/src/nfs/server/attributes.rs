//! What the kernel tells of a file, as NFS says it, and whether somebody may touch its contents.
//!
//! Times outside 1970 to 2106 do not fit NFS's 32 bits and are cut to the nearest that does.
use std::os::fd::AsFd;

use nfs3_types::nfs3::{fattr3, ftype3, nfsstat3, nfstime3, specdata3};
use rustix::{
    fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, statx},
    path::Arg,
};

use super::{handle::Inode, identity::Identity};
use crate::nfs::status;

/// A file's attributes.
#[derive(Clone, Copy)]
pub struct Attributes(Statx);

/// Permission bits, as in a mode.
pub const READ: u32 = 4;
/// To change contents.
pub const WRITE: u32 = 2;
/// To run a file, or to pass through a directory.
pub const EXECUTE: u32 = 1;

impl Attributes {
    /// Asks for those of `name` in an open directory, or of the open file itself if `name` is empty.
    pub fn read(directory: impl AsFd, name: impl Arg) -> Result<Self, nfsstat3> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        statx(directory, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
            .map(Self)
            .map_err(status::of_errno)
    }
    /// Which inode it is.
    pub fn inode(&self) -> Inode {
        let birth = self.0.stx_btime;
        Inode {
            device: rustix::fs::makedev(self.0.stx_dev_major, self.0.stx_dev_minor),
            number: self.0.stx_ino,
            birth: birth.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(birth.tv_nsec)),
        }
    }
    /// What sort of file it is.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(u32::from(self.0.stx_mode))
    }
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.0.stx_size
    }
    /// Permission bits.
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode) & 0o7777
    }
    /// Access and modification times, in seconds, as an exclusive create keeps its verifier there.
    pub fn verifier(&self) -> [i64; 2] {
        [self.0.stx_atime.tv_sec, self.0.stx_mtime.tv_sec]
    }
    /// Whether this user owns it.
    pub fn is_owned_by(&self, who: &Identity) -> bool {
        self.0.stx_uid == who.uid
    }
    /// Which of [`READ`], [`WRITE`] and [`EXECUTE`] the mode grants this user.
    pub fn granted(&self, who: &Identity) -> u32 {
        let mode = u32::from(self.0.stx_mode);
        if who.uid == 0 {
            let may_execute = self.is_directory() || mode & 0o111 != 0;
            return READ | WRITE | if may_execute { EXECUTE } else { 0 };
        }
        let shift = if self.is_owned_by(who) {
            6
        } else if self.0.stx_gid == who.gid || who.groups.contains(&self.0.stx_gid) {
            3
        } else {
            0
        };
        mode >> shift & 7
    }
    /// Refuses who may not.
    pub fn check(&self, who: &Identity, wanted: u32) -> Result<(), nfsstat3> {
        if self.granted(who) & wanted == wanted { Ok(()) } else { Err(nfsstat3::NFS3ERR_ACCES) }
    }
    /// As NFS says them, on the file system `fsid`.
    pub fn to_fattr(self, fsid: u64) -> fattr3 {
        let stat = self.0;
        fattr3 {
            type_: match self.file_type() {
                FileType::Directory => ftype3::NF3DIR,
                FileType::Symlink => ftype3::NF3LNK,
                FileType::Fifo => ftype3::NF3FIFO,
                FileType::Socket => ftype3::NF3SOCK,
                FileType::CharacterDevice => ftype3::NF3CHR,
                FileType::BlockDevice => ftype3::NF3BLK,
                _ => ftype3::NF3REG,
            },
            mode: self.mode(),
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            used: stat.stx_blocks.saturating_mul(512),
            rdev: specdata3 { specdata1: stat.stx_rdev_major, specdata2: stat.stx_rdev_minor },
            fsid,
            fileid: stat.stx_ino,
            atime: time(stat.stx_atime),
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
        }
    }
}

fn time(at: StatxTimestamp) -> nfstime3 {
    match u32::try_from(at.tv_sec) {
        Ok(seconds) => nfstime3 { seconds, nseconds: at.tv_nsec },
        Err(_) if at.tv_sec < 0 => nfstime3 { seconds: 0, nseconds: 0 },
        Err(_) => nfstime3 { seconds: u32::MAX, nseconds: 0 },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn the_mode_decides_by_owner_then_group_then_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = Attributes::read(&file, "").unwrap().0;
        let who = |uid: u32, gid: u32, groups: &[u32]| Identity { uid, gid, groups: groups.to_vec() };
        let other = own.stx_uid + 7;
        for (mode, who, expected) in [
            (0o741, who(own.stx_uid, 1, &[]), 7),
            (0o741, who(other, own.stx_gid, &[]), 4),
            (0o741, who(other, 99, &[own.stx_gid]), 4),
            (0o741, who(other, 99, &[]), 1),
            (0o600, who(0, 0, &[]), 6),
        ] {
            file.as_file().set_permissions(Permissions::from_mode(mode)).unwrap();
            let attributes = Attributes::read(&file, "").unwrap();
            assert_eq!(attributes.granted(&who), expected, "{mode:o} for {who:?}");
        }
    }

    #[test]
    fn times_are_cut_to_what_nfs_can_say() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut stamp = Attributes::read(&file, "").unwrap().0.stx_atime;
        let mut at = |seconds| {
            (stamp.tv_sec, stamp.tv_nsec) = (seconds, 5);
            time(stamp)
        };
        assert_eq!((at(7).seconds, at(7).nseconds), (7, 5));
        assert_eq!(at(-1).seconds, 0);
        assert_eq!(at(1 << 40).seconds, u32::MAX);
    }
}
