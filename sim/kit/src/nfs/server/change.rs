//! The procedures that change something, each as the caller, so that the kernel checks permissions.
//!
//! Nothing is acknowledged that the kernel has not taken; a WRITE that asks for it, and COMMIT, are on the disk
//! when they are answered. Attributes that came with a CREATE are set before it is answered.
#![allow(clippy::wildcard_imports, reason = "the protocol's words are one vocabulary, used by the dozen")]
use std::{
    ffi::{CStr, CString},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use nfs3_types::nfs3::*;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT},
    io::Errno,
    process::{Gid, Uid},
};

use super::{
    attributes::{Attributes, WRITE},
    session::{Answer, Found, Session, name},
};
use crate::nfs::status;

/// SETATTR.
pub fn setattr(session: &Session, args: SETATTR3args) -> Answer<SETATTR3resok> {
    session.may_change()?;
    let found = session.find(&args.object)?;
    if let sattrguard3::Some(guard) = args.guard
        && guard != found.attributes.to_fattr(0).ctime
    {
        return Err(nfsstat3::NFS3ERR_NOT_SYNC);
    }
    set(session, &found, &args.new_attributes)?;
    let after = session.shown_now(&found.file);
    Ok(SETATTR3resok { obj_wcc: wcc_data { before: pre_op_attr::None, after } })
}

/// Sets what is given: size first, since it moves the times; owner before mode, since it drops set-id bits.
fn set(session: &Session, found: &Found, new: &sattr3) -> Answer<()> {
    if let set_size3::Some(size) = new.size {
        let file = open_to_write(session, found)?;
        session.export.room_for(&session.switches, size.saturating_sub(found.attributes.size()))?;
        rustix::fs::ftruncate(&file, size).map_err(status::of_errno)?;
    }
    let uid = if let set_uid3::Some(uid) = new.uid { Some(Uid::from_raw(uid)) } else { None };
    let gid = if let set_gid3::Some(gid) = new.gid { Some(Gid::from_raw(gid)) } else { None };
    if uid.is_some() || gid.is_some() {
        session.act(|| rustix::fs::chownat(&found.file, c"", uid, gid, AtFlags::EMPTY_PATH))?;
    }
    // Links have no mode of their own.
    if let set_mode3::Some(mode) = new.mode
        && found.attributes.file_type() != FileType::Symlink
    {
        set_mode(session, found, Mode::from_raw_mode(mode & 0o7777))?;
    }
    let stamp = |is_kept: bool, given: Option<nfstime3>| match given {
        _ if is_kept => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(at) => Timespec { tv_sec: at.seconds.into(), tv_nsec: at.nseconds.into() },
    };
    let last_access = match new.atime {
        set_atime::DONT_CHANGE => stamp(true, None),
        set_atime::SET_TO_SERVER_TIME => stamp(false, None),
        set_atime::SET_TO_CLIENT_TIME(at) => stamp(false, Some(at)),
    };
    let last_modification = match new.mtime {
        set_mtime::DONT_CHANGE => stamp(true, None),
        set_mtime::SET_TO_SERVER_TIME => stamp(false, None),
        set_mtime::SET_TO_CLIENT_TIME(at) => stamp(false, Some(at)),
    };
    if (last_access.tv_nsec, last_modification.tv_nsec) != (UTIME_OMIT, UTIME_OMIT) {
        let times = Timestamps { last_access, last_modification };
        session.act(|| rustix::fs::utimensat(&found.file, c"", &times, AtFlags::EMPTY_PATH))?;
    }
    Ok(())
}

fn set_mode(session: &Session, found: &Found, mode: Mode) -> Answer<()> {
    match found.attributes.file_type() {
        FileType::RegularFile | FileType::Directory => {
            let file = session.folder.open_target(found.target, OFlags::RDONLY)?;
            session.act(|| rustix::fs::fchmod(&file, mode))
        }
        // Devices and sockets must not be opened; their name leads to them.
        _ => {
            let (parent, name) =
                session.folder.place(found.attributes.inode()).ok_or(nfsstat3::NFS3ERR_STALE)?;
            let parent = session.folder.find(parent)?;
            session.act(|| rustix::fs::chmodat(&parent, &name, mode, AtFlags::empty()))
        }
    }
}

