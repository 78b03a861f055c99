//! As whom a call acts: the caller's user and groups, mapped by the export's squash, put on by the thread.
//!
//! The kernel checks permissions then, exactly as it does for a local process; there is no second set of rules
//! here. Only this thread changes. A server that is not root serves everything as itself.
use nfs3_types::rpc::auth_unix;
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::nfs_control::Squash;

/// The user and group of those who are squashed and of those who do not say who they are.
pub const NOBODY: u32 = 65_534;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its further groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// The caller by its credentials, mapped.
    pub fn new(auth: Option<&auth_unix>, squash: Squash) -> Self {
        let nobody = Self { uid: NOBODY, gid: NOBODY, groups: Vec::new() };
        let caller = match auth {
            None => nobody.clone(),
            Some(auth) => Self { uid: auth.uid, gid: auth.gid, groups: auth.gids.clone() },
        };
        match squash {
            Squash::All { uid, gid } => Self { uid, gid, groups: Vec::new() },
            Squash::Root if caller.uid == 0 => nobody,
            // Root's group is squashed even for others, as Linux does.
            Squash::Root => {
                let squashed = |gid: u32| if gid == 0 { NOBODY } else { gid };
                let groups = caller.groups.into_iter().map(squashed).collect();
                Self { gid: squashed(caller.gid), groups, ..caller }
            }
            Squash::None => caller,
        }
    }

    /// Runs `work` as this user and comes back to root.
    ///
    /// # Panics
    /// If the thread cannot become root again: it must not go on as somebody else.
    pub fn act<R>(&self, work: impl FnOnce() -> R) -> std::io::Result<R> {
        if !rustix::process::geteuid().is_root() || self.uid == 0 && self.gid == 0 {
            return Ok(work());
        }
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        let root = Worn;
        set_thread_groups(&groups)?;
        set_thread_res_gid(None, Gid::from_raw(self.gid), None)?;
        set_thread_res_uid(None, Uid::from_raw(self.uid), None)?;
        let result = work();
        drop(root);
        Ok(result)
    }
}

/// While it lives the thread is somebody else; dropping it, also by a panic, makes it root again.
struct Worn;

impl Drop for Worn {
    fn drop(&mut self) {
        set_thread_res_uid(None, Uid::ROOT, None)
            .and_then(|()| set_thread_res_gid(None, Gid::ROOT, None))
            .and_then(|()| set_thread_groups(&[]))
            .expect("a thread whose saved user is root can become root again");
    }
}

#[cfg(test)]
mod tests {
    use nfs3_types::xdr_codec::Opaque;

    use super::*;

    fn auth(uid: u32, gid: u32, gids: &[u32]) -> auth_unix {
        auth_unix { stamp: 0, machinename: Opaque::borrowed(b"a"), uid, gid, gids: gids.to_vec() }
    }

    #[test]
    fn users_are_mapped() {
        let who = |auth: Option<&auth_unix>, squash| {
            let Identity { uid, gid, groups } = Identity::new(auth, squash);
            (uid, gid, groups)
        };
        let (root, app) = (auth(0, 0, &[0, 5]), auth(568, 0, &[0, 568]));
        assert_eq!(who(Some(&root), Squash::None), (0, 0, vec![0, 5]));
        assert_eq!(who(Some(&root), Squash::Root), (NOBODY, NOBODY, vec![]));
        assert_eq!(who(Some(&app), Squash::Root), (568, NOBODY, vec![NOBODY, 568]));
        assert_eq!(who(Some(&app), Squash::All { uid: 1, gid: 2 }), (1, 2, vec![]));
        assert_eq!(who(None, Squash::None), (NOBODY, NOBODY, vec![]));
    }

    #[test]
    fn the_thread_acts_as_the_caller_and_comes_back() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |identity: &Identity| identity.act(|| std::fs::read(file.path()).is_ok()).unwrap();
        assert!(read(&Identity::new(Some(&auth(0, 0, &[])), Squash::None)));
        assert!(!read(&Identity::new(Some(&auth(0, 0, &[])), Squash::Root)));
        assert!(std::fs::read(file.path()).is_ok(), "root again");
        let panics = std::panic::catch_unwind(|| {
            Identity::new(None, Squash::None).act(|| panic!("at work")).unwrap();
        });
        assert!(panics.is_err());
        assert!(std::fs::read(file.path()).is_ok(), "root again, after a panic too");
    }
}
