//! The kernel's inode numbers and the server's handles, and which files are open.
//!
//! A file's number is the server's where that is free, so that hard links show one number and a file keeps its
//! number after the kernel forgot it; a second handle under a number in use (the server gave it to a new file)
//! gets one of our own. A node lives while the kernel knows it or a file is open on it.
use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use nfs3_types::nfs3::nfs_fh3;

use super::unstable::Unstable;

/// The root's number, by the kernel's rule.
pub const ROOT: u64 = 1;
/// Our own numbers begin here, far from those of file systems.
const OWN: u64 = 1 << 62;

/// A file that was removed while open: where it waits for its last close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its directory.
    pub directory: nfs_fh3,
    /// Its name there.
    pub name: OsString,
}

/// One file as the kernel knows it.
pub struct Node {
    /// The server's handle.
    pub handle: nfs_fh3,
    /// Its writes.
    pub unstable: Arc<Unstable>,
    /// Where it waits to be removed.
    pub hidden: Option<Hidden>,
    lookups: u64,
    opens: u64,
}

/// All of them.
pub struct Nodes {
    by_number: BTreeMap<u64, Node>,
    by_handle: BTreeMap<Vec<u8>, u64>,
    next: u64,
    opens: u64,
}

impl Nodes {
    /// Only the root, which is never forgotten.
    pub fn new(root: nfs_fh3) -> Self {
        let mut nodes = Self { by_number: BTreeMap::new(), by_handle: BTreeMap::new(), next: OWN, opens: 0 };
        nodes.insert(ROOT, root);
        nodes
    }
    fn insert(&mut self, number: u64, handle: nfs_fh3) {
        self.by_handle.insert(handle.data.to_vec(), number);
        let node = Node { handle, unstable: Arc::default(), hidden: None, lookups: 1, opens: 0 };
        self.by_number.insert(number, node);
    }
    /// A node by its number.
    pub fn get(&self, number: u64) -> Option<&Node> {
        self.by_number.get(&number)
    }
    /// The number of a handle that the kernel is told of once more; the server calls the file `fileid`.
    pub fn learn(&mut self, handle: &nfs_fh3, fileid: u64) -> u64 {
        if let Some(number) = self.by_handle.get(handle.data.as_ref()).copied() {
            if let Some(node) = self.by_number.get_mut(&number) {
                node.lookups += 1;
            }
            return number;
        }
        let is_free = (ROOT + 1..OWN).contains(&fileid) && !self.by_number.contains_key(&fileid);
        let number = if is_free {
            fileid
        } else {
            self.next += 1;
            self.next
        };
        self.insert(number, handle.clone());
        number
    }
    /// The number of a handle, if the kernel knows it.
    pub fn number_of(&self, handle: &nfs_fh3) -> Option<u64> {
        self.by_handle.get(handle.data.as_ref()).copied()
    }
    /// The kernel forgets so many of the times it was told of a node.
    pub fn forget(&mut self, number: u64, times: u64) {
        if let Some(node) = self.by_number.get_mut(&number) {
            node.lookups = node.lookups.saturating_sub(times);
        }
        self.drop_unused(number);
    }
    /// A file was opened; its node.
    pub fn open(&mut self, number: u64) -> Option<&Node> {
        let node = self.by_number.get_mut(&number)?;
        node.opens += 1;
        self.opens += 1;
        Some(node)
    }
    /// A file was closed; where it waited, if this was the last one and it was removed before.
    pub fn close(&mut self, number: u64) -> Option<Hidden> {
        let node = self.by_number.get_mut(&number)?;
        node.opens = node.opens.saturating_sub(1);
        self.opens = self.opens.saturating_sub(1);
        let hidden = if node.opens == 0 { node.hidden.take() } else { None };
        self.drop_unused(number);
        hidden
    }
    /// Whether any file is open.
    pub fn is_any_open(&self) -> bool {
        self.opens > 0
    }
    /// Whether the file with this handle is open and still has its name.
    pub fn is_open(&self, handle: &nfs_fh3) -> bool {
        let node = self.number_of(handle).and_then(|number| self.get(number));
        node.is_some_and(|node| node.opens > 0 && node.hidden.is_none())
    }
    /// Notes where an open file waits for its last close; gives the place back if nobody has it open any more.
    pub fn hide(&mut self, handle: &nfs_fh3, hidden: Hidden) -> Option<Hidden> {
        let number = self.number_of(handle);
        match number.and_then(|number| self.by_number.get_mut(&number)) {
            Some(node) if node.opens > 0 => {
                node.hidden = Some(hidden);
                None
            }
            _ => Some(hidden),
        }
    }
    fn drop_unused(&mut self, number: u64) {
        let is_unused = self.get(number).is_some_and(|node| node.lookups == 0 && node.opens == 0);
        if is_unused
            && number != ROOT
            && let Some(node) = self.by_number.remove(&number)
        {
            self.by_handle.remove(node.handle.data.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use nfs3_types::xdr_codec::Opaque;

    use super::*;

    fn handle(byte: u8) -> nfs_fh3 {
        nfs_fh3 { data: Opaque::owned(vec![byte]) }
    }

    #[test]
    fn a_number_is_the_servers_unless_it_is_in_use() {
        let mut nodes = Nodes::new(handle(0));
        assert_eq!(nodes.learn(&handle(0), 77), ROOT);
        assert_eq!(nodes.learn(&handle(1), 5), 5);
        assert_eq!(nodes.learn(&handle(1), 5), 5);
        let reused = nodes.learn(&handle(2), 5);
        assert!(reused > OWN);
        assert!(nodes.learn(&handle(3), ROOT) > OWN);
        nodes.forget(5, 1);
        assert!(nodes.get(5).is_some());
        nodes.forget(5, 1);
        assert!(nodes.get(5).is_none());
        assert_eq!(nodes.learn(&handle(4), 5), 5, "free again");
        nodes.forget(ROOT, 1000);
        assert!(nodes.get(ROOT).is_some());
    }

    #[test]
    fn an_open_file_stays_and_tells_where_it_was_hidden() {
        let mut nodes = Nodes::new(handle(0));
        let number = nodes.learn(&handle(1), 5);
        nodes.open(number);
        nodes.open(number);
        nodes.forget(number, 1);
        assert!(nodes.is_open(&handle(1)) && nodes.is_any_open());
        let hidden = Hidden { directory: handle(0), name: ".nfs1".into() };
        assert_eq!(nodes.hide(&handle(1), hidden.clone()), None);
        assert!(!nodes.is_open(&handle(1)), "it has lost its name");
        assert_eq!(nodes.close(number), None);
        assert_eq!(nodes.close(number), Some(hidden.clone()));
        assert!(nodes.get(number).is_none() && !nodes.is_any_open());
        assert_eq!(nodes.hide(&handle(1), hidden.clone()), Some(hidden), "closed meanwhile");
    }
}
