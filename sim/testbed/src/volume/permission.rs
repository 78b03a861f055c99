//! Who may do what: the checks that Linux makes before it touches an inode.
//!
//! Discretionary access only (owner, group, others, capabilities); no ACL evaluation, no security
//! modules. Root without capabilities is an ordinary owner, as in a pod that drops them.
use std::{collections::BTreeSet, io};

use super::{
    errno::{self, error},
    tree::{Inode, Node},
};

/// Permission to read.
pub const READ: u32 = 4;
/// Permission to write.
pub const WRITE: u32 = 2;
/// Permission to run, or to pass through a directory.
pub const EXECUTE: u32 = 1;

/// The capabilities that matter to files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a capability set is a set of switches")]
pub struct Capabilities {
    /// Bypass all permission checks of files.
    pub dac_override: bool,
    /// Bypass read checks.
    pub dac_read_search: bool,
    /// Change owners.
    pub chown: bool,
    /// Act as the owner.
    pub fowner: bool,
    /// Keep setgid on a file of another group.
    pub fsetid: bool,
}

impl Capabilities {
    /// No capability, as in a restricted pod.
    pub const NONE: Self =
        Self { dac_override: false, dac_read_search: false, chown: false, fowner: false, fsetid: false };
    /// What container runtimes give root by default.
    pub const DEFAULT_ROOT: Self =
        Self { dac_override: true, dac_read_search: false, chown: true, fowner: true, fsetid: true };
}

/// Whom a mount acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, fsGroup among them.
    pub groups: BTreeSet<u32>,
    /// Capabilities.
    pub capabilities: Capabilities,
}

impl Credentials {
    /// Root with a container's default capabilities.
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, groups: BTreeSet::new(), capabilities: Capabilities::DEFAULT_ROOT }
    }
    /// A user without capabilities.
    pub fn user(uid: u32, gid: u32) -> Self {
        Self { uid, gid, groups: BTreeSet::new(), capabilities: Capabilities::NONE }
    }
    /// Adds a supplementary group.
    #[must_use]
    pub fn with_group(mut self, gid: u32) -> Self {
        self.groups.insert(gid);
        self
    }
    /// Replaces the capabilities.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }
    /// Whether this is a member of the group.
    pub fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
    /// Whether this counts as the inode's owner.
    pub fn owns(&self, inode: &Inode) -> bool {
        self.uid == inode.uid || self.capabilities.fowner
    }
    /// Checks a mix of [`READ`], [`WRITE`] and [`EXECUTE`].
    ///
    /// # Errors
    /// EACCES.
    pub fn access(&self, inode: &Inode, wanted: u32) -> io::Result<()> {
        let directory = matches!(inode.node, Node::Directory(_));
        let class = if self.uid == inode.uid {
            inode.mode >> 6
        } else if self.is_in(inode.gid) {
            inode.mode >> 3
        } else {
            inode.mode
        };
        let granted = class & wanted == wanted
            || self.capabilities.dac_override
                && (directory || wanted & EXECUTE == 0 || inode.mode & 0o111 != 0)
            || self.capabilities.dac_read_search && (wanted == READ || directory && wanted & WRITE == 0);
        if granted { Ok(()) } else { Err(error(errno::EACCES)) }
    }
    /// Checks a change of owner and group.
    ///
    /// # Errors
    /// EPERM.
    pub fn may_chown(&self, inode: &Inode, uid: u32, gid: u32) -> io::Result<()> {
        let own_group = self.uid == inode.uid && uid == inode.uid && (gid == inode.gid || self.is_in(gid));
        if self.capabilities.chown || own_group { Ok(()) } else { Err(error(errno::EPERM)) }
    }
    /// Checks what only the owner may do: mode and explicit times.
    ///
    /// # Errors
    /// EPERM.
    pub fn may_own(&self, inode: &Inode) -> io::Result<()> {
        if self.owns(inode) { Ok(()) } else { Err(error(errno::EPERM)) }
    }
    /// Checks the removal of a child under a sticky directory.
    ///
    /// # Errors
    /// EPERM.
    pub fn may_unlink(&self, directory: &Inode, child: &Inode) -> io::Result<()> {
        let sticky = directory.mode & 0o1000 != 0;
        if !sticky || self.uid == directory.uid || self.owns(child) {
            Ok(())
        } else {
            Err(error(errno::EPERM))
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::tree::Time;

    use super::*;

    fn file(mode: u32, uid: u32, gid: u32) -> Inode {
        Inode::new(Node::File(std::sync::Arc::default()), mode, (uid, gid), Time::default())
    }

    #[test]
    fn access_is_as_linux_grants_it() {
        let bare_root = Credentials::root().with_capabilities(Capabilities::NONE);
        let search = Capabilities { dac_read_search: true, ..Capabilities::NONE };
        for (who, inode, wanted, expected) in [
            (Credentials::user(568, 568), file(0o600, 568, 568), READ | WRITE, true),
            (Credentials::user(568, 568), file(0o640, 0, 568), READ, true),
            (Credentials::user(568, 568), file(0o640, 0, 568), WRITE, false),
            (Credentials::user(568, 568), file(0o640, 0, 0), READ, false),
            (Credentials::user(568, 568).with_group(100), file(0o660, 0, 100), WRITE, true),
            (Credentials::user(568, 568), file(0o044, 568, 568), READ, false), // the owner class decides
            (Credentials::root(), file(0o000, 568, 568), READ | WRITE, true),
            (Credentials::root(), file(0o600, 568, 568), EXECUTE, false),
            (bare_root.clone(), file(0o600, 568, 568), READ, false),
            (bare_root, file(0o600, 0, 0), READ, true),
            (Credentials::user(1, 1).with_capabilities(search), file(0o600, 568, 568), READ, true),
            (Credentials::user(1, 1).with_capabilities(search), file(0o600, 568, 568), WRITE, false),
        ] {
            assert_eq!(who.access(&inode, wanted).is_ok(), expected, "{who:?} wants {wanted} of {inode:?}");
        }
    }

    #[test]
    fn owners_are_changed_by_those_who_may() {
        let mover = Credentials::user(568, 568).with_group(100);
        let inode = file(0o644, 568, 568);
        assert!(mover.may_chown(&inode, 568, 568).is_ok(), "a change to what it is");
        assert!(mover.may_chown(&inode, 568, 100).is_ok(), "to one of its own groups");
        assert!(mover.may_chown(&inode, 568, 7).is_err());
        assert!(mover.may_chown(&inode, 1000, 568).is_err());
        assert!(Credentials::root().may_chown(&inode, 1000, 1000).is_ok());
    }
}
