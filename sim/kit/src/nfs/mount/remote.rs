//! The server as typed questions: each procedure is one call that ends well or with a system error.
//!
//! A server that says "later" (`NFS3ERR_JUKEBOX`) is asked again, for as long as the mount's patience goes; the
//! transport's own failures are EIO, as a soft mount's processes read them.
use std::time::Duration;

use nfs3_types::{
    nfs3::{NFS_PROGRAM, Nfs3Result, nfs_fh3, nfsstat3},
    rpc::auth_unix,
    xdr_codec::{Opaque, Pack, Unpack},
};
use rustix::io::Errno;

use super::transport::{CallError, Transport};
use crate::nfs::{status, wire::ReplyError};

/// How long a server that said "later" is left alone, as in Linux.
const LATER: Duration = Duration::from_secs(5);

/// A mounted server.
pub struct Remote {
    /// The way there.
    pub transport: Transport,
    /// The root.
    pub root: nfs_fh3,
    /// Largest READ.
    pub read_bytes: u32,
    /// Largest WRITE.
    pub write_bytes: u32,
    /// A soft mount gives up on "later" too.
    pub patience: Option<Duration>,
}

impl Remote {
    /// Asks.
    ///
    /// # Errors
    /// The server's, or EIO where there is none.
    pub async fn ask<A: Pack, T: Unpack, F: Unpack>(
        &self,
        procedure: NFS_PROGRAM,
        who: &auth_unix,
        arguments: &A,
    ) -> Result<T, Errno> {
        let begin = tokio::time::Instant::now();
        loop {
            let answer = self.transport.call(procedure as u32, who, arguments).await;
            match answer {
                Ok(Nfs3Result::Ok(result)) => return Ok(result),
                Ok(Nfs3Result::<T, F>::Err((nfsstat3::NFS3ERR_JUKEBOX, _)))
                    if self.patience.is_none_or(|patience| begin.elapsed() + LATER < patience) =>
                {
                    tokio::time::sleep(LATER).await;
                }
                Ok(Nfs3Result::Err((status, _))) => return Err(status::to_errno(status)),
                Err(CallError::Reply(ReplyError::Auth(_))) => return Err(Errno::ACCESS),
                Err(CallError::Reply(error)) => {
                    tracing::error!(%error, %procedure, "the server does not answer as NFS does");
                    return Err(Errno::IO);
                }
                Err(CallError::TimedOut(_) | CallError::Closed) => return Err(Errno::IO),
            }
        }
    }
}

/// The credentials of a process: its user and group, and its further groups as the kernel tells them.
pub fn credentials(host: &str, uid: u32, gid: u32, pid: u32) -> auth_unix {
    let machinename = Opaque::owned(host.as_bytes().to_vec());
    auth_unix { stamp: 0, machinename, uid, gid, gids: groups(pid) }
}

/// AUTH_SYS carries no more.
const GROUPS_MAX: usize = 16;

fn groups(pid: u32) -> Vec<u32> {
    // Requests of the kernel itself have no process; a process that just ended has no groups any more.
    let status = if pid == 0 { None } else { std::fs::read_to_string(format!("/proc/{pid}/status")).ok() };
    let line = status.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Groups:")));
    line.into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(|gid| gid.parse().ok())
        .take(GROUPS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_groups_are_those_of_the_kernel() {
        let own = groups(std::process::id());
        let told: Vec<u32> =
            rustix::process::getgroups().unwrap().into_iter().map(rustix::process::Gid::as_raw).collect();
        assert_eq!(own, told[..told.len().min(GROUPS_MAX)]);
        assert!(groups(0).is_empty());
    }
}
