//! The procedures that only look: attributes, names, contents, the file system itself.
#![allow(clippy::wildcard_imports, reason = "the protocol's words are one vocabulary, used by the dozen")]
use std::{ffi::CString, os::unix::fs::FileExt as _};

use nfs3_types::{nfs3::*, xdr_codec::Opaque};
use rustix::fs::{FileType, OFlags, fstatvfs, readlinkat};

use super::{
    attributes::{Attributes, EXECUTE, READ, WRITE},
    folder::Folder,
    session::{Answer, Session, name},
};
use crate::nfs::{status, wire::TRANSFER_BYTES_MAX};

/// GETATTR.
pub fn getattr(session: &Session, args: GETATTR3args) -> Answer<GETATTR3resok> {
    let found = session.find(&args.object)?;
    Ok(GETATTR3resok { obj_attributes: found.attributes.to_fattr(session.fsid()) })
}

/// LOOKUP, of `.` and `..` too.
pub fn lookup(session: &Session, args: LOOKUP3args<'_>) -> Answer<LOOKUP3resok> {
    let directory = session.directory(&args.what.dir)?;
    let attributes = match args.what.name.as_ref() {
        b"." => directory.attributes,
        b".." => parent(&session.folder, directory.attributes)?,
        _ => session.look(&directory, &name(&args.what.name)?)?,
    };
    Ok(LOOKUP3resok {
        object: session.handle(attributes.inode()),
        obj_attributes: session.shown(attributes),
        dir_attributes: session.shown(directory.attributes),
    })
}

/// The directory above; the root is its own.
pub fn parent(folder: &Folder, own: Attributes) -> Answer<Attributes> {
    match folder.place(own.inode()) {
        _ if own.inode() == folder.root() => Ok(own),
        Some((parent, _)) => Attributes::read(folder.find(parent)?, ""),
        None => Err(nfsstat3::NFS3ERR_STALE),
    }
}

/// ACCESS.
pub fn access(session: &Session, args: ACCESS3args) -> Answer<ACCESS3resok> {
    let found = session.find(&args.object)?;
    let granted = found.attributes.granted(&session.who);
    let mut allowed = 0;
    for (permission, bits, needs_change) in [
        (READ, ACCESS3_READ, false),
        (EXECUTE, if found.attributes.is_directory() { ACCESS3_LOOKUP } else { ACCESS3_EXECUTE }, false),
        (WRITE, ACCESS3_MODIFY | ACCESS3_EXTEND, true),
        (WRITE | EXECUTE, if found.attributes.is_directory() { ACCESS3_DELETE } else { 0 }, true),
    ] {
        if granted & permission == permission && !(needs_change && session.switches.read_only) {
            allowed |= bits;
        }
    }
    Ok(ACCESS3resok { obj_attributes: session.shown(found.attributes), access: allowed & args.access })
}

/// READLINK.
pub fn readlink(session: &Session, args: READLINK3args) -> Answer<READLINK3resok<'static>> {
    let found = session.find(&args.symlink)?;
    if found.attributes.file_type() != FileType::Symlink {
        return Err(nfsstat3::NFS3ERR_INVAL);
    }
    let to = readlinkat(&found.file, c"", Vec::new()).map_err(status::of_errno)?;
    Ok(READLINK3resok {
        symlink_attributes: session.shown(found.attributes),
        data: nfspath3(Opaque::owned(CString::into_bytes(to))),
    })
}

/// READ. Who owns a file may read it whatever its mode: the client checked when it was opened.
pub fn read(session: &Session, args: READ3args) -> Answer<READ3resok<'static>> {
    let found = session.find(&args.file)?;
    match found.attributes.file_type() {
        FileType::RegularFile => {}
        FileType::Directory => return Err(nfsstat3::NFS3ERR_ISDIR),
        _ => return Err(nfsstat3::NFS3ERR_INVAL),
    }
    // A file that may only be run is read to be run.
    let allowed = found.attributes.granted(&session.who) & (READ | EXECUTE) != 0;
    if !allowed && !found.attributes.is_owned_by(&session.who) {
        return Err(nfsstat3::NFS3ERR_ACCES);
    }
    let file = std::fs::File::from(session.folder.open_target(found.target, OFlags::RDONLY)?);
    let mut buffer = vec![0; args.count.min(TRANSFER_BYTES_MAX) as usize];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], args.offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(
                    rustix::io::Errno::from_io_error(&error).map_or(nfsstat3::NFS3ERR_IO, status::of_errno)
                );
            }
        }
    }
    buffer.truncate(filled);
    let now = Attributes::read(&file, "")?;
    Ok(READ3resok {
        file_attributes: session.shown(now),
        count: filled as u32,
        eof: args.offset.saturating_add(filled as u64) >= now.size(),
        data: Opaque::owned(buffer),
    })
}

/// FSSTAT: the quota, where there is one, else the disk.
pub fn fsstat(session: &Session, args: FSSTAT3args) -> Answer<FSSTAT3resok> {
    let found = session.find(&args.fsroot)?;
    let disk = fstatvfs(&found.file).map_err(status::of_errno)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let (mut total, mut free, mut available) =
        (bytes(disk.f_blocks), bytes(disk.f_bfree), bytes(disk.f_bavail));
    if let Some(quota) = session.switches.quota {
        let left = quota.saturating_sub(session.folder.used());
        (total, free, available) = (quota, free.min(left), available.min(left));
    }
    if session.switches.full.is_some() {
        (free, available) = (0, 0);
    }
    Ok(FSSTAT3resok {
        obj_attributes: session.shown(found.attributes),
        tbytes: total,
        fbytes: free,
        abytes: available,
        tfiles: disk.f_files,
        ffiles: disk.f_ffree,
        afiles: disk.f_favail,
        invarsec: 0,
    })
}

/// FSINFO.
pub fn fsinfo(session: &Session, args: FSINFO3args) -> Answer<FSINFO3resok> {
    let found = session.find(&args.fsroot)?;
    Ok(FSINFO3resok {
        obj_attributes: session.shown(found.attributes),
        rtmax: TRANSFER_BYTES_MAX,
        rtpref: TRANSFER_BYTES_MAX,
        rtmult: 4096,
        wtmax: TRANSFER_BYTES_MAX,
        wtpref: TRANSFER_BYTES_MAX,
        wtmult: 4096,
        dtpref: TRANSFER_BYTES_MAX,
        maxfilesize: i64::MAX.cast_unsigned(),
        time_delta: nfstime3 { seconds: 0, nseconds: 1 },
        properties: FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME,
    })
}

/// PATHCONF.
pub fn pathconf(session: &Session, args: PATHCONF3args) -> Answer<PATHCONF3resok> {
    let found = session.find(&args.object)?;
    Ok(PATHCONF3resok {
        obj_attributes: session.shown(found.attributes),
        linkmax: 32_000,
        name_max: 255,
        no_trunc: true,
        chown_restricted: true,
        case_insensitive: false,
        case_preserving: true,
    })
}