/// Opens a regular file to change its contents. Who owns it may, whatever its mode: the client checked when it
/// was opened, and a file made read-only must still take what was written to it before.
fn open_to_write(session: &Session, found: &Found) -> Answer<std::fs::File> {
    match found.attributes.file_type() {
        FileType::RegularFile => {}
        FileType::Directory => return Err(nfsstat3::NFS3ERR_ISDIR),
        _ => return Err(nfsstat3::NFS3ERR_INVAL),
    }
    if !found.attributes.is_owned_by(&session.who) {
        found.attributes.check(&session.who, WRITE)?;
    }
    session.folder.open_target(found.target, OFlags::WRONLY).map(std::fs::File::from)
}

fn io(error: std::io::Error) -> nfsstat3 {
    Errno::from_io_error(&error).map_or(nfsstat3::NFS3ERR_IO, status::of_errno)
}

/// WRITE.
pub fn write(session: &Session, args: WRITE3args<'_>, verifier: writeverf3) -> Answer<WRITE3resok> {
    session.may_change()?;
    let found = session.find(&args.file)?;
    let file = open_to_write(session, &found)?;
    let data = &args.data[..args.data.len().min(args.count as usize)];
    let end = args.offset.checked_add(data.len() as u64).ok_or(nfsstat3::NFS3ERR_FBIG)?;
    session.export.room_for(&session.switches, end.saturating_sub(found.attributes.size()))?;
    if !session.swallow {
        file.write_all_at(data, args.offset).map_err(io)?;
        match args.stable {
            stable_how::UNSTABLE => {}
            stable_how::DATA_SYNC => file.sync_data().map_err(io)?,
            stable_how::FILE_SYNC => file.sync_all().map_err(io)?,
        }
    }
    Ok(WRITE3resok {
        file_wcc: wcc_data { before: pre_op_attr::None, after: session.shown_now(&found.file) },
        count: data.len() as u32,
        committed: args.stable,
        verf: verifier,
    })
}

/// COMMIT, of the whole file whatever the range.
pub fn commit(session: &Session, args: COMMIT3args, verifier: writeverf3) -> Answer<COMMIT3resok> {
    let found = session.find(&args.file)?;
    let flags =
        if found.attributes.is_directory() { OFlags::RDONLY | OFlags::DIRECTORY } else { OFlags::WRONLY };
    let file = std::fs::File::from(session.folder.open_target(found.target, flags)?);
    file.sync_all().map_err(io)?;
    let after = session.shown_now(&found.file);
    Ok(COMMIT3resok { file_wcc: wcc_data { before: pre_op_attr::None, after }, verf: verifier })
}

/// What came into being: its handle and attributes.
struct Made {
    obj: post_op_fh3,
    obj_attributes: post_op_attr,
}

/// Looks at what was just made in a directory and gives it what was asked for.
fn made(session: &Session, directory: &Found, name: &CStr, new: &sattr3) -> Answer<Made> {
    let attributes = Attributes::read(&directory.file, name)?;
    session.folder.saw(directory.attributes.inode(), name, attributes.inode());
    let target = super::handle::Target::Inode(attributes.inode());
    let found = Found { target, file: session.folder.find(target)?, attributes };
    set(session, &found, new)?;
    Ok(Made {
        obj: post_op_fh3::Some(session.handle(attributes.inode())),
        obj_attributes: session.shown_now(&found.file),
    })
}

fn mode(new: &sattr3, default: u32) -> Mode {
    Mode::from_raw_mode(if let set_mode3::Some(mode) = new.mode { mode & 0o7777 } else { default })
}

/// What is left to set of the attributes of something that was made with its mode.
fn but_mode(new: sattr3) -> sattr3 {
    sattr3 { mode: set_mode3::None, ..new }
}

