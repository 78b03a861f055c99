//! A real Kubernetes cluster in containers, for tests: node images built without a registry, KindCluster, MinIO,
//! siblings, and the sweeping of what killed runs left.
//!
//! A [`Run`] owns everything: begin one, make clusters and siblings in it, finish it. Every wait is on a level, with
//! a deadline, and says what it waits for; every precondition is an [`Error`] of one sentence. Needs a Docker Engine
//! (23 or newer, privileged containers); building images needs root, Go and debootstrap as well.
//!
//! What talks to the engine at length gives a boxed future, so that it is compiled here, once: an `async fn` is compiled
//! by every crate that polls it, with all of the client below it.
//!
//! It knows no other room: nothing of backups, faults or scenarios, and no Kubernetes client. It never pulls an image.
//! Read [`kind`] next, then [`image`].
//!
//! ```no_run
//! # async fn show() -> Result<(), cluster::Error> {
//! use cluster::{KindCluster, Minio, Run, RunOptions};
//!
//! let run = Run::start(RunOptions::default()).await?;
//! let minio = Minio::builder(&run, "minio").bucket("backups").start().await?;
//! let kind = KindCluster::builder(&run, "main").workers(1).create().await?;
//! println!("{} reaches {}", kind.kubeconfig_path().display(), minio.endpoint());
//! run.finish().await?;
//! # Ok(())
//! # }
//! ```

pub mod cache;
pub mod certificate;
mod container;
pub mod engine;
mod error;
pub mod exec;
pub mod image;
pub mod kind;
pub mod mark;
mod minio;
pub mod power;
pub mod progress;
mod recipe;
mod run;
mod sibling;
pub mod sweep;
mod wait;

pub use container::{HostMount, Port};
pub use error::{Error, chain};
pub use exec::{Command, Output};
pub use kind::{KindCluster, KindClusterBuilder, Node, NodeImage, Role};
pub use minio::{Minio, MinioBuilder};
pub use recipe::{MINIO_IMAGE, NETBASE_IMAGE, NODE_IMAGE, SIDE_PROGRAMS_IMAGE};
pub use run::{Run, RunOptions};
pub use sibling::{Sibling, SiblingBuilder};
pub use wait::{Look, wait};
