//! What kubelet does to a volume's owners when a pod has an fsGroup.
//!
//! Group and mode of every entry are changed before the pod starts, as `SetVolumeOwnership` does; it costs
//! one operation per entry. Storage of the node and NFS are left alone, as kubelet leaves them.
use engine::tree::Kind;

use super::{Volume, tree::ROOT};

/// When to change a volume's group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsGroupPolicy {
    /// At every mount.
    #[default]
    Always,
    /// Only when the root's group or mode does not fit.
    OnRootMismatch,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Entries looked at, each one operation of the node.
    pub visited: u64,
    /// Entries whose group or mode changed.
    pub changed: u64,
}

const READ_WRITE: u32 = 0o660;
const READ_ONLY: u32 = 0o440;
/// setgid and search for the group, so that new files inherit it.
const DIRECTORY: u32 = 0o2110;

impl Volume {
    /// Applies a pod's fsGroup: group of every entry, `ug+rw` for files, `ug+rwx` and setgid for
    /// directories; symlinks only get the group. Times stay.
    pub fn apply_fs_group(&self, gid: u32, policy: FsGroupPolicy, read_only: bool) -> Ownership {
        let mut done = Ownership { visited: 0, changed: 0 };
        if !self.character().takes_fs_group() {
            return done;
        }
        let mask = if read_only { READ_ONLY } else { READ_WRITE };
        let wanted = |kind: Kind, mode: u32| match kind {
            Kind::Symlink => mode,
            Kind::Directory => mode | mask | DIRECTORY,
            _ => mode | mask,
        };
        let tree = self.tree();
        let fits =
            |inode: &super::Inode| inode.gid == gid && wanted(inode.node.kind(), inode.mode) == inode.mode;
        if policy == FsGroupPolicy::OnRootMismatch && tree.inode(ROOT).is_ok_and(|root| fits(root)) {
            done.visited = 1;
            return done;
        }
        let unfit: Vec<_> =
            tree.inodes().filter(|(_, inode)| !fits(inode)).map(|(number, _)| number).collect();
        done.visited = tree.len() as u64;
        done.changed = unfit.len() as u64;
        drop(tree);
        let mut state = self.state();
        let tree = std::sync::Arc::make_mut(&mut state.tree);
        for number in unfit {
            tree.edit(number, |inode| {
                inode.gid = gid;
                inode.mode = wanted(inode.node.kind(), inode.mode);
            })
            .expect("the inode was just listed under the bed's own hand");
        }
        done
    }
}
