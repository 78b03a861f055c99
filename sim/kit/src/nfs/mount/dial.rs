//! Mounting itself: from `nas:/export` to the root's handle, or a sentence that says why not.
//!
//! A server that cannot be reached is tried again until `retry` is over, as `mount.nfs` does; a server that refuses
//! is believed at once. MOUNT is looked for at the port of NFS first, then where the port mapper says.
use std::{io, time::Duration};

use nfs3_types::{
    mount::{self, MOUNT_PROGRAM, dirpath, mountres3, mountstat3},
    nfs3::{self, FSINFO3args, FSINFO3res, NFS_PROGRAM, Nfs3Result, nfs_fh3},
    portmap::{self, IPPROTO_TCP, PMAP_PORT, PMAP_PROG, mapping},
    rpc::auth_unix,
    xdr_codec::{Opaque, Void},
};

use super::{
    options::Options,
    transport::{CallError, Transport},
};
use crate::nfs::wire::{ReplyError, TRANSFER_BYTES_MAX};

/// The port of NFS where nothing else is said.
pub const NFS_PORT: u16 = 2049;
/// How long one question may take while mounting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries to reach the server.
const PAUSE: Duration = Duration::from_secs(1);

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The server's name or address.
    pub host: String,
    /// The path it exports.
    pub path: String,
}

impl Source {
    /// Reads `host:/path`, with an IPv6 address in brackets.
    pub fn parse(source: &str) -> Option<Self> {
        let (host, path) = match source.strip_prefix('[') {
            Some(rest) => rest.split_once("]:")?,
            None => source.split_once(':')?,
        };
        let is_whole = !host.is_empty() && path.starts_with('/');
        is_whole.then(|| Self { host: host.to_owned(), path: path.to_owned() })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.path)
    }
}

/// Why an export is not mounted; the sentences of `mount.nfs`, where it has one.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The server says no.
    #[error("access denied by server while mounting {0}")]
    Denied(Source),
    /// The server has a reason.
    #[error("mounting {what} failed, reason given by server: {reason}")]
    Refused {
        /// What was asked for.
        what: Source,
        /// In the server's words.
        reason: &'static str,
    },
    /// Nobody answers.
    #[error("cannot reach {host} at port {port}: {problem}; is the server up, and is the port right?")]
    Unreachable {
        /// The server.
        host: String,
        /// The port asked.
        port: u16,
        /// What the system says.
        problem: String,
    },
    /// Somebody answers, but no NFS server.
    #[error("{host} at port {port} does not serve {program} version 3")]
    NotServed {
        /// The server.
        host: String,
        /// The port asked.
        port: u16,
        /// NFS or MOUNT.
        program: &'static str,
        /// What it said.
        #[source]
        source: CallError,
    },
}

/// A mount that was granted.
pub struct Mounted {
    /// The way to the server.
    pub transport: Transport,
    /// The root.
    pub root: nfs_fh3,
    /// Largest READ.
    pub read_bytes: u32,
    /// Largest WRITE.
    pub write_bytes: u32,
}

