//! NFS beside a real cluster: a server with faults, and a mount helper for nodes whose kernel has no NFS.
//!
//! Both speak version 3 (RFC 1813) with the words of `nfs3_types`; the RPC around them ([`wire`]) is ours, since
//! the server must know who calls and the client must wait, give up and come back as a kernel's does. Read
//! [`server`] and [`mount`] for the two programs, [`ctl`] for the third, which talks to the first.
pub mod ctl;
pub mod mount;
pub mod server;
pub mod status;
pub mod wire;
