//! From a record to its answer: reads the call, asks the register of faults, runs the procedure.
//!
//! Every call of NFS and MOUNT is a point of the seam `nfs`: the actor is the client's host name, the class the
//! export's name (the first directory beneath it where it is called `/`), the operation one of the embedded bed's (`lookup`, `read`, `write`, `create`, `rename`,
//! `remove`, `mkdir`, `list`) or `setattr` and `mount`. A hang answers after the lift, a kill closes the
//! connection. Procedures run on threads that may block.
#![allow(clippy::wildcard_imports, reason = "the protocol's words are one vocabulary, used by the dozen")]
use std::{
    collections::BTreeMap,
    io::Cursor,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use fault::{Decision, Register, Seam, Verdict};
use nfs3_types::{
    mount::{self, MOUNT_PROGRAM, dirpath, export_node, fhandle3, mountres3, mountres3_ok, mountstat3},
    nfs3::{self, *},
    portmap::{self, IPPROTO_TCP, PMAP_PROG, mapping},
    rpc::{
        RPC_VERSION_2, accept_stat_data, auth_flavor, auth_stat, auth_unix, call_body, msg_body,
        rejected_reply, rpc_msg,
    },
    xdr_codec::{List, Opaque, Pack, Unpack, Void},
};

use super::{
    change,
    export::Export,
    handle::{Handle, MountPath, Target},
    identity::Identity,
    list, look,
    replies::{Replies, Reply},
    session::{Answer, Session, name},
};
use crate::{
    nfs::{status, wire},
    nfs_control::{Calls, Change, Shown},
};

/// Serves calls.
pub struct Dispatcher {
    export: Arc<Export>,
    register: Register,
    replies: Replies,
    verifier: writeverf3,
    calls: Mutex<BTreeMap<String, Calls>>,
}

/// A call's envelope and what follows it.
struct Call {
    xid: u32,
    body: call_body<'static>,
    auth: Option<auth_unix>,
    arguments: Cursor<Vec<u8>>,
}

impl Dispatcher {
    /// Serves this export; `verifier` must differ from that of every earlier run.
    pub fn new(export: Arc<Export>, register: Register, verifier: [u8; 8]) -> Self {
        let verifier = writeverf3(verifier);
        Self { export, register, replies: Replies::default(), verifier, calls: Mutex::default() }
    }
    /// What was answered so far, by operation.
    pub fn calls(&self) -> BTreeMap<String, Calls> {
        self.calls.lock().expect("no holder of the counters' lock panics").clone()
    }

    /// Answers a record that came from `peer` to `local`; `None` asks to close the connection.
    pub async fn answer(self: &Arc<Self>, peer: IpAddr, local: SocketAddr, record: Vec<u8>) -> Reply {
        let mut cursor = Cursor::new(record);
        // Neither a reply nor garbage deserves an answer.
        let Ok((rpc_msg { xid, body: msg_body::CALL(body) }, _)) = rpc_msg::unpack(&mut cursor) else {
            return None;
        };
        if body.rpcvers != RPC_VERSION_2 {
            return reply(wire::denied(xid, rejected_reply::rpc_mismatch(RPC_VERSION_2, RPC_VERSION_2)));
        }
        let auth = match body.cred.flavor {
            auth_flavor::AUTH_UNIX => match auth_unix::unpack(&mut Cursor::new(&body.cred.body.0)) {
                Ok((auth, _)) => Some(auth),
                Err(_) => {
                    return reply(wire::denied(xid, rejected_reply::auth_error(auth_stat::AUTH_BADCRED)));
                }
            },
            auth_flavor::AUTH_NULL => None,
            _ => return reply(wire::denied(xid, rejected_reply::auth_error(auth_stat::AUTH_TOOWEAK))),
        };
        let call = Call { xid, body, auth, arguments: cursor };
        let expected = match call.body.prog {
            nfs3::PROGRAM => nfs3::VERSION,
            mount::PROGRAM => mount::VERSION,
            portmap::PROGRAM => portmap::VERSION,
            _ => return unserved(xid, accept_stat_data::PROG_UNAVAIL),
        };
        if call.body.vers != expected {
            return unserved(xid, accept_stat_data::PROG_MISMATCH { low: expected, high: expected });
        }
        match call.body.prog {
            portmap::PROGRAM => port_of(call, local.port()),
            _ if call.body.proc == 0 => reply(wire::accepted(xid, accept_stat_data::SUCCESS, &Void)),
            mount::PROGRAM => self.mounting(peer, call).await,
            _ => match NFS_PROGRAM::try_from(call.body.proc) {
                Err(_) => unserved(xid, accept_stat_data::PROC_UNAVAIL),
                Ok(procedure) if must_be_done_once(procedure) => {
                    let record = call.arguments.get_ref().clone();
                    self.replies.once(peer, &record, self.serve(peer, procedure, call)).await
                }
                Ok(procedure) => self.serve(peer, procedure, call).await,
            },
        }
    }

    /// Asks the register, waits if it says so, and makes the session.
    async fn session(
        &self,
        peer: IpAddr,
        operation: &str,
        class: String,
        auth: Option<&auth_unix>,
    ) -> Option<(Session, Option<nfsstat3>)> {
        let actor = match auth {
            Some(auth) if !auth.machinename.is_empty() => {
                String::from_utf8_lossy(&auth.machinename).into_owned()
            }
            _ => peer.to_string(),
        };
        let Decision { verdict, by, .. } = self.register.at(Seam::Nfs, &actor, operation, &class);
        let (mut shown, mut refused, mut swallow) = (None, None, false);
        match (verdict, by) {
            (Verdict::Hang, Some(id)) => self.register.lifted(id).await,
            (Verdict::Delay(by), _) => tokio::time::sleep(by).await,
            (Verdict::Fail { code, .. }, _) => refused = Some(status::of_code(&code)),
            (Verdict::Swallow, _) => swallow = true,
            (Verdict::Kill(_), _) => return None,
            (Verdict::Corrupt(mask), _) => match mask.as_str() {
                "fsid" => {
                    if let Err(error) = self.export.turn(Change::Renew) {
                        tracing::error!(%error, "the new generation is not kept across a restart");
                    }
                }
                "empty" => shown = Some(Shown::Empty),
                _ => shown = Some(Shown::Other),
            },
            (Verdict::Proceed | Verdict::Hang, _) => {}
        }
        let switches = self.export.switches();
        let session = Session {
            folder: self.export.folder(shown.unwrap_or(switches.shown)),
            who: Identity::new(auth, switches.squash),
            export: self.export.clone(),
            switches,
            swallow,
        };
        Some((session, refused))
    }

    async fn serve(self: &Arc<Self>, peer: IpAddr, procedure: NFS_PROGRAM, call: Call) -> Reply {
        let operation = operation(procedure);
        // Every procedure's arguments begin with a handle.
        let handle =
            nfs_fh3::unpack(&mut call.arguments.clone()).ok().and_then(|(handle, _)| Handle::unpack(&handle));
        let class = self.class(handle.map(|handle| handle.target));
        let (session, refused) = self.session(peer, operation, class, call.auth.as_ref()).await?;
        let (xid, this) = (call.xid, self.clone());
        let served = tokio::task::spawn_blocking(move || {
            let verifier = this.verifier;
            let job = Job { session, refused, xid, arguments: call.arguments };
            run(procedure, job, verifier)
        });
        // A procedure that panicked must not take the server down; its call is answered nevertheless.
        let (record, status) = served.await.unwrap_or_else(|error| {
            tracing::error!(%error, operation, "a procedure panicked");
            (wire::accepted(xid, accept_stat_data::SYSTEM_ERR, &Void), Some(nfsstat3::NFS3ERR_SERVERFAULT))
        });
        self.count(operation, status);
        reply(record)
    }

    async fn mounting(self: &Arc<Self>, peer: IpAddr, call: Call) -> Reply {
        let xid = call.xid;
        match MOUNT_PROGRAM::try_from(call.body.proc) {
            Ok(MOUNT_PROGRAM::MOUNTPROC3_MNT) => {
                let mut arguments = call.arguments;
                let Ok((dirpath(path), _)) = dirpath::unpack(&mut arguments) else {
                    return unserved(xid, accept_stat_data::GARBAGE_ARGS);
                };
                let target = below(self.export.name(), &path).and_then(MountPath::new).map(Target::Mounted);
                let class = self.class(target);
                let (session, refused) = self.session(peer, "mount", class, call.auth.as_ref()).await?;
                let mounted = tokio::task::spawn_blocking(move || {
                    refused.map_or_else(|| mounted(&session, &path), Err)
                });
                let mounted = mounted.await.unwrap_or(Err(nfsstat3::NFS3ERR_SERVERFAULT));
                tracing::info!(%peer, answer = ?mounted.as_ref().err(), "mount");
                self.count("mount", mounted.as_ref().err().copied());
                let result = match mounted {
                    Ok(handle) => mountres3::Ok(mountres3_ok {
                        fhandle: fhandle3(handle.data),
                        auth_flavors: vec![auth_flavor::AUTH_UNIX as u32],
                    }),
                    Err(nfsstat3::NFS3ERR_NOENT) => mountres3::Err(mountstat3::MNT3ERR_NOENT),
                    Err(nfsstat3::NFS3ERR_NOTDIR) => mountres3::Err(mountstat3::MNT3ERR_NOTDIR),
                    Err(nfsstat3::NFS3ERR_ACCES) => mountres3::Err(mountstat3::MNT3ERR_ACCES),
                    Err(nfsstat3::NFS3ERR_IO) => mountres3::Err(mountstat3::MNT3ERR_IO),
                    Err(nfsstat3::NFS3ERR_NAMETOOLONG) => mountres3::Err(mountstat3::MNT3ERR_NAMETOOLONG),
                    Err(_) => mountres3::Err(mountstat3::MNT3ERR_SERVERFAULT),
                };
                good(xid, &result)
            }
            Ok(MOUNT_PROGRAM::MOUNTPROC3_UMNT | MOUNT_PROGRAM::MOUNTPROC3_UMNTALL) => good(xid, &Void),
            Ok(MOUNT_PROGRAM::MOUNTPROC3_EXPORT) => {
                let name = self.export.name().as_bytes().to_vec();
                let node = export_node { ex_dir: dirpath(Opaque::owned(name)), ex_groups: List::default() };
                good(xid, &List(vec![node]))
            }
            Ok(MOUNT_PROGRAM::MOUNTPROC3_DUMP) => good(xid, &List::<u32>::default()),
            _ => unserved(xid, accept_stat_data::PROC_UNAVAIL),
        }
    }

    /// The class of a point: which export it is about.
    fn class(&self, target: Option<Target>) -> String {
        let name = self.export.name().trim_matches('/');
        if !name.is_empty() {
            return name.to_owned();
        }
        let folder = self.export.folder(self.export.switches().shown);
        let top = target.and_then(|target| folder.top(target));
        top.map_or_else(String::new, |top| top.to_string_lossy().into_owned())
    }
    fn count(&self, operation: &str, refused: Option<nfsstat3>) {
        let mut calls = self.calls.lock().expect("no holder of the counters' lock panics");
        let calls = calls.entry(operation.to_owned()).or_default();
        match refused {
            None => calls.good += 1,
            Some(status) => *calls.refused.entry(status.to_string()).or_default() += 1,
        }
    }
}

/// The operation's name at the seam.
fn operation(procedure: NFS_PROGRAM) -> &'static str {
    use NFS_PROGRAM::*;
    match procedure {
        NFSPROC3_READ | NFSPROC3_READLINK => "read",
        NFSPROC3_WRITE | NFSPROC3_COMMIT => "write",
        NFSPROC3_CREATE | NFSPROC3_SYMLINK | NFSPROC3_MKNOD | NFSPROC3_LINK => "create",
        NFSPROC3_MKDIR => "mkdir",
        NFSPROC3_REMOVE | NFSPROC3_RMDIR => "remove",
        NFSPROC3_RENAME => "rename",
        NFSPROC3_READDIR | NFSPROC3_READDIRPLUS => "list",
        NFSPROC3_SETATTR => "setattr",
        NFSPROC3_NULL | NFSPROC3_GETATTR | NFSPROC3_LOOKUP | NFSPROC3_ACCESS | NFSPROC3_FSSTAT
        | NFSPROC3_FSINFO | NFSPROC3_PATHCONF => "lookup",
    }
}