/// Mounts; keeps trying until `options.retry` is over as long as the server cannot be reached.
///
/// # Errors
/// [`MountError`].
pub async fn mount(source: &Source, options: &Options, auth: &auth_unix) -> Result<Mounted, MountError> {
    let begin = tokio::time::Instant::now();
    loop {
        match once(source, options, auth).await {
            Err(error @ MountError::Unreachable { .. }) if begin.elapsed() + PAUSE < options.retry => {
                tracing::info!(%error, "trying again");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn once(source: &Source, options: &Options, auth: &auth_unix) -> Result<Mounted, MountError> {
    let port = options.port.unwrap_or(NFS_PORT);
    let root = root(source, options.mount_port.or(options.port), auth).await?;
    reach(&source.host, port).await?;
    let program = (nfs3::PROGRAM, nfs3::VERSION);
    let not_served = |source_error| MountError::NotServed {
        host: source.host.clone(),
        port,
        program: "NFS",
        source: source_error,
    };
    let first = Transport::new(&source.host, port, program, Some(PATIENCE), PATIENCE);
    let args = FSINFO3args { fsroot: root.clone() };
    let asked = first.call(NFS_PROGRAM::NFSPROC3_FSINFO as u32, auth, &args).await;
    let (read_bytes, write_bytes) = match asked.map_err(not_served)? {
        FSINFO3res::Ok(info) => (info.rtmax, info.wtmax),
        Nfs3Result::Err((status, _)) => {
            let reason = if status == nfs3::nfsstat3::NFS3ERR_STALE {
                "Stale file handle"
            } else {
                "Input/output error"
            };
            return Err(MountError::Refused { what: source.clone(), reason });
        }
    };
    let limit = |offered: u32, wanted: Option<u32>| {
        offered.min(wanted.unwrap_or(u32::MAX)).clamp(4096, TRANSFER_BYTES_MAX)
    };
    Ok(Mounted {
        transport: Transport::new(&source.host, port, program, options.patience(), options.timeo),
        root,
        read_bytes: limit(read_bytes, options.read_bytes),
        write_bytes: limit(write_bytes, options.write_bytes),
    })
}

/// Whether anybody listens there.
async fn reach(host: &str, port: u16) -> Result<(), MountError> {
    let unreachable = |error: io::Error| MountError::Unreachable {
        host: host.to_owned(),
        port,
        problem: error.to_string(),
    };
    match tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map(drop).map_err(unreachable),
        Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
    }
}

/// The root's handle, from the MOUNT program wherever it is.
async fn root(source: &Source, port: Option<u16>, auth: &auth_unix) -> Result<nfs_fh3, MountError> {
    let first = port.unwrap_or(NFS_PORT);
    let failed = match ask(source, first, auth).await {
        // Somebody else's port, or nobody's: the port mapper knows.
        Err(error @ (MountError::NotServed { .. } | MountError::Unreachable { .. })) if port.is_none() => {
            error
        }
        result => return result,
    };
    match mapped(&source.host).await {
        Some(port) if port != first => ask(source, port, auth).await,
        _ => Err(failed),
    }
}

async fn ask(source: &Source, port: u16, auth: &auth_unix) -> Result<nfs_fh3, MountError> {
    reach(&source.host, port).await?;
    let program = (mount::PROGRAM, mount::VERSION);
    let transport = Transport::new(&source.host, port, program, Some(PATIENCE), PATIENCE);
    let path = dirpath(Opaque::borrowed(source.path.as_bytes()));
    let answer: Result<mountres3<'_>, _> =
        transport.call(MOUNT_PROGRAM::MOUNTPROC3_MNT as u32, auth, &path).await;
    let refused = |reason| Err(MountError::Refused { what: source.clone(), reason });
    match answer {
        Ok(mountres3::Ok(granted)) => Ok(nfs_fh3 { data: granted.fhandle.0 }),
        Ok(mountres3::Err(mountstat3::MNT3ERR_ACCES | mountstat3::MNT3ERR_PERM)) => {
            Err(MountError::Denied(source.clone()))
        }
        Ok(mountres3::Err(status)) => refused(match status {
            mountstat3::MNT3ERR_NOENT => "No such file or directory",
            mountstat3::MNT3ERR_NOTDIR => "Not a directory",
            mountstat3::MNT3ERR_IO => "Input/output error",
            mountstat3::MNT3ERR_NAMETOOLONG => "File name too long",
            mountstat3::MNT3ERR_INVAL => "Invalid argument",
            _ => "Unspecified error",
        }),
        Err(CallError::Reply(ReplyError::Auth(_))) => Err(MountError::Denied(source.clone())),
        Err(CallError::TimedOut(waited)) => Err(MountError::Unreachable {
            host: source.host.clone(),
            port,
            problem: format!("no answer in {} s", waited.as_secs()),
        }),
        Err(error) => {
            Err(MountError::NotServed { host: source.host.clone(), port, program: "MOUNT", source: error })
        }
    }
}

/// The port of MOUNT by the port mapper; `None` where there is none or it knows none.
async fn mapped(host: &str) -> Option<u16> {
    reach(host, PMAP_PORT).await.ok()?;
    let program = (portmap::PROGRAM, portmap::VERSION);
    let transport = Transport::new(host, PMAP_PORT, program, Some(PATIENCE), PATIENCE);
    let asked = mapping { prog: mount::PROGRAM, vers: mount::VERSION, prot: IPPROTO_TCP, port: 0 };
    let port: u32 =
        transport.call(PMAP_PROG::PMAPPROC_GETPORT as u32, &auth_unix::default(), &asked).await.ok()?;
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Tells the server that the mount is gone; nothing depends on it.
pub async fn unmounted(source: &Source, options: &Options, auth: &auth_unix) {
    let port = options.mount_port.or(options.port).unwrap_or(NFS_PORT);
    let soon = Duration::from_secs(1);
    let transport = Transport::new(&source.host, port, (mount::PROGRAM, mount::VERSION), Some(soon), soon);
    let path = dirpath(Opaque::borrowed(source.path.as_bytes()));
    let told: Result<Void, _> = transport.call(MOUNT_PROGRAM::MOUNTPROC3_UMNT as u32, auth, &path).await;
    if let Err(error) = told {
        tracing::debug!(%error, "the server was not told of the unmount");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read() {
        let source = |host: &str, path: &str| Some(Source { host: host.into(), path: path.into() });
        assert_eq!(Source::parse("nas:/export/a:b"), source("nas", "/export/a:b"));
        assert_eq!(Source::parse("[fd00::1]:/e"), source("fd00::1", "/e"));
        for bad in ["nas", "nas:", "nas:relative", ":/e", "/e", "[fd00::1/e"] {
            assert_eq!(Source::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn an_unreachable_server_is_named_with_its_port() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = Options::parse(&format!("port={closed},mountport={closed},retry=0")).unwrap();
        let source = Source::parse("127.0.0.1:/export").unwrap();
        let error = mount(&source, &options, &auth_unix::default()).await.err().unwrap().to_string();
        assert!(error.contains(&format!("127.0.0.1 at port {closed}")), "{error}");
        assert!(error.contains("refused"), "{error}");
    }
}
