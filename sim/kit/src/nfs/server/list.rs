//! READDIR and READDIRPLUS: pages of a directory, whose cookies stay good while others change it.
//!
//! A name's cookie is a hash of the name, and a page goes on with the next larger one; so a name that was
//! there all the time is listed exactly once, whatever is created or removed between two pages.
#![allow(clippy::wildcard_imports, reason = "the protocol's words are one vocabulary, used by the dozen")]
use std::ffi::CString;

use nfs3_types::{
    nfs3::*,
    xdr_codec::{List, Opaque, Pack},
};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::{
    attributes::{Attributes, READ},
    folder::entries,
    look,
    session::{Answer, Found, Session},
};

/// The cookies of `.` and `..`; names come after them.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// Bytes of a reply that are not entries: its envelope, the directory's attributes, verifier, end.
const ENVELOPE_BYTES: usize = 256;

/// A name's place in the order of a listing: 62 bits, so that a client may keep it in a signed number.
fn cookie(name: &CString) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let bytes = digest.first_chunk::<8>().expect("a digest has 32 bytes");
    (u64::from_be_bytes(*bytes) >> 2).max(DOT_DOT + 1)
}

struct Entry {
    cookie: u64,
    name: CString,
    attributes: Attributes,
}

fn page(session: &Session, directory: &Found, after: u64) -> Answer<Vec<Entry>> {
    directory.attributes.check(&session.who, READ)?;
    let open = session.folder.open_target(directory.target, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let own = directory.attributes;
    let parent = look::parent(&session.folder, own).unwrap_or(own);
    let mut found = vec![
        Entry { cookie: DOT, name: c".".to_owned(), attributes: own },
        Entry { cookie: DOT_DOT, name: c"..".to_owned(), attributes: parent },
    ];
    found.extend(entries(&open).into_iter().map(|(name, attributes)| {
        session.folder.saw(own.inode(), &name, attributes.inode());
        Entry { cookie: cookie(&name), name, attributes }
    }));
    found.retain(|entry| entry.cookie > after);
    found.sort_by(|one, two| (one.cookie, &one.name).cmp(&(two.cookie, &two.name)));
    Ok(found)
}

/// As many as fit; whether these are the last.
fn fill<T: Pack>(entries: impl Iterator<Item = T>, limit: u32) -> Answer<(Vec<T>, bool)> {
    let mut room = (limit as usize).saturating_sub(ENVELOPE_BYTES);
    let mut taken = Vec::new();
    for entry in entries {
        let bytes = entry.packed_size() + 4;
        if bytes > room {
            return if taken.is_empty() { Err(nfsstat3::NFS3ERR_TOOSMALL) } else { Ok((taken, false)) };
        }
        room -= bytes;
        taken.push(entry);
    }
    Ok((taken, true))
}

/// READDIR.
pub fn readdir(session: &Session, args: READDIR3args) -> Answer<READDIR3resok<'static>> {
    let directory = session.directory(&args.dir)?;
    let entries = page(session, &directory, args.cookie)?.into_iter().map(|entry| entry3 {
        fileid: entry.attributes.inode().number,
        name: filename3(Opaque::owned(entry.name.into_bytes())),
        cookie: entry.cookie,
    });
    let (entries, eof) = fill(entries, args.count)?;
    Ok(READDIR3resok {
        dir_attributes: session.shown(directory.attributes),
        cookieverf: cookieverf3::default(),
        reply: dirlist3 { entries: List(entries), eof },
    })
}

/// READDIRPLUS.
pub fn readdirplus(session: &Session, args: READDIRPLUS3args) -> Answer<READDIRPLUS3resok<'static>> {
    let directory = session.directory(&args.dir)?;
    let entries = page(session, &directory, args.cookie)?.into_iter().map(|entry| entryplus3 {
        fileid: entry.attributes.inode().number,
        name: filename3(Opaque::owned(entry.name.into_bytes())),
        cookie: entry.cookie,
        name_attributes: session.shown(entry.attributes),
        name_handle: post_op_fh3::Some(session.handle(entry.attributes.inode())),
    });
    let (entries, eof) = fill(entries, args.maxcount)?;
    Ok(READDIRPLUS3resok {
        dir_attributes: session.shown(directory.attributes),
        cookieverf: cookieverf3::default(),
        reply: dirlistplus3 { entries: List(entries), eof },
    })
}