/// CREATE: unchecked, guarded, and exclusive, whose verifier is kept in the new file's times.
pub fn create(session: &Session, args: CREATE3args<'_>) -> Answer<CREATE3resok> {
    session.may_change()?;
    let directory = session.directory(&args.where_.dir)?;
    let name = name(&args.where_.name)?;
    let (new, verifier, is_unchecked) = match args.how {
        createhow3::UNCHECKED(new) => (new, None, true),
        createhow3::GUARDED(new) => (new, None, false),
        createhow3::EXCLUSIVE(createverf3(verifier)) => (sattr3::default(), Some(times_of(verifier)), false),
    };
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created = session.act(|| rustix::fs::openat(&directory.file, &name, flags, mode(&new, 0o600)));
    let new = match created {
        Ok(_) => match verifier {
            None => but_mode(new),
            Some([atime, mtime]) => sattr3 {
                atime: set_atime::SET_TO_CLIENT_TIME(nfstime3 { seconds: atime, nseconds: 0 }),
                mtime: set_mtime::SET_TO_CLIENT_TIME(nfstime3 { seconds: mtime, nseconds: 0 }),
                ..new
            },
        },
        Err(nfsstat3::NFS3ERR_EXIST) => {
            let there = session.look(&directory, &name)?;
            let is_file = there.file_type() == FileType::RegularFile;
            // The same exclusive create again: its first answer was lost.
            let is_ours = verifier.is_some_and(|times| times.map(i64::from) == there.verifier());
            if !is_file || !(is_unchecked || is_ours) {
                return Err(nfsstat3::NFS3ERR_EXIST);
            }
            sattr3 { size: if is_unchecked { new.size } else { set_size3::None }, ..sattr3::default() }
        }
        Err(status) => return Err(status),
    };
    let Made { obj, obj_attributes } = made(session, &directory, &name, &new)?;
    Ok(CREATE3resok { obj, obj_attributes, dir_wcc: after(session, &directory) })
}

fn times_of(verifier: [u8; 8]) -> [u32; 2] {
    let (atime, mtime) = verifier.split_at(4);
    // Times from 1970 to 2038 fit every file system.
    [atime, mtime].map(|half| half.iter().fold(0, |time, byte| time << 8 | u32::from(*byte)) >> 1)
}

fn after(session: &Session, directory: &Found) -> wcc_data {
    wcc_data { before: pre_op_attr::None, after: session.shown_now(&directory.file) }
}

/// MKDIR.
pub fn mkdir(session: &Session, args: MKDIR3args<'_>) -> Answer<MKDIR3resok> {
    session.may_change()?;
    let directory = session.directory(&args.where_.dir)?;
    let name = name(&args.where_.name)?;
    session.act(|| rustix::fs::mkdirat(&directory.file, &name, mode(&args.attributes, 0o777)))?;
    // mkdir takes no set-id and sticky bits: the mode is set again.
    let Made { obj, obj_attributes } = made(session, &directory, &name, &args.attributes)?;
    Ok(MKDIR3resok { obj, obj_attributes, dir_wcc: after(session, &directory) })
}

/// SYMLINK.
pub fn symlink(session: &Session, args: SYMLINK3args<'_>) -> Answer<SYMLINK3resok> {
    session.may_change()?;
    let directory = session.directory(&args.where_.dir)?;
    let name = name(&args.where_.name)?;
    let to = CString::new(args.symlink.symlink_data.as_ref()).map_err(|_| nfsstat3::NFS3ERR_INVAL)?;
    session.act(|| rustix::fs::symlinkat(&to, &directory.file, &name))?;
    let new = but_mode(args.symlink.symlink_attributes);
    let Made { obj, obj_attributes } = made(session, &directory, &name, &new)?;
    Ok(SYMLINK3resok { obj, obj_attributes, dir_wcc: after(session, &directory) })
}

