//! Written and not yet on the server's disk: kept until COMMIT, sent again to a server that forgot it.
//!
//! A WRITE is answered before it is on the disk, with a verifier that changes when the server restarts. What was
//! written under another verifier than COMMIT's is written again. An error nobody could be told of is told
//! to every open file, once each, at its next `fsync` or `close`, as the kernel does. Writes are kept in order.
use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use nfs3_types::{
    nfs3::{
        COMMIT3args, COMMIT3resfail, COMMIT3resok, NFS_PROGRAM, WRITE3args, WRITE3resfail, WRITE3resok,
        nfs_fh3, stable_how, writeverf3,
    },
    rpc::auth_unix,
    xdr_codec::Opaque,
};
use rustix::io::Errno;

use super::remote::Remote;

/// Bytes kept of one file before they are committed without being asked.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// How often a server may restart in the middle before that is an error.
const TRIES: usize = 8;

struct Write {
    offset: u64,
    data: Vec<u8>,
    verifier: writeverf3,
}

/// A file's writes that are not committed.
#[derive(Default)]
pub struct Unstable {
    writes: tokio::sync::Mutex<Vec<Write>>,
    lost: Mutex<(u64, Option<Errno>)>,
}

/// How many of a file's errors an open file was told.
#[derive(Debug, Default)]
pub struct Told(AtomicU64);

impl Unstable {
    /// What an open file that begins now was told.
    pub fn told(&self) -> Told {
        Told(AtomicU64::new(self.lost().0))
    }
    /// Whether there is nothing to commit.
    pub async fn is_empty(&self) -> bool {
        self.writes.lock().await.is_empty()
    }
    /// Writes; with `is_stable`, onto the disk.
    ///
    /// # Errors
    /// The server's, at once: nothing of this write is kept.
    pub async fn write(
        &self,
        remote: &Remote,
        who: &auth_unix,
        file: &nfs_fh3,
        offset: u64,
        data: Vec<u8>,
        is_stable: bool,
    ) -> Result<(), Errno> {
        let mut writes = self.writes.lock().await;
        let stable = if is_stable { stable_how::FILE_SYNC } else { stable_how::UNSTABLE };
        if let Some(verifier) = put(remote, who, file, offset, &data, stable).await? {
            writes.push(Write { offset, data, verifier });
        }
        if writes.iter().map(|write| write.data.len()).sum::<usize>() > KEPT_BYTES_MAX {
            self.settle(remote, who, file, &mut writes).await?;
        }
        Ok(())
    }
    /// Commits what is not committed.
    ///
    /// # Errors
    /// The server's; or one that befell an earlier write and that this open file was not told yet.
    pub async fn commit(
        &self,
        remote: &Remote,
        who: &auth_unix,
        file: &nfs_fh3,
        told: &Told,
    ) -> Result<(), Errno> {
        let settled = self.settle(remote, who, file, &mut *self.writes.lock().await).await;
        let (count, last) = *self.lost();
        let before = told.0.swap(count, Ordering::Relaxed);
        match last {
            _ if settled.is_err() => settled,
            Some(error) if before < count => Err(error),
            _ => Ok(()),
        }
    }

    async fn settle(
        &self,
        remote: &Remote,
        who: &auth_unix,
        file: &nfs_fh3,
        writes: &mut Vec<Write>,
    ) -> Result<(), Errno> {
        let settled = settle(remote, who, file, writes).await;
        if let Err(error) = settled {
            // As the kernel does: the error is told, the data is given up.
            writes.clear();
            let mut lost = self.lost();
            *lost = (lost.0 + 1, Some(error));
        }
        settled
    }
    fn lost(&self) -> std::sync::MutexGuard<'_, (u64, Option<Errno>)> {
        self.lost.lock().expect("no holder of the errors' lock panics")
    }
}

async fn settle(
    remote: &Remote,
    who: &auth_unix,
    file: &nfs_fh3,
    writes: &mut Vec<Write>,
) -> Result<(), Errno> {
    for _ in 0..TRIES {
        if writes.is_empty() {
            return Ok(());
        }
        let whole = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
        let committed: COMMIT3resok =
            remote.ask::<_, _, COMMIT3resfail>(NFS_PROGRAM::NFSPROC3_COMMIT, who, &whole).await?;
        writes.retain(|write| write.verifier != committed.verf);
        if !writes.is_empty() {
            tracing::info!(writes = writes.len(), "the server restarted before a commit; writing again");
        }
        for write in writes.iter_mut() {
            let stable = stable_how::UNSTABLE;
            match put(remote, who, file, write.offset, &write.data, stable).await? {
                Some(verifier) => write.verifier = verifier,
                // Stable after all: COMMIT's verifier lets go of it.
                None => write.verifier = committed.verf,
            }
        }
    }
    tracing::error!("the server restarted {TRIES} times during one commit");
    Err(Errno::IO)
}

/// Writes all of it; the verifier of what is not yet on the disk.
async fn put(
    remote: &Remote,
    who: &auth_unix,
    file: &nfs_fh3,
    offset: u64,
    data: &[u8],
    stable: stable_how,
) -> Result<Option<writeverf3>, Errno> {
    let (mut done, mut unstable) = (0, None);
    while done < data.len() {
        let part = &data[done..data.len().min(done + remote.write_bytes as usize)];
        let args = WRITE3args {
            file: file.clone(),
            offset: offset + done as u64,
            count: part.len() as u32,
            stable,
            data: Opaque::borrowed(part),
        };
        let written: WRITE3resok =
            remote.ask::<_, _, WRITE3resfail>(NFS_PROGRAM::NFSPROC3_WRITE, who, &args).await?;
        let count = written.count as usize;
        if count == 0 || count > part.len() {
            return Err(Errno::IO);
        }
        if written.committed == stable_how::UNSTABLE {
            // Two verifiers in one write: the older one makes COMMIT write all of it again.
            unstable = unstable.or(Some(written.verf));
        }
        done += count;
    }
    Ok(unstable)
}
