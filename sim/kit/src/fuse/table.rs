//! The inodes that the kernel knows, and by which names they can be reached.
//!
//! Numbers are those of the directory's file system, except the root's, which is 1 for FUSE. Hard links have
//! several names; an unlinked file has none and is reached through whoever has it open.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    sync::{Mutex, MutexGuard},
};

/// The root's number.
pub(super) const ROOT: u64 = 1;

#[derive(Debug, Default)]
struct Node {
    /// Parent's number and name.
    names: BTreeSet<(u64, Vec<u8>)>,
    lookups: u64,
}

/// The inodes that the kernel knows.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<BTreeMap<u64, Node>>);

impl Table {
    /// The kernel has looked an inode up by this name.
    pub fn enter(&self, number: u64, parent: u64, name: &OsStr) {
        let mut nodes = self.nodes();
        let node = nodes.entry(number).or_default();
        node.names.insert((parent, name.as_bytes().to_vec()));
        node.lookups += 1;
    }
    /// The kernel has forgotten so many lookups.
    pub fn forget(&self, number: u64, lookups: u64) {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get_mut(&number) {
            node.lookups = node.lookups.saturating_sub(lookups);
            if node.lookups == 0 {
                nodes.remove(&number);
            }
        }
    }
    /// A name no longer leads to the inode.
    pub fn unlink(&self, number: u64, parent: u64, name: &OsStr) {
        if let Some(node) = self.nodes().get_mut(&number) {
            node.names.remove(&(parent, name.as_bytes().to_vec()));
        }
    }
    /// Another name leads to the inode.
    pub fn link(&self, number: u64, parent: u64, name: &OsStr) {
        if let Some(node) = self.nodes().get_mut(&number) {
            node.names.insert((parent, name.as_bytes().to_vec()));
        }
    }
    /// A path from the root to the inode, joined by `/`; `.` for the root; `None` if no name leads there.
    pub fn path(&self, number: u64) -> Option<Vec<u8>> {
        let nodes = self.nodes();
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = number;
        while at != ROOT {
            let (parent, name) = nodes.get(&at)?.names.first()?;
            names.push(name);
            at = *parent;
            if names.len() > 4096 {
                return None;
            }
        }
        if names.is_empty() {
            return Some(b".".to_vec());
        }
        names.reverse();
        Some(names.join(&b'/'))
    }
    /// All numbers that the kernel knows.
    pub fn numbers(&self) -> Vec<u64> {
        self.nodes().keys().copied().collect()
    }
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<u64, Node>> {
        self.0.lock().expect("no holder of the table's lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_renames_of_parents_and_any_name_of_a_link() {
        let table = Table::default();
        let name = OsStr::new;
        assert_eq!(table.path(ROOT), Some(b".".to_vec()));
        table.enter(10, ROOT, name("d"));
        table.enter(11, 10, name("f"));
        assert_eq!(table.path(11), Some(b"d/f".to_vec()));
        table.link(10, ROOT, name("e"));
        table.unlink(10, ROOT, name("d"));
        assert_eq!(table.path(11), Some(b"e/f".to_vec()));
        table.link(11, ROOT, name("other"));
        table.unlink(11, 10, name("f"));
        assert_eq!(table.path(11), Some(b"other".to_vec()));
        table.unlink(11, ROOT, name("other"));
        assert_eq!(table.path(11), None);
        table.forget(11, 1);
        assert_eq!(table.numbers(), [10]);
    }
}