/// MKNOD.
pub fn mknod(session: &Session, args: MKNOD3args<'_>) -> Answer<MKNOD3resok> {
    session.may_change()?;
    let directory = session.directory(&args.where_.dir)?;
    let name = name(&args.where_.name)?;
    let (file_type, new, device) = match args.what {
        mknoddata3::NF3CHR(data) => (FileType::CharacterDevice, data.dev_attributes, data.spec),
        mknoddata3::NF3BLK(data) => (FileType::BlockDevice, data.dev_attributes, data.spec),
        mknoddata3::NF3SOCK(new) => (FileType::Socket, new, specdata3::default()),
        mknoddata3::NF3FIFO(new) => (FileType::Fifo, new, specdata3::default()),
        mknoddata3::default => return Err(nfsstat3::NFS3ERR_BADTYPE),
    };
    let device = rustix::fs::makedev(device.specdata1, device.specdata2);
    session.act(|| rustix::fs::mknodat(&directory.file, &name, file_type, mode(&new, 0o600), device))?;
    let Made { obj, obj_attributes } = made(session, &directory, &name, &but_mode(new))?;
    Ok(MKNOD3resok { obj, obj_attributes, dir_wcc: after(session, &directory) })
}

fn unlink(session: &Session, from: &diropargs3<'_>, flags: AtFlags) -> Answer<wcc_data> {
    session.may_change()?;
    let directory = session.directory(&from.dir)?;
    let name = name(&from.name)?;
    let gone = Attributes::read(&directory.file, name.as_c_str());
    session.act(|| rustix::fs::unlinkat(&directory.file, &name, flags))?;
    if let Ok(gone) = gone {
        session.folder.lost(directory.attributes.inode(), &name, gone.inode());
    }
    Ok(after(session, &directory))
}

/// REMOVE.
pub fn remove(session: &Session, args: REMOVE3args<'_>) -> Answer<REMOVE3resok> {
    Ok(REMOVE3resok { dir_wcc: unlink(session, &args.object, AtFlags::empty())? })
}

/// RMDIR.
pub fn rmdir(session: &Session, args: RMDIR3args<'_>) -> Answer<RMDIR3resok> {
    Ok(RMDIR3resok { dir_wcc: unlink(session, &args.object, AtFlags::REMOVEDIR)? })
}

/// RENAME.
pub fn rename(session: &Session, args: RENAME3args<'_, '_>) -> Answer<RENAME3resok> {
    session.may_change()?;
    let (from, to) = (session.directory(&args.from.dir)?, session.directory(&args.to.dir)?);
    let (from_name, to_name) = (name(&args.from.name)?, name(&args.to.name)?);
    let moved = Attributes::read(&from.file, from_name.as_c_str())?;
    let replaced = Attributes::read(&to.file, to_name.as_c_str());
    session.act(|| rustix::fs::renameat(&from.file, &from_name, &to.file, &to_name))?;
    if let Ok(replaced) = replaced {
        session.folder.lost(to.attributes.inode(), &to_name, replaced.inode());
    }
    session.folder.saw(to.attributes.inode(), &to_name, moved.inode());
    Ok(RENAME3resok { fromdir_wcc: after(session, &from), todir_wcc: after(session, &to) })
}

/// LINK.
pub fn link(session: &Session, args: LINK3args<'_>) -> Answer<LINK3resok> {
    session.may_change()?;
    let found = session.find(&args.file)?;
    let directory = session.directory(&args.link.dir)?;
    let name = name(&args.link.name)?;
    if found.attributes.is_directory() {
        return Err(nfsstat3::NFS3ERR_ISDIR);
    }
    let (parent, old): (_, CString) =
        session.folder.place(found.attributes.inode()).ok_or(nfsstat3::NFS3ERR_STALE)?;
    let parent: OwnedFd = session.folder.find(parent)?;
    session.act(|| rustix::fs::linkat(&parent, &old, &directory.file, &name, AtFlags::empty()))?;
    Ok(LINK3resok {
        file_attributes: session.shown_now(&found.file),
        linkdir_wcc: after(session, &directory),
    })
}
