//! NFSv3 in user space: a server with faults, and a mount helper for nodes without the kernel's client.
pub mod mount;
pub mod server;