/// Whether doing it twice answers differently.
fn must_be_done_once(procedure: NFS_PROGRAM) -> bool {
    matches!(operation(procedure), "create" | "mkdir" | "remove" | "rename" | "setattr")
}

fn reply(record: Vec<u8>) -> Reply {
    Some(Arc::new(record))
}
fn good(xid: u32, result: &impl Pack) -> Reply {
    reply(wire::accepted(xid, accept_stat_data::SUCCESS, result))
}
fn unserved(xid: u32, why: accept_stat_data) -> Reply {
    reply(wire::accepted(xid, why, &Void))
}

/// The port mapper's answers: every program is served on every port of ours.
fn port_of(mut call: Call, port: u16) -> Reply {
    let port =
        |program: u32| if matches!(program, nfs3::PROGRAM | mount::PROGRAM) { u32::from(port) } else { 0 };
    let entry = |prog, vers| mapping { prog, vers, prot: IPPROTO_TCP, port: port(prog) };
    match PMAP_PROG::try_from(call.body.proc) {
        Ok(PMAP_PROG::PMAPPROC_NULL) => good(call.xid, &Void),
        Ok(PMAP_PROG::PMAPPROC_GETPORT) => match mapping::unpack(&mut call.arguments) {
            Ok((asked, _)) if asked.prot == IPPROTO_TCP => good(call.xid, &port(asked.prog)),
            Ok(_) => good(call.xid, &0_u32),
            Err(_) => unserved(call.xid, accept_stat_data::GARBAGE_ARGS),
        },
        Ok(PMAP_PROG::PMAPPROC_DUMP) => {
            let all = vec![entry(nfs3::PROGRAM, nfs3::VERSION), entry(mount::PROGRAM, mount::VERSION)];
            good(call.xid, &List(all))
        }
        _ => unserved(call.xid, accept_stat_data::PROC_UNAVAIL),
    }
}

