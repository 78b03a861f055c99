//! Copies one directory into another, with everything: what a driver does for a snapshot or a clone.
//!
//! Shares blocks where the file system can (`FICLONE`), else copies the stored runs, so that holes stay holes.
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use super::{Directory, Error, Planter, at};
use crate::tree_stream::{Entry, Node, Raw};

/// Copies everything below `from` into the existing, empty directory `to`; `tick` is told the bytes of each
/// file and may end the copy with an error.
pub fn copy(from: &Path, to: &Path, tick: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), Error> {
    let named = |path: &Path| Raw::new(path.as_os_str().as_encoded_bytes());
    let source = at("open", &named(from), Directory::open(from))?;
    let target = at("open", &named(to), Directory::open(to))?;
    let mut planter = Planter::new(&target);
    source.walk(&mut |entry, file| {
        at("copy", &entry.path, tick(entry.node.stored_bytes()))?;
        planter.put(entry, |made| match file {
            Some(file) => at("copy", &entry.path, contents(entry, file, made)),
            None => Ok(()),
        })
    })?;
    planter.finish()?;
    Ok(())
}

fn contents(entry: &Entry, mut from: &File, to: &mut File) -> io::Result<()> {
    let Node::File { extents, size } = &entry.node else { return Ok(()) };
    if !extents.is_empty() && rustix::fs::ioctl_ficlone(&*to, from).is_ok() {
        // The file may have grown since it was looked at.
        return to.set_len(*size);
    }
    for extent in extents {
        from.seek(SeekFrom::Start(extent.at))?;
        to.seek(SeekFrom::Start(extent.at))?;
        let copied = io::copy(&mut from.take(extent.length), to)?;
        // A file that shrank meanwhile: what is gone reads as zeros, as a torn copy does.
        if copied < extent.length {
            break;
        }
    }
    to.flush()
}
