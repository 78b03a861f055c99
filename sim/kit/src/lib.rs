//! Doubles that run beside a real cluster, in containers and in its nodes.
//!
//! One static program, `kit`, is all of them: a CSI driver with three characters and volumes on FUSE
//! ([`csi`]), a hand that carries whole trees into and out of a pod ([`hand`]), an NFS server, a mount helper
//! and an S3 proxy. Without the feature `programs` this is what a bed needs to talk to them:
//! [`tree_stream`], [`control`] and [`manifests`]. Faults carry the names and data of the room `fault`, so that
//! a scenario says the same on the embedded bed and here. It knows no Kubernetes client, no engine, no
//! scenario. Read [`tree_stream`] for how trees travel, [`control`] for how faults do.
pub mod character;
pub mod control;
pub mod manifests;
pub mod nfs_control;
pub mod s3_control;
pub mod tree_stream;

#[cfg(feature = "programs")]
pub mod csi;
#[cfg(feature = "programs")]
pub mod directory;
#[cfg(feature = "programs")]
pub mod fuse;
#[cfg(feature = "programs")]
pub mod hand;
#[cfg(feature = "programs")]
pub mod nfs;
#[cfg(feature = "programs")]
pub mod process;
#[cfg(feature = "programs")]
pub mod s3_proxy;
#[cfg(feature = "programs")]
pub mod socket;
