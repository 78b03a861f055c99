//! Reads a whole tree back through the tree seam.
//!
//! Every byte goes through `open` and `read`, as a user's would; take a fresh mount, or the writer's cache
//! answers. What cannot be read is noted by path and does not end the walk.
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
};

use engine::tree::{Entry, Kind, Path, ReadTree};
use sha2::{Digest as _, Sha256};

use crate::{
    ledger::{Attributes, is_acl},
    volume::Mount,
};

/// A tree that also tells what the engine's seam leaves out.
pub trait Observe: ReadTree {
    /// The extended attributes of an entry, ACLs among them.
    fn xattrs(&self, path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>>;
    /// The hole map of a file.
    fn holes(&self, path: &Path) -> io::Result<Vec<Range<u64>>>;
}

impl Observe for Mount {
    fn xattrs(&self, path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        Mount::xattrs(self, path)
    }
    fn holes(&self, path: &Path) -> io::Result<Vec<Range<u64>>> {
        Mount::holes(self, path)
    }
}

/// One path as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its attributes.
    pub attributes: Attributes,
    /// Whether it is a file of some length that holds nothing but zeros.
    pub is_all_zero: bool,
}

/// A tree as it was read back.
#[derive(Clone, Debug, Default)]
pub struct ReadBack {
    /// Every path, the root included.
    pub paths: BTreeMap<Path, Found>,
    /// The sorted names of every file with more than one.
    pub links: BTreeSet<Vec<Path>>,
    /// What could not be read, and why.
    pub unreadable: BTreeMap<Path, String>,
}

impl ReadBack {
    /// Reads a tree.
    pub fn of(tree: &dyn Observe) -> Self {
        let mut back = Self::default();
        let mut names: BTreeMap<u64, Vec<Path>> = BTreeMap::new();
        let mut waiting = vec![Path::root()];
        while let Some(path) = waiting.pop() {
            let read = tree.entry(&path).and_then(|entry| Ok((read(tree, &path, &entry)?, entry)));
            let (found, entry) = match read {
                Ok(read) => read,
                Err(error) => {
                    back.unreadable.insert(path, error.to_string());
                    continue;
                }
            };
            if entry.kind == Kind::Directory {
                match tree.read_dir(&path) {
                    Ok(entries) => waiting.extend(entries.iter().map(|entry| path.join(&entry.name))),
                    Err(error) => {
                        back.unreadable.insert(path.clone(), error.to_string());
                    }
                }
            } else if entry.links > 1 {
                names.entry(entry.inode).or_default().push(path.clone());
            }
            back.paths.insert(path, found);
        }
        for mut class in names.into_values().filter(|class| class.len() > 1) {
            class.sort();
            back.links.insert(class);
        }
        back
    }
}

fn read(tree: &dyn Observe, path: &Path, entry: &Entry) -> io::Result<Found> {
    let (acls, xattrs) = tree.xattrs(path)?.into_iter().partition(|(name, _)| is_acl(name));
    let mut attributes = Attributes {
        kind: entry.kind,
        sha256: None,
        size: 0,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs,
        acls,
        target: None,
        holes: Vec::new(),
    };
    let mut is_all_zero = false;
    match entry.kind {
        Kind::File => {
            let (digest, length, zero) = hash(&mut *tree.open(path)?)?;
            (attributes.sha256, attributes.size) = (Some(digest), length);
            attributes.holes = tree.holes(path)?;
            is_all_zero = zero && length > 0;
        }
        Kind::Symlink => attributes.target = Some(tree.read_link(path)?),
        _ => {}
    }
    Ok(Found { attributes, is_all_zero })
}

fn hash(reader: &mut dyn io::Read) -> io::Result<([u8; 32], u64, bool)> {
    let (mut hash, mut length, mut zero) = (Sha256::new(), 0, true);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok((hash.finalize().into(), length, zero));
        }
        hash.update(&buffer[..read]);
        length += read as u64;
        zero = zero && buffer[..read].iter().all(|byte| *byte == 0);
    }
}