/// What of a mounted path lies beneath the export; `None` for another export's.
fn below<'a>(export: &str, path: &'a [u8]) -> Option<&'a [u8]> {
    let below = path.strip_prefix(export.trim_end_matches('/').as_bytes())?;
    matches!(below.first(), None | Some(b'/')).then_some(below)
}

/// The handle of a path that a client mounts: the export, or a directory in it.
fn mounted(session: &Session, path: &[u8]) -> Answer<nfs_fh3> {
    let below = below(session.export.name(), path).ok_or(nfsstat3::NFS3ERR_NOENT)?;
    let mut names = below.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    // What leads elsewhere is nothing that is exported.
    names.try_for_each(|part| name(&filename3(Opaque::borrowed(part))).map(drop))?;
    let path = below.strip_prefix(b"/").unwrap_or(below);
    let target = Target::Mounted(MountPath::new(path).ok_or(nfsstat3::NFS3ERR_NAMETOOLONG)?);
    let handle = session.handle_of(target);
    match session.directory(&handle) {
        Ok(_) => Ok(handle),
        Err(nfsstat3::NFS3ERR_STALE) => Err(nfsstat3::NFS3ERR_NOENT),
        Err(status) => Err(status),
    }
}

/// A procedure about to run.
struct Job {
    session: Session,
    refused: Option<nfsstat3>,
    xid: u32,
    arguments: Cursor<Vec<u8>>,
}

type Served = (Vec<u8>, Option<nfsstat3>);

impl Job {
    /// Reads the arguments, runs the procedure unless it is refused, and packs what comes of it.
    fn run<A: Unpack, T: Pack, F: Pack>(
        mut self,
        fail: F,
        procedure: impl FnOnce(&Session, A) -> Answer<T>,
    ) -> Served {
        let Ok((arguments, _)) = A::unpack(&mut self.arguments) else {
            return (wire::accepted(self.xid, accept_stat_data::GARBAGE_ARGS, &Void), None);
        };
        let answer = match self.refused {
            Some(status) => Err(status),
            None => procedure(&self.session, arguments),
        };
        let status = answer.as_ref().err().copied();
        let result = match answer {
            Ok(result) => Nfs3Result::Ok(result),
            Err(status) => Nfs3Result::Err((status, fail)),
        };
        (wire::accepted(self.xid, accept_stat_data::SUCCESS, &result), status)
    }
}

fn run(procedure: NFS_PROGRAM, job: Job, verifier: writeverf3) -> Served {
    use NFS_PROGRAM::*;
    match procedure {
        NFSPROC3_NULL => (wire::accepted(job.xid, accept_stat_data::SUCCESS, &Void), None),
        NFSPROC3_GETATTR => job.run(Void, look::getattr),
        NFSPROC3_SETATTR => job.run(SETATTR3resfail::default(), change::setattr),
        NFSPROC3_LOOKUP => job.run(LOOKUP3resfail::default(), look::lookup),
        NFSPROC3_ACCESS => job.run(ACCESS3resfail::default(), look::access),
        NFSPROC3_READLINK => job.run(READLINK3resfail::default(), look::readlink),
        NFSPROC3_READ => job.run(READ3resfail::default(), look::read),
        NFSPROC3_WRITE => {
            job.run(WRITE3resfail::default(), |session, args| change::write(session, args, verifier))
        }
        NFSPROC3_CREATE => job.run(CREATE3resfail::default(), change::create),
        NFSPROC3_MKDIR => job.run(MKDIR3resfail::default(), change::mkdir),
        NFSPROC3_SYMLINK => job.run(SYMLINK3resfail::default(), change::symlink),
        NFSPROC3_MKNOD => job.run(MKNOD3resfail { dir_wcc: wcc_data::default() }, change::mknod),
        NFSPROC3_REMOVE => job.run(REMOVE3resfail::default(), change::remove),
        NFSPROC3_RMDIR => job.run(RMDIR3resfail { dir_wcc: wcc_data::default() }, change::rmdir),
        NFSPROC3_RENAME => job.run(RENAME3resfail::default(), change::rename),
        NFSPROC3_LINK => {
            let fail = LINK3resfail { file_attributes: post_op_attr::None, linkdir_wcc: wcc_data::default() };
            job.run(fail, change::link)
        }
        NFSPROC3_READDIR => job.run(READDIR3resfail::default(), list::readdir),
        NFSPROC3_READDIRPLUS => job.run(READDIRPLUS3resfail::default(), list::readdirplus),
        NFSPROC3_FSSTAT => job.run(FSSTAT3resfail::default(), look::fsstat),
        NFSPROC3_FSINFO => job.run(FSINFO3resfail::default(), look::fsinfo),
        NFSPROC3_PATHCONF => job.run(PATHCONF3resfail::default(), look::pathconf),
        NFSPROC3_COMMIT => {
            let fail = COMMIT3resfail { file_wcc: wcc_data::default() };
            job.run(fail, |session, args| change::commit(session, args, verifier))
        }
    }
}
